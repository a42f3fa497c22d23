"""Stream metrics against values worked out by hand."""

import pytest

from rewarm.evaluation import matrix
from rewarm.types import UserError

# Scores are minus these. Learned losses (the diagonal of stages): 2, 4, 3.
LOSSES = [
    [5.0, 6.0, 7.0],
    [2.0, 5.5, 7.5],
    [2.6, 4.0, 6.0],
    [3.0, 4.4, 3.0],
]


def test_average_performance() -> None:
    assert matrix.average_performance(LOSSES) == pytest.approx(-(3.0 + 4.4 + 3.0) / 3)
    assert matrix.average_performance(LOSSES, after=1) == -2.0
    assert matrix.average_performance(LOSSES, after=2) == pytest.approx(-3.3)


@pytest.mark.parametrize("after", [0, 4])
def test_average_performance_after_no_stage(after: int) -> None:
    with pytest.raises(UserError, match="1 to 3"):
        matrix.average_performance(LOSSES, after=after)


def test_backward_transfer_is_negative_when_losses_rise() -> None:
    # ((-3 - -2) + (-4.4 - -4)) = -1.4
    assert matrix.backward_transfer(LOSSES) == pytest.approx(-0.7)
    assert matrix.backward_transfer(LOSSES, denominator="t") == pytest.approx(-1.4 / 3)


def test_forgetting_measures_from_the_best_earlier_model() -> None:
    # Task 1: best earlier loss 2.0, now 3.0. Task 2: best 4.0, now 4.4.
    assert matrix.forgetting(LOSSES) == pytest.approx((1.0 + 0.4) / 2)


def test_forgetting_and_forgetting_rate_differ_when_a_middle_stage_was_better() -> None:
    losses = [[5.0, 6.0, 7.0], [2.0, 5.5, 7.5], [1.5, 4.0, 6.0], [3.0, 4.4, 3.0]]
    assert matrix.forgetting(losses) == pytest.approx((1.5 + 0.4) / 2)
    assert matrix.forgetting_rate(losses) == pytest.approx((1.0 + 0.4) / 2)


def test_forgetting_counts_what_the_base_knew() -> None:
    losses = [[1.0, 6.0], [2.0, 5.5], [3.0, 4.0]]
    assert matrix.forgetting(losses) == pytest.approx(2.0)
    assert matrix.forgetting_rate(losses) == pytest.approx(1.0)


def test_forgetting_is_negative_when_the_last_model_is_the_best_of_all() -> None:
    assert matrix.forgetting([[5.0, 6.0], [4.0, 5.5], [3.0, 4.0]]) == pytest.approx(-1.0)


def test_forward_transfer_gem_against_the_base() -> None:
    # Task 2 before its stage: 6.0 -> 5.5 (+0.5). Task 3: 7.0 -> 6.0 (+1.0).
    assert matrix.forward_transfer_gem(LOSSES) == pytest.approx(0.75)


def test_forward_transfer_gem_against_an_untrained_model() -> None:
    assert matrix.forward_transfer_gem(LOSSES, untrained=[9.0, 9.0, 9.0]) == pytest.approx((3.5 + 3.0) / 2)


def test_plasticity_gap_is_negative_when_a_fresh_start_learns_more() -> None:
    # Task 2: stream 4.0, alone 3.8 (-0.2). Task 3: stream 3.0, alone 2.4 (-0.6).
    assert matrix.plasticity_gap(LOSSES, alone=[2.0, 3.8, 2.4]) == pytest.approx(-0.4)


def test_one_stage_cannot_tell() -> None:
    single = [[3.0], [2.0]]
    assert matrix.average_performance(single) == -2.0
    assert matrix.backward_transfer(single) is None
    assert matrix.forgetting(single) is None
    assert matrix.forgetting_rate(single) is None
    assert matrix.forward_transfer_gem(single) is None
    assert matrix.plasticity_gap(single, alone=[2.0]) is None


