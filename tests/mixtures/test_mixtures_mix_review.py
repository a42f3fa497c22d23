"""Mix-review: shares and realised rows of each epoch by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rewarm.methods import build
from rewarm.mixtures.draw import draw
from rewarm.mixtures.mix_review import MixReview
from rewarm.types import UserError

WEIGHTS = {"law": 0.3, "code": 0.1, "old": 0.6}


def test_the_share_over_the_stage_by_hand() -> None:
    """4, 2.8, 1.96 and 1.372 old tokens per new one; then 3 of a whole epoch and 1 of half an epoch."""
    assert MixReview().replayed(None) == pytest.approx(10.132 / 4)
    assert MixReview(epochs=1).replayed(1.0) == pytest.approx(4)
    assert MixReview(epochs=0.5).replayed(None) == pytest.approx(4)
    assert MixReview(amount=3, decay=1 / 3, epochs=1.5).replayed(1.5) == pytest.approx(3.5 / 1.5)


def test_the_shares_of_each_epoch_by_hand() -> None:
    """Epochs of 5, 3.8, 2.96 and 2.372 tokens per new token of one: they end at 5, 8.8, 11.76 and 14.132."""
    mixture = MixReview()
    for begin, end, ratio in ((0, 5, 4), (5, 8.8, 2.8), (8.8, 11.76, 1.96), (11.76, 14.132, 1.372)):
        for place in (begin + 0.001, (begin + end) / 2, end - 0.001):
            shares = mixture.shares(place / 14.132, WEIGHTS)
            assert shares["old"] == pytest.approx(ratio / (1 + ratio))
            assert shares["law"] == pytest.approx(3 * shares["code"])


def test_the_rows_of_each_epoch_by_hand() -> None:
    """Two epochs of 8 new rows each, with 24 and then 8 old ones: 4 steps of 8 rows, then 2."""
    drawn = draw(MixReview(amount=3, decay=1 / 3, epochs=2), {"new": 1 / 3, "old": 2 / 3}, 6, 8, 0)
    assert (drawn == 1).sum(axis=1).tolist() == [6, 6, 6, 6, 4, 4]


@pytest.mark.parametrize(("epochs", "steps", "rows"), [(4.0, 1000, 8), (2.5, 777, 4), (1.0, 100, 1)])
def test_new_rows_are_those_of_the_budget(epochs: float, steps: int, rows: int) -> None:
    """Each epoch of the new text has as many new rows, however much old text is mixed in, to within a row."""
    mixture = MixReview(epochs=epochs)
    ratio = mixture.replayed(None)
    new = draw(mixture, {"new": 1 / (1 + ratio), "old": ratio / (1 + ratio)}, steps, rows, 0) == 0
    budget = steps * rows / (1 + ratio)
    assert abs(int(new.sum()) - budget) <= 1 + rows / 4
    whole, done = budget / epochs, 0.0
    for epoch in range(int(epochs)):
        length = whole * (1 + 4 * 0.7**epoch)
        part = new.flatten()[round(done) : round(done + length)]
        assert abs(int(part.sum()) - whole) <= 2 + rows / 2
        done += length


def test_a_stage_of_other_epochs_is_refused() -> None:
    with pytest.raises(UserError, match=r"counts 4 epochs, and the stage's budget is 2 of them"):
        MixReview().replayed(2.0)


def test_decay_1_is_the_same_share_throughout() -> None:
    shares = [MixReview(decay=1).shares(progress, WEIGHTS)["old"] for progress in np.linspace(0, 0.999, 50)]
    assert shares == pytest.approx([0.8] * 50)


@pytest.mark.parametrize("options", [{"amount": 0}, {"decay": 1.1}, {"epochs": 0}])
def test_options_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(UserError):
        build("mixtures", {"type": "mix-review", **options})
