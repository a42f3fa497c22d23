"""Control runs: the same plan with one thing changed, so that a result can be told from what changed it.

`new-only`: neither replay nor retention, so that nothing holds the old. `joint`: from the base, all new corpora and as
many tokens of old text, mixed in one stage (the usual upper bound; it costs twice the tokens). `same-data`: the same
schedule on the old text only, which shows what re-warming itself does; both train plainly, too. `alone`: every later
stage trained from the base, which is what the plasticity gap compares with. Adapters stay: where what is learned goes
decides its learning rate. No control anneals a release, unless a stage starts from it: what is compared is the stages.
"""

from __future__ import annotations

from typing import Any

from rewarm.mixtures import Mixture
from rewarm.plan import Plan, Stage, from_values
from rewarm.references import TEXT
from rewarm.river.directory import RunDirectory
from rewarm.river.replaying import path_before, replay_of, replay_weights
from rewarm.river.stale import probe_sets
from rewarm.types import UserError


def control_plans(plan: Plan, run: RunDirectory) -> dict[str, Plan]:
    """The plan of each control that is a run of its own; UserError when one makes no sense for this plan.

    A joint control is one stage, made of what the run began with: after a stage was added it stays what it is.
    """
    found: dict[str, Plan] = {}
    for word in plan.controls:
        own = run.control(word)
        if word == "joint" and own.finished():
            found[word] = own.resolved()
        elif (other := control_plan(plan, word)) is not None:
            found[word] = other
    return found


def control_plan(plan: Plan, word: str) -> Plan | None:
    """The plan of a control run, or None for `base`, which every run measures anyway."""
    if word == "base":
        return None
    values = plan.resolved()
    values["controls"] = []
    values["output_dir"] = f"{plan.output_dir}/controls/{word}"
    # The watch-list must keep its meaning: roles are fixed before stages change, and so is the held-out split.
    values["watch"] = [{**watch, "role": plan.role(watch["corpus"])} for watch in values["watch"]]
    makers = {"new-only": _new_only, "joint": _joint, "same-data": _same_data, "alone": _alone}
    values["stages"] = _without_releases(makers[word](plan, values))
    stages = {stage["name"] for stage in values["stages"]}
    # A set whose stage the control does not have belongs to all of its stages: what changed then has changed here.
    values["probes"] = {
        name: {**probes, "stage": probes["stage"] if probes["stage"] in stages else None}
        for name, probes in values["probes"].items()
    }
    return from_values(values)


def _without_releases(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts = {stage["from"] for stage in stages}
    return [stage if f"{stage['name']}-release" in starts else {**stage, "release": None} for stage in stages]


def _new_only(plan: Plan, values: dict[str, Any]) -> list[dict[str, Any]]:
    if not any(stage.replay or stage.retention for stage in plan.stages):
        raise UserError(
            "control new-only repeats the plan itself: no stage has replay or retention. Leave it out, or add one"
        )
    return [_unheld(*both) for both in zip(plan.stages, values["stages"], strict=True)]


def _unheld(stage: Stage, values: dict[str, Any]) -> dict[str, Any]:
    """A stage without replay and retention; a mixture that does nothing but replay goes with them."""
    assert isinstance(stage.mixture, Mixture)  # the plan built it from the mixtures folder
    mixture = "fixed" if stage.mixture.replaces else values["mixture"]
    return {**values, "replay": None, "retention": None, "mixture": mixture}


def _old_corpus(plan: Plan, word: str) -> str:
    replayed = [name for stage in plan.stages if stage.replay for name in stage.replay.named]
    replayed += [] if plan.old_corpus is None else [plan.old_corpus]
    if not replayed:
        raise UserError(
            f"control {word} needs an old corpus to train on: give some stage a replay from a corpus (a small share "
            "will do)"
        )
    return replayed[0]


def _refuse_other_objectives(plan: Plan, word: str) -> None:
    """One stage of everything, or of the old text in place of all else, is there only for stages that read text."""
    for stage in plan.stages:
        held = getattr(stage.objective, "holds", TEXT)
        if held != TEXT:
            raise UserError(
                f"control {word} trains on text, and stage '{stage.name}' learns from {held}: leave the control out, "
                "or run the plan without that stage"
            )


def _joint(plan: Plan, values: dict[str, Any]) -> list[dict[str, Any]]:
    _refuse_other_objectives(plan, "joint")
    old = _old_corpus(plan, "joint")
    if any(stage.tokens is None for stage in plan.stages):
        raise UserError("control joint needs every stage's budget in 'tokens', to weigh the corpora by them")
    weights: dict[str, float] = {}
    for stage in plan.stages:
        total = sum(portion.weight for portion in stage.data)
        for portion in stage.data:
            assert stage.tokens is not None
            weights[portion.corpus] = weights.get(portion.corpus, 0.0) + stage.tokens * portion.weight / total
    new_tokens = sum(stage.tokens or 0 for stage in plan.stages)
    weights[old] = weights.get(old, 0.0) + new_tokens
    first = values["stages"][0]
    return [
        {
            **_unheld(plan.stages[0], first),
            "name": "joint",
            "select": None,
            "data": [{"corpus": name, "weight": weight} for name, weight in weights.items()],
            "tokens": 2 * new_tokens,
            "from": None,
            "max_epochs": 4 * max(stage.max_epochs for stage in plan.stages),
        }
    ]


def _same_data(plan: Plan, values: dict[str, Any]) -> list[dict[str, Any]]:
    _refuse_other_objectives(plan, "same-data")
    old = _old_corpus(plan, "same-data")
    if any(stage.tokens is None for stage in plan.stages):
        raise UserError(
            "control same-data needs every stage's budget in 'tokens': epochs of another corpus are another budget"
        )
    return [
        {
            **_unheld(stage, own),
            "select": None,
            "data": [{"corpus": old, "weight": 1.0}],
            "tokens": _all_tokens(plan, stage),
            "max_epochs": 4 * stage.max_epochs,
        }
        for stage, own in zip(plan.stages, values["stages"], strict=True)
    ]


def _all_tokens(plan: Plan, stage: Stage) -> int:
    """A stage's tokens with additive replay on top: the same schedule means the same number of steps."""
    assert stage.tokens is not None  # its caller has checked it
    mode, share = replay_of(stage, replay_weights(stage, path_before(plan, stage)))
    return round(stage.tokens * (1 + share)) if mode == "additive" else stage.tokens


def _alone(plan: Plan, values: dict[str, Any]) -> list[dict[str, Any]]:
    if len(plan.stages) < 2:
        raise UserError("control alone needs a second stage: the first one starts from the base anyway")
    return [
        {**own, "from": "base", "optimizer_state": "reset", "replay": own["replay"] and _as_there(plan, stage, own)}
        for stage, own in zip(plan.stages[1:], values["stages"][1:], strict=True)
    ]


def _as_there(plan: Plan, stage: Stage, values: dict[str, Any]) -> dict[str, Any]:
    """A stage's replay that leaves out what it leaves out in the run, where other stages lie before it."""
    return {**values["replay"], "stale": probe_sets(plan, stage) or False}
