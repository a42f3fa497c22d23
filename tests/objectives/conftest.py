"""What a leg begins with, for each kind of text that an objective reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.objectives import Beginning
from rewarm.tokens.loader import Source
from rewarm.tokens.order import DocumentStream
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.tokens.tokenizer import TextTokenizer

LENGTH, STEPS, ROWS = 24, 6, 8


@pytest.fixture
def begin(tmp_path: Path, middle_tokenizer_folder: Path) -> Callable[..., Beginning]:
    """A function: model, micro_rows=8, first_row=0, steps=6, tokenizer=one of a model of code -> a leg that begins with
    forty pairs of documents, of which the second half is learned (an answer), and the model as it was before."""
    source = np.random.default_rng(0)
    with StoreWriter(tmp_path / "store", np.dtype(np.uint16)) as writer:
        for number in range(40):
            prompt = source.integers(3, 400, source.integers(3, 9))
            for side in (0, 1):
                ids = np.concatenate([prompt, source.integers(3, 400, source.integers(1, 8))])
                sizes, keys = np.array([len(ids)]), np.array([2 * number + side + 1], np.uint64)
                learned = (np.arange(len(ids)) >= len(prompt), sizes)
                writer.add_flat(ids.astype(np.uint16), sizes, sizes, keys, keys, learned)
    store = Store(tmp_path / "store")

    def make(
        model: Any, micro_rows: int = ROWS, first_row: int = 0, steps: int = STEPS,
        tokenizer: Path = middle_tokenizer_folder,
    ) -> Beginning:  # fmt: skip
        stream = DocumentStream(store, np.arange(store.documents), 0, "pairs")
        return Beginning(
            sources=[Source("pairs", stream, first_row)], source_SR=np.zeros((steps, ROWS), np.uint8), seq_len=LENGTH,
            micro_rows=micro_rows, seed=3, precision=torch.float32, before=lambda: model, kept=tmp_path / "references",
            tokenizer=TextTokenizer(tokenizer),
        )  # fmt: skip

    return make
