"""`rewarm corpus languages` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DANISH = ("Hvad er det for en bog, du læser i dag?", "Hun gik hjem gennem skoven, da det var blevet mørkt.")
ENGLISH = ("What is the book that you are reading?", "She went home through the forest when it was dark.")


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """A Danish text with one English line in four, and an English one."""
    files = []
    for name, lines in (("dansk", (*DANISH, DANISH[0] + " Sig mig det.", ENGLISH[0])), ("english", ENGLISH)):
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text(json.dumps({"text": "\n".join(lines)}) + "\n", encoding="utf-8")
    return files


def test_it_answers_with_shares_and_distances(texts: list[Path], cli: Any) -> None:
    called = cli("corpus", "languages", *texts, "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert [one["shares"] for one in found["corpora"]] == [{"da": 0.75, "en": 0.25}, {"en": 1.0}]
    (same, far), (back, _) = found["distances"]
    assert same == 0
    assert 0 < far == back < 1
    shown = cli("corpus", "languages", *texts)
    assert "75.0%" in shown.out
    assert f"{far:.3f}" in shown.out


def test_what_cannot_be_read_is_told(texts: list[Path], tmp_path: Path, cli: Any) -> None:
    called = cli("corpus", "languages", texts[0], texts[0])
    assert called.code == 3
    assert "is given twice" in called.err
    assert cli("corpus", "languages", tmp_path / "none.jsonl").code == 3
    assert cli("corpus", "languages", texts[0], "--lines", "0").code == 3
