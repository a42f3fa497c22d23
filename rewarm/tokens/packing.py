"""Segments -> Batch: rows filled to the last position, attention and positions inside documents.

Shapes: B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rewarm.tokens.order import Segment
from rewarm.tokens.shards import Store
from rewarm.types import Batch

NO_TARGET = -100


def pack(rows: Sequence[Sequence[Segment]], length: int, sources: Sequence[int] = (), padding: int = 0) -> Batch:
    """A batch of rows (B, T) from the corpora numbered by `sources`.

    Positions after the last segment hold `padding`, have no target and stand alone.
    """
    tokens_BT = np.full((len(rows), length), padding, np.int64)
    targets_BT = np.full((len(rows), length), NO_TARGET, np.int64)
    positions_BT = np.zeros((len(rows), length), np.int64)
    for row, segments in enumerate(rows):
        at = 0
        for segment in segments:
            end = at + segment.length
            tokens_BT[row, at:end] = segment.ids[: segment.length]
            targets = segment.ids[1 : segment.length + 1]
            if segment.learned is not None:
                targets = np.where(segment.learned[1 : segment.length + 1], targets.astype(np.int64), NO_TARGET)
            targets_BT[row, at : at + len(targets)] = targets
            positions_BT[row, at:end] = np.arange(segment.length)
            at = end
        positions_BT[row, at:] = 0
    return Batch(
        torch.from_numpy(tokens_BT),
        torch.from_numpy(targets_BT),
        torch.from_numpy(positions_BT),
        int((targets_BT != NO_TARGET).sum()),
        tuple(sources),
    )


def windows(store: Store, document: int, length: int) -> list[Segment]:
    """A document cut into windows of at most `length` tokens; each token but the first is in one window a target, if it
    is learned."""
    whole = len(store.ids(document))
    return [Segment.of(store, document, start, min(length, whole - start)) for start in range(0, whole, length)]
