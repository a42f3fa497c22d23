"""Held-out documents depend on their text alone; streams give every training token once per epoch."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarm.hashing import scrambled, seed_of, text_hash
from rewarm.tokens.order import DocumentStream, held_out, is_held_out, training_documents, watch_documents
from rewarm.tokens.shards import Store
from rewarm.types import UserError


def row_tokens(stream: DocumentStream, index: int, length: int) -> list[int]:
    return [int(token) for segment in stream.row(index, length) for token in segment.ids[: segment.length]]


def stream_of(make_store: Any, documents: list[list[int]], seed: int = 0, name: str = "new") -> DocumentStream:
    return DocumentStream(make_store(documents), np.arange(len(documents)), seed, name)


def test_the_held_out_share_is_the_one_asked_for(make_store: Any) -> None:
    hashes = [text_hash(f"document {number}") for number in range(5000)]
    store = make_store([[1]] * 5000, hashes=hashes)
    for share in (0.02, 0.1, 0.5):
        # Five standard deviations of a fair draw.
        assert abs(held_out(store, share).sum() - 5000 * share) < 5 * np.sqrt(5000 * share * (1 - share))
    assert held_out(store, 0.0).sum() == 0
    assert held_out(store, 1.0).sum() == 5000


def test_a_larger_share_keeps_what_a_smaller_one_held_out(make_store: Any) -> None:
    store = make_store([[1]] * 2000, hashes=[text_hash(str(number)) for number in range(2000)])
    small, large = held_out(store, 0.05), held_out(store, 0.2)
    assert small.sum() < large.sum()
    assert not (small & ~large).any()


def test_the_split_follows_the_text_wherever_it_stands(make_store: Any) -> None:
    hashes = [text_hash(str(number)) for number in range(500)]
    shuffled = np.random.default_rng(0).permutation(500).tolist()
    one = make_store([[1]] * 500, hashes=hashes)
    other = make_store([[1]] * 500, hashes=[hashes[index] for index in shuffled])
    assert held_out(one, 0.1)[shuffled].tolist() == held_out(other, 0.1).tolist()
    chosen = [one.hashes[index] for index in watch_documents(one, held_out(one, 0.1), 10)]
    assert chosen == [other.hashes[index] for index in watch_documents(other, held_out(other, 0.1), 10)]


def test_groups_are_held_out_whole(make_store: Any) -> None:
    groups = [text_hash(f"book {number // 7}") for number in range(700)]
    mask = held_out(make_store([[1]] * 700, groups=groups), 0.2)
    by_book = mask.reshape(100, 7)
    assert (by_book.all(axis=1) | ~by_book.any(axis=1)).all()
    assert 5 < by_book[:, 0].sum() < 40


def test_no_watched_text_is_trained_on_in_any_corpus(make_store: Any) -> None:
    """A text held out of one corpus by its book may have a copy in another, where its own hash would train on it."""
    hashes = [text_hash(str(number)) for number in range(400)]
    watched_store = make_store([[1]] * 400, hashes=hashes, groups=[text_hash(f"book {n // 10}") for n in range(400)])
    other = make_store([[1]] * 300, hashes=hashes[100:400][::-1])
    masks = {"watched": held_out(watched_store, 0.3), "other": held_out(other, 0.0)}
    watched = np.unique(watched_store.hashes[masks["watched"]])
    documents, copies = training_documents(other, masks["other"], watched)
    assert not np.isin(other.hashes[documents], watched).any()
    assert copies == np.isin(other.hashes, watched).sum() > 0
    assert len(documents) + copies == 300
    own, own_copies = training_documents(watched_store, masks["watched"], watched)
    assert len(own) == (~masks["watched"]).sum()
    assert own_copies == 0


def test_copies_inside_a_corpus_fall_with_the_watched_text(make_store: Any) -> None:
    """Document 0 and 2 are one text in two books, of which only the first is held out."""
    store = make_store([[1], [2], [1]], hashes=[7, 8, 7], groups=[1, 2, 3])
    mask = np.array([True, False, False])
    documents, copies = training_documents(store, mask, np.array([7], np.uint64))
    assert documents.tolist() == [1]
    assert copies == 1


def test_watch_documents_fit_the_budget_each_text_once(make_store: Any) -> None:
    hashes = [text_hash(str(number // 2)) for number in range(200)]
    store = make_store([[1] * 10] * 200, hashes=hashes)
    everything = np.ones(200, bool)
    for tokens, count in ((1, 1), (10, 1), (19, 1), (20, 2), (95, 9), (10_000, 100)):
        chosen = watch_documents(store, everything, tokens)
        assert len(chosen) == count
        assert len(set(store.hashes[chosen].tolist())) == count
    few, many = watch_documents(store, everything, 50), watch_documents(store, everything, 500)
    assert many[:5].tolist() == few.tolist()
    assert watch_documents(store, ~everything, 50).tolist() == []


def test_an_epoch_is_every_token_once(make_store: Any, numbered: Any) -> None:
    documents = numbered(5, 60)
    total = sum(map(len, documents))
    stream = stream_of(make_store, documents)
    assert stream.tokens == total
    for length in (1, 8, 13, total, total + 1):
        rows = -(-3 * total // length)
        tokens = [token for index in range(rows) for token in row_tokens(stream, index, length)]
        epochs = [tokens[total * epoch : total * (epoch + 1)] for epoch in range(3)]
        assert all(sorted(epoch) == list(range(total)) for epoch in epochs)
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_documents_stay_whole_and_in_order_inside_a_row(make_store: Any, numbered: Any) -> None:
    documents = numbered(6, 40)
    whole = {tuple(document) for document in documents}
    stream = stream_of(make_store, documents)
    segments = stream.row(0, stream.tokens)
    assert {tuple(segment.ids.tolist()) for segment in segments} == whole
    assert all(segment.length == len(segment.ids) for segment in segments)


def test_rows_are_found_without_reading_what_precedes(make_store: Any, numbered: Any) -> None:
    documents = numbered(7, 30)
    store = make_store(documents)
    in_order = DocumentStream(store, np.arange(30), 3, "new")
    rows = [row_tokens(in_order, index, 16) for index in range(150)]
    for index in (149, 0, 77, 40):
        assert row_tokens(DocumentStream(store, np.arange(30), 3, "new"), index, 16) == rows[index]


def test_a_segment_cut_by_a_row_holds_the_token_that_follows(make_store: Any) -> None:
    stream = stream_of(make_store, [[5, 6, 7, 8, 9]])
    first, second = stream.row(0, 3), stream.row(1, 3)
    assert [(segment.ids.tolist(), segment.length) for segment in first] == [([5, 6, 7, 8], 3)]
    assert [(segment.ids.tolist(), segment.length) for segment in second] == [([8, 9], 2), ([5, 6], 1)]


def test_the_order_depends_on_seed_and_corpus(make_store: Any, numbered: Any) -> None:
    documents = numbered(8, 50)
    orders = [
        row_tokens(stream_of(make_store, documents, seed, name), 0, 200)
        for seed, name in ((0, "new"), (1, "new"), (0, "old"), (0, "new"))
    ]
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3


def test_the_order_does_not_depend_on_the_order_of_files(make_store: Any, numbered: Any) -> None:
    documents = numbered(9, 50)
    hashes = [text_hash(str(document)) for document in documents]
    one = DocumentStream(make_store(documents, hashes=hashes), np.arange(50), 0, "new")
    other = DocumentStream(make_store(documents[::-1], hashes=hashes[::-1]), np.arange(50), 0, "new")
    assert row_tokens(one, 0, one.tokens) == row_tokens(other, 0, one.tokens)


def test_copies_of_a_text_are_spread_over_the_epoch(make_store: Any) -> None:
    """100 copies among 1000 documents: next to each other by chance about 10 times, not 99 times."""
    documents = [[1]] * 100 + [[2]] * 900
    hashes = [7] * 100 + [text_hash(str(number)) for number in range(900)]
    stream = DocumentStream(make_store(documents, hashes=hashes), np.arange(1000), 0, "new")
    for epoch in range(3):
        tokens = row_tokens(stream, epoch, 1000)
        assert tokens.count(1) == 100
        assert sum(pair == (1, 1) for pair in pairwise(tokens)) < 25
        assert 30 < tokens[:500].count(1) < 70


def test_empty_documents_take_no_place(make_store: Any) -> None:
    stream = stream_of(make_store, [[], [1, 2], [], [3], []])
    assert Counter(row_tokens(stream, 0, 6)) == Counter([1, 2, 3] * 2)


def test_nothing_to_train_on_is_an_error(make_store: Any) -> None:
    with pytest.raises(UserError, match="corpus 'new' has no document left to train on"):
        DocumentStream(make_store([[1]]), np.zeros(0, np.int64), 0, "new")


def straightforward(store: Store, documents: np.ndarray, seed: int, name: str, epoch: int) -> list[int]:
    """Documents of an epoch in order, by definition: sorted by scrambled hash, each copy of a text a key apart."""
    seen: Counter[int] = Counter()
    places = []
    for document in documents.tolist():
        text = int(store.hashes[document])
        key = (text + seen[text] * 0x9E3779B97F4A7C15) % 2**64
        seen[text] += 1
        mixed = scrambled(np.array([key], np.uint64), seed_of(seed_of(seed, name), epoch))
        places.append((int(mixed[0]), document))
    return [document for _, document in sorted(places)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0, 1, 5, 2**40, 2**63 + 1, 2**64 - 1])), min_size=1),
    st.data(),
)
def test_the_order_is_that_of_the_definition(
    make_store: Any, documents: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Also with many copies, and with hashes that agree in their upper bits."""
    lengths, hashes = zip(*documents, strict=True)
    store = make_store([[index] * length for index, length in enumerate(lengths)], hashes=list(hashes))
    chosen = np.array(sorted(data.draw(st.sets(st.sampled_from(range(len(documents))), min_size=1))))
    stream = DocumentStream(store, chosen, 4, "new")
    for epoch in (0, 2):
        found = row_tokens(stream, epoch, stream.tokens)
        expected = straightforward(store, chosen, 4, "new", epoch)
        assert found == [document for document in expected for _ in range(lengths[document])]


