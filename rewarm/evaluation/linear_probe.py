"""A linear classifier on frozen features: what a representation gives away without being trained any further.

The default standardises features (mean and deviation of the training rows), fits multinomial logistic regression with
an L2 penalty by full-batch L-BFGS in double precision, and takes the penalty with the lowest loss on the dev rows.
The problem is convex: the same features give the same head, whatever the seed. `published` is the linear evaluation of
Cossu et al. (2205.09357): a head trained by mini-batches on raw features at learning rate 1e-3, 100 epochs, batch 64;
its optimizer is Adam with linear decay, what transformers' trainer does by itself.

Shapes: N items, D width of a feature, C classes, P penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from rewarm.models.decoder import drawing
from rewarm.types import UserError

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
Fit = Literal["standardised", "published"]
PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Weights of half the squared norm beside the mean cross-entropy, strongest first: each fit starts from the last."""
PUBLISHED_RATE, PUBLISHED_EPOCHS, PUBLISHED_BATCH = 1e-3, 100, 64
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows of features (N, D) with the number of each one's class (N,). UserError when they do not fit each other."""

    features_ND: Features
    labels_N: Labels

    def __post_init__(self) -> None:
        if self.features_ND.ndim != 2 or self.features_ND.shape[:1] != self.labels_N.shape:
            shapes = f"{self.features_ND.shape} and {self.labels_N.shape}"
            raise UserError(f"features and labels need one row for each item, got shapes {shapes}")
        if not np.isfinite(self.features_ND).all():
            raise UserError("features hold values that are no finite numbers: the model has diverged")


@dataclass(frozen=True, slots=True)
class Head:
    """A linear head over standardised features: logits = (features - mean) / deviation @ weight + bias.

    `penalty` is what was chosen on the dev rows; None for the published form.
    """

    mean_D: Tensor
    deviation_D: Tensor
    weight_DC: Tensor
    bias_C: Tensor
    penalty: float | None

    def predict(self, features_ND: Features) -> Labels:
        """The class of each row (N,); the first of classes with equal logits."""
        logits_NC = _scaled(features_ND, self.mean_D, self.deviation_D) @ self.weight_DC + self.bias_C
        found: Labels = logits_NC.argmax(dim=1).numpy()
        return found


def fit_head(
    train: Labelled, dev: Labelled, classes: int, fit: Fit = "standardised", seed: int = 0,
    penalties: Sequence[float] = PENALTIES,
) -> Head:  # fmt: skip
    """A head fitted on `train`, with its penalty chosen on `dev`; the published form looks at neither dev nor penalty.

    `seed` orders the batches of the published form and nothing else. UserError without rows to train on, when a label
    is no class, or without dev rows to choose by.
    """
    for name, rows in (("train", train), ("dev", dev)):
        if len(rows.labels_N) and not 0 <= int(rows.labels_N.min()) <= int(rows.labels_N.max()) < classes:
            raise UserError(f"{name} labels run from {rows.labels_N.min()} to {rows.labels_N.max()}: give 0 to C - 1")
    if not len(train.labels_N):
        raise UserError("a linear probe needs rows to train on, got none: give the labelled set a train split")
    if fit == "published":
        return _published(train, classes, seed)
    if not len(dev.labels_N):
        raise UserError("the penalty of a linear probe is chosen on a dev split, and this has no row: give it some")
    mean_D, deviation_D = _moments(train.features_ND)
    inputs_ND, targets_N = _scaled(train.features_ND, mean_D, deviation_D), torch.from_numpy(train.labels_N)
    held_ND, held_N = _scaled(dev.features_ND, mean_D, deviation_D), torch.from_numpy(dev.labels_N)
    weight_DC = torch.zeros(inputs_ND.shape[1], classes, dtype=torch.float64)
    bias_C = torch.zeros(classes, dtype=torch.float64)
    best: tuple[float, Head] | None = None
    for penalty in sorted(penalties, reverse=True):
        weight_DC, bias_C = logistic(inputs_ND, targets_N, penalty, weight_DC, bias_C)
        loss = float(cross_entropy(held_ND @ weight_DC + bias_C, held_N))
        if best is None or loss < best[0]:
            best = loss, Head(mean_D, deviation_D, weight_DC, bias_C, penalty)
    assert best is not None  # there is at least one penalty
    return best[1]


def logistic(
    inputs_ND: Tensor, targets_N: Tensor, penalty: float, weight_DC: Tensor, bias_C: Tensor
) -> tuple[Tensor, Tensor]:
    """The minimum of mean cross-entropy + penalty / 2 x squared norm of the weight (the bias goes free), from a start.

    Returns a new weight (D, C) and bias (C,). Full-batch L-BFGS with a line search, at most 200 steps.
    """
    weight_DC, bias_C = weight_DC.clone().requires_grad_(True), bias_C.clone().requires_grad_(True)
    solver = torch.optim.LBFGS(
        [weight_DC, bias_C], max_iter=_STEPS, tolerance_grad=1e-7, tolerance_change=1e-10, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        solver.zero_grad()
        found = cross_entropy(inputs_ND @ weight_DC + bias_C, targets_N) + penalty / 2 * weight_DC.square().sum()
        found.backward()
        return found

    solver.step(loss)
    return weight_DC.detach(), bias_C.detach()


def _published(train: Labelled, classes: int, seed: int) -> Head:
    inputs_ND, targets_N = torch.from_numpy(train.features_ND), torch.from_numpy(train.labels_N)
    width = inputs_ND.shape[1]
    with drawing(seed):
        head = torch.nn.Linear(width, classes)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(head.parameters(), lr=PUBLISHED_RATE)
    steps = PUBLISHED_EPOCHS * -(-len(targets_N) // PUBLISHED_BATCH)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(PUBLISHED_EPOCHS):
        for chosen in torch.randperm(len(targets_N), generator=generator).split(PUBLISHED_BATCH):
            optimizer.zero_grad()
            cross_entropy(head(inputs_ND[chosen]), targets_N[chosen]).backward()
            optimizer.step()
            decay.step()
    plain = torch.zeros(width, dtype=torch.float64), torch.ones(width, dtype=torch.float64)
    return Head(*plain, head.weight.detach().double().T, head.bias.detach().double(), None)


def _moments(features_ND: Features) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature; one that never varies keeps its unit, so that it stays out of the way."""
    wide_ND = torch.from_numpy(features_ND).double()
    deviation_D = wide_ND.std(dim=0, correction=0)
    floor = 1e-9 * wide_ND.abs().amax(dim=0)  # what rounding alone makes of a constant
    return wide_ND.mean(dim=0), torch.where(deviation_D > floor, deviation_D, 1.0)


def _scaled(features_ND: Features, mean_D: Tensor, deviation_D: Tensor) -> Tensor:
    return (torch.from_numpy(features_ND).double() - mean_D) / deviation_D
