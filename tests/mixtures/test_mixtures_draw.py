"""The draw: whole rows per corpus that stay within one row of the plan, in an order that the seed alone decides."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewarm.mixtures import Mixture
from rewarm.mixtures.draw import _in_order_of, _whole, draw
from rewarm.mixtures.fixed import Fixed

GOLDEN = [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1], [1, 0, 1, 0, 0]]


class Ramp(Mixture):
    """From all of the first corpus to all of the last, in a straight line."""

    def shares(self, progress: float, weights: Mapping[str, float]) -> dict[str, float]:
        first, last = weights
        return {first: 1 - progress, last: progress}


class Halves(Mixture):
    """The first corpus up to the middle, the second after it."""

    def shares(self, progress: float, weights: Mapping[str, float]) -> dict[str, float]:
        first, last = weights
        return {first: float(progress < 0.5), last: float(progress >= 0.5)}


class Weights(Mixture):
    """The weights at any progress, without saying that they are constant: every step is asked for."""

    def shares(self, progress: float, weights: Mapping[str, float]) -> dict[str, float]:
        return dict(weights)


def counts(drawn: np.ndarray, corpora: int) -> np.ndarray:
    """Rows (S, C) of each corpus in each step."""
    return np.stack([np.bincount(row, minlength=corpora) for row in drawn])


def test_a_draw_by_hand() -> None:
    """3 rows of 2 to 1, then of half and half: 1.5 and 1.5 become 2 and 1 (ties go to the first), then 1 and 2."""
    assert counts(draw(Fixed(), {"a": 2 / 3, "b": 1 / 3}, 4, 3, 0), 2).tolist() == [[2, 1]] * 4
    assert counts(draw(Fixed(), {"a": 0.5, "b": 0.5}, 4, 3, 0), 2).tolist() == [[2, 1], [1, 2], [2, 1], [1, 2]]
    assert counts(draw(Fixed(), {"a": 0.9, "b": 0.1}, 10, 1, 0), 2).sum(axis=0).tolist() == [9, 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.001, 1.0), min_size=1, max_size=30),
    st.sampled_from([1, 2, 3, 8, 31]),
    st.integers(0, 2**62),
)
@example([1.0, 1.0, 1.0, 0.125, 0.03125], 1, 0)  # one corpus is owed 1.04 rows
def test_constant_shares_are_kept_within_a_row_or_little_more_at_every_step(
    parts: list[float], rows: int, seed: int
) -> None:
    weights = {str(index): part / sum(parts) for index, part in enumerate(parts)}
    drawn = draw(Fixed(), weights, 60, rows, seed)
    assert drawn.shape == (60, rows)
    realised = counts(drawn, len(parts)).cumsum(axis=0)
    planned = np.outer(np.arange(1, 61) * rows, list(weights.values()))
    assert (realised - planned).max() <= 1.0 + 1e-6
    assert (planned - realised).max() <= max(1.0, sum(1 / k for k in range(2, len(parts) + 1))) + 1e-6


@pytest.mark.parametrize("mixture", [Ramp(), Halves()])
@pytest.mark.parametrize("rows", [1, 5, 16])
def test_varying_shares_are_followed(mixture: Mixture, rows: int) -> None:
    weights = {"a": 0.5, "b": 0.5}
    realised = counts(draw(mixture, weights, 100, rows, 0), 2).cumsum(axis=0)
    shares = [list(mixture.shares(step / 100, weights).values()) for step in range(100)]
    assert np.abs(realised - np.cumsum(np.array(shares) * rows, axis=0)).max() <= 1.0


def test_a_corpus_of_share_zero_gives_no_row() -> None:
    drawn = draw(Halves(), {"a": 0.5, "b": 0.5}, 10, 4, 0)
    assert counts(drawn, 2).tolist() == [[4, 0]] * 5 + [[0, 4]] * 5


def test_the_draw_is_a_function_of_its_seed() -> None:
    weights = {"a": 0.5, "b": 0.3, "c": 0.2}
    one, again, other = (draw(Fixed(), weights, 50, 16, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.array_equal(np.sort(one, axis=1), np.sort(other, axis=1))


def test_golden_draw() -> None:
    """Frozen: another order would change what every resumed run reads."""
    assert draw(Fixed(), {"a": 0.6, "b": 0.4}, 3, 5, 7).tolist() == GOLDEN


def test_a_longer_stage_begins_with_the_same_rows() -> None:
    weights = {"a": 0.7, "b": 0.3}
    assert np.array_equal(draw(Fixed(), weights, 20, 8, 3), draw(Fixed(), weights, 50, 8, 3)[:20])


def test_corpora_are_spread_inside_a_step() -> None:
    """Each place of a step gets each corpus at its share: the order inside a step is no order of corpora."""
    drawn = draw(Fixed(), {"a": 0.5, "b": 0.5}, 4000, 4, 0)
    by_place = (drawn == 1).mean(axis=0)
    assert np.all(np.abs(by_place - 0.5) < 5 * 0.5 / np.sqrt(4000))


def test_steps_without_end_owe_nothing() -> None:
    """Rounding does not pile up: after 100,000 steps of thirds the counts are exact."""
    drawn = draw(Fixed(), {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 99_999, 1, 0)
    assert np.bincount(drawn.ravel()).tolist() == [33_333] * 3


def test_whole_counts_by_hand() -> None:
    assert _whole([1.5, 0.5], 2) == [2, 0]
    assert _whole([0.4, 0.6], 1) == [0, 1]
    assert _whole([-0.5, 1.5], 1) == [0, 1]
    assert _whole([2.0 - 1e-12, 1.0 + 1e-12], 3) == [2, 1]
    assert _whole([1.2, 1.2, -0.4], 2) == [1, 1, 0]
    assert _whole([1.0, 1.0, -0.5, -0.5], 1) == [0, 1, 0, 0]  # nobody gets fewer than none


def test_more_corpora_than_the_format_holds() -> None:
    weights = {str(number): 1 / 256 for number in range(256)}
    with pytest.raises(ValueError, match="at most 255 corpora, got 256"):
        draw(Fixed(), weights, 1, 1, 0)
    del weights["255"]
    assert draw(Fixed(), dict.fromkeys(weights, 1 / 255), 255, 1, 0).max() == 254


@pytest.mark.parametrize("rows", [1, 5, 16])
@pytest.mark.parametrize(
    "parts", [(1,), (95, 5), (1, 1), (1, 1, 1), (7, 2, 1), (0.7345, 0.2655), (3.1, 4.2, 9.7, 0.03), (1,) * 40]
)
def test_constant_shares_are_drawn_as_if_each_step_were_asked_for(parts: tuple[float, ...], rows: int) -> None:
    """Found by repeating what came before, and still the same to the last row, ties decided by rounding included."""
    weights = {str(index): part / sum(parts) for index, part in enumerate(parts)}
    assert np.array_equal(draw(Fixed(), weights, 9_000, rows, 2), draw(Weights(), weights, 9_000, rows, 2))


def test_rows_whose_keys_differ_in_the_lowest_byte_only() -> None:
    """Places by hand: 256 + 3 before 256 + 9, whatever their sources."""
    keys = np.array([[265, 259, 7]], np.uint64)
    assert _in_order_of(keys, np.array([[0, 1, 2]], np.uint8)).tolist() == [[2, 1, 0]]
    assert _in_order_of(keys * np.uint64(256), np.array([[0, 1, 2]], np.uint8)).tolist() == [[2, 1, 0]]
