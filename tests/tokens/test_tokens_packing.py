"""Rows: what stands where, what follows what, and that nothing is lost between documents, windows and padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rewarm.tokens.order import Segment
from rewarm.tokens.packing import NO_TARGET, pack, windows


def segment(*ids: int, length: int | None = None) -> Segment:
    return Segment(np.array(ids, np.uint16), len(ids) if length is None else length)


def test_a_row_by_hand() -> None:
    """A whole document, one cut by the end of the row, and a row that begins inside it and ends in padding."""
    batch = pack([[segment(5, 6, 7), segment(8, 9, 10, length=2)], [segment(10, 1)]], 5, padding=3)
    assert batch.tokens_BT.tolist() == [[5, 6, 7, 8, 9], [10, 1, 3, 3, 3]]
    assert batch.targets_BT.tolist() == [[6, 7, -100, 9, 10], [1, -100, -100, -100, -100]]
    assert batch.positions_BT.tolist() == [[0, 1, 2, 0, 1], [0, 1, 0, 0, 0]]
    assert batch.num_targets == 5
    assert {tensor.dtype for tensor in (batch.tokens_BT, batch.targets_BT, batch.positions_BT)} == {torch.int64}


def test_documents_of_one_token_have_no_target() -> None:
    batch = pack([[segment(4), segment(5), segment(6)]], 3)
    assert batch.targets_BT.tolist() == [[NO_TARGET] * 3]
    assert batch.positions_BT.tolist() == [[0, 0, 0]]
    assert batch.num_targets == 0


def test_ids_above_16_bits_are_kept() -> None:
    batch = pack([[Segment(np.array([2**31, 2**32 - 1], np.uint32), 2)]], 2)
    assert batch.tokens_BT.tolist() == [[2**31, 2**32 - 1]]
    assert batch.targets_BT.tolist() == [[2**32 - 1, NO_TARGET]]


@pytest.mark.parametrize("length", [1, 2, 5, 8, 40, 100])
def test_windows_predict_every_token_but_the_first_once(make_store: Any, numbered: Any, length: int) -> None:
    documents = numbered(0, 30)
    store = make_store(documents)
    for index, document in enumerate(documents):
        pieces = windows(store, index, length)
        assert [token for piece in pieces for token in piece.ids[: piece.length].tolist()] == document
        assert [token for piece in pieces for token in piece.ids[1 : piece.length + 1].tolist()] == document[1:]
        assert all(0 < piece.length <= length for piece in pieces)
