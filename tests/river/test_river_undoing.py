"""A stage that was added is taken back: the run is what it was before, and its files are set aside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values
from rewarm.report.result import Result, read
from rewarm.river.adding import Addition, add_stage
from rewarm.river.directory import PLAN, UNDONE, RunDirectory
from rewarm.river.ledger import Ledger
from rewarm.river.run import run
from rewarm.river.status import status
from rewarm.river.train import Hooks
from rewarm.river.undoing import undo, undoing
from rewarm.types import Stopped, UserError

MakeValues = Callable[..., dict[str, Any]]
NOT_COMPARED = {"created", "command"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, values_in: MakeValues) -> Path:
    """The directory of a finished run of one stage, with a control. Read only."""
    root = tmp_path_factory.mktemp("finished") / "run"
    stage = {"name": "law", "data": "law", "tokens": 256, "replay": {"from": "old", "share": 0.5}}
    run(from_values(values_in(root, [stage], watch=["old", "law"], controls=["new-only"], eval_every=0)))
    return root


@pytest.fixture
def begun(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be added to."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def compared(result: Result) -> dict[str, Any]:
    """A result but for when it was made, and where: a run that was copied has its new place in its plan."""
    found = result.model_dump(exclude=NOT_COMPARED)
    return {**found, "plan": {**found["plan"], "output_dir": ""}}


def files(root: Path) -> set[str]:
    """What lies in a run directory beside what was set aside and prepared text, which stays."""
    found = {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}
    return {name for name in found if not name.startswith(("undone/", "prepared/", "controls/new-only/plan"))}


def test_the_run_is_what_it_was_and_its_files_are_set_aside(begun: Path, texts: dict[str, Path]) -> None:
    before, had, plan = read(begun), files(begun), json.loads((begun / PLAN).read_text())
    add_stage(begun, Addition(str(texts["code"]), name="python"))
    directory = RunDirectory(begun)
    lines = directory.ledger_file.read_bytes()
    assert compared(undo(begun)) == compared(before)
    assert compared(read(begun)) == compared(before)
    assert files(begun) == had
    assert json.loads((begun / PLAN).read_text()) == {**plan, "output_dir": str(begun)}
    aside = begun / "undone" / "python-1"
    assert (aside / "stage-2-python" / "model.safetensors").is_file()
    assert (aside / "evaluations" / "base" / "python.npz").is_file()
    assert (aside / "controls" / "new-only" / "stage-2-python").is_dir()
    assert status(begun).state == "done"
    # The ledger keeps what was written, and says what of it holds.
    assert directory.ledger_file.read_bytes().startswith(lines)
    assert Ledger(directory.ledger_file).chain().faults == []
    assert directory.recorded(UNDONE) is not None
    assert directory.recorded("stage added") is None
    assert list(directory.finished()) == ["stage-1-law"]
    assert "python" not in (directory.recorded("inputs") or {})["corpora"]
    assert run(directory.resolved()).complete


def test_other_text_may_take_the_name(begun: Path, tmp_path: Path, words: Any, write_jsonl: Any) -> None:
    """What was scored on the first text of that name is not taken for scores of the second."""
    for number, first in enumerate((100, 20_000)):
        file = write_jsonl(tmp_path / f"{number}" / "more.jsonl", [words(first + one, 30) for one in range(120)])
        result = add_stage(begun, Addition(str(file), name="more"))
        cell = result.rows[0].cells["more"]
        if number == 0:
            before = cell
            undo(begun)
    assert before.loss != cell.loss
    assert before.bytes != cell.bytes


def test_an_addition_that_was_stopped_is_taken_back_and_deleted(begun: Path, texts: dict[str, Path]) -> None:
    before, had = read(begun), files(begun)
    asked = iter(range(10_000))
    with pytest.raises(Stopped):
        add_stage(begun, Addition(str(texts["code"]), name="python"), Hooks(stop=lambda: next(asked) == 8))
    assert compared(undo(begun, delete=True)) == compared(before)
    assert files(begun) == had
    assert not (begun / "undone").exists()


def test_a_kill_in_the_middle_is_made_good(begun: Path, texts: dict[str, Path], monkeypatch: Any) -> None:
    before, had = read(begun), files(begun)
    add_stage(begun, Addition(str(texts["code"]), name="python"))

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rewarm.river.undoing.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            undo(begun)
    assert undoing(begun).legs[""] == ["stage-2-python"]
    assert compared(undo(begun)) == compared(before)
    assert files(begun) == had


def test_only_what_was_added_is_taken_back(finished: Path) -> None:
    with pytest.raises(UserError, match="it was begun with its last one, 'law'"):
        undoing(finished)


def test_a_stage_may_branch_from_an_earlier_one(begun: Path, texts: dict[str, Path], tmp_path: Path) -> None:
    """After `python`, a stage on text of its own starts from `law`; then `python` is no longer the last one."""
    add_stage(begun, Addition(str(texts["code"]), name="python"))
    copied = tmp_path / "third.jsonl"
    copied.write_text("\n".join(texts["old"].read_text().splitlines()[:90]).replace("a", "e") + "\n")
    branch = add_stage(begun, Addition(str(copied), name="third", changes={"from": "law"}))
    finished = RunDirectory(begun).finished()
    assert finished["stage-3-third"]["start"] == "stage-1-law"
    assert [row.name for row in branch.rows][:4] == ["base", "stage-1-law", "stage-2-python", "stage-3-third"]
    assert undoing(begun).stage == "third"
    undo(begun)
    assert list(RunDirectory(begun).finished()) == ["stage-1-law", "stage-2-python"]
