"""The self-tests of a plan: right on one that is right, wrong where what they look at is broken; they touch nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rewarm.objectives.packed_loss import PackedLoss
from rewarm.plan import Plan, from_values
from rewarm.river import selftest_data, selftest_resume
from rewarm.river.checks import Check, wrong
from rewarm.river.run import run
from rewarm.river.selftest import bench
from rewarm.river.selftest_data import data
from rewarm.river.selftest_loss import loss
from rewarm.river.selftest_resume import resume
from rewarm.river.train import Hooks
from rewarm.tokens.loader import StageRows
from rewarm.training import checkpoint

MakeValues = Callable[..., dict[str, Any]]
STAGES: list[dict[str, Any]] = [
    {"name": "law", "data": "law", "replay": {"from": "old", "share": 0.25}, "retention": "l2-sp",
     "release": {"tokens": 512}},
    {"name": "code", "data": "code", "replay": {"from": ["old", "earlier"], "share": 0.5}},
]  # fmt: skip


@pytest.fixture
def plan(make_values: MakeValues) -> Plan:
    """Two stages with replay, a release and something that holds the old."""
    return from_values(make_values(STAGES))


def tried(test: Callable[..., list[Check]], plan: Plan, steps: int = 6) -> list[Check]:
    with bench(plan, Hooks()) as made:
        return test(made, steps)


def found(checks: list[Check], what: str) -> list[bool | None]:
    return [check.right for check in checks if check.what.startswith(what)]


def test_a_stopped_stage_ends_as_an_unbroken_one(plan: Plan, tmp_path: Path) -> None:
    checks = tried(resume, plan)
    assert wrong(checks) == []
    assert {check.subject for check in checks} == {"stage-1-law, 6 steps, stopped at 3"}
    named = [check.what.split(" (")[0] for check in checks if check.right]
    assert named == [
        "went on from step", "first batch is the one to come", "optimizer", "random", "weights",
        "losses not yet logged", "journal",
    ]  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_lost_optimizer_is_found(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = checkpoint.tensors
    monkeypatch.setattr(checkpoint, "tensors", lambda folder, kind: {} if kind == "optimizer" else honest(folder, kind))
    checks = tried(resume, plan)
    assert {check.what.split(" (")[0] for check in wrong(checks)} == {"weights", "optimizer", "journal"}


def test_other_random_numbers_are_found(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "set_random_state", lambda states: torch.manual_seed(1))
    assert [check.what for check in wrong(tried(resume, plan))] == ["random (1 tensors)"]


def test_one_step_has_no_middle(make_values: MakeValues) -> None:
    plan = from_values(make_values([{"name": "law", "data": "law", "tokens": 256}]))
    assert [check.right for check in tried(resume, plan)] == [None]
    assert selftest_resume.ON_DEVICE < 0.01


def test_shares_passes_and_batches_are_those_asked_for(plan: Plan) -> None:
    checks = tried(data, plan)
    assert wrong(checks) == []
    legs = ["stage-1-law", "stage-1-law-release", "stage-2-code"]
    assert list(dict.fromkeys(check.subject for check in checks)) == legs
    shares = {check.what: check.expected for check in checks if check.subject == legs[2] and "share" in check.what}
    # 8 steps of 4 rows: one row is 3.1 %. `earlier` is law, and each source has half of the replay.
    assert shares == {
        "share of code": "50.00% ± 3.12%", "share of old": "25.00% ± 3.12%", "share of law": "25.00% ± 3.12%",
    }  # fmt: skip
    assert found(checks, "first batch on going on at step") == [True] * len(found(checks, "first batch"))
    assert len(found(checks, "first batch")) >= 12


def test_a_share_that_is_not_kept_is_found(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = selftest_data.beginning

    def skewed(*arguments: Any) -> Any:
        begin = honest(*arguments)
        return dataclasses.replace(begin, source_SR=begin.source_SR * 0)

    monkeypatch.setattr(selftest_data, "beginning", skewed)
    assert "share of old" in {check.what for check in wrong(tried(data, plan))}


def test_too_many_passes_are_found(make_values: MakeValues, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage of three passes where one is allowed; the plan itself would refuse it."""
    values = make_values([{"name": "law", "data": "law", "tokens": 30_000, "max_epochs": 8}])
    with bench(from_values(values), Hooks()) as made:
        stage = made.plan.stages[0].model_copy(update={"max_epochs": 1.0})
        strict = dataclasses.replace(made, plan=made.plan.model_copy(update={"stages": (stage,)}))
        assert found(data(made, 4), "documents of law") == [True]
        assert found(data(strict, 4), "documents of law") == [False]


def test_a_stream_that_repeats_itself_is_found(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    from rewarm.tokens.order import DocumentStream

    honest = DocumentStream.pieces
    monkeypatch.setattr(DocumentStream, "pieces", lambda self, index, length: honest(self, index // 4, length))
    assert False in found(tried(data, plan), "documents of")


def test_other_batches_on_going_on_are_found(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = StageRows.iterate
    monkeypatch.setattr(StageRows, "iterate", lambda self, start: honest(self, max(0, start - 1)))
    assert False in found(tried(data, plan), "first batch")


def test_documents_do_not_see_each_other_and_cuts_do_not_matter(plan: Plan) -> None:
    checks = tried(loss, plan)
    assert [check.right for check in checks] == [True, True, True]
    assert checks[2].what == "gradient of 1 and of 4 micro-batches: relative distance"


def test_attention_across_documents_is_found(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(self: PackedLoss, batch: Any) -> dict[str, Any]:
        return {"input_ids": batch.tokens_BT, "use_cache": False}

    monkeypatch.setattr(PackedLoss, "_inputs", packed)
    assert [check.right for check in tried(loss, plan)] == [False, False, True]


def test_a_mean_of_means_is_found(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = PackedLoss.loss_sum
    monkeypatch.setattr(
        PackedLoss, "loss_sum", lambda self, batch, scale=1.0, terms=(): honest(self, batch) / batch.num_targets
    )
    assert [check.right for check in tried(loss, plan)] == [True, True, False]


def test_a_masked_plan_has_its_loss_checked_too(scratch_plan: Any) -> None:
    config = {"model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 4, "max_position_embeddings": 128}  # fmt: skip
    values = scratch_plan(base={"from": "scratch", "config": config, "tokenizer": {"vocab_size": 400}})
    values["stages"][0]["objective"] = "masked"
    plan = from_values(values)
    assert [check.right for check in tried(loss, plan)] == [True, True, True]
    assert wrong(tried(data, plan)) == []


def test_text_that_the_run_has_prepared_is_read_where_it_lies(plan: Plan) -> None:
    run(plan.model_copy(update={"stages": plan.stages[:1]}))
    before = {path: path.stat().st_mtime_ns for path in plan.directory.rglob("*")}
    told: list[str] = []
    with bench(plan, Hooks(tell=lambda label, *rest: told.append(label))) as made:
        assert wrong(data(made, 2)) == []
        folder = made.run.root
    assert not any(label.startswith("tokenise") for label in told)
    assert not folder.exists()
    assert {path: path.stat().st_mtime_ns for path in plan.directory.rglob("*")} == before
