"""Stores made of given tokens or texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.tokens.shards import Store, StoreWriter

MakeStore = Callable[..., Store]


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """A function: documents as lists of ids -> a store of them. `hashes` and `groups` are 1000 + index unless given."""
    made = 0

    def make(
        documents: Sequence[Sequence[int]],
        dtype: str = "uint16",
        shard_tokens: int = 1 << 20,
        hashes: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
    ) -> Store:
        nonlocal made
        made += 1
        hashes = hashes or [1000 + index for index in range(len(documents))]
        ids: list[Any] = [np.array(document, dtype) for document in documents]
        with StoreWriter(tmp_path / f"store-{made}", np.dtype(dtype), shard_tokens) as writer:
            writer.add(ids, [3 * len(document) for document in documents], hashes, groups or hashes)
        return Store(tmp_path / f"store-{made}")

    return make


@pytest.fixture
def numbered() -> Callable[[int, int], list[list[int]]]:
    """A function: seed, count -> documents of 1 to 40 tokens, no token twice, so that each says where it comes from."""

    def documents(seed: int, count: int) -> list[list[int]]:
        lengths = np.random.default_rng(seed).integers(1, 41, count)
        ends = np.cumsum(lengths)
        return [list(range(end - length, end)) for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]

    return documents
