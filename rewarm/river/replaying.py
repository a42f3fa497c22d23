"""What a stage replays: which corpora, each one's part, and how much of the stage it all is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewarm.mixtures import Mixture
from rewarm.plan import SELF, Plan, Stage
from rewarm.stages import EARLIER
from rewarm.types import UserError

SELF_CORPUS = "self@"
MOST_CORPORA = 255
"""Corpora of one stage; the draw numbers them in a byte."""


def path_before(plan: Plan, stage: Stage) -> list[Stage]:
    """The stages that lie between the base and this one on its own path, oldest first."""
    before: list[Stage] = []
    for other in plan.stages:
        if other.name == stage.name:
            break
        before.append(other)
    if stage.from_ == "base" or not before:
        return []
    start = before[-1]
    if stage.from_ is not None:
        start = next(other for other in before if stage.from_ in (other.name, f"{other.name}-release"))
    return [*path_before(plan, start), start]


def replay_weights(stage: Stage, path: Sequence[Stage]) -> dict[str, float]:
    """Each replayed corpus's part of the stage's replay (they sum to 1); empty when there is nothing to replay.

    `path` holds the stages before it. The model's own samples are a corpus named after the stage. A corpus that no
    stage before has learned is older than all of them.
    """
    replay = stage.replay
    if replay is None:
        return {}
    ages = _ages(path)
    own = {portion.corpus for portion in stage.data}
    weights: dict[str, float] = {}
    for source in replay.sources:
        if source == SELF:
            weights[f"{SELF_CORPUS}{stage.name}"] = replay.weight(SELF, 0)
        elif source == EARLIER:
            weights |= {corpus: replay.weight(corpus, age) for corpus, age in ages.items() if corpus not in own}
        else:
            weights[source] = replay.weight(source, ages.get(source, len(path) + 1))
    kept = {corpus: weight for corpus, weight in weights.items() if weight > 0}
    if len(kept) + len(own) > MOST_CORPORA:
        raise UserError(
            f"stage '{stage.name}' would mix {len(kept) + len(own)} corpora, and a stage mixes at most {MOST_CORPORA}. "
            "Give old sources a half_life of 0, or name those to replay"
        )
    total = sum(kept.values())
    return {corpus: weight / total for corpus, weight in kept.items()}


def _ages(path: Sequence[Stage]) -> dict[str, int]:
    """How many stages ago each corpus was last learned, the oldest first."""
    ages = {portion.corpus: len(path) - number for number, stage in enumerate(path) for portion in stage.data}
    return dict(sorted(ages.items(), key=lambda item: -item[1]))


def replay_of(stage: Stage, replayed: Mapping[str, float]) -> tuple[str, float]:
    """Mode and share of a stage's replay, as its mixture decides them or else as the stage says; share 0 without one.

    UserError when the mixture decides, and the stage has no replay, sets it too or replays what it learns.
    """
    mixture, replay = stage.mixture, stage.replay
    assert isinstance(mixture, Mixture)  # the plan built it from the mixtures folder
    ratio = mixture.replayed(stage.epochs)
    if ratio is None:
        if replay is None or not replayed:
            return "additive", 0.0
        return replay.mode, len(replayed) / (len(replayed) + 1) if replay.share == "1/t" else replay.share
    where = f"stage '{stage.name}': mixture '{mixture.method_name()}'"
    if replay is None:
        raise UserError(f"{where} replays old text. Say which: replay: {{from: CORPUS}}")
    if both := sorted(replay.model_fields_set & mixture.replaces):
        raise UserError(
            f"{where} replays {ratio:.4g} tokens for each new one, {ratio / (1 + ratio):.1%} of the stage, by its own "
            f"options. Leave {' and '.join(both)} out of the stage's replay"
        )
    if len(replayed) != 1:
        raise UserError(
            f"{where} replays one corpus, and this stage's replay gives {', '.join(replayed) or 'none'}. Name one, or "
            "choose another mixture"
        )
    if any(portion.corpus in replayed for portion in stage.data):
        raise UserError(
            f"{where} cannot replay '{next(iter(replayed))}', which the stage learns too. Replay another corpus"
        )
    return "additive", ratio
