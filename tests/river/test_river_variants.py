"""The arms of a comparison, by hand: how values are read, what is varied, what stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rewarm.plan import Plan, from_values
from rewarm.retention.l2_sp import L2SP
from rewarm.river.variants import Arm, arms, parse_vary, split, tunings, with_controls
from rewarm.schedules.cosine import Cosine
from rewarm.types import UserError

SWEEP = ["learning rate x0.25", "learning rate x0.5", "learning rate x2"]


@pytest.fixture
def plan(scratch_plan: Callable[..., dict[str, Any]]) -> Plan:
    """Two stages at 1e-3 and 4e-3, both with a quarter of replay."""
    replay = {"from": "old", "share": "25%"}
    stages = [
        {"name": "first", "data": "new", "tokens": 1024, "learning_rate": 1e-3, "replay": replay},
        {"name": "second", "data": "new", "tokens": 512, "learning_rate": 4e-3, "replay": replay},
    ]
    return from_values(scratch_plan(stages=stages))


def names(found: list[Any]) -> list[str]:
    return [arm.name for arm in found]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("none,ewc", ["none", "ewc"]),
        ("{type: ewc, strength: 100},[ewc, {type: ema, decay: 0.9}], x", ["{type: ewc, strength: 100}",
         "[ewc, {type: ema, decay: 0.9}]", "x"]),
        ("'a,b',\"c, d\"", ["'a,b'", '"c, d"']),
    ],
)  # fmt: skip
def test_values_part_at_commas_outside_brackets_and_quotes(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize("text", ["", "a,,b", "a,", "{type: ewc", "a}", "'a"])
def test_values_that_are_empty_or_do_not_end_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"empty value|do not match|open quote"):
        split(text)


def test_vary_reads_values_as_yaml_and_gathers_what_names_one_key() -> None:
    given = ["retention=none,{type: ewc, strength: 100},[ewc, ema]", "learning-rate=0.5", "retention=l2-sp"]
    assert parse_vary(given) == {
        "retention": ["none", {"type": "ewc", "strength": 100}, ["ewc", "ema"], "l2-sp"],
        "learning_rate": [0.5],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens=1M,2M", "budgets must be equal"),
        ("epochs=1,2", "budgets must be equal"),
        ("retentoin=ewc", "Did you mean 'retention'"),
        ("schedule", "give values"),
        ("schedule={type: a: b}", "cannot be read as YAML"),
    ],
)
def test_a_key_or_a_value_that_cannot_vary_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("'", ".")):
        parse_vary([text])


def test_a_key_that_cannot_be_left_out_is_varied_around_the_plan_itself(plan: Plan) -> None:
    found = arms(plan, {"schedule": ["cosine", {"type": "wsd", "decay": 0.2}]})
    assert names(found) == ["plan", *SWEEP, "cosine", "wsd decay=0.2"]
    assert [arm.folder for arm in found[1:]] == [
        "learning-rate-x0.25", "learning-rate-x0.5", "learning-rate-x2", "cosine", "wsd-decay=0.2",
    ]  # fmt: skip
    assert found[0].plan == plan
    assert [stage.learning_rate for stage in found[1].plan.stages] == [0.25e-3, 1e-3]
    assert [stage.schedule for stage in found[4].plan.stages] == [Cosine(), Cosine()]
    # Nothing else is changed.
    same = [stage.model_copy(update={"schedule": plan.stages[0].schedule}) for stage in found[4].plan.stages]
    assert tuple(same) == plan.stages
    assert found[4].change() == {"schedule": Cosine().described()}


def test_the_learning_rates_are_swept_without_what_varies(plan: Plan) -> None:
    held = from_values({**plan.resolved(), "stages": [{**stage, "retention": "l2-sp"} for stage in
                                                      plan.resolved()["stages"]]})  # fmt: skip
    found = arms(held, {"retention": ["none", "l2-sp", {"type": "l2-sp", "strength": 3}]}, [1, 0.5])
    assert names(found) == ["none", "learning rate x0.5", "l2-sp", "l2-sp strength=3"]
    assert [len(arm.plan.stages[1].retention) for arm in found] == [0, 0, 1, 1]
    assert [arm.kind for arm in found] == ["sweep", "sweep", "variant", "variant"]


def test_several_keys_are_varied_one_at_a_time(plan: Plan) -> None:
    found = arms(plan, {"schedule": ["cosine"], "retention": ["l2-sp"], "learning_rate": [0.5]}, [1])
    assert names(found) == ["none", "cosine", "l2-sp", "learning rate 0.5"]
    changed = [(arm.plan.stages[0].schedule == Cosine(), len(arm.plan.stages[0].retention)) for arm in found]
    assert changed == [(False, 0), (True, 0), (False, 1), (False, 0)]


def test_a_value_that_repeats_an_arm_adds_none(plan: Plan) -> None:
    repeated = {"schedule": ["rewarm", "cosine", {"type": "cosine", "floor": 0.1}], "learning_rate": [1e-3]}
    assert names(arms(plan, repeated, [1])) == ["plan", "cosine", "learning rate 0.001"]


def test_without_replay_the_same_documents_stay_held_out(plan: Plan) -> None:
    """A watched corpus that nothing reads would be scored whole."""
    found = arms(plan, {"replay": ["none", {"from": "old", "share": "5%"}]}, [1])
    assert names(found) == ["none", "replay from=old share=0.05"]
    assert found[0].plan.stages[0].replay is None
    assert [arm.plan.old_corpus for arm in found] == ["old", None]
    assert all(arm.plan.trained("old") for arm in found)


def test_variants_that_read_other_watched_corpora_are_refused(plan: Plan) -> None:
    values = plan.resolved()
    values["corpora"] |= {"third": values["corpora"]["old"], "fourth": values["corpora"]["old"]}
    values["watch"] += [{"corpus": "third"}, {"corpus": "fourth"}]
    with pytest.raises(UserError, match="does not read old, third, which another variant reads"):
        arms(from_values(values), {"replay": [{"from": "old"}, {"from": "third"}]})


def test_a_wrong_value_is_the_plans_own_error(plan: Plan) -> None:
    with pytest.raises(UserError, match=r"stages\.0\.schedule.*Did you mean 'cosine'"):
        arms(plan, {"schedule": ["cosin"]})
    with pytest.raises(UserError, match=r"stages\.0\.retention.*strenght"):
        arms(plan, {"retention": [{"type": "l2-sp", "strenght": 1}]})
    with pytest.raises(UserError, match="nothing varies"):
        arms(plan, {})
    with pytest.raises(UserError, match="every factor must be above 0"):
        arms(plan, {"schedule": ["cosine"]}, [1, 0])


def test_every_method_with_a_random_control_is_followed_by_it(plan: Plan) -> None:
    found = with_controls(arms(plan, {"retention": [{"type": "l2-sp", "strength": 3}], "schedule": ["cosine"]}, [1]))
    assert names(found) == ["none", "l2-sp strength=3", "l2-sp strength=3, random control", "cosine"]
    control = found[2]
    assert (control.kind, control.control_of) == ("control", "l2-sp strength=3")
    assert control.plan.stages[1].retention == (L2SP(strength=3, anchor="random"),)


def test_tuning_tries_every_value_that_the_variant_leaves_open(plan: Plan) -> None:
    plain, open_one, given = arms(plan, {"retention": ["l2-sp", {"type": "l2-sp", "strength": 3}]}, [1])
    values = (0.01, 0.1, 1.0)
    assert names(tunings(open_one)) == [f"l2-sp strength={value:g}" for value in values]
    assert [arm.plan.stages[1].retention[0] for arm in tunings(open_one)] == [L2SP(strength=each) for each in values]
    assert tunings(given) == []
    assert tunings(plain) == []


def test_a_long_name_is_cut_to_a_folder_of_its_own(plan: Plan) -> None:
    """What tells the two apart lies beyond the cut: 80 letters, a dash and six digits of a hash."""
    folders = {Arm("x" * 100 + end, "variant", plan).folder for end in "ab"}
    assert {(len(folder), folder[:81]) for folder in folders} == {(87, "x" * 80 + "-")}
    assert len(folders) == 2


def test_tuning_keeps_what_a_caller_put_before_the_name(scratch_plan: Any) -> None:
    """Two arms that tune the same method on different plans must not share a folder."""
    plan = from_values(scratch_plan())
    arm = next(arm for arm in arms(plan, {"retention": ["l2-sp"]}) if arm.kind == "variant")
    named = replace(arm, name=f"replay 5% + {arm.name}")
    assert [one.name for one in tunings(named)] == [f"replay 5% + l2-sp strength={value:g}" for value in (0.01, 0.1, 1)]


def test_a_variant_carries_nothing_else_that_varies(scratch_plan: Any) -> None:
    """Otherwise a verdict on one method would be on two."""
    values = scratch_plan()
    values["stages"][0] |= {"retention": "ema", "adapter": "lora"}
    found = arms(from_values(values), {"retention": ["l2-sp"], "adapter": ["k-adapter"]})
    stages = {arm.name: arm.plan.stages[0] for arm in found if arm.kind == "variant"}
    assert [method.method_name() for method in stages["l2-sp"].retention] == ["l2-sp"]
    assert stages["l2-sp"].adapter is None
    assert stages["k-adapter"].retention == ()
    assert stages["k-adapter"].replay is not None  # it does not vary
