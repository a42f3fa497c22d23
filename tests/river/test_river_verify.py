"""Verifying a run: all that is right is called right, whatever was changed is named, and nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.plan import from_values
from rewarm.river.checks import Check, wrong
from rewarm.river.directory import RunDirectory
from rewarm.river.run import run
from rewarm.river.verify import verify
from rewarm.training import checkpoint
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, values_in: MakeValues) -> Path:
    """The directory of a finished run of one stage, with a control. Read only."""
    root = tmp_path_factory.mktemp("finished") / "run"
    stage = {"name": "law", "data": "law", "tokens": 512, "replay": {"from": "old", "share": 0.5}}
    run(from_values(values_in(root, [stage], watch=["old", "law"], controls=["new-only"], eval_every=0)))
    return root


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def flip(file: Path) -> None:
    """Turns one bit near the end of a file."""
    data = bytearray(file.read_bytes())
    data[-9] ^= 1
    file.write_bytes(data)


def named(checks: list[Check]) -> list[str]:
    return [check.subject for check in wrong(checks)]


def test_a_run_is_right_and_nothing_is_written(finished: Path) -> None:
    def tree() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in finished.rglob("*")}

    before = tree()
    checks = verify(finished)
    assert wrong(checks) == []
    assert tree() == before
    seen = {(check.subject, check.what) for check in checks if check.right}
    scored = "losses of 4 documents, scored again"
    assert seen >= {
        ("ledger.jsonl", "chain"), ("controls/new-only/ledger.jsonl", "chain"), ("base", "weights"),
        ("stage-1-law", "weights"), ("controls/new-only/stage-1-law", "weights"), ("report.json", "numbers"),
        ("evaluations/base/old.npz", scored), ("evaluations/stage-1-law/law.npz", scored),
        ("controls/new-only/evaluations/stage-1-law/old.npz", scored),
    }  # fmt: skip
    stores = {Path(check.subject).name.rsplit("-", 1)[0] for check in checks if check.what == "prepared text"}
    assert stores == {"old", "law"}


def test_changed_weights_are_named(copy: Path) -> None:
    flip(copy / "stage-1-law" / "model.safetensors")
    assert named(verify(copy)) == ["stage-1-law"]


def test_a_changed_loss_is_found_by_scoring_again_and_in_the_report(copy: Path) -> None:
    file = copy / "evaluations" / "stage-1-law" / "law.npz"
    with np.load(file) as held:
        arrays = dict(held)
    arrays["nats"] = arrays["nats"] * 0.99
    np.savez(file, **arrays)
    checks = wrong(verify(copy))
    assert checks[0].subject == "evaluations/stage-1-law/law.npz"
    assert "nats are kept, and it has" in checks[0].found
    numbers = {check.subject for check in checks[1:]}
    assert {"report.json, rows.1.cells.law.loss", "report.json, rows.1.cells.law.delta"} <= numbers
    assert not any("cells.old" in name for name in numbers)
    assert "evaluations/stage-1-law/law.npz" not in named(verify(copy, documents=0))


def test_a_changed_number_of_the_report_is_named(copy: Path) -> None:
    report = json.loads((copy / "report.json").read_text())
    report["rows"][1]["cells"]["old"]["high"] += 0.001
    report["shares"][0]["realised"] = 0.123
    (copy / "report.json").write_text(json.dumps(report))
    assert named(verify(copy)) == ["report.json, rows.1.cells.old.high", "report.json, shares.0.realised"]


@pytest.mark.parametrize("name", ["tokens-00000.bin", "bytes.bin", "offsets.bin"])
def test_damaged_text_is_named_and_nothing_is_made_of_it(copy: Path, name: str) -> None:
    file = next((copy / "prepared").glob(f"law-*/{name}"))
    flip(file)
    checks = verify(copy)
    assert named(checks) == [str(file)]
    assert [check.what for check in checks if check.right is None] == ["models", "report.json"]


def test_text_that_is_gone_is_named(copy: Path) -> None:
    folder = next((copy / "prepared").glob("old-*"))
    shutil.rmtree(folder)
    assert named(verify(copy)) == [str(folder)]


def test_a_changed_line_of_the_ledger_is_named(copy: Path) -> None:
    directory = RunDirectory(copy)
    lines = directory.ledger_file.read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"leg finished"' in line)
    lines[at] = lines[at].replace(b'"tokens": 512', b'"tokens": 999')
    directory.ledger_file.write_bytes(b"".join(lines))
    assert named(verify(copy))[0] == f"ledger.jsonl, line {at + 1}"
    with pytest.raises(UserError, match=f"line {at + 1}: it was altered"):
        run(from_values({**directory.resolved().resolved(), "output_dir": str(copy)}))


def test_a_line_that_is_no_event_is_named_and_ends_the_search(copy: Path) -> None:
    directory = RunDirectory(copy)
    directory.ledger_file.write_bytes(b"[1, 2]\n" + directory.ledger_file.read_bytes())
    checks = verify(copy)
    assert named(checks) == ["ledger.jsonl, line 2"]  # what stands before a chain is not held by it, but for its last
    assert checks[-1].what == "everything else"
    assert "line 1 is no event" in checks[-1].found


def test_checkpoints_are_held_against_their_markers(copy: Path) -> None:
    import torch

    folder = copy / "training" / "stage-1-law"
    for step in (2, 4):
        checkpoint.write(folder, step, {"weights": {"one": torch.ones(8)}}, "key")
    flip(folder / "checkpoint-4" / "weights.safetensors")
    (folder / "partial-checkpoint-6").mkdir()
    found = {check.subject.split("/")[-1]: check.right for check in verify(copy) if check.what == "checkpoint"}
    assert found == {"checkpoint-2": True, "checkpoint-4": False, "partial-checkpoint-6": None}


def test_a_model_that_is_gone_is_said_and_is_no_fault(copy: Path) -> None:
    shutil.rmtree(copy / "stage-1-law")
    checks = verify(copy)
    assert wrong(checks) == []
    assert [check.subject for check in checks if check.right is None] == ["stage-1-law"]


def test_a_run_at_work_is_not_looked_at(copy: Path) -> None:
    with RunDirectory(copy).locked(), pytest.raises(UserError, match="verify it when that has ended"):
        verify(copy)


def test_a_base_that_is_not_at_hand_is_said_and_is_no_fault(copy: Path, tmp_path: Path) -> None:
    """As one on the hub, without a connection."""
    plan = json.loads((copy / "plan.resolved.json").read_text())
    (copy / "plan.resolved.json").write_text(json.dumps({**plan, "base": str(tmp_path / "gone")}))
    found = {check.subject: check.right for check in verify(copy, documents=1) if check.what == "weights"}
    assert found == {"base": None, "stage-1-law": True, "controls/new-only/stage-1-law": True}
