"""Plan -> legs: shares, steps, branches, and what each leg's schedule knows of the legs before it. By hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rewarm.plan import from_values
from rewarm.river.legs import LegPlan, last_rates, legs, past, remarks
from rewarm.types import StreamState, UserError

MakeValues = Callable[..., dict[str, Any]]
HELD = {"old": 10_000, "law": 4_000, "code": 1_000}


@pytest.fixture
def planned(make_values: MakeValues) -> Callable[..., list[LegPlan]]:
    """A function: stages -> their legs, in batches of 256 tokens, with the corpora of `HELD`."""

    def make(*stages: dict[str, Any], **changes: Any) -> list[LegPlan]:
        return legs(from_values(make_values(list(stages), **changes)), HELD.__getitem__)

    return make


@pytest.mark.parametrize(
    ("stage", "shares", "steps"),
    [
        ({"data": "law"}, {"law": 1.0}, 8),
        ({"data": ["law", {"corpus": "code", "weight": 3}]}, {"law": 0.25, "code": 0.75}, 8),
        ({"data": "law", "replay": {"from": "old", "share": 0.25}}, {"law": 0.75, "old": 0.25}, 8),
        # 25 % on top: 2560 tokens, of which a fifth is old.
        ({"data": "law", "replay": {"from": "old", "share": 0.25, "mode": "additive"}}, {"law": 0.8, "old": 0.2}, 10),
        # Replay of a corpus that is learned too adds to its share.
        ({"data": ["law", "old"], "replay": {"from": "old", "share": 0.5}}, {"law": 0.25, "old": 0.75}, 8),
        ({"data": "law", "replay": {"from": "self", "share": 0.25}}, {"law": 0.75, "self@a": 0.25}, 8),
        # 1.5 passes over 4000 tokens are 6000, which are 23 steps of 256.
        ({"data": "law", "tokens": None, "epochs": 1.5}, {"law": 1.0}, 23),
        # The passes are over the new text: 6000 tokens of it and as many old ones are 47 steps.
        ({"data": "law", "tokens": None, "epochs": 1.5, "replay": {"from": "old", "share": 0.5}},
         {"law": 0.5, "old": 0.5}, 47),
        # Of two corpora, the one that is through first ends the pass: 1000 tokens of code are half of it.
        ({"data": ["law", "code"], "tokens": None, "epochs": 1}, {"law": 0.5, "code": 0.5}, 8),
    ],
)  # fmt: skip
def test_shares_and_steps(
    planned: Callable[..., list[LegPlan]], stage: dict[str, Any], shares: dict[str, float], steps: int
) -> None:
    (leg,) = planned({"name": "a", **stage})
    assert dict(leg.shares) == pytest.approx(shares)
    assert leg.steps == steps
    assert leg.tokens(256) == 256 * steps


def test_branches_know_their_own_past(planned: Callable[..., list[LegPlan]]) -> None:
    found = planned(
        {"name": "a", "data": "law", "release": {"tokens": 512}, "schedule": "constant"},
        {"name": "b", "data": "law", "tokens": 1024, "schedule": "constant", "learning_rate": 1e-3},
        {"name": "c", "data": "code", "tokens": 768, "from": "a-release"},
        {"name": "d", "data": "code", "tokens": 256, "from": "base"},
        {"name": "e", "data": "code", "tokens": 256, "from": "b"},
    )
    assert [(leg.name, leg.kind, leg.start, leg.steps, leg.past_steps, leg.past_stages) for leg in found] == [
        ("stage-1-a", "stage", "base", 8, 0, 0),
        ("stage-1-a-release", "release", "stage-1-a", 2, 8, 1),
        ("stage-2-b", "stage", "stage-1-a", 4, 8, 1),
        ("stage-3-c", "stage", "stage-1-a-release", 3, 10, 2),
        ("stage-4-d", "stage", "base", 1, 0, 0),
        ("stage-5-e", "stage", "stage-2-b", 1, 12, 2),
    ]
    rates = last_rates(found)
    assert rates["base"] == 0.0
    assert rates["stage-1-a"] == 2e-3
    assert rates["stage-1-a-release"] == pytest.approx(2e-4)
    assert rates["stage-2-b"] == 1e-3
    states = {leg.name: past(leg, rates[leg.start]) for leg in found}
    assert states["stage-1-a"] == states["stage-4-d"] == StreamState(0, 0, 0.0)
    assert states["stage-2-b"] == StreamState(1, 8, 2e-3)
    assert states["stage-3-c"] == StreamState(2, 10, rates["stage-1-a-release"])
    assert states["stage-5-e"] == StreamState(2, 12, 1e-3)


def test_a_release_anneals_what_its_stage_trained_on(planned: Callable[..., list[LegPlan]]) -> None:
    release = {"tokens": 512, "shape": "linear", "floor": 0.0}
    trunk, branch = planned({"name": "a", "data": "law", "replay": {"from": "self", "share": 0.5}, "release": release})
    assert branch.shares == trunk.shares
    assert branch.replayed == trunk.replayed == ("self@a",)
    assert branch.policy == "keep"
    assert branch.schedule.described() == {"type": "anneal", "shape": "linear", "floor": 0.0}


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ({"tokens": 127}, "127 tokens are less than half a step of batch_tokens 256"),
        ({"release": {"tokens": 100}}, "release of 100 tokens is less than half a step"),
        ({"tokens": 20_000}, "wants 19,968 tokens of corpus 'law', which holds 4,000 .* 5.0 passes, more than max_epo"),
        ({"tokens": 20_000, "replay": {"from": "code", "share": 0.5}, "max_epochs": 9}, "corpus 'code', which holds 1"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(
    planned: Callable[..., list[LegPlan]], stage: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        planned({"name": "a", "data": "law", **stage})


def test_samples_may_be_repeated_at_will(planned: Callable[..., list[LegPlan]]) -> None:
    """How much the model samples is not known before it did, and is the plan's own choice."""
    (leg,) = planned({"name": "a", "data": "law", "replay": {"from": "self", "share": 0.9, "tokens": 100}})
    assert leg.shares["self@a"] == pytest.approx(0.9)


