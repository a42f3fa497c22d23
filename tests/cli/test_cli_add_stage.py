"""`rewarm add-stage` from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def begun(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be added to."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "x"))


@pytest.fixture
def december(tmp_path: Path, words: Any, write_jsonl: Any) -> Path:
    """A folder of new text, named by its date."""
    write_jsonl(tmp_path / "2026-12" / "part.jsonl", [words(5000 + number, 40) for number in range(100)])
    return tmp_path / "2026-12"


def test_it_adds_trains_scores_and_reports(cli: Any, begun: Path, december: Path) -> None:
    asked = (
        "add-stage",
        begun,
        "--corpus",
        december,
        "--name",
        "december",
        "--tokens",
        "1024",
        "--set",
        "replay.share=25%",
    )
    found = cli(*asked, "--json").json()
    assert found["complete"]
    last = found["result"]["rows"][2]
    assert (last["name"], last["tokens"]) == ("stage-2-december", 4096 + 1024)
    assert set(last["cells"]) == {"old", "new", "december"}
    plan = json.loads((begun / "plan.resolved.json").read_text())
    assert plan["stages"][1]["replay"]["share"] == 0.25
    assert (plan["stages"][1]["tokens"], plan["stages"][1]["date"]) == (1024, "2026-12")
    assert plan["corpora"]["december"]["holdout"] == plan["corpora"]["new"]["holdout"]
    events = [json.loads(line) for line in (begun / "ledger.jsonl").read_text().splitlines()]
    command = next(event["command"] for event in events if event["event"] == "stage added")
    assert command.endswith(f"--corpus {december} --name december --tokens 1024 --set replay.share=25%")
    twice = cli(*asked)
    assert twice.code == 3
    assert "nothing is added twice" in twice.err


def test_a_dry_run_forecasts_the_stage_alone(cli: Any, begun: Path, december: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in begun.rglob("*")}
    found = cli("add-stage", begun, "--corpus", december, "--dry-run", "--json").json()
    assert [(leg["run"], leg["name"]) for leg in found["legs"]] == [
        ("", "stage-2-2026-12"), ("new-only", "stage-2-2026-12"),
    ]  # fmt: skip
    assert [corpus["counted"] for corpus in found["corpora"]] == [True, True, False]
    assert set(found["seconds"]) == {"prepare", "train", "score"}
    assert {path: path.stat().st_mtime_ns for path in begun.rglob("*")} == before


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--tokens", "1k", "--epochs", "2"), "either --tokens or --epochs"),
        (("--set", "replay"), "give KEY=YAML"),
        (("--set", "replay={"), "cannot be read as YAML"),
        (("--set", "tokens=5", "--tokens", "6"), "'tokens' is given twice"),
        (("--set", "lernrate=5"), "lernrate"),
        (("--tokens", "many"), "give a whole number"),
        (("--name", "new"), "'new' is in the plan already"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    cli: Any, finished: Path, december: Path, options: tuple[str, ...], error: str
) -> None:
    before = (finished / "ledger.jsonl").read_bytes()
    called = cli("add-stage", finished, "--corpus", december, *options)
    assert called.code == 3
    assert error in called.err
    assert (finished / "ledger.jsonl").read_bytes() == before
