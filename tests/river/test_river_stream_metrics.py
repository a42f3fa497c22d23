"""Metrics of a stream by hand: a stage's own text is what it learns, and not what it replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.plan import Plan, from_values
from rewarm.river.legs import LegPlan, legs
from rewarm.river.stream_metrics import Losses, metrics, months

NAMES = ("may", "june", "july")
BASE = {"old": 1.0, "may": 2.0, "june": 3.0, "july": 4.0}
AFTER = {
    "stage-1-may": {"old": 1.25, "may": 1.5, "june": 3.25, "july": 4.5},
    "stage-2-june": {"old": 1.5, "may": 1.75, "june": 2.0, "july": 4.0},
    "stage-3-july": {"old": 1.75, "may": 2.5, "june": 2.75, "july": 3.0},
}


def scored(per_byte: dict[str, float]) -> Losses:
    """Two documents of 8 bytes each."""
    size, tokens = np.full(2, 8, np.int64), np.full(2, 3, np.int64)
    return {corpus: DocumentLosses(np.full(2, 8 * loss), size, tokens) for corpus, loss in per_byte.items()}


@pytest.fixture
def stream() -> Callable[..., tuple[Plan, list[LegPlan]]]:
    """A function: **changes of the plan -> a plan of three months that replay the earlier ones, and its legs."""

    def make(**changes: Any) -> tuple[Plan, list[LegPlan]]:
        stages = [
            {"name": name, "data": name, "tokens": 640, "learning_rate": 1e-3, "replay": {"from": ["old", "earlier"]}}
            for name in NAMES
        ]
        stages[1]["date"] = "2021-06"
        values = {
            "base": "./model", "output_dir": "run", "seq_len": 64, "batch_tokens": 640, "stages": stages,
            "corpora": {name: f"{name}.jsonl" for name in BASE}, "watch": list(BASE),
        }  # fmt: skip
        plan = from_values(values | changes)
        return plan, legs(plan, lambda corpus: 10_000)

    return make


def test_a_stages_task_is_what_it_learns(stream: Any) -> None:
    plan, planned = stream()
    own = {leg: scored(losses) for leg, losses in AFTER.items()}
    found = metrics(plan, planned, own, scored(BASE), {})
    assert found.average == pytest.approx(-(2.5 + 2.75 + 3.0) / 3)
    # Best earlier loss of may is 1.5, of june 2.0.
    assert found.forgetting == pytest.approx((1.0 + 0.75) / 2)
    assert found.backward_transfer == pytest.approx(-(1.0 + 0.75) / 2)
    # Before it is learned: june 3.25 against 3.0, july 4.0 against 4.0.
    assert found.forward_transfer_gem == pytest.approx((-0.25 + 0.0) / 2)
    assert found.x_delta == pytest.approx(-0.75)
    assert found.plasticity_gap is None
    alone = {"june": scored({"june": 1.75}), "july": scored({"july": 3.5})}
    assert metrics(plan, planned, own, scored(BASE), alone).plasticity_gap == pytest.approx((-0.25 + 0.5) / 2)


def test_the_months_are_the_stages(stream: Any) -> None:
    plan, planned = stream()
    found = months(plan, planned, {leg: scored(losses) for leg, losses in AFTER.items()}, scored(BASE))
    assert found is not None
    assert (found.rows, found.names) == (list(AFTER), ["may", "2021-06", "july"])
    assert found.corpora == [["may"], ["june"], ["july"]]
    assert found.backward == pytest.approx((-0.25 + 0.5 - 0.25) / 3)
    assert found.in_month == pytest.approx((-0.5 - 1.0 - 1.0) / 3)
    assert found.forward == pytest.approx((0.25 + 0.5 + 0.0) / 3)
    assert found.cells == (3, 3, 3)


def test_what_was_not_scored_is_left_out(stream: Any) -> None:
    """As after the model of May was deleted before July was added, and while July is yet to be trained."""
    plan, planned = stream()
    own = {leg: scored(losses) for leg, losses in AFTER.items()}
    own["stage-1-may"] = scored({name: loss for name, loss in AFTER["stage-1-may"].items() if name != "july"})
    found = months(plan, planned, own, scored(BASE))
    assert found is not None
    assert (found.cells, found.forward) == ((3, 3, 2), pytest.approx(0.125))
    assert metrics(plan, planned, own, scored(BASE), {}).forgetting is None
    assert metrics(plan, planned, own, scored(BASE), {}).x_delta == pytest.approx(-0.75)
    del own["stage-3-july"]
    unfinished = months(plan, planned, own, scored(BASE))
    assert unfinished is not None
    assert unfinished.cells == (1, 2, 2)


def test_fewer_or_unwatched_stages_have_no_months(stream: Any) -> None:
    own = {leg: scored(losses) for leg, losses in AFTER.items()}
    plan, planned = stream(watch=["old", "may", "june"])
    unwatched = {name: loss for name, loss in BASE.items() if name != "july"}
    assert months(plan, planned, own, scored(unwatched)) is None
    stages = [{"name": name, "data": name, "tokens": 640, "learning_rate": 1e-3} for name in NAMES[:2]]
    plan, planned = stream(stages=stages)
    assert months(plan, planned, own, scored(BASE)) is None
    # The path to the last stage has two: it starts from the base again.
    stages = [*stages[:1], {**stages[1], "from": "base"}, {**stages[1], "name": "july", "data": "july"}]
    plan, planned = stream(stages=stages)
    assert months(plan, planned, own, scored(BASE)) is None
