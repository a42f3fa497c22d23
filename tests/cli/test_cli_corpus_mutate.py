"""`rewarm corpus mutate` from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

MUTATE = ("corpus", "mutate")
KEPT = "def most(xs, floor):\n    for x in xs:\n        if x > floor:\n            floor = x\n    return floor"


def rows(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as reader:
        return [json.loads(line) for line in io.TextIOWrapper(reader, encoding="utf-8")]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with a function that can have a bug, twice, one that cannot, a long one, and what holds none."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "a.py").write_text(f"import os\n\n\n{KEPT}\n\n\ndef none():\n    pass\n")
    (folder / "b.py").write_text(f"{KEPT}\n\n\ndef long(x):\n    return x + 1{' + 1' * 300}\n")
    (folder / "c.py").write_text("x = 1\n")
    (folder / "d.py").write_text("print 'a'\n")
    return folder


def test_functions_get_a_bug_each_and_the_rest_is_counted(code: Path, tmp_path: Path, cli: Any) -> None:
    out = tmp_path / "out" / "r.jsonl.zst"
    called = cli(*MUTATE, code, "--out", out, "--longest", "500", "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert (found["read"], found["functions"], found["written"]) == (4, 4, 1)
    assert found["dropped"] == {
        "has nothing to change": 1, "was there before": 1, "is too long": 1, "has no function": 1,
        "does not parse as Python": 1,
    }  # fmt: skip
    (row,) = rows(out)
    assert row["answer"] == KEPT
    assert row["prompt"] != KEPT
    assert (row["path"], row["function"]) == ("a.py", "most")
    assert found["operators"][row["operator"]] == 1
    assert json.loads((out.parent / "r.json").read_text())["operators"] == found["operators"]


def test_the_same_seed_makes_the_same_bugs(code: Path, tmp_path: Path, cli: Any) -> None:
    made = []
    for name, seed in (("one", 0), ("two", 0), *((f"other-{seed}", seed) for seed in range(1, 6))):
        assert cli(*MUTATE, code, "--out", tmp_path / f"{name}.jsonl.zst", "--seed", str(seed)).code == 0
        made.append(rows(tmp_path / f"{name}.jsonl.zst")[0]["prompt"])
    assert made[0] == made[1]
    assert len(set(made)) > 2


def test_a_dry_run_shows_one_and_writes_nothing(code: Path, tmp_path: Path, cli: Any) -> None:
    called = cli(*MUTATE, code, "--out", tmp_path / "r.jsonl.zst", "--dry-run")
    assert called.code == 0, called.err
    assert "def most(" in called.out
    assert "Nothing was written." in called.out
    assert not list(tmp_path.glob("r.*"))


@pytest.mark.parametrize(("out", "told"), [("r.json", "ends in .jsonl.zst"), ("f.jsonl.zst", "is a folder")])
def test_a_wrong_name_is_refused(out: str, told: str, code: Path, tmp_path: Path, cli: Any) -> None:
    (tmp_path / "f.jsonl.zst").mkdir()
    called = cli(*MUTATE, code, "--out", tmp_path / out)
    assert called.code == 3
    assert told in called.err
