"""The loss of an encoder-decoder model on watch documents, with spans taken out that never change.

Of every document 15 % of the tokens, in spans of 3 on average, and at least one token, are taken out by the document's
hash: the same ones for every model, seed and plan. What is measured is the mean loss of these tokens, without that of
sentinels and the end of text, and it stands for all tokens of the document, so that nats per byte, intervals and deltas
are made as for other models. The numbers cannot be held against a causal or a masked model's: the decoder knows the
text on both sides of a span, and its beginning.

Shapes: D documents, B rows, T positions that the decoder writes, X ids of a document.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.passes import batch_tokens, length_batches
from rewarm.hashing import seed_of
from rewarm.objectives.probing import evaluating
from rewarm.objectives.span_loss import SpanLoss
from rewarm.tokens.order import Indices
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.shards import Store
from rewarm.tokens.spans import Example, Spans, lay

RATE, MEAN_LENGTH = 0.15, 3.0
MEASURE = ("span loss", 1, RATE, MEAN_LENGTH)
"""What names these numbers where they are kept: raise the version whenever the same model would get others."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A stretch of a document that is read at once."""

    document: int
    tokens: int
    example: Example


def span_losses(
    model: PreTrainedModel,
    store: Store,
    documents: Indices,
    seq_len: int,
    spans: Spans,
    done: Callable[[int], None] = lambda tokens: None,
) -> DocumentLosses:
    """Losses of `documents` of a store, in their order; independent of batching, of each other and of the rate and
    mean length of `spans`.

    `nats_D` is the mean over tokens taken out times `tokens_D`, all tokens of the text.
    """
    objective, spans = SpanLoss(model), dataclasses.replace(spans, rate=RATE, mean_length=MEAN_LENGTH)
    nats_D, asked_D, tokens_D = (np.zeros(len(documents)) for _ in range(3))
    pieces: list[_Window] = []
    for index, document in enumerate(documents):
        text = spans.text(store.ids(document))
        tokens_D[index] = text.stop - text.start
        pieces += _windows(index, store, document, min(seq_len, spans.longest), spans)
    pieces.sort(key=lambda piece: -len(piece.example[0]))
    marks = np.array([*spans.sentinels, spans.closing, NO_TARGET])
    with evaluating(model):
        for start, end in length_batches([len(piece.example[0]) for piece in pieces], batch_tokens(model)):
            chosen = pieces[start:end]
            batch = lay([[piece.example] for piece in chosen])
            is_text_BT = ~np.isin(batch.targets_BT.numpy(), marks)
            losses_BT = objective.token_losses(batch).double().cpu().numpy()
            owners = [piece.document for piece in chosen]
            np.add.at(nats_D, owners, (losses_BT * is_text_BT).sum(axis=1))
            np.add.at(asked_D, owners, is_text_BT.sum(axis=1))
            done(sum(piece.tokens for piece in chosen))
    return DocumentLosses(
        nats_D=nats_D * tokens_D / np.maximum(1, asked_D),
        bytes_D=np.asarray(store.bytes[documents], np.int64),
        tokens_D=tokens_D.astype(np.int64),
    )


def _windows(index: int, store: Store, document: int, length: int, spans: Spans) -> Iterator[_Window]:
    """The windows of a document that have a token of text; `length` is what there are sentinels for."""
    ids_X, seed = store.ids(document), seed_of(int(store.hashes[document]), "watched")
    for start in range(0, len(ids_X), length):
        part_X = ids_X[start : start + length]
        example = spans.example(part_X, seed_of(seed, start))
        if example is not None:
            yield _Window(index, len(part_X), example)
