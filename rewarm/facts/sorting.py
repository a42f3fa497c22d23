"""Facts in the order of their subjects, sorted on disk: more of them than memory holds.

A fact is a line of its fields with `SEPARATOR` between them, which no field can hold since it counts as a blank. Lines
are sorted as bytes in runs of `RUN_BYTES`, written packed, and merged `AT_ONCE` runs at a time. A database would write
every fact to a random place; sorted runs are written and read in order.
"""

from __future__ import annotations

import heapq
import io
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zstandard

from rewarm.facts import Fact, Snapshot, Tally
from rewarm.storage import replaced, stored
from rewarm.types import Tell

SEPARATOR = "\x1f"
RUN_BYTES = 128 * 2**20
AT_ONCE = 64
_LINE_BYTES = 41  # what Python adds to a line: its header and its place in the list


def line_of(fact: Fact) -> bytes:
    """The fact as a line, its end included, without its place."""
    fields = (fact.subject_id, fact.relation, fact.object_id, fact.subject, fact.object, fact.title)
    return (SEPARATOR.join([" ".join(field.split()) for field in fields]) + "\n").encode()


def sort_facts(snapshot: Snapshot, folder: Path, tell: Tell) -> tuple[list[Path], Tally]:
    """Sorted runs of a snapshot's facts in `folder`, and what reading it counted; made now unless they are there.

    At most `AT_ONCE` runs come back. Runs belong to the snapshot's options and to the size and time of its files.
    """
    files = snapshot.files()
    known = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    key = json.dumps([snapshot.described(), known])
    found = _finished(folder, key)
    if found is not None:
        return found
    with stored(f"sorted facts to '{folder}'"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        total = sum(file.stat().st_size for file in files)
        tally = Tally(watch=lambda what, done: tell(what, done, total, "bytes"))
        runs = _fewer(_runs(map(line_of, snapshot.read(tally)), folder), folder)
        told = {"rows": tally.rows, "counts": tally.counts, "examples": tally.examples, "left_out": tally.left_out}
        with replaced(folder / "done.json") as file:
            file.write(json.dumps({"key": key, "runs": [run.name for run in runs], "tally": told}).encode())
    return runs, tally


def merged(runs: Iterable[Path]) -> Iterator[list[str]]:
    """The fields of every fact of some runs, in order of subject, relation and object; a repeated fact comes again."""
    for line in _merged(runs):
        yield line.decode().rstrip("\n").split(SEPARATOR)


def _finished(folder: Path, key: str) -> tuple[list[Path], Tally] | None:
    try:
        state = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if state["key"] != key:
        return None
    tally = Tally(**{name: value for name, value in state["tally"].items() if name in ("rows", "examples")})
    tally.counts.update(state["tally"]["counts"])
    tally.left_out.update(state["tally"]["left_out"])
    return [folder / name for name in state["runs"]], tally


def _runs(lines: Iterable[bytes], folder: Path) -> Iterator[Path]:
    held: list[bytes] = []
    size = count = 0
    for line in lines:
        held.append(line)
        size += len(line) + _LINE_BYTES
        if size >= RUN_BYTES:
            yield _written(sorted(held), folder / f"run-{count:06d}.zst")
            held, size, count = [], 0, count + 1
    if held:
        yield _written(sorted(held), folder / f"run-{count:06d}.zst")


def _fewer(runs: Iterable[Path], folder: Path) -> list[Path]:
    """The runs, those of one level merged into one of the next as soon as there are `AT_ONCE` of them."""
    levels: list[list[Path]] = [[]]
    count = 0
    for run in runs:
        levels[0].append(run)
        for level, held in enumerate(levels):
            if len(held) < AT_ONCE:
                break
            if level + 1 == len(levels):
                levels.append([])
            levels[level + 1].append(_joined(held, folder / f"merged-{count:06d}.zst"))
            levels[level] = []
            count += 1
    left = [run for held in levels for run in held]
    while len(left) > AT_ONCE:
        left = [*left[AT_ONCE:], _joined(left[:AT_ONCE], folder / f"merged-{count:06d}.zst")]
        count += 1
    return left


def _joined(runs: list[Path], file: Path) -> Path:
    _written(_merged(runs), file)
    for run in runs:
        run.unlink()
    return file


def _written(lines: Iterable[bytes], file: Path) -> Path:
    with file.open("wb") as plain, zstandard.ZstdCompressor(level=1).stream_writer(plain) as packed:
        writer: Any = io.BufferedWriter(packed, 1 << 20)
        for line in lines:
            writer.write(line)
        writer.flush()
    return file


def _merged(runs: Iterable[Path]) -> Iterator[bytes]:
    with ExitStack() as opened:
        sources = []
        for run in runs:
            reader: Any = zstandard.ZstdDecompressor().stream_reader(opened.enter_context(run.open("rb")))
            sources.append(io.BufferedReader(reader, 1 << 16))
        yield from heapq.merge(*sources)
