"""The linear probe: its optimum by hand, what it is indifferent to, and what it must tell apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rewarm.evaluation.learners import macro_f1
from rewarm.evaluation.linear_probe import Head, Labelled, fit_head, logistic
from rewarm.types import UserError


def clouds(count: int, distance: float, seed: int, width: int = 6, classes: int = 3) -> Labelled:
    """Unit clouds around `classes` corners of a simplex, `distance` from the origin."""
    source = np.random.default_rng(seed)
    labels_N = source.integers(0, classes, count)
    features_ND = source.normal(size=(count, width))
    features_ND[np.arange(count), labels_N] += distance
    return Labelled(features_ND.astype(np.float32), labels_N)


def accuracy(head: Head, rows: Labelled) -> float:
    return float((head.predict(rows.features_ND) == rows.labels_N).mean())


def test_the_optimum_of_two_points_is_the_one_worked_out_by_hand() -> None:
    """At x = -1 (class 0) and x = 1 (class 1) the weights are -w and w, and the slope is penalty w = 1 / (1 + e^2w)."""
    inputs_ND, targets_N = torch.tensor([[-1.0], [1.0]], dtype=torch.float64), torch.tensor([0, 1])
    start = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    weight_DC, bias_C = logistic(inputs_ND, targets_N, 0.25, *start)
    w = float(weight_DC[0, 1])
    assert float(weight_DC[0, 0]) == pytest.approx(-w, abs=1e-6)
    assert 0.25 * w == pytest.approx(1 / (1 + math.exp(2 * w)), abs=1e-6)
    assert bias_C.abs().max() < 1e-6


def test_it_finds_classes_that_are_there_and_none_that_are_not() -> None:
    train, dev, test = (clouds(300, 4.0, seed) for seed in range(3))
    assert accuracy(fit_head(train, dev, 3), test) > 0.95
    train, dev, test = (clouds(300, 0.0, seed) for seed in range(3))
    assert accuracy(fit_head(train, dev, 3), test) < 0.45


def test_the_unit_and_offset_of_a_feature_do_not_matter() -> None:
    train, dev, test = (clouds(120, 2.0, seed) for seed in range(3))
    unit_D = np.array([1e-4, 1.0, 1e4, 3.0, 1.0, 1.0], np.float32)
    moved = [Labelled(one.features_ND * unit_D + 7 * unit_D, one.labels_N) for one in (train, dev, test)]
    plain, other = fit_head(train, dev, 3), fit_head(moved[0], moved[1], 3)
    assert plain.penalty == other.penalty
    assert (plain.predict(test.features_ND) == other.predict(moved[2].features_ND)).all()


def test_a_feature_that_never_varies_is_left_out() -> None:
    train, dev, test = (clouds(120, 2.0, seed) for seed in range(3))
    constant = [
        Labelled(np.concatenate([one.features_ND, np.full((120, 1), 0.1, np.float32)], axis=1), one.labels_N)
        for one in (train, dev, test)
    ]
    assert accuracy(fit_head(constant[0], constant[1], 3), constant[2]) == accuracy(fit_head(train, dev, 3), test)


def test_few_noisy_rows_are_held_by_a_stronger_penalty_than_many_clear_ones() -> None:
    noisy = fit_head(clouds(12, 0.3, 0, width=60), clouds(200, 0.3, 1, width=60), 3)
    clear = fit_head(clouds(2000, 4.0, 0), clouds(200, 4.0, 1), 3)
    assert noisy.penalty is not None
    assert clear.penalty is not None
    assert noisy.penalty > clear.penalty


def test_the_published_form_is_seeded_and_learns() -> None:
    train, test = clouds(300, 4.0, 0), clouds(300, 4.0, 2)
    first, again, other = (fit_head(train, test, 3, "published", seed) for seed in (1, 1, 2))
    assert torch.equal(first.weight_DC, again.weight_DC)
    assert not torch.equal(first.weight_DC, other.weight_DC)
    assert first.penalty is None
    assert accuracy(first, test) > 0.9


def test_the_default_does_not_depend_on_the_seed() -> None:
    train, dev = clouds(100, 1.0, 0), clouds(50, 1.0, 1)
    assert torch.equal(fit_head(train, dev, 3, seed=1).weight_DC, fit_head(train, dev, 3, seed=2).weight_DC)


def test_macro_f1_by_hand() -> None:
    """Class 0: one of two found, one false: 2 / (2 + 1 + 1). Class 1: 2 / (2 + 1 + 1). Class 2: found. 3: not there."""
    labels_N, predicted_N = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 0, 2])
    assert macro_f1(predicted_N, labels_N, 4) == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    assert macro_f1(np.zeros(0, np.int64), np.zeros(0, np.int64), 4) == 0.0


@pytest.mark.parametrize(
    ("train", "dev", "words"),
    [
        (clouds(0, 1.0, 0), clouds(5, 1.0, 1), "train split"),
        (clouds(5, 1.0, 0), clouds(0, 1.0, 1), "dev split"),
        (Labelled(np.zeros((2, 3), np.float32), np.array([0, 3])), clouds(5, 1.0, 1), "labels run from 0 to 3"),
    ],
)
def test_what_cannot_be_fitted_is_refused(train: Labelled, dev: Labelled, words: str) -> None:
    with pytest.raises(UserError, match=words):
        fit_head(train, dev, 3)


def test_features_of_a_diverged_model_are_refused() -> None:
    with pytest.raises(UserError, match="diverged"):
        Labelled(np.full((2, 3), np.nan, np.float32), np.array([0, 1]))
    with pytest.raises(UserError, match="one row for each item"):
        Labelled(np.zeros((2, 3), np.float32), np.array([0]))
