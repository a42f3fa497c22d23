"""The journal: one JSON line per logged step, cut back to the resumed step so that a rerun leaves no double line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson


class Journal:
    """Appends entries to `file`. Those after step `start`, which a resumed leg will write again, are dropped."""

    def __init__(self, file: Path, start: int) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = [entry for entry in read(file) if entry["step"] <= start]
        partial = file.with_name(file.name + ".partial")
        with partial.open("wb") as opened:
            opened.writelines(orjson.dumps(entry) + b"\n" for entry in kept)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(partial, file)

    def write(self, entry: dict[str, Any]) -> None:
        """Appends one entry, which names its `step` (the number of steps done)."""
        with self.file.open("ab") as opened:
            opened.write(orjson.dumps(entry) + b"\n")

    def sync(self) -> None:
        """Flushes the journal to disk, so that no checkpoint outlives the entries before it."""
        with self.file.open("rb") as opened:
            os.fsync(opened.fileno())


def read(file: Path) -> list[dict[str, Any]]:
    """Every whole entry of a journal; a last line cut short by a crash is left out."""
    if not file.is_file():
        return []
    lines = file.read_bytes().split(b"\n")
    return [orjson.loads(line) for line in lines[:-1] if line]