def test_a_policy_without_a_state_to_act_on_is_said(planned: Callable[..., list[LegPlan]]) -> None:
    found = planned(
        {"name": "a", "data": "law", "optimizer_state": "keep"},
        {"name": "b", "data": "law", "optimizer_state": "keep"},
    )
    (remark,) = remarks(found)
    assert remark.startswith("stage-1-a starts from the base, which has no optimizer state")


# 3 old tokens per new one, then 1: twice as many as new ones.
MIX: dict[str, Any] = {"type": "mix-review", "amount": 3, "decay": 1 / 3, "epochs": 2}


@pytest.mark.parametrize(("budget", "steps"), [({"tokens": 1024}, 12), ({"tokens": None, "epochs": 2}, 23)])
def test_a_mixture_may_decide_what_is_replayed(
    planned: Callable[..., list[LegPlan]], budget: dict[str, Any], steps: int
) -> None:
    """The budget counts new tokens; as 2 epochs of 1000 of code it is 2000 of them, with 4000 old ones: 23.4 steps."""
    stage = {"name": "a", "data": "code", "replay": {"from": "old"}, "mixture": MIX, "release": {"tokens": 512}}
    trunk, branch = planned({**stage, **budget})
    assert dict(trunk.shares) == pytest.approx({"code": 1 / 3, "old": 2 / 3})
    assert trunk.replayed == ("old",) == tuple(trunk.shares)[-1:]
    assert trunk.steps == steps
    assert trunk.mixture.described() == MIX
    assert branch.mixture.described() == {"type": "fixed"}


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ({}, r"stage 'a': mixture 'mix-review' replays old text. Say which"),
        ({"replay": {"from": "old", "share": 0.05}}, r"replays 2 tokens for each new one, 66.7%.* Leave share out of"),
        ({"replay": {"from": "old", "share": 2 / 3, "mode": "additive"}}, r"Leave mode and share out of the stage's"),
        ({"replay": {"from": "law"}}, r"cannot replay 'law', which the stage learns too"),
        ({"replay": {"from": "old"}, "tokens": None, "epochs": 1}, r"counts 2 epochs, and the stage's budget is 1"),
    ],
)
def test_what_contradicts_the_mixture_is_refused(
    planned: Callable[..., list[LegPlan]], stage: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        planned({"name": "a", "data": "law", "mixture": MIX, **stage})


def test_all_the_passes_that_are_allowed_are_allowed(planned: Callable[..., list[LegPlan]]) -> None:
    """One pass over 4000 tokens is 15.6 steps, and 16 whole ones are 4096 tokens."""
    (leg,) = planned({"name": "a", "data": "law", "tokens": None, "epochs": 1, "max_epochs": 1})
    assert leg.steps == 16


def test_finished_legs_keep_the_steps_that_they_made(make_values: MakeValues) -> None:
    """4,000 tokens of law are 15.6 steps; the stage made 17 of them before copies of watched text were left out. The
    next stage's schedule knows of 17, and `max_epochs` is no matter of what is done."""
    stages: list[dict[str, Any]] = [
        {"name": "a", "data": "law", "tokens": None, "epochs": 1.0, "max_epochs": 1.0}, {"name": "b", "data": "code"},
    ]  # fmt: skip
    plan = from_values(make_values(stages))
    assert [(leg.steps, leg.past_steps) for leg in legs(plan, HELD.__getitem__)] == [(16, 0), (8, 16)]
    found = legs(plan, {**HELD, "law": 3_000}.__getitem__, {"stage-1-a": 17})
    assert [(leg.steps, leg.past_steps) for leg in found] == [(17, 0), (8, 17)]
