"""The loss of a masked model on watch documents, under a mask that never changes.

Of every document about 15 % of the tokens, but at least one, are hidden behind mask tokens, chosen by the document's
hash: the same ones for every model, seed and plan. Their mean loss stands for all tokens of the document but special
ones, so that nats per byte, intervals and deltas are made as for other models. The numbers cannot be held against a
causal model's: a hidden token is predicted with most of its text on both sides known.

Shapes: D documents, B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.passes import batch_tokens, length_batches
from rewarm.hashing import fraction, seed_of
from rewarm.objectives.masked_loss import MaskedLoss
from rewarm.objectives.probing import evaluating
from rewarm.tokens.masking import Masking
from rewarm.tokens.order import Indices
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.shards import Store
from rewarm.types import Batch

SHARE = 0.15
MEASURE = ("masked loss", 1, SHARE)
"""What names these numbers where they are kept: raise the version whenever the same model would get others."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A stretch of a document that is read at once."""

    document: int
    tokens_T: NDArray[np.int64]
    targets_T: NDArray[np.int64]


def masked_losses(
    model: PreTrainedModel,
    store: Store,
    documents: Indices,
    seq_len: int,
    masking: Masking,
    done: Callable[[int], None] = lambda tokens: None,
) -> DocumentLosses:
    """Losses of `documents` of a store, in their order; independent of batching and of each other.

    `nats_D` is the mean over hidden tokens times `tokens_D`, all tokens but special ones.
    """
    objective = MaskedLoss(model)
    nats_D, asked_D, tokens_D = (np.zeros(len(documents)) for _ in range(3))
    pieces: list[_Window] = []
    for index, document in enumerate(documents):
        ids_T = store.ids(document)
        tokens_D[index] = int((~masking.is_special_V[ids_T]).sum())
        pieces += _windows(index, ids_T, hidden(masking, ids_T, int(store.hashes[document])), masking.mask_id, seq_len)
    pieces.sort(key=lambda piece: -len(piece.tokens_T))
    with evaluating(model):
        for start, end in length_batches([len(piece.tokens_T) for piece in pieces], batch_tokens(model)):
            chosen = pieces[start:end]
            losses_B = objective.token_losses(_batch(chosen)).double().sum(dim=1).cpu().numpy()
            owners = [piece.document for piece in chosen]
            np.add.at(nats_D, owners, losses_B)
            np.add.at(asked_D, owners, [(piece.targets_T != NO_TARGET).sum() for piece in chosen])
            done(sum(len(piece.tokens_T) for piece in chosen))
    return DocumentLosses(
        nats_D=nats_D * tokens_D / np.maximum(1, asked_D),
        bytes_D=np.asarray(store.bytes[documents], np.int64),
        tokens_D=tokens_D.astype(np.int64),
    )


def hidden(masking: Masking, ids_T: NDArray[Any], key: int) -> NDArray[np.bool_]:
    """Which tokens (T,) of the document with that hash are hidden: a fixed share, or else the first in their order."""
    draw_T = fraction(np.arange(len(ids_T), dtype=np.uint64), seed_of(key, "watched"))
    draw_T[masking.is_special_V[ids_T]] = 1.0
    found: NDArray[np.bool_] = draw_T < max(SHARE, float(draw_T.min(initial=1.0)) + 1e-12)
    return found & (draw_T < 1.0)


def _windows(
    index: int, ids_T: NDArray[Any], hidden_T: NDArray[np.bool_], mask_id: int, seq_len: int
) -> Iterator[_Window]:
    """The windows of a document in which something is hidden."""
    tokens_T = np.where(hidden_T, mask_id, ids_T.astype(np.int64))
    targets_T = np.where(hidden_T, ids_T.astype(np.int64), NO_TARGET)
    for start in range(0, len(ids_T), seq_len):
        if hidden_T[start : start + seq_len].any():
            yield _Window(index, tokens_T[start : start + seq_len], targets_T[start : start + seq_len])


def _batch(pieces: list[_Window]) -> Batch:
    """One window per row, filled up to the first's length."""
    shape = (len(pieces), len(pieces[0].tokens_T))
    tokens_BT, positions_BT = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    targets_BT = np.full(shape, NO_TARGET, np.int64)
    for row, piece in enumerate(pieces):
        length = len(piece.tokens_T)
        tokens_BT[row, :length] = piece.tokens_T
        targets_BT[row, :length] = piece.targets_T
        positions_BT[row, :length] = np.arange(length)
    tokens, targets, positions = (torch.from_numpy(part) for part in (tokens_BT, targets_BT, positions_BT))
    return Batch(tokens, targets, positions, int((targets_BT != NO_TARGET).sum()))
