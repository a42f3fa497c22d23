"""The loss of a model on watch documents: nats and bytes per document, so that any total or interval follows.

A document longer than a row is scored in windows. Its first token is predicted only when the tokenizer puts BOS
before it; the bytes counted are all of the document's. Shapes: D documents, B rows, T positions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.tokens.order import Indices
from rewarm.tokens.packing import fit, pack
from rewarm.tokens.shards import Store
from rewarm.training.objective import Objective

SCORING_TOKENS = 8192


def document_losses(
    model: PreTrainedModel,
    store: Store,
    documents: Indices,
    seq_len: int,
    done: Callable[[int], None] = lambda tokens: None,
) -> DocumentLosses:
    """Losses of `documents` of a store, in their order; independent of batching and of each other."""
    objective = Objective(model)
    was_training = model.training
    model.eval()
    nats_D = np.zeros(len(documents), np.float64)
    tokens_D = np.zeros(len(documents), np.int64)
    rows = fit(store, documents, seq_len)
    per_batch = max(1, SCORING_TOKENS // seq_len)
    for at in range(0, len(rows), per_batch):
        chosen = rows[at : at + per_batch]
        batch = pack([[segment for _, segment in row] for row in chosen], seq_len)
        losses_BT = objective.token_losses(batch).double().cpu().numpy()
        has_target_BT = (batch.targets_BT >= 0).numpy()
        for row, pieces in enumerate(chosen):
            start = 0
            for document, segment in pieces:
                span = slice(start, start + segment.length)
                nats_D[document] += losses_BT[row, span].sum()
                tokens_D[document] += has_target_BT[row, span].sum()
                start += segment.length
        done(batch.num_targets)
    model.train(was_training)
    return DocumentLosses(nats_D=nats_D, bytes_D=np.asarray(store.bytes[documents], np.int64), tokens_D=tokens_D)


def save(losses: DocumentLosses, file: Path) -> None:
    """Writes per-document losses; the file appears only when complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("wb") as opened:
        np.savez(opened, nats=losses.nats_D, bytes=losses.bytes_D, tokens=losses.tokens_D)
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(file)


def load(file: Path) -> DocumentLosses:
    """Reads what `save` wrote."""
    with np.load(file, allow_pickle=False) as held:
        return DocumentLosses(nats_D=held["nats"], bytes_D=held["bytes"], tokens_D=held["tokens"])
