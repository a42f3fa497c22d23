"""Which tokens of a row are hidden from a masked language model, and what stands in their places.

Nothing is drawn: every choice is a hash of the place in the row and a seed, so that a row found again is masked again
in the same places, and another row, or the same text in a later epoch, in others.

Shapes: B rows, T positions, V ids of the vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarm.hashing import fraction, seed_of
from rewarm.tokens.loader import StageRows
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import Batch, UserError

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Masking:
    """Every token but special ones is hidden with `probability`: a share `replace` of those hidden becomes the mask
    token, `random` another token of the vocabulary, and the rest stays as it is; all of them are to be predicted."""

    mask_id: int
    is_special_V: NDArray[np.bool_]
    probability: float = 0.15
    replace: float = 0.8
    random: float = 0.1

    @classmethod
    def of(
        cls, tokenizer: TextTokenizer, probability: float = 0.15, replace: float = 0.8, random: float = 0.1
    ) -> Masking:
        """With a tokenizer's mask and special tokens. UserError when it has no mask token."""
        if tokenizer.mask_id is None:
            raise UserError(
                "a masked objective hides tokens behind a mask token, and the tokenizer names none. Take the tokenizer "
                "that a masked model (BERT, RoBERTa) was trained with, or name one of its tokens as mask_token in "
                "tokenizer_config.json; a decoder is trained with objective: causal"
            )
        is_special_V = np.zeros(tokenizer.vocab_size, bool)
        is_special_V[list(tokenizer.special_ids)] = True
        return cls(tokenizer.mask_id, is_special_V, probability, replace, random)

    def asked(self, ids_T: NDArray[Any], seed: int) -> NDArray[np.bool_]:
        """Which tokens (T,) are hidden under a seed."""
        hidden_T: NDArray[np.bool_] = self._draw(len(ids_T), seed, "hidden") < self.probability
        hidden_T &= ~self.is_special_V[ids_T]
        return hidden_T

    def masked(self, ids_T: NDArray[Any], seed: int) -> tuple[Ids, Ids]:
        """What the model reads (T,), and what it is to predict there (T,): NO_TARGET where nothing is hidden."""
        ids_T = ids_T.astype(np.int64)
        hidden_T = self.asked(ids_T, seed)
        way_T = self._draw(len(ids_T), seed, "way")
        ordinary = np.flatnonzero(~self.is_special_V)
        other_T = ordinary[(self._draw(len(ids_T), seed, "other") * len(ordinary)).astype(np.int64)]
        read_T = np.where(hidden_T & (way_T < self.replace), self.mask_id, ids_T)
        swapped_T = hidden_T & (way_T >= self.replace) & (way_T < self.replace + self.random)
        return np.where(swapped_T, other_T, read_T), np.where(hidden_T, ids_T, NO_TARGET)

    @staticmethod
    def _draw(count: int, seed: int, what: str) -> NDArray[np.float64]:
        """Numbers in [0, 1), one for each place."""
        return fraction(np.arange(count, dtype=np.uint64), seed_of(seed, what))


@dataclass(frozen=True)
class MaskedRows(StageRows):
    """The rows of a stage, packed as for any model, with tokens hidden.

    A row is masked by the seed, its corpus and its number in the corpus's endless stream: the same for every cut into
    micro-batches, another one whenever the text comes again.
    """

    masking: Masking
    seed: int

    def batches(self, step: int, counts: NDArray[np.int64] | None = None) -> list[Batch]:
        """The micro-batches of a step; `counts` are the rows drawn before it, if known."""
        counts = self.counts_before(step) if counts is None else counts
        seeds = iter(self._seeds(step, counts))
        return [self._hidden(batch, [next(seeds) for _ in batch.tokens_BT]) for batch in super().batches(step, counts)]

    def _seeds(self, step: int, counts: NDArray[np.int64]) -> list[int]:
        """A seed for every row of the step, in its order."""
        taken = counts.copy()
        found = []
        for number in self.source_SR[step]:
            source = self.sources[number]
            found.append(seed_of(self.seed, "masked", source.name, source.first_row + int(taken[number])))
            taken[number] += 1
        return found

    def _hidden(self, batch: Batch, seeds: Sequence[int]) -> Batch:
        made = [self.masking.masked(ids_T, seed) for ids_T, seed in zip(batch.tokens_BT.numpy(), seeds, strict=True)]
        tokens_BT, targets_BT = (np.stack(part) for part in zip(*made, strict=True))
        return dataclasses.replace(
            batch,
            tokens_BT=torch.from_numpy(tokens_BT),
            targets_BT=torch.from_numpy(targets_BT),
            num_targets=int((targets_BT != NO_TARGET).sum()),
        )
