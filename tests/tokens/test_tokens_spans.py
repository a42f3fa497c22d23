"""Spans that are taken out: as many as asked for, put back they give the text, and the same ones again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.order import DocumentStream
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.tokens.spans import SpanBatch, SpanRows, Spans, lay
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

LENGTH, STEPS, ROWS = 32, 12, 4
MARKS = tuple(range(1000, 1100))
END = 1
SPANS = Spans(MARKS, (), END)


def put_back(read_S: Any, written_T: Any, marks: tuple[int, ...] = MARKS) -> list[int]:
    """The text of an example, its end included: each sentinel replaced by what stands behind it in the target."""
    parts: dict[int, list[int]] = {}
    current: list[int] = []
    for one in written_T.tolist():
        if one in marks:
            current = parts.setdefault(one, [])
        else:
            current.append(one)
    return [token for one in read_S.tolist() for token in (parts[one] if one in marks else [one])]


# One document


@given(
    length=st.integers(1, 300), seed=st.integers(0, 2**60), rate=st.floats(0.01, 0.99), mean=st.floats(1, 20),
    opened=st.booleans(), closed=st.booleans(),
)  # fmt: skip
def test_spans_put_back_give_the_document(
    length: int, seed: int, rate: float, mean: float, opened: bool, closed: bool
) -> None:
    spans = Spans(tuple(range(1000, 2000)), (0,), END, rate, mean)
    text = (10 + np.arange(length) % 50).astype(np.uint16)
    ids = np.concatenate([[0] * opened, text, [END] * closed]).astype(np.uint16)
    example = spans.example(ids, seed)
    assert example is not None
    read_S, written_T = example
    assert put_back(read_S, written_T, spans.sentinels) == [*ids.tolist(), *([] if closed else [END])]
    taken, count = spans.counts(length)
    used = [one for one in written_T.tolist() if one >= 1000]
    assert used == list(range(1000, 1000 + count + 1))
    assert [one for one in read_S.tolist() if one >= 1000] == used[:-1]
    assert written_T[0] == 1000
    assert written_T[-2:].tolist() == [used[-1], END]
    assert len(written_T) == taken + count + 2
    assert length == 1 or len(read_S) > 1 + opened + count
    neighbours = read_S[1:][(read_S[1:] >= 1000) & (read_S[:-1] >= 1000)]
    assert not len(neighbours)


def test_the_numbers_are_those_of_the_paper() -> None:
    # Of 568 tokens 15 % are 85, in 28 spans: T5 reads 568 - 85 + 28 and the end, 512 in all, and writes 85 + 28 and the
    # end, 114 in all; here one sentinel more.
    assert SPANS.counts(568) == (85, 28)
    example = SPANS.example(np.arange(10, 578), 0)
    assert example is not None
    assert [len(part) for part in example] == [512, 115]
    assert SPANS.counts(2) == (1, 1)
    assert SPANS.counts(1) == (1, 1)
    assert Spans(MARKS, (), END, 0.9, 1.0).counts(10) == (9, 2)


def test_every_place_is_taken_out_alike() -> None:
    hits = np.zeros(40)
    for seed in range(1500):
        example = SPANS.example(np.arange(10, 50), seed)
        assert example is not None
        hits[[one - 10 for one in example[1].tolist() if 10 <= one < 50]] += 1
    # 6 of 40 in 2 spans: 225 of 1,500 at each place, with a standard deviation of 14; fewer at the ends.
    assert hits.sum() == 9000
    assert hits[5:35].min() > 160
    assert hits[5:35].max() < 290
    assert hits[[0, -1]].min() > 30


def test_a_text_without_tokens_is_no_example() -> None:
    spans = Spans(MARKS, (0,), END)
    assert spans.example(np.array([0, END]), 3) is None
    assert spans.example(np.array([END]), 3) is None
    assert spans.example(np.array([0]), 3) is None


# Tokenizers


def test_sentinels_are_found_by_either_name(sentinel_tokenizer_folder: Path, tmp_path: Path) -> None:
    own = TextTokenizer(sentinel_tokenizer_folder)
    found = Spans.of(own, 0.2, 4)
    assert found == Spans(tuple(range(3, 103)), (), 1, 0.2, 4)
    assert found.longest == 98 * 4 / 0.2
    text = (sentinel_tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(text.replace("<extra_id_", "▁<extra_id_"), encoding="utf-8")
    config = (sentinel_tokenizer_folder / "tokenizer_config.json").read_text(encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(config, encoding="utf-8")
    assert Spans.of(TextTokenizer(tmp_path)).sentinels == found.sentinels


def test_a_tokenizer_of_encoder_decoders_closes_texts_and_opens_none(sentinel_tokenizer_folder: Path) -> None:
    from transformers import AutoTokenizer

    own, used = TextTokenizer(sentinel_tokenizer_folder), AutoTokenizer.from_pretrained(sentinel_tokenizer_folder)
    assert own.prefix == ()
    assert used("ba kelo")["input_ids"] == own.encode(["ba kelo"])[0].tolist()
    assert used.convert_tokens_to_ids("<extra_id_99>") == 102
    assert used.pad_token_id == own.pad_id == 2
    assert not set(own.encode(["a <extra_id_0> b"])[0].tolist()) & set(range(3, 103))


def test_a_tokenizer_as_t5s_is_read_as_it_is(tmp_path: Path) -> None:
    from transformers.models.t5.tokenization_t5 import T5Tokenizer

    letters = [("▁", -2.0), *((letter, -3.0) for letter in "abcd"), *((f"▁{letter}", -2.5) for letter in "abcd")]
    used = T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters], extra_ids=100)
    used.save_pretrained(tmp_path / "t5")
    own = TextTokenizer(tmp_path / "t5")
    found = Spans.of(own)
    assert list(found.sentinels) == [used.convert_tokens_to_ids(f"<extra_id_{place}>") for place in range(100)]
    assert (found.opening, found.closing, own.pad_id) == ((), 1, 0)
    assert own.encode(["ab cd"])[0].tolist() == used("ab cd")["input_ids"]
    assert not set(own.encode(["a <extra_id_0> b"])[0].tolist()) & set(found.sentinels)


def test_a_tokenizer_without_sentinels_is_refused(tiny_tokenizer_folder: Path) -> None:
    with pytest.raises(UserError, match=r"has 0 of them \(<extra_id_0>.*Take the tokenizer that the model \(T5"):
        Spans.of(TextTokenizer(tiny_tokenizer_folder))


def test_documents_that_need_more_sentinels_are_refused() -> None:
    SPANS.check(1960)
    assert SPANS.counts(SPANS.longest)[1] + 1 <= 100
    with pytest.raises(
        UserError, match=r"seq_len 4096.*100 sentinels\. Set seq_len to 1960 or less, or mean_length to 6\.3"
    ):
        SPANS.check(4096)
    Spans(MARKS, (), END, 0.15, 6.3).check(4096)


# Rows of a stage


@pytest.fixture
def plain(tmp_path: Path) -> StageRows:
    """Rows of ten documents of 5 to 29 tokens, gone through several times, and one of a single token."""
    source = np.random.default_rng(0)
    with StoreWriter(tmp_path / "store", np.dtype(np.uint16)) as writer:
        for number, length in enumerate([*source.integers(5, 30, 10).tolist(), 1]):
            ids = np.array([*source.integers(10, 400, length), END], np.uint16)
            writer.add([ids], [len(ids)], [number + 1], [number + 1])
    store = Store(tmp_path / "store")
    stream = DocumentStream(store, np.arange(store.documents), 0, "text")
    return StageRows([Source("text", stream)], np.zeros((STEPS, ROWS), np.uint8), LENGTH, ROWS)


def rows_of(plain: StageRows, seed: int = 3, micro_rows: int = ROWS, first_row: int = 0) -> SpanRows:
    source = Source("text", plain.sources[0].stream, first_row)
    return SpanRows([source], plain.source_SR, LENGTH, micro_rows, SPANS, seed)


def documents(ids_BX: torch.Tensor, places_BX: torch.Tensor, padding: int) -> list[list[Any]]:
    """The ids of each document of each row."""
    found = []
    for ids_X, places_X in zip(ids_BX.numpy(), places_BX.numpy(), strict=True):
        ids_X, places_X = ids_X[ids_X != padding], places_X[ids_X != padding]
        found.append(np.split(ids_X, np.flatnonzero(places_X == 0)[1:]))
    return found


def test_rows_hold_the_text_of_the_stream(plain: StageRows) -> None:
    rows = rows_of(plain)
    for step in range(STEPS):
        (batch,) = rows.batches(step)
        assert isinstance(batch, SpanBatch)
        assert batch.written_BT is not None
        read = documents(batch.tokens_BT, batch.positions_BT, 0)
        written = documents(batch.targets_BT, batch.written_BT, NO_TARGET)
        assert batch.num_targets == sum(len(one) for row in written for one in row)
        for number, (one, other) in enumerate(zip(read, written, strict=True)):
            pieces = [piece.ids[: piece.length] for piece in rows.row(rows.sources[0], step * ROWS + number)]
            wanted = [[*piece.tolist(), *([] if piece[-1] == END else [END])] for piece in pieces]
            # A piece of one token, with or without its end, is too short.
            assert list(map(put_back, one, other)) == [piece for piece in wanted if len(piece) > 2]


def test_spans_do_not_depend_on_micro_batches_and_are_found_again(plain: StageRows) -> None:
    whole, cut = rows_of(plain), rows_of(plain, micro_rows=1)
    for step, (batch,) in enumerate(whole.iterate(0)):
        assert torch.equal(batch.tokens_BT, whole.batches(step)[0].tokens_BT)
        parts = cut.batches(step)
        assert len(parts) == ROWS
        assert sum(part.num_targets for part in parts) == batch.num_targets
        for row, part in enumerate(parts):
            width = part.targets_BT.shape[1]
            assert torch.equal(part.targets_BT[0], batch.targets_BT[row, :width])
            assert (batch.targets_BT[row, width:] == NO_TARGET).all()
    later = rows_of(plain, first_row=3 * ROWS)
    assert torch.equal(later.batches(2)[0].tokens_BT, whole.batches(5)[0].tokens_BT)


def test_another_epoch_and_another_seed_take_out_others(plain: StageRows) -> None:
    tokens = plain.sources[0].stream.tokens
    rows, other = rows_of(plain), rows_of(plain, seed=4)
    assert not torch.equal(rows.batches(0)[0].tokens_BT, other.batches(0)[0].tokens_BT)
    asked: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for step in range(STEPS):
        (batch,) = rows.batches(step)
        assert isinstance(batch, SpanBatch)
        assert batch.written_BT is not None
        read = documents(batch.tokens_BT, batch.positions_BT, 0)
        written = documents(batch.targets_BT, batch.written_BT, NO_TARGET)
        for one, two in (
            (a, b) for left, right in zip(read, written, strict=True) for a, b in zip(left, right, strict=True)
        ):
            asked.setdefault(tuple(put_back(one, two)), set()).add(tuple(two.tolist()))
    assert 4 * tokens < STEPS * ROWS * LENGTH
    assert sum(len(ways) > 1 for ways in asked.values()) > 5


def test_pieces_that_are_too_short_are_counted(plain: StageRows) -> None:
    rows = rows_of(plain)
    looked, pieces, short = rows.short(0)
    held = [piece for row in range(STEPS * ROWS) for piece in plain.row(plain.sources[0], row)]
    assert looked == STEPS * ROWS
    assert pieces == len(held)
    assert short == sum(len([one for one in piece.ids[: piece.length] if one != END]) == 1 for piece in held)
    assert short > 0


def test_a_row_without_examples_is_padding() -> None:
    batch = lay([[], []])
    assert batch.tokens_BT.shape == batch.targets_BT.shape == (2, 1)
    assert batch.num_targets == 0