@pytest.mark.parametrize("losses", [[], [[]], [[1.0]], [[1.0, 2.0], [1.0, 2.0]], [[1.0], [1.0, 2.0]]])
def test_a_matrix_of_another_shape_is_refused(losses: list[list[float]]) -> None:
    with pytest.raises(UserError, match="one column per stage"):
        matrix.average_performance(losses)


def test_alone_needs_every_task() -> None:
    with pytest.raises(UserError, match="alone needs one loss per task: 3, got 2"):
        matrix.plasticity_gap(LOSSES, alone=[2.0, 3.8])


def test_x_delta_of_the_trace_table() -> None:
    """LLaMA-2-7B-Chat trained in sequence, TRACE table 2: published as -2.58."""
    tasks = ("first", "maths", "third", "fourth", "fifth", "sixth")
    before = dict(zip(tasks, (46.56, 26.08, 40.23, 23.47, 70.55, 76.22), strict=True))
    after = dict(zip(tasks, (46.43, 3.49, 30.11, 33.23, 77.89, 76.5), strict=True))
    found = matrix.x_delta(before, after, higher_is_better=True)
    assert found.mean == pytest.approx(-2.577, abs=5e-4)
    assert found.worst_task == "maths"
    assert found.worst == pytest.approx(-22.59)


def test_x_delta_of_losses_is_negative_when_they_rise() -> None:
    found = matrix.x_delta({"web": 1.0, "books": 2.0}, {"web": 1.5, "books": 1.9})
    assert found.mean == pytest.approx(-0.2)
    assert (found.worst_task, found.worst) == ("web", pytest.approx(-0.5))


def test_x_delta_needs_the_same_tasks() -> None:
    with pytest.raises(UserError, match="same tasks"):
        matrix.x_delta({"web": 1.0}, {"books": 1.0})
    with pytest.raises(UserError, match="at least one"):
        matrix.x_delta({}, {})


# Rows are the models after months 1 to 3; the reference is 2.0, 3.0, 4.0.
MONTHS: list[list[float | None]] = [
    [1.5, 3.25, 4.5],
    [1.75, 2.0, 4.0],
    [2.5, 2.75, 3.0],
]


def test_backward_in_month_and_forward_are_differences_to_the_reference() -> None:
    found = matrix.months_summary(MONTHS, [2.0, 3.0, 4.0])
    # j < i: 1.75 - 2, 2.5 - 2, 2.75 - 3; T(T-1)/2 = 3 cells.
    assert found.backward == pytest.approx((-0.25 + 0.5 - 0.25) / 3)
    # j = i: 1.5 - 2, 2 - 3, 3 - 4.
    assert found.in_month == pytest.approx((-0.5 - 1.0 - 1.0) / 3)
    # j > i: 3.25 - 3, 4.5 - 4, 4 - 4. Above 0: worse than the reference.
    assert found.forward == pytest.approx((0.25 + 0.5 + 0.0) / 3)
    assert found.cells == (3, 3, 3)


def test_cells_that_were_not_scored_are_no_part_of_the_means() -> None:
    found = matrix.months_summary([[1.5, None, 4.5], MONTHS[1], [None, None, 3.0]], [2.0, 3.0, 4.0])
    assert found == matrix.MonthsSummary(-0.25, pytest.approx((-0.5 - 1.0 - 1.0) / 3), 0.25, (1, 3, 2))
    assert matrix.months_summary([[1.5]], [2.0]) == matrix.MonthsSummary(None, -0.5, None, (0, 1, 0))


@pytest.mark.parametrize(("losses", "reference"), [([[1.0, 2.0]], [1.0]), ([[1.0]], [1.0, 2.0]), ([], [])])
def test_months_need_a_square_and_a_reference_each(losses: list[list[float | None]], reference: list[float]) -> None:
    with pytest.raises(UserError, match="one row and one column each and one reference"):
        matrix.months_summary(losses, reference)
