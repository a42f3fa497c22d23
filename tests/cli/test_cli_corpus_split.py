"""`rewarm corpus split` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SPLIT = ("corpus", "split")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Three rows of two months, and one without a date."""
    dates = ["2021-10-02", "2021-09-01", "2021-10-01", None]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"date": date, "text": "t"}) + "\n" for date in dates))
    return file


def test_it_answers_with_the_files(rows: Path, tmp_path: Path, cli: Any) -> None:
    asked = (*SPLIT, rows, "--by", "month", "--output", tmp_path / "out", "--prefix", "news", "--bad-rows", "25%")
    called = cli(*asked, "--json")
    assert called.code == 0, called.err
    found = called.json()
    assert {name: held["rows"] for name, held in found["files"].items()} == {
        "news-2021-09.jsonl.zst": 1, "news-2021-10.jsonl.zst": 2,
    }  # fmt: skip
    assert (found["rows"], found["bad_rows"]) == (4, {"no date field": 1})
    again = cli(*asked)
    assert again.code == 0
    assert f"3 of 4 rows in 2 files.\nleft out: 1 rows, no date field, first at {rows}:4\nFolder:" in again.out


def test_a_dry_run_forecasts_and_writes_nothing(rows: Path, tmp_path: Path, cli: Any) -> None:
    called = cli(*SPLIT, rows, "--by", "year", "--output", tmp_path / "out", "--dry-run", "--json")
    assert called.code == 0, called.err
    assert called.json()["outlook"]["periods"] == ["2021"]
    shown = cli(*SPLIT, rows, "--by", "year", "--output", tmp_path / "out", "--dry-run").out
    assert "Measured on the first 4 rows (100.00% of the input): 1 dates, 2021 to 2021. Nothing was written." in shown
    assert list(tmp_path.iterdir()) == [rows]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--by", "week"), "Allowed: year, quarter, month, day"),
        (("--by", "month", "--prefix", "a/b"), "--prefix 'a/b'"),
        (("--by", "month", "--bad-rows", "many"), "give a share"),
        (("--by", "month"), "1 of 4 rows (25 %) cannot be used"),
        (("--by", "month", "--date-field", "when"), "4 of 4 rows"),
    ],
)
def test_what_is_wrong_is_said(rows: Path, tmp_path: Path, cli: Any, options: tuple[str, ...], error: str) -> None:
    called = cli(*SPLIT, rows, *options, "--output", tmp_path / "out")
    assert called.code == 3
    assert error in called.err
    assert not list(tmp_path.glob("out/*.zst"))


def test_a_stream_of_stages_reads_what_was_split(rows: Path, tmp_path: Path, cli: Any) -> None:
    from rewarm.plan import from_values

    assert cli(*SPLIT, rows, "--by", "month", "--output", tmp_path / "out", "--bad-rows", "1/4").code == 0
    stages = {"each": str(tmp_path / "out" / "*.zst"), "tokens": 6400, "learning_rate": 1e-3}
    plan = from_values({"base": "./model", "output_dir": "run", "corpora": {"old": "old.jsonl"}, "stages": stages})
    assert [stage.name for stage in plan.stages] == ["2021-09", "2021-10"]
