"""Reading sets of probes to their end, and the folder of real data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.facts import Tally
from rewarm.probes import Probe, ProbeSet


def _read(probe_set: ProbeSet) -> tuple[list[Probe], Tally]:
    tally = Tally()
    probes = list(probe_set.read(tally))
    assert tally.rows == len(probes) + tally.left_out.total() + tally.total
    return probes, tally


@pytest.fixture(scope="session")
def read() -> Callable[[ProbeSet], tuple[list[Probe], Tally]]:
    """A function: set -> its probes and counts; fails where rows are not probes, rows left out and bad rows."""
    return _read


@pytest.fixture(scope="session")
def write_rows() -> Callable[..., Path]:
    """A function: path, rows -> the path of a file with one JSON object a line."""

    def write(path: Path, *rows: dict[str, Any]) -> Path:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """A function: name -> the file of real probes; skips where there is none."""
    folder = Path(os.environ.get("REWARM_DATA") or Path(__file__).parents[3] / "shared" / "data") / "probes"

    def find(name: str) -> Path:
        if not (folder / name).is_file():
            pytest.skip("set REWARM_DATA to the folder of real data")
        return folder / name

    return find
