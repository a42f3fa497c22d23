"""What `rewarm learn` found, as values: `tasks.json` holds them, and the page is drawn from them.

R[i][j] is the score on the test rows of the j-th task of an order after its i-th; row 0 is before the first. All scores
but `loss` are from 0 to 1, and more is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from rewarm.evaluation import matrix
from rewarm.evaluation.frontier import over_seeds
from rewarm.report.part import Part
from rewarm.report.wording import listed, signed

NAIVE, ALONE = "naive", "alone"
PEEKS = "looks at tasks to come"
NAMED = {
    "macro_f1": "macro-F1", "entity_f1": "entity F1", "accuracy": "accuracy", "bleu": "BLEU",
    "exact_match": "exact match", "loss": "nats a target",
}  # fmt: skip


class Stage(Part):
    """A learner after a task (`after` is "" before the first): every measure of every task on its test rows.

    Of the tuning: steps, the one whose weights were kept, tokens and rows trained on, loss on the development rows.
    """

    after: str
    scores: dict[str, dict[str, float]]
    steps: int = 0
    best_step: int = 0
    tokens: int = 0
    rows: int = 0
    dev_loss: float | None = None


class ArmResult(Part):
    """A way with one seed along one order."""

    way: str
    order: tuple[str, ...]
    seed: int
    stages: tuple[Stage, ...]

    def matrix(self, measure: str) -> list[list[float]]:
        """R: a row before the first task and one after each, a column for each task of the order."""
        return [[stage.scores[task][measure] for task in self.order] for stage in self.stages]


class TaskFacts(Part):
    """A task's rows by split, and what was left out, bad, cut (rows of classes and answers longer than max_length, of
    labelling words beyond it) or lost whole, by split."""

    name: str
    rows: dict[str, int]
    left_out: dict[str, int] = Field(default_factory=dict)
    bad_rows: dict[str, int] = Field(default_factory=dict)
    cut: dict[str, int] = Field(default_factory=dict)
    lost: dict[str, int] = Field(default_factory=dict)


class WayFacts(Part):
    """A way: what it is, what it reads, and whether it is told or sees what a stream does not give (`knows_task`,
    `peeks_ahead`)."""

    name: str
    type: str
    about: str
    options: dict[str, Any]
    reads_old_labels: bool
    starts_afresh: bool
    knows_task: bool
    peeks_ahead: bool

    @property
    def marks(self) -> list[str]:
        """What must be known of it before it is compared."""
        told = {
            "reads old labels": self.reads_old_labels,
            "starts from the base each time": self.starts_afresh,
            "is told the task": self.knows_task,
            PEEKS: self.peeks_ahead,
        }
        return [words for words, holds in told.items() if holds]


class Spread(Part):
    """The mean over seeds, its 95 % t interval (unbounded for one seed), and the value of each seed."""

    mean: float
    low: float
    high: float
    seeds: tuple[float, ...]


class Line(Part):
    """A way along an order, over seeds.

    `final` is the mean of R[N]; `backward` that of R[N][j] - R[j][j] over j < N; `forget` that of max over 1 <= k < N
    of R[k][j], less R[N][j] (Yadav et al. 2023); `forward` that of R[j][j] less the score of the task alone, over
    j > 1, where `alone` is among the ways. `against_naive` is final less naive's of the same seed.
    """

    way: str
    order: tuple[str, ...]
    final: Spread
    backward: Spread
    forget: Spread
    forward: Spread | None = None
    against_naive: Spread | None = None
    backward_of: dict[str, Spread] = Field(default_factory=dict)
    forward_of: dict[str, Spread] = Field(default_factory=dict)


class Learned(Part):
    """A whole stream of tasks, in every way. `bleu_made` says how BLEU was made, where there is one (its signature)."""

    version: Literal[1] = 1
    rewarm: str
    base: str
    kind: str
    classes: tuple[str, ...]
    measure: str
    tasks: tuple[TaskFacts, ...]
    ways: tuple[WayFacts, ...]
    orders: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    bleu_made: str = ""
    plan: dict[str, Any]
    arms: tuple[ArmResult, ...]
    lines: tuple[Line, ...] = ()
    verdict: str = ""

    def of(self, way: str, order: Sequence[str]) -> list[ArmResult]:
        """The arms of a way along an order, one a seed."""
        return [arm for arm in self.arms if arm.way == way and arm.order == tuple(order)]

    def mean_matrix(self, way: str, order: Sequence[str]) -> list[list[float]]:
        """R of the measure, mean over seeds."""
        found = [arm.matrix(self.measure) for arm in self.of(way, order)]
        tasks = range(len(order))
        return [[sum(one[row][task] for one in found) / len(found) for task in tasks] for row in range(len(order) + 1)]


def summarised(found: Learned) -> Learned:
    """The result with a line for every way and order, and the verdict."""
    lines = tuple(_line(found, way, order) for order in found.orders for way in found.ways)
    found = found.model_copy(update={"lines": lines})
    return found.model_copy(update={"verdict": verdict(found)})


def _spread(values_S: Sequence[float]) -> Spread:
    mean, low, high = over_seeds(values_S)
    return Spread(mean=mean, low=low, high=high, seeds=tuple(values_S))


def _line(found: Learned, way: WayFacts, order: tuple[str, ...]) -> Line:
    arms = found.of(way.name, order)
    scores_S = [arm.matrix(found.measure) for arm in arms]
    losses_S = [[[-value for value in row] for row in rows] for rows in scores_S]
    finals = [matrix.average_performance(losses) for losses in losses_S]
    values: dict[str, Any] = {
        "final": _spread(finals),
        "backward": _spread([matrix.backward_transfer(losses) or 0.0 for losses in losses_S]),
        "forget": _spread([matrix.forgetting(losses, with_base=False) or 0.0 for losses in losses_S]),
        "backward_of": {
            task: _spread([scores[-1][j] - scores[j + 1][j] for scores in scores_S])
            for j, task in enumerate(order[:-1])
        },
    }
    if naive := _typed(found, NAIVE, way, order):
        values["against_naive"] = _spread(
            [
                final - sum(other.matrix(found.measure)[-1]) / len(order)
                for final, other in zip(finals, naive, strict=True)
            ]
        )
    if alone := _typed(found, ALONE, way, order):
        values |= _forward(scores_S, [one.matrix(found.measure) for one in alone], order)
    return Line(way=way.name, order=order, **values)


def _typed(found: Learned, kind: str, way: WayFacts, order: tuple[str, ...]) -> list[ArmResult]:
    """The arms of the first way of a type, unless it is the way itself."""
    other = next((one for one in found.ways if one.type == kind), None)
    return [] if other is None or other.name == way.name else found.of(other.name, order)


def _forward(
    scores_S: Sequence[Sequence[Sequence[float]]], alone_S: Sequence[Sequence[Sequence[float]]], order: Sequence[str]
) -> Mapping[str, Any]:
    each = {
        task: _spread([scores[j][j - 1] - alone[j][j - 1] for scores, alone in zip(scores_S, alone_S, strict=True)])
        for j, task in enumerate(order, 1)
    }
    later = [each[task].seeds for task in order[1:]]
    return {"forward_of": each, "forward": _spread([sum(values) / len(values) for values in zip(*later, strict=True)])}


def percent(value: float) -> str:
    """A score in words."""
    return f"{100 * value:.1f}"


def spread(one: Spread | None, sign: bool = False) -> str:
    """A mean and half its interval, which is as wide on both sides, in hundredths; `sign` shows that of the mean."""
    if one is None:
        return ""
    shown = signed(100 * one.mean, 1) if sign else percent(one.mean)
    if len(one.seeds) < 2:
        return shown
    return f"{shown} ± {percent(one.high - one.mean)}"


def verdict(found: Learned) -> str:
    """For each order a sentence: what is left in each way, and which ways differ from naive."""
    sentences = []
    for order in found.orders:
        lines = [line for line in found.lines if line.order == order and not _is_alone(found, line.way)]
        told = listed([f"{line.way} {percent(line.final.mean)}" for line in lines]) if lines else ""
        if told:
            sentences.append(f"Along {' > '.join(order)}, the mean {NAMED[found.measure]} at the end is: {told}.")
        apart = [line for line in lines if line.against_naive is not None]
        if better := [line.way for line in apart if line.against_naive and line.against_naive.low > 0]:
            sentences.append(f"Better than naive over {len(found.seeds)} seeds: {listed(better)}.")
        if worse := [line.way for line in apart if line.against_naive and line.against_naive.high < 0]:
            sentences.append(f"Worse: {listed(worse)}.")
    if peeking := [way.name for way in found.ways if way.peeks_ahead]:
        sentences.append(f"{listed(peeking)} looked at tasks to come, and can not be compared with the others.")
    return " ".join(sentences)


def _is_alone(found: Learned, way: str) -> bool:
    return any(one.name == way and one.type == ALONE for one in found.ways)


def cells(found: Learned, line: Line) -> list[str]:
    """A line as tables show it, behind way and order; of `alone` the mean of each model on its own task."""
    if _is_alone(found, line.way):
        own = [arm.matrix(found.measure) for arm in found.of(line.way, line.order)]
        mean = _spread([sum(one[j + 1][j] for j in range(len(line.order))) / len(line.order) for one in own])
        return [spread(mean), *[""] * (len(HEADS) - 1)]
    return [
        spread(line.final),
        spread(line.backward, True),
        spread(line.forget, True),
        spread(line.forward, True),
        spread(line.against_naive, True),
    ]


HEADS = ("final", "backward", "forgotten", "forward", "over naive")
