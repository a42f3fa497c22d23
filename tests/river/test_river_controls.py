"""Each control is the plan with one thing changed, on the same prepared text and against the same base."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import Plan, from_values
from rewarm.report.result import Result
from rewarm.river.controls import control_plan
from rewarm.river.directory import RunDirectory
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
REPLAY = {"from": "old", "share": 0.25}
STREAM: list[dict[str, Any]] = [
    {"name": "law", "data": "law", "replay": REPLAY},
    {"name": "code", "data": "code", "replay": REPLAY, "release": {"tokens": 512}},
]


@pytest.fixture
def plan(make_values: MakeValues) -> Plan:
    """Two stages with replay, the second with a release."""
    return from_values(make_values(STREAM))


def made(plan: Plan, word: str) -> Plan:
    """A control's plan, with what all of them share checked."""
    control = control_plan(plan, word)
    assert control is not None
    assert control.controls == ()
    assert control.output_dir == f"{plan.output_dir}/controls/{word}"
    assert {watch.corpus: watch.role for watch in control.watch} == {"old": "old", "law": "new", "code": "new"}
    assert all(stage.release is None for stage in control.stages)
    for key in ("base", "corpora", "seed", "seq_len", "batch_tokens", "weight_decay", "eval_tokens"):
        assert getattr(control, key) == getattr(plan, key)
    return control


def test_the_base_is_no_run_of_its_own(plan: Plan) -> None:
    assert control_plan(plan, "base") is None


def test_new_only_is_the_plan_without_replay(plan: Plan) -> None:
    control = made(plan, "new-only")
    assert [stage.replay for stage in control.stages] == [None, None]
    assert [stage.model_dump(exclude={"replay", "release"}) for stage in control.stages] == [
        stage.model_dump(exclude={"replay", "release"}) for stage in plan.stages
    ]


def test_nothing_holds_the_old_in_a_control_but_an_adapter_stays(make_values: MakeValues) -> None:
    """EWC reads what the stage replays, which the control takes away: that must not make the control's plan wrong."""
    stage = {"data": "law", "replay": REPLAY, "retention": ["ewc", {"type": "distillation"}], "adapter": "lora"}
    plan = from_values(make_values([{**stage, "name": "a"}, {**stage, "name": "b"}]))
    for word in ("new-only", "joint", "same-data"):
        control = control_plan(plan, word)
        assert control is not None
        for one in control.stages:
            assert (one.replay, one.retention, one.adapter) == (None, (), plan.stages[0].adapter)
    alone = control_plan(plan, "alone")
    assert alone is not None
    assert alone.stages[0].retention == plan.stages[1].retention


def test_new_only_has_something_to_take_away_where_only_a_method_holds_the_old(make_values: MakeValues) -> None:
    control = control_plan(from_values(make_values([{"name": "law", "data": "law", "retention": "l2-sp"}])), "new-only")
    assert control is not None
    assert control.stages[0].retention == ()


def test_joint_mixes_everything_in_one_stage(plan: Plan) -> None:
    control = made(plan, "joint")
    (stage,) = control.stages
    weights = {portion.corpus: portion.weight for portion in stage.data}
    assert weights == {"law": 2048, "code": 2048, "old": 4096}
    assert (stage.tokens, stage.replay, stage.from_) == (8192, None, None)


def test_joint_names_an_old_corpus_that_is_also_learned_once(make_values: MakeValues) -> None:
    stages = [{"name": "both", "data": ["law", {"corpus": "old", "weight": 3}], "replay": REPLAY}]
    control = control_plan(from_values(make_values(stages)), "joint")
    assert control is not None
    assert {portion.corpus: portion.weight for portion in control.stages[0].data} == {"law": 512, "old": 1536 + 2048}


def test_a_mixture_that_replays_goes_with_the_replay(make_values: MakeValues) -> None:
    """2048 new tokens with as many old ones as two epochs of 3 and 1 for each new one: 3 x 2048 in all."""
    mixture = {"type": "mix-review", "amount": 3, "decay": 1 / 3, "epochs": 2}
    stage = {"data": "law", "replay": {"from": "old"}, "mixture": mixture}
    plan = from_values(make_values([{**stage, "name": "a"}, {**stage, "name": "b"}]))
    assert from_values(plan.resolved()) == plan
    for word, tokens in (("new-only", 2048), ("joint", 8192), ("same-data", 6144)):
        control = control_plan(plan, word)
        assert control is not None
        for one in control.stages:
            assert (one.replay, one.mixture.described(), one.tokens) == (None, {"type": "fixed"}, tokens)
    alone = control_plan(plan, "alone")
    assert alone is not None
    assert (alone.stages[0].replay, alone.stages[0].mixture) == (plan.stages[1].replay, plan.stages[1].mixture)


