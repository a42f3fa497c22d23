"""Who is on the frontier, which point is chosen and why, and the barrier, all by hand."""

from __future__ import annotations

import math

import pytest

from rewarm.report.frontier import MergePoint, barriers, choose, marked, mean_changes, noise
from rewarm.report.part import Verdict
from rewarm.report.result import Cell, Column

COLUMNS = [Column(name="a", role="old"), Column(name="b", role="new"), Column(name="c", role="new")]


def cell(relative: float, loss: float = 1.0, verdict: Verdict = "worse") -> Cell:
    return Cell(
        loss=loss, delta=0.0, low=0.0, high=0.0, relative=relative, verdict=verdict, documents=1, bytes=1, tokens=1
    )


def point(
    name: str, old: float, new: float, weight: float | None = None, untouched: bool = False, **losses: float
) -> MergePoint:
    """A point with one corpus of each role, so that its mean is that of the two; `losses` are losses by corpus."""
    return MergePoint(
        name=name, weight=weight, members=[name], untouched=untouched, weights_sha256=name,
        cells={corpus: cell(0.0, loss) for corpus, loss in losses.items()}, old=old, new=new, mean=(old + new) / 2,
    )  # fmt: skip


BASE = point("base", 0.0, 0.0, untouched=True)
STAGE = point("stage", 0.08, -0.10, untouched=True)
HALF = point("weight 0.5", 0.01, -0.08)
FIFTH = point("weight 0.2", -0.01, -0.03)
SWEEP = [BASE, STAGE, HALF, FIFTH]


def test_means_by_role_and_over_all_corpora() -> None:
    cells = {"a": cell(0.06), "b": cell(-0.02), "c": cell(-0.10)}
    assert mean_changes(cells, COLUMNS) == pytest.approx((0.06, -0.06, -0.02))
    assert mean_changes(cells, COLUMNS[:1]) == (0.06, None, 0.06)


def test_the_frontier_is_whom_nobody_beats_on_both() -> None:
    """The base is beaten by weight 0.2 on both; `worse` has the new loss of weight 0.5 and more old loss."""
    worse, broken = point("worse", 0.02, -0.08), point("broken", math.inf, -1.0)
    found = marked([*SWEEP, worse, broken])
    assert {one.name for one in found if one.frontier} == {"stage", "weight 0.5", "weight 0.2"}
    assert [one.name for one in found] == ["base", "stage", "weight 0.5", "weight 0.2", "worse", "broken"]


def test_equal_points_share_the_frontier() -> None:
    found = marked([BASE, HALF, HALF.model_copy(update={"name": "twin"})])
    assert [one.frontier for one in found] == [True, True, True]


def test_balanced_takes_the_lowest_mean() -> None:
    best, reason = choose(SWEEP, "stage", "balanced", None)
    assert best is HALF
    assert reason == (
        "weight 0.5 has the lowest mean change over the watched corpora (−3.50%); stage, as it is, has old +8.00%, new "
        "−10.00%, mean −1.00%."
    )


def test_new_and_old_take_their_end() -> None:
    best, reason = choose(SWEEP, "stage", "new", None)
    assert best is STAGE
    assert reason == "stage, as it is, has the lowest loss on new text (−10.00%): merging does not help here."
    forgetful = [point for point in SWEEP if point is not FIFTH]
    best, reason = choose(forgetful, "stage", "old", None)
    # the base forgets nothing, and learned nothing
    assert best is HALF
    assert reason.startswith("weight 0.5 forgets least (old +1.00%) of the points that learned anything (new −8.00%)")


def test_a_limit_of_forgetting_takes_the_best_new_loss_within_it() -> None:
    best, reason = choose(SWEEP, "stage", "balanced", 0.01)
    assert best is HALF
    assert reason.startswith(
        "weight 0.5 learns most (new −8.00%) of the points that forget at most 1% of old text (old +1.00%)"
    )
    best, _ = choose(SWEEP, "stage", "balanced", 0.009)
    assert best is FIFTH


def test_the_base_is_chosen_where_nothing_else_will_do() -> None:
    best, reason = choose([BASE, STAGE], "stage", "balanced", 0.005)
    assert best is BASE
    assert reason == (
        "base, as it is, learns most (new 0.00%) of the points that forget at most 0.5% of old text (old 0.00%): "
        "merging does not help here."
    )


def test_a_model_that_diverged_is_not_chosen() -> None:
    best, _ = choose([*SWEEP, point("broken", 0.0, -math.inf)], "stage", "new", None)
    assert best is STAGE


def test_noise_is_said_only_where_it_is_all() -> None:
    still = cell(0.0, verdict="not distinguishable from noise")
    assert noise({"a": still, "b": still}).startswith(" On no corpus")
    assert noise({"a": still, "b": cell(0.1)}) == ""
    assert noise({}) == ""


def test_the_barrier_is_the_largest_rise_above_the_line_between_the_ends() -> None:
    """a: line 2, 1.75, 1.5, 1 at weights 0, 0.25, 0.5, 1; rises 0.25 and 0.1. b lies below its line: 0."""
    losses = {0.0: (2.0, 1.0), 0.25: (2.0, 1.0), 0.5: (1.6, 1.5), 1.0: (1.0, 3.0)}
    sweep = [point(f"w{weight}", 0, 0, weight, a=a, b=b) for weight, (a, b) in losses.items()]
    found = barriers([sweep[2], *sweep[:2], sweep[3], point("other", 0, 0, None, a=9.0, b=9.0)])
    assert found == {"a": pytest.approx(0.25), "b": 0.0}
    assert barriers([sweep[0], sweep[3]]) is None
