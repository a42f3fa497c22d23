"""What a comparison of variants found, as one value: `comparison.json` holds it, the page and the table read it.

Changes are fractions of the base's loss per byte, means over the watch corpora of a role; below 0 is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict, computed_field, model_validator

from rewarm.evaluation.frontier import Point, Standing, frontier
from rewarm.report.arm_transfers import ArmTransfer
from rewarm.report.part import Part, Verdict
from rewarm.report.result import Column
from rewarm.report.wording import NOISE, SYMBOLS, Change, interval, percent, point

ArmKind = Literal["sweep", "variant", "control"]


class Measured(Part):
    """A mean change over seeds, with 95 % intervals of two kinds.

    `documents` bounds what the choice of held-out documents leaves open (paired bootstrap over the documents, of the
    seeds' mean losses), `seeds` what the seed of training leaves open (t interval; unbounded for one seed). `verdict`
    is better or worse only where both leave out 0, or the first alone when there is one seed.
    """

    # The verdict is written to JSON, and worked out again from there.
    model_config = ConfigDict(extra="ignore")

    point: float
    documents: tuple[float, float]
    seeds: tuple[float, float]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """What the change is beyond noise."""
        if not math.isfinite(self.point):
            return "worse"
        bounds = [self.documents, *([self.seeds] if math.isfinite(self.seeds[0]) else [])]
        return (
            "better" if all(high < 0 for _, high in bounds) else "worse" if all(low > 0 for low, _ in bounds) else NOISE
        )

    def wider(self) -> Change:
        """The point with the wider of the two intervals, which is what a figure has room for."""
        finite = [bounds for bounds in (self.documents, self.seeds) if all(map(math.isfinite, bounds))]
        low, high = max(finite or [self.documents], key=lambda bounds: bounds[1] - bounds[0])
        return Change(self.point, low, high)


class SeedRun(Part):
    """One run of an arm: its folder below the comparison's, its changes, tokens (of which `new_tokens` were not
    replay), and seconds of training."""

    seed: int
    folder: str
    old: float
    new: float
    tokens: int
    new_tokens: int
    seconds: float
    tokens_per_second: float


class ArmRow(Part):
    """One arm over its seeds. `change` is what it varies, as a plan writes it; `factor` what the plan's learning rates
    were multiplied by; `control_of` the arm whose random control it is. `cost` is seconds per token over those of plain
    training at the same seed, the median over seeds. `standing` holds a method against the sweep of learning rates;
    `transfers` are those of a plan with `languages`."""

    name: str
    kind: ArmKind
    change: dict[str, Any]
    factor: float = 1.0
    control_of: str | None = None
    old: Measured
    new: Measured
    columns: dict[str, Measured]
    runs: list[SeedRun]
    cost: float
    standing: Standing | None = None
    transfers: tuple[ArmTransfer, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of training, mean over the runs."""
        return sum(run.seconds for run in self.runs) / len(self.runs)


class Tried(Part):
    """A value that tuning tried for the arm `tuned`, on a seed that no reported run has; `distance` as in `Standing`,
    None beyond the sweep."""

    tuned: str
    name: str
    change: dict[str, Any]
    old: float
    new: float
    distance: float | None
    chosen: bool


class Comparison(Part):
    """A whole comparison. `plain` names the arm of plain training at the plan's own learning rate."""

    version: Literal[1] = 1
    rewarm: str
    created: str
    plan: dict[str, Any]
    seeds: list[int]
    plain: str
    arms: list[ArmRow]
    tried: tuple[Tried, ...] = ()
    columns: list[Column]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _plain_is_an_arm(self) -> Comparison:
        self.arm(self.plain)
        return self

    def arm(self, name: str) -> ArmRow:
        """The arm of a name; ValueError when there is none."""
        found = next((arm for arm in self.arms if arm.name == name), None)
        if found is None:
            raise ValueError(f"no arm is called '{name}'; there are {', '.join(arm.name for arm in self.arms)}")
        return found

    def transfers(self) -> list[tuple[str, tuple[ArmTransfer, ...]]]:
        """The transfers of each arm that has some, by its name."""
        return [(arm.name, arm.transfers) for arm in self.arms if arm.transfers]

    def sweep(self) -> list[ArmRow]:
        """The arms of the learning rates, the lowest first."""
        return sorted((arm for arm in self.arms if arm.kind == "sweep"), key=lambda arm: arm.factor)


LEGEND = (
    "Mean change of loss per byte against the base over the watch corpora of a role; below 0 is better. Of the 95% "
    "intervals the first is over documents (paired bootstrap, of the mean over seeds), the second over seeds (t); "
    "▼ better and ▲ worse only where both leave out 0, ≈ cannot be told from noise."
)
AGAINST = (
    "Against the learning rates: how much less (−) or more (+) is forgotten than the sweep of learning rates forgets "
    "at equal loss on new text, with the 95% interval over seeds; 'beats' and 'behind' only where it leaves out 0."
)


def measured(one: Measured) -> list[str]:
    """The point with its verdict, then its intervals: `+2.10% ▲`, `[+1.80, +2.40]`, with several seeds another."""
    documents, seeds = (Change(one.point, *bounds) for bounds in (one.documents, one.seeds))
    return [
        f"{point(documents)} {SYMBOLS[one.verdict]}",
        interval(documents),
        *([interval(seeds)] if seeds.bounded else []),
    ]


def against(arm: ArmRow) -> list[str]:
    """The standing as text, then its interval over seeds: `beats (−0.50%)`, `[−0.70, −0.30]`."""
    if arm.standing is None:
        return ["is the sweep"]
    if arm.standing.distance is None or arm.standing.low is None or arm.standing.high is None:
        return [arm.standing.verdict]
    held = Change(arm.standing.distance, arm.standing.low, arm.standing.high)
    return [f"{arm.standing.verdict} ({percent(held.point)})", interval(held) if held.bounded else "one seed"]


def reading(comparison: Comparison) -> str:
    """One sentence on which methods forget less than the learning rates do at equal new loss."""
    methods = [arm for arm in comparison.arms if arm.kind == "variant" and arm.standing is not None]
    words = {
        "beats": "forget less than the learning rates do at equal loss on new text",
        "on": "cannot be told from the learning rates",
        "behind": "forget more than the learning rates do at equal loss on new text",
        "beyond the sweep": _beyond(comparison),
    }
    clauses = []
    for verdict, text in words.items():
        names = [arm.name for arm in methods if arm.standing is not None and arm.standing.verdict == verdict]
        if names:
            clauses.append(f"{text}: {', '.join(names)}")
    return f"{_counted(comparison.seeds)}. These {'; these '.join(clauses)}." if clauses else _counted(comparison.seeds)


def _beyond(comparison: Comparison) -> str:
    """Why methods beyond the sweep have no standing. One rate that beats all others leaves nothing to trade along."""
    line = frontier([Point(arm.old.point, arm.new.point) for arm in comparison.sweep()])
    if len(line) != 1 or len(comparison.sweep()) == 1:
        return "learned and forgot more than every learning rate tried, or less of both, so nothing is known"
    best = next(arm.name for arm in comparison.sweep() if Point(arm.old.point, arm.new.point) in line)
    return (
        f"have no learning rates to be held against, because {best} is better than the others on old and new text at "
        "once; compare rates around it"
    )


def _counted(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seed{'s' * (len(seeds) != 1)} for each arm"
