"""How alike the layers of two models are: minibatch linear CKA (Kornblith et al. 1905.00414; Nguyen et al. 2010.15327).

A row is a text, as the mean over its tokens of a layer's states (pooling is ours; flattened padded rows would count
the padding). In a batch of B texts the Gram matrices K = X X' and L = Y Y' lose their diagonal, and

    HSIC(K, L) = 1 / (B (B - 3)) x [tr(K L) + 1'K1 x 1'L1 / ((B - 1)(B - 2)) - 2 / (B - 2) x 1'K L1]

is unbiased (Song et al. 2012), so that its mean over batches does not depend on the size of a batch. Then
CKA = HSIC(K, L) / sqrt(HSIC(K, K) x HSIC(L, L)), from the three means. 1: the same up to rotation and scale; about 0:
unrelated. Cossu et al. (2205.09357) read it layer by layer, the model against the one that training began with.

CKA is ruled by the directions of largest variance: a small change that a task depends on may leave it at 1.

Shapes: B texts of a batch, D width, N batches, L layers (the embeddings first), R resamples; 3: KL, KK, LL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.evaluation.layer_states import Ids, layer_means, layer_names
from rewarm.types import UserError

FEWEST = 4
"""Texts of a batch: with three, the unbiased estimate is not defined."""
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Similarity:
    """CKA of every layer of one model with the layer at the same depth of another, kept batch by batch.

    `names` are the first model's layers; `hsic_NL3` holds HSIC(K, L), HSIC(K, K) and HSIC(L, L) of each batch.
    """

    names: tuple[str, ...]
    hsic_NL3: Values

    @property
    def cka_L(self) -> Values:
        """CKA of each layer over all batches; NaN where states do not vary."""
        return _ratio(self.hsic_NL3.mean(axis=0))

    @property
    def by_batch_NL(self) -> Values:
        """CKA of each batch alone (N, L): noisier, and above 1 at times. NaN where states do not vary."""
        return _ratio(self.hsic_NL3)

    def interval(self, resamples: int = 2000, seed: int = 0, confidence: float = 0.95) -> tuple[Values, Values]:
        """Bounds (L,) of each layer's CKA: percentile bootstrap over batches; infinite with one batch."""
        batches = len(self.hsic_NL3)
        if batches < 2:
            return np.full(len(self.names), -np.inf), np.full(len(self.names), np.inf)
        drawn_RN = np.random.default_rng(seed).integers(0, batches, size=(resamples, batches))
        found_RL = np.stack([_ratio(self.hsic_NL3[drawn_N].mean(axis=0)) for drawn_N in drawn_RN])
        tail = (1 - confidence) / 2
        low_L, high_L = np.quantile(found_RL, [tail, 1 - tail], axis=0)
        return low_L, high_L


def _ratio(hsic_X3: Values) -> Values:
    product_X = hsic_X3[..., 1] * hsic_X3[..., 2]
    positive = (hsic_X3[..., 1] > 0) & (hsic_X3[..., 2] > 0)
    return np.where(positive, hsic_X3[..., 0] / np.sqrt(np.where(positive, product_X, 1.0)), np.nan)


def hsic(first_BB: Tensor, second_BB: Tensor) -> float:
    """The unbiased HSIC of two Gram matrices, whose diagonals are not looked at. UserError below 4 texts."""
    count = len(first_BB)
    if count < FEWEST:
        raise UserError(f"CKA needs batches of at least {FEWEST} texts, got {count}: give more text or fewer batches")
    first_BB, second_BB = (gram_BB - torch.diag(gram_BB.diagonal()) for gram_BB in (first_BB, second_BB))
    trace = float((first_BB * second_BB).sum())
    sums = float(first_BB.sum() * second_BB.sum()) / ((count - 1) * (count - 2))
    cross = 2 * float(first_BB.sum(dim=0) @ second_BB.sum(dim=0)) / (count - 2)
    return (trace + sums - cross) / (count * (count - 3))


def batch_hsic(first_BD: Tensor, second_BD: Tensor) -> tuple[float, float, float]:
    """HSIC(K, L), HSIC(K, K), HSIC(L, L) of two models' states of the same texts, in float64; widths may differ."""
    first_BD, second_BD = _centred(first_BD.double()), _centred(second_BD.double())
    first_BB, second_BB = first_BD @ first_BD.T, second_BD @ second_BD.T
    return hsic(first_BB, second_BB), hsic(first_BB, first_BB), hsic(second_BB, second_BB)


def _centred(states_BD: Tensor) -> Tensor:
    """Around their mean, so that it does not drown what varies (the unbiased HSIC is the same); 0 if nothing does."""
    centred_BD = states_BD - states_BD.mean(dim=0)
    varies = bool(centred_BD.norm() > 1e-9 * states_BD.norm())  # less is what rounding makes of a constant
    return centred_BD if varies else torch.zeros_like(centred_BD)


def same_depth(first: int, second: int) -> list[int]:
    """For each of the first model's states (embeddings and layers), the second model's at the same relative depth.

    That is the layer itself when both have as many; a model that was expanded by blocks has more.
    """
    return [round(number * (second - 1) / max(1, first - 1)) for number in range(first)]


def similarity(
    first: PreTrainedModel,
    second: PreTrainedModel,
    batches: Iterable[Sequence[Ids]],
    precision: torch.dtype = torch.float32,
    done: Callable[[int], None] = lambda texts: None,
) -> Similarity:
    """CKA of two models over batches of texts as token ids, which both models read with the same vocabulary.

    UserError without a batch, or when a batch holds fewer than 4 texts. Memory holds one batch's means.
    """
    names = layer_names(first)
    places = same_depth(len(names), len(layer_names(second)))
    found = []
    for rows in batches:
        first_LBD, second_LBD = (layer_means(model, rows, precision) for model in (first, second))
        found.append([batch_hsic(first_LBD[layer], second_LBD[place]) for layer, place in enumerate(places)])
        done(len(rows))
    if not found:
        raise UserError("CKA needs at least one batch of texts, got none: give more text")
    return Similarity(tuple(names), np.array(found, np.float64))
