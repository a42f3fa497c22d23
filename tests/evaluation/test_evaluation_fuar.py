"""FUAR against arithmetic by hand. The seven rows test the formula; they are no results of this project."""

from __future__ import annotations

import pytest

from rewarm.evaluation.fuar import Fuar, Gap, fuar
from rewarm.types import UserError

INITIAL = (24.17, 1.62, 1.88)
ROWS = {
    "Vanilla": (12.89, 10.17, 3.77, 1.08),
    "RecAdam": (13.20, 12.55, 4.02, 0.84),
    "Mix-Review": (13.92, 6.49, 2.89, 1.74),
    "LoRA": (16.58, 12.77, 4.52, 0.55),
    "K-Adapter k=2": (19.59, 12.34, 5.03, 0.33),
    "K-Adapter k=3": (19.76, 12.66, 4.02, 0.33),
    "Modular": (20.29, 12.66, 4.65, 0.28),
}


def one_phase(before: tuple[float, ...], after: tuple[float, ...], **more: float) -> Fuar:
    gaps = [[Gap(first / 100, second / 100)] for first, second in zip(before, after, strict=True)]
    return fuar(*gaps, **more)


@pytest.mark.parametrize("method", ROWS)
def test_the_published_rows_to_two_decimals(method: str) -> None:
    *scores, expected = ROWS[method]
    found = one_phase(INITIAL, tuple(scores))
    assert found.value is not None
    assert round(found.value, 2) == expected
    assert found.words == f"{expected:.2f}"
    assert not found.vacuous
    assert [gaps[0].after for gaps in (found.invariant, found.updated, found.new)] == pytest.approx(
        [score / 100 for score in scores]
    )


def test_no_gain_is_neither_zero_nor_infinite() -> None:
    found = one_phase((50, 10, 10), (20, 10, 5))
    assert (found.value, found.words, found.vacuous) == (None, "no gain", True)
    assert found.lost == pytest.approx(0.3)


def test_a_small_gain_is_vacuous() -> None:
    """2 + 2 points gained, 1 lost: 0.25, but the gain is below 5 points."""
    found = one_phase((50, 10, 10), (49, 12, 12))
    assert found.words == "0.25 (vacuous)"
    assert one_phase((50, 10, 10), (49, 12, 12), vacuous_below=0.03).words == "0.25"
    assert one_phase((50, 10, 10), (60, 12, 13.5)).words == "0.00"


def test_two_phases_by_hand() -> None:
    """Lost: 80 to 60 and 70 to 65, 0.25 in all. Gained: 0.5 + 0.1 against the base, 0.3 against the first stage; the
    acquisition task fell against the first stage, which adds nothing."""
    found = fuar([Gap(0.8, 0.6), Gap(0.7, 0.65)], [Gap(0.1, 0.6), Gap(0.3, 0.6)], [Gap(0.2, 0.3), Gap(0.35, 0.3)])
    assert found.lost == pytest.approx(0.25)
    assert found.gained == pytest.approx(0.9)
    assert found.value == pytest.approx(0.25 / 0.9)


def test_tasks_that_are_not_defined_add_nothing() -> None:
    found = fuar([Gap(0.8, 0.6), None], [None, None], [Gap(0.2, 0.6), None])
    assert found.value == pytest.approx(0.5)


def test_what_was_not_asked_is_not_called_nothing_lost_or_nothing_gained() -> None:
    """Without a task of what was to be kept the formula gives 0, as if nothing had been forgotten."""
    unasked = fuar([None], [Gap(0.1, 0.6)], [Gap(0.2, 0.6)])
    assert (unasked.value, unasked.words) == (None, "not asked")
    assert fuar([Gap(0.8, 0.6)], [None], [None]).words == "not asked"
    assert fuar([Gap(0.8, 0.6)], [Gap(0.5, 0.4)], [None]).words == "no gain"


def test_where_nothing_could_be_lost_the_ratio_is_vacuous() -> None:
    assert fuar([Gap(0.0, 0.1)], [Gap(0.1, 0.6)], [None]).words == "0.00 (vacuous)"
    assert fuar([Gap(0.2, 0.2)], [Gap(0.1, 0.6)], [None]).words == "0.00"


def test_every_earlier_model_raises_what_is_called_a_gain() -> None:
    """4 points against each of two models are 8 in all, which is not much for either."""
    kept, gained = [Gap(0.8, 0.6)] * 2, [Gap(0.1, 0.14)] * 2
    assert fuar(kept, gained, [None, None]).words == "5.00 (vacuous)"
    assert fuar(kept, [Gap(0.1, 0.16)] * 2, [None, None]).words == "3.33"


def test_what_is_no_share_or_has_no_phase_is_refused() -> None:
    with pytest.raises(UserError, match=r"from 0 to 1, got 24\.17 and 12\.89: divide percent by 100"):
        fuar([Gap(24.17, 12.89)], [None], [None])
    with pytest.raises(UserError, match="got 1 invariant, 2 updated and 1 new"):
        fuar([None], [None, None], [None])
    with pytest.raises(UserError, match="got 0 invariant"):
        fuar([], [], [])
