"""The text of the study: an almanac for each year, one document for each fact, and the diffs from year to year.

Facts are those of the probe files `probes/factbook_<old>_<new>.jsonl.zst` (labels unchanged and changed); the sentences
are ours. A document states one fact of one country in four sentences, as a reference work repeats itself.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

YEARS = ("2017", "2021", "2023", "2025")
LABELS = ("unchanged", "changed")
NUMBERS = ("population",)
"""Relations left out of probes and updates: every country's number changes every year, half of all changes."""
CONSTANT = 600
SENTENCES = ("The {r} of {s} is {o}.", "In {s}, the {r} is {o}.", "{s} has as its {r} {o}.", "{o} is the {r} of {s}.")


def periods() -> list[tuple[str, str]]:
    """Each year with the one after it."""
    return list(itertools.pairwise(YEARS))


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a packed file of JSON lines."""
    with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
        for line in io.TextIOWrapper(plain, encoding="utf-8"):
            yield json.loads(line)


def write(data: Path, folder: Path, every: int = 1) -> dict[str, Path]:
    """Writes the almanac of every year as <year>.jsonl, whose paths it returns, and probes beside them.

    `changed-<year>.jsonl` holds what changed up to that year, `constant.jsonl` `CONSTANT` of the facts that never did,
    drawn by a hash; both without `NUMBERS`. Of a fact that two periods give differently for the year between them, the
    later period's word counts. `every` keeps one country of so many, by a hash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, dict[tuple[str, str], tuple[str, str]]] = {year: {} for year in YEARS}
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for old, new in periods():
        kept = [row for row in rows(data / f"probes/factbook_{old}_{new}.jsonl.zst") if row["label"] in LABELS]
        kept = [row for row in kept if zlib.crc32(row["subject"].encode()) % every == 0]
        for row in kept:
            key = (row["subject"], row["relation"])
            facts[old][key] = (row["subject_old"], row["object_old"])
            facts[new][key] = (row["subject"], row["object"])
            kinds[key].append(row["label"])
            latest[key] = row
        changed = [row for row in kept if row["label"] == "changed" and row["relation"] not in NUMBERS]
        _write(folder / f"changed-{new}.jsonl", changed)
    never = [key for key, found in kinds.items() if found == ["unchanged"] * 3 and key[1] not in NUMBERS]
    never.sort(key=lambda key: hashlib.sha256("|".join(key).encode()).digest())
    _write(folder / "constant.jsonl", [latest[key] for key in sorted(never[:CONSTANT])])
    for year, held in facts.items():
        texts = [
            {"id": f"{key[0]}:{key[1]}", "title": name, "date": year, "text": _text(name, key[1], answer)}
            for key, (name, answer) in sorted(held.items())
            if year == YEARS[0] or key[1] not in NUMBERS
        ]
        _write(folder / f"{year}.jsonl", texts)
    return {year: folder / f"{year}.jsonl" for year in YEARS}


def _text(subject: str, relation: str, answer: str) -> str:
    sentences = [sentence.format(s=subject, r=relation, o=answer) for sentence in SENTENCES]
    return "\n".join([subject, *(sentence.replace("..", ".") for sentence in sentences)])


def _write(file: Path, found: list[dict[str, Any]]) -> None:
    """Writes rows, unless the file holds them: what is made of a file goes on only while it is untouched."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
