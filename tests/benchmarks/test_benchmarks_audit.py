"""The audit of dependencies: what is loose, of another licence or needed by nothing is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from audit import audit, is_allowed, pins


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("Apache-2.0", True), ("MIT License", True), ("BSD-3-Clause AND 0BSD AND MIT AND Zlib", True),
        ("MPL-2.0", True),
        ("GNU Lesser General Public License v3", True), ("GPL-3.0-only", False), ("AGPL-3.0", False), ("", False),
        ("MIT AND GPL-2.0", False), ("Proprietary", False), ("LIMITED", False),
    ],
)  # fmt: skip
def test_licences(licence: str, allowed: bool) -> None:
    assert is_allowed(licence) is allowed


def test_lines_that_pin_nothing_and_names_that_nothing_needs(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("# a note\nnumpy>=2\nnot-there-at-all==1.0\n\norjson==0.0.1  # old\n")
    assert pins(lock) == ({"not-there-at-all": "1.0", "orjson": "0.0.1"}, ["numpy>=2"])
    faults = {one.name: one.fault for one in audit(lock)}
    assert faults["numpy>=2"] == "not pinned to one version"
    assert faults["not-there-at-all"] == "not installed here"
    assert faults["orjson"].startswith("installed as ")