def test_same_data_is_the_same_schedule_on_old_text(plan: Plan) -> None:
    control = made(plan, "same-data")
    assert [[portion.corpus for portion in stage.data] for stage in control.stages] == [["old"], ["old"]]
    for key in ("name", "tokens", "schedule", "learning_rate", "optimizer_state"):
        assert [getattr(stage, key) for stage in control.stages] == [getattr(stage, key) for stage in plan.stages]


def test_same_data_makes_as_many_steps_as_additive_replay(make_values: MakeValues) -> None:
    control = control_plan(
        from_values(make_values([{"name": "law", "data": "law", "replay": {**REPLAY, "mode": "additive"}}])),
        "same-data",
    )
    assert control is not None
    assert control.stages[0].tokens == 2560


def test_alone_starts_every_later_stage_from_the_base(plan: Plan) -> None:
    control = made(plan, "alone")
    assert [(stage.name, stage.from_, stage.optimizer_state) for stage in control.stages] == [("code", "base", "reset")]
    assert control.stages[0].replay == plan.stages[1].replay


def test_a_release_that_a_stage_starts_from_is_kept(make_values: MakeValues) -> None:
    stages = [STREAM[0] | {"release": {"tokens": 512}}, STREAM[1] | {"from": "law-release"}]
    control = control_plan(from_values(make_values(stages)), "new-only")
    assert control is not None
    assert [stage.release is not None for stage in control.stages] == [True, False]


@pytest.mark.parametrize(
    ("word", "stages", "reason"),
    [
        ("new-only", [{"name": "law", "data": "law"}], "no stage has replay"),
        ("joint", [{"name": "law", "data": "law"}], "needs an old corpus"),
        ("same-data", [{"name": "law", "data": "law", "replay": {"from": "self"}}], "needs an old corpus"),
        (
            "joint",
            [{"name": "law", "data": "law", "tokens": None, "epochs": 1, "replay": REPLAY}],
            "budget in 'tokens'",
        ),
        (
            "same-data",
            [{"name": "a", "data": "law", "tokens": None, "epochs": 1, "replay": REPLAY}],
            "budget in 'token",
        ),
        ("alone", [{"name": "law", "data": "law"}], "needs a second stage"),
    ],
)
def test_a_control_without_meaning_is_refused(
    make_values: MakeValues, word: str, stages: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        control_plan(from_values(make_values(stages)), word)


def test_controls_ran_as_planned(stream: tuple[Path, Result]) -> None:
    _, result = stream
    realised: dict[str, dict[str, dict[str, float]]] = {}
    for share in result.shares:
        realised.setdefault(share.run, {}).setdefault(share.stage, {})[share.corpus] = share.realised
    assert realised["new-only"] == {"stage-1-law": {"law": 1.0}, "stage-2-code": {"code": 1.0}}
    assert realised["joint"] == {"stage-1-joint": {"law": 0.25, "code": 0.25, "old": 0.5}}
    assert realised["same-data"] == {"stage-1-law": {"old": 1.0}, "stage-2-code": {"old": 1.0}}
    assert realised["alone"] == {"stage-1-code": {"code": 0.75, "self@code": 0.25}}
    steps = {(cost.run, cost.leg): cost.steps for cost in result.costs}
    assert steps["same-data", "stage-1-law"] == steps["", "stage-1-law"] == 8


def test_controls_share_the_text_and_the_base_row(stream: tuple[Path, Result]) -> None:
    root, _ = stream
    for word in ("new-only", "joint", "same-data", "alone"):
        control = RunDirectory(root).control(word)
        assert control.prepared == root / "prepared"
        names = {entry.name for entry in control.root.iterdir()}
        assert not names & {"prepared", "base", "tokenizer"}
        assert not (control.evaluations / "base").exists()
        assert json.loads((control.root / "plan.resolved.json").read_text())["controls"] == []


def test_a_control_samples_from_the_model_its_own_stage_starts_from(stream: tuple[Path, Result]) -> None:
    """`alone` starts from the base, so its replay from itself is the base's text, not that of the first stage."""
    root, _ = stream
    tokens = []
    for directory, leg in ((RunDirectory(root), "stage-2-code"), (RunDirectory(root).control("alone"), "stage-1-code")):
        (store,) = (directory.root / "samples").glob("self-code-*/manifest.json")
        tokens.append(json.loads(store.read_text())["tokens"])
        assert directory.finished()[leg]["trainable"]["self@code"] == tokens[-1]
    assert tokens[0] != tokens[1]
