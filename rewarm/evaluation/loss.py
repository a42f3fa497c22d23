"""The loss of a model on watch documents: nats and bytes per document, so that any total or interval follows.

A document longer than a row is scored in windows. Its first token is predicted only when the tokenizer puts BOS
before it; the bytes counted are all of the document's. Every window is a row of its own beside others of nearly its
length: attention then needs no mask, and costs what the windows' own lengths ask for.

Shapes: D documents, B rows, T positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from rewarm.evaluation.arrays import write_arrays
from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.passes import batch_tokens, length_batches
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.tokens.order import Indices, Segment
from rewarm.tokens.packing import NO_TARGET, pack, windows
from rewarm.tokens.shards import Store
from rewarm.types import Batch


def document_losses(
    model: PreTrainedModel,
    store: Store,
    documents: Indices,
    seq_len: int,
    done: Callable[[int], None] = lambda tokens: None,
) -> DocumentLosses:
    """Losses of `documents` of a store, in their order; independent of batching and of each other."""
    objective = PackedLoss(model)
    was_training = model.training
    model.eval()
    nats_D = np.zeros(len(documents), np.float64)
    tokens_D = np.zeros(len(documents), np.int64)
    pieces = [
        (index, window) for index, document in enumerate(documents) for window in windows(store, document, seq_len)
    ]
    pieces.sort(key=lambda piece: -piece[1].length)
    for start, end in length_batches([window.length for _, window in pieces], batch_tokens(model)):
        batch = _rows([window for _, window in pieces[start:end]])
        losses_BT = objective.token_losses(batch).double().cpu()
        owners_B = [index for index, _ in pieces[start:end]]
        np.add.at(nats_D, owners_B, losses_BT.sum(dim=1).numpy())
        np.add.at(tokens_D, owners_B, (batch.targets_BT != NO_TARGET).sum(dim=1).numpy())
        done(batch.num_targets)
    model.train(was_training)
    return DocumentLosses(nats_D=nats_D, bytes_D=np.asarray(store.bytes[documents], np.int64), tokens_D=tokens_D)


def _rows(segments: Sequence[Segment]) -> Batch:
    """One window per row. Positions go on through the padding behind it, so that a row is one document to the model."""
    packed = pack([[segment] for segment in segments], segments[0].length)
    positions_BT = torch.arange(segments[0].length).expand_as(packed.positions_BT)
    return dataclasses.replace(packed, positions_BT=positions_BT.contiguous())


def save(losses: DocumentLosses, file: Path) -> None:
    """Writes per-document losses; the file appears only when complete. StorageError when the disk refuses."""
    write_arrays(file, {"nats": losses.nats_D, "bytes": losses.bytes_D, "tokens": losses.tokens_D})


def load(file: Path) -> DocumentLosses:
    """Reads what `save` wrote."""
    with np.load(file, allow_pickle=False) as held:
        return DocumentLosses(nats_D=held["nats"], bytes_D=held["bytes"], tokens_D=held["tokens"])
