"""What a plan by `rewarm plan` says of losses, before it is run: `rewarm check` shows it beside tokens and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rewarm.expected import changed
from rewarm.plan import Plan


@dataclass(frozen=True, slots=True)
class LossOf:
    """The expected change of the last model's loss on a corpus, as a share of the base's loss (nats per byte), with the
    bounds of its interval and the law that gave it. `corpus` is None for the mean of all of a role, which has none."""

    corpus: str | None
    role: Literal["old", "new"]
    point: float
    low: float
    high: float
    law: str


@dataclass(frozen=True, slots=True)
class LossForecast:
    """The forecast that a plan carries. `pilots` is the folder of the runs it was learned from, `learned_from` their
    number and `longest` the tokens of the longest, 0 where the plan does not say; `tokens` are the plan's own.

    `changed` words what the plan has otherwise than what the forecast speaks of: then it is no forecast of this plan.
    """

    corpora: list[LossOf]
    confidence: float
    max_forget: float | None
    pilots: str
    learned_from: int
    longest: int
    tokens: int
    changed: list[str]


def loss_forecast(plan: Plan) -> LossForecast | None:
    """The forecast that a plan carries; None where it carries none."""
    told = plan.forecast
    if told is None:
        return None
    found = [
        LossOf(watch.corpus, plan.role(watch.corpus), one.point, one.low, one.high, one.law)
        for watch in plan.watch
        if (one := told.changes.get(watch.corpus)) is not None
    ]
    tokens = sum(stage.tokens or 0 for stage in plan.stages)
    return LossForecast(
        [*found, *_means(found)], told.confidence, told.max_forget, told.pilots, told.learned_from, told.longest,
        tokens, changed(plan.resolved()),
    )  # fmt: skip


def _means(found: Sequence[LossOf]) -> list[LossOf]:
    """The mean of each role that has several corpora, all of one weight.

    All forecasts come from the same pilots, so their errors may go together: the mean of the bounds holds then, too,
    and is wider than it need be where they do not.
    """
    means = []
    for role in ("old", "new"):
        own = [one for one in found if one.role == role]
        if len(own) > 1:
            point, low, high = (
                sum(getattr(one, name) for one in own) / len(own) for name in ("point", "low", "high")
            )  # fmt: skip
            means.append(LossOf(None, own[0].role, point, low, high, ""))
    return means
