"""Replay from many sources: which, how much of each by its age, and how much in all."""

from __future__ import annotations

from typing import Any

import pytest

from rewarm.plan import Plan, from_values
from rewarm.river.legs import legs
from rewarm.river.replaying import path_before, replay_of, replay_weights
from rewarm.types import UserError

MONTHS = ("may", "june", "july", "august")


def stream(replay: Any, **changes: dict[str, Any]) -> Plan:
    """Four months and an old corpus; `changes` by month."""
    stages = [
        {
            "name": month,
            "data": month,
            "tokens": 6400,
            "learning_rate": 1e-3,
            "replay": replay,
            **changes.get(month, {}),
        }
        for month in MONTHS
    ]
    return from_values({
        "base": "./model", "output_dir": "run", "seq_len": 64, "batch_tokens": 640, "stages": stages,
        "corpora": {name: f"{name}.jsonl" for name in ("old", *MONTHS)},
    })  # fmt: skip


def weights(plan: Plan, number: int) -> dict[str, float]:
    return replay_weights(plan.stages[number], path_before(plan, plan.stages[number]))


def shares(plan: Plan) -> list[dict[str, float]]:
    return [dict(leg.shares) for leg in legs(plan, lambda corpus: 100_000)]


def test_half_of_every_month_is_replayed_from_the_months_before_alike() -> None:
    """TiC-LM's alpha = 1/2: nothing lies before the first month, so it is all new."""
    assert shares(stream({"from": "earlier", "share": "1/2"})) == [
        {"may": 1.0},
        {"june": 0.5, "may": 0.5},
        {"july": 0.5, "may": 0.25, "june": 0.25},
        {"august": 0.5, "may": pytest.approx(1 / 6), "june": pytest.approx(1 / 6), "july": pytest.approx(1 / 6)},
    ]


def test_one_part_of_t_leaves_every_month_the_same_share() -> None:
    """TiC-LM's alpha = 1/t, the old corpus being the first of the t."""
    found = shares(stream({"from": ["old", "earlier"], "share": "1/t"}))
    assert found[0] == {"may": 0.5, "old": 0.5}
    assert found[3] == pytest.approx(dict.fromkeys(["august", "old", "may", "june", "july"], 0.2))


def test_a_source_fades_by_half_with_each_half_life() -> None:
    """Ages 3, 2, 1 at a half-life of one stage: 1/8 : 1/4 : 1/2."""
    plan = stream({"from": "earlier", "share": 0.7, "half_life": 1})
    assert weights(plan, 3) == pytest.approx({"may": 1 / 7, "june": 2 / 7, "july": 4 / 7})


def test_a_half_life_of_its_own_holds_for_a_source_or_a_stream_and_zero_is_never_replayed() -> None:
    """The old corpus is one stage older than the first month: age 4 at half-life 2 is 1/4."""
    plan = stream({"from": ["old", "earlier"], "share": 0.5, "half_life": {"old": 2, "june": 0}})
    assert weights(plan, 3) == pytest.approx({"old": 1 / 9, "may": 4 / 9, "july": 4 / 9})
    replay = plan.stages[0].replay
    assert replay is not None
    assert replay.model_copy(update={"half_life": {"wiki": 1.0}}).weight("wiki-2021-09", 3) == 0.125
    assert replay.model_copy(update={"half_life": {"wiki": 1.0}}).weight("wikis-2021-09", 3) == 1.0


def test_earlier_means_earlier_on_the_stage_s_own_path() -> None:
    plan = stream({"from": "earlier"}, july={"from": "base"})
    assert [sorted(weights(plan, number)) for number in range(4)] == [[], ["may"], [], ["july"]]


def test_what_a_stage_learns_is_not_replayed_from_earlier() -> None:
    plan = stream({"from": "earlier"}, july={"data": ["may", "july"]})
    assert sorted(weights(plan, 2)) == ["june"]
    assert sorted(weights(plan, 3)) == ["july", "june", "may"]


def test_a_corpus_learned_again_is_as_young_as_its_last_stage() -> None:
    """May was learned again in July: age 1 in August, as July is; June's is 2."""
    plan = stream({"from": "earlier", "half_life": 1}, july={"data": ["may", "july"]})
    assert weights(plan, 3) == pytest.approx({"may": 0.4, "june": 0.2, "july": 0.4})


def test_samples_of_the_model_may_stand_beside_other_sources() -> None:
    assert weights(stream({"from": ["self", "old"]}), 1) == {"self@june": 0.5, "old": 0.5}


def test_additive_replay_comes_on_top_however_many_sources_it_has() -> None:
    plan = stream({"from": "earlier", "share": 0.5, "mode": "additive"})
    planned = legs(plan, lambda corpus: 100_000)
    assert [leg.steps for leg in planned] == [10, 15, 15, 15]
    assert planned[2].shares == pytest.approx({"july": 2 / 3, "may": 1 / 6, "june": 1 / 6})


def test_additive_replay_may_be_more_than_the_new_text() -> None:
    """Four old tokens for each new one: 6400 new ones and 25600 old ones are 50 steps of 640."""
    june = legs(stream({"from": "earlier", "share": 4, "mode": "additive"}), lambda corpus: 100_000)[1]
    assert june.steps == 50
    assert june.shares == pytest.approx({"june": 0.2, "may": 0.8})


def test_a_mixture_that_replays_by_itself_takes_one_source() -> None:
    plan = stream({"from": ["old", "earlier"]}, june={"mixture": "mix-review"})
    stage = plan.stages[1]
    with pytest.raises(
        UserError, match="mixture 'mix-review' replays one corpus, and this stage's replay gives old, may"
    ):
        replay_of(stage, replay_weights(stage, path_before(plan, stage)))


@pytest.mark.parametrize(
    ("replay", "said"),
    [
        ({"from": ["old", "old"]}, "from names 'old' twice"),
        ({"from": "earlier", "share": "1/t", "mode": "additive"}, "it goes with mode substitutive only"),
        ({"from": []}, "give at least one"),
        ({"from": ["old", "odl"]}, "replay from 'odl' is not in corpora. Did you mean 'old'?"),
        ({"from": "old", "half_life": -1}, "half_life"),
        ({"from": "old", "stale": True}, "leaves out stale text, and the plan has no probes"),
        ({"from": "old", "stale": "changes"}, "names stale 'changes', which is not in probes"),
    ],
)
def test_wrong_sources_are_refused(replay: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        stream(replay)


def test_too_many_sources_are_refused_with_the_remedy() -> None:
    names = [f"m{number}" for number in range(256)]
    stages = [{"name": name, "data": name, "tokens": 640, "learning_rate": 1e-3} for name in names]
    stages[-1]["replay"] = {"from": "earlier"}
    plan = from_values({
        "base": "./model", "output_dir": "run", "seq_len": 64, "batch_tokens": 640, "stages": stages,
        "corpora": {name: f"{name}.jsonl" for name in names},
    })  # fmt: skip
    with pytest.raises(UserError, match="would mix 256 corpora, and a stage mixes at most 255"):
        legs(plan, lambda corpus: 100_000)
