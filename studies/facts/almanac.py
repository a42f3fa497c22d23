"""The text of the study: an almanac for each year, one document for each fact, and the diffs from year to year.

Facts are those of the probe files `probes/factbook_<old>_<new>.jsonl.zst` (labels unchanged and changed); the sentences
are ours. A document states one fact of one country in four sentences, as a reference work repeats itself.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

YEARS = ("2017", "2021", "2023", "2025")
SENTENCES = ("The {r} of {s} is {o}.", "In {s}, the {r} is {o}.", "{s} has as its {r} {o}.", "{o} is the {r} of {s}.")


def periods() -> list[tuple[str, str]]:
    """Each year with the one after it."""
    return list(itertools.pairwise(YEARS))


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a packed file of JSON lines."""
    with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
        for line in io.TextIOWrapper(plain, encoding="utf-8"):
            yield json.loads(line)


def write(data: Path, folder: Path) -> dict[str, Path]:
    """Writes <year>.jsonl for every year and changes-<year>.jsonl for every later one; the almanacs by year.

    Of a fact that two periods give differently for the year between them, the later period's word counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, dict[tuple[str, str], tuple[str, str]]] = {year: {} for year in YEARS}
    for old, new in periods():
        kept = [
            row
            for row in rows(data / f"probes/factbook_{old}_{new}.jsonl.zst")
            if row["label"] in ("unchanged", "changed")
        ]
        for row in kept:
            key = (row["subject"], row["relation"])
            facts[old][key] = (row["subject_old"], row["object_old"])
            facts[new][key] = (row["subject"], row["object"])
        _write(folder / f"changes-{new}.jsonl", kept)
    for year, held in facts.items():
        _write(
            folder / f"{year}.jsonl",
            [
                {"id": f"{key[0]}:{key[1]}", "title": name, "date": year, "text": _text(name, key[1], answer)}
                for key, (name, answer) in sorted(held.items())
            ],
        )
    return {year: folder / f"{year}.jsonl" for year in YEARS}


def _text(subject: str, relation: str, answer: str) -> str:
    sentences = [sentence.format(s=subject, r=relation, o=answer) for sentence in SENTENCES]
    return "\n".join([subject, *(sentence.replace("..", ".") for sentence in sentences)])


def _write(file: Path, found: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