def test_a_larger_corpus_in_the_order_of_the_definition(make_store: Any) -> None:
    """More documents than are looked at in one chunk, and than start between two places that are kept."""
    count = 70_000
    hashes = (np.arange(count) * 11 % 50_021).tolist()
    store = make_store([[number % 7] * (1 + number % 3) for number in range(count)], hashes=hashes)
    stream = DocumentStream(store, np.arange(0, count, 2), 1, "old")
    expected = straightforward(store, np.arange(0, count, 2), 1, "old", 1)
    tokens = [number % 7 for number in expected for _ in range(1 + number % 3)]
    assert row_tokens(stream, 1, stream.tokens) == tokens
    rows = range(-(-stream.tokens // 100), 2 * stream.tokens // 100)
    begin = rows[0] * 100 - stream.tokens
    whole = [tuple(tokens[begin + 100 * row :][:100]) for row in range(len(rows))]
    found = [tuple(row_tokens(stream, row, 100)) for row in rows]
    assert Counter(found) == Counter(whole)
    assert found != whole


def test_rows_of_long_documents_are_mixed(make_store: Any) -> None:
    """Of four documents of 100 rows each, a tenth of an epoch reads from all; row by row, neighbours seldom follow."""
    stream = stream_of(make_store, [[number] * 800 for number in range(4)])
    first = [row_tokens(stream, index, 8) for index in range(40)]
    assert all(4 <= sum(row[0] == number for row in first) <= 16 for number in range(4))
    places = [stream.pieces(index, 8)[0][:2] for index in range(400)]
    assert len(set(places)) == 400
    assert sum(two == (one[0], one[1] + 8) for one, two in pairwise(places)) < 10


def test_rows_are_mixed_in_blocks_of_an_epoch(make_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block holds its own rows and no other; a row that an epoch's end cuts keeps its place."""
    monkeypatch.setattr("rewarm.tokens.order._MIXED_ROWS", 8)
    stream = stream_of(make_store, [list(range(100))])
    plain = [[token % 100 for token in range(at, at + 3)] for at in range(0, 200, 3)]
    found = [row_tokens(stream, index, 3) for index in range(66)]
    assert found[33] == plain[33]
    for block in [slice(at, min(at + 8, end)) for at, end in [*((a, 33) for a in range(0, 33, 8)), (34, 66)]]:
        assert sorted(found[block]) == sorted(plain[block])
    assert found[:33] != plain[:33]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_split_by_its_definition(make_store: Any, share: float) -> None:
    """Watched are the lowest scrambled hashes; trained on is what has no watched text; both over chunk borders."""
    count = 66_000
    hashes = [text_hash(str(number % 60_000)) for number in range(count)]
    store = make_store([[1]] * count, hashes=hashes)
    mask = held_out(store, share)
    assert mask.tolist() == [is_held_out(key, share) for key in hashes[:300]] + mask[300:].tolist()
    watched = {hashes[0], hashes[65_999], *(hashes[index] for index in np.flatnonzero(mask))}
    documents, copies = training_documents(store, mask, np.array(sorted(watched), np.uint64))
    assert documents.tolist() == [number for number in range(count) if hashes[number] not in watched]
    assert copies == count - mask.sum() - len(documents)
    assert documents.dtype == np.int32
