"""The rows of a study: a file with one JSON line for every finished run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of finished runs, oldest first."""

    file: Path

    def read(self) -> list[dict[str, Any]]:
        """Every row; a last line that was cut off is left out."""
        if not self.file.is_file():
            return []
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").split("\n")[:-1] if line]

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row and flushes it to disk; what a crash left of a line before it is cut off first."""
        held = self.file.read_bytes() if self.file.is_file() else b""
        with self.file.open("r+b" if held else "wb") as file:
            file.seek(held.rfind(b"\n") + 1)
            file.truncate()
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
