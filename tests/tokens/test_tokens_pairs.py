"""A pair is never parted: in a step, in a micro-batch, in what is held out, or by the length of a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.order import DocumentStream
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.pairs import PairBatch, PairRows, Pairs, PairStream, watch_pairs
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.types import UserError

LENGTH = 16
MakePairs = Callable[..., Store]


@pytest.fixture
def make_pairs(tmp_path: Path) -> MakePairs:
    """A function: [(prompt, chosen, rejected) lengths] -> a store of such pairs. Token ids number the documents; the
    prompt holds an earlier answer, which is learned in conversations and not here."""

    def make(sizes: list[tuple[int, int, int]], name: str = "pairs") -> Store:
        with StoreWriter(tmp_path / name, np.dtype(np.uint16)) as writer:
            for number, (prompt, *answers) in enumerate(sizes):
                for side, answer in enumerate(answers):
                    document = 2 * number + side
                    ids = np.arange(prompt + answer, dtype=np.uint16) + 100 * (document + 1)
                    learned = np.arange(prompt + answer) >= prompt
                    learned[1] = prompt > 3
                    columns = [np.array([value]) for value in (len(ids), len(ids))]
                    words = [np.array([value], np.uint64) for value in (7919 * (document + 1), number)]
                    writer.add_flat(ids, *columns, *words, (learned, np.array([answer])))
        return Store(tmp_path / name)

    return make


def rows_of(store: Store, steps: int, rows: int, micro: int = 99, first: int = 0) -> PairRows:
    documents = np.arange(store.documents)
    source = Source("pairs", DocumentStream(store, documents, 0, "pairs"), first)
    drawn = StageRows([source], np.zeros((steps, rows), np.uint8), LENGTH, micro)
    return PairRows(drawn, [PairStream(Pairs(store, documents, LENGTH), 5, "pairs")])


def test_only_the_last_answer_is_learned(make_pairs: MakePairs) -> None:
    pairs = Pairs(make_pairs([(5, 3, 2)]), np.arange(2), LENGTH)
    chosen, rejected = pairs.segments(0)
    assert chosen.ids.tolist() == list(range(100, 108))
    learned = [np.flatnonzero(one.learned).tolist() for one in (chosen, rejected) if one.learned is not None]
    assert learned == [[5, 6, 7], [5, 6]]


def test_long_pairs_lose_the_beginning_of_both_prompts_or_are_left_out(make_pairs: MakePairs) -> None:
    store = make_pairs([(4, 2, 2), (15, 3, 1), (5, 16, 2), (2, 15, 15)])
    pairs = Pairs(store, np.arange(store.documents), LENGTH)
    assert (pairs.numbers.tolist(), pairs.cut, pairs.too_long) == ([0, 1, 3], 2, 1)
    chosen, rejected = pairs.segments(1)
    assert (len(chosen.ids), len(rejected.ids)) == (16, 14)
    assert (chosen.ids[0], rejected.ids[0]) == (302, 402)
    assert pairs.lengths_P.tolist() == [12, 30, 32]


def test_half_a_pair_is_left_out_and_counted(make_pairs: MakePairs) -> None:
    store = make_pairs([(4, 2, 2), (4, 3, 2), (4, 2, 3)])
    pairs = Pairs(store, np.array([0, 1, 3, 4]), LENGTH)
    assert (pairs.numbers.tolist(), pairs.parted) == ([0], 2)
    with pytest.raises(UserError, match="no pair left"):
        PairStream(Pairs(store, np.array([1, 2]), LENGTH), 0, "pairs")


def test_steps_take_every_pair_once_an_epoch_and_are_found_directly(make_pairs: MakePairs) -> None:
    store = make_pairs([(3 + number % 4, 1 + number % 5, 2) for number in range(23)])
    rows = rows_of(store, steps=40, rows=3)
    places = [rows.places(step) for step in range(rows.steps)]
    flat = [place for step in places for _, place in step]
    epochs = [flat[start : start + 23] for start in range(0, len(flat) - 22, 23)]
    assert len(epochs) > 2
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert rows.pairs_of_steps().tolist() == [len(step) for step in places]
    assert [rows.places(step) for step in reversed(range(40))] == places[::-1]
    # A later leg goes on where this one stopped; what a step leaves over, the next one has.
    later = rows_of(store, steps=10, rows=3, first=30 * 3)
    assert [later.places(step) for step in range(10)] == places[30:]
    tokens = np.cumsum([sum(int(rows.streams[0].pairs.lengths_P[place]) for _, place in step) for step in places])
    allowed = (np.arange(40) + 1) * 3 * LENGTH
    assert ((tokens <= allowed) & (tokens > allowed - 2 * LENGTH)).all()
    assert sorted(rows.drawn()[0].tolist()) == list(range(23))


def test_micro_batches_hold_whole_pairs_in_order(make_pairs: MakePairs) -> None:
    store = make_pairs([(4, 1 + number % 5, 2) for number in range(9)])
    whole = rows_of(store, steps=2, rows=8)
    for micro in (1, 2, 3):
        cut = rows_of(store, steps=2, rows=8, micro=micro).batches(1)
        assert len(cut) > 1
        assert np.concatenate([one.tokens_BT[0] for one in cut]).tolist() == whole.batches(1)[0].tokens_BT[0].tolist()
        assert sum(one.num_targets for one in cut) == len(whole.places(1))
    (batch,) = whole.batches(1)
    assert isinstance(batch, PairBatch)
    assert int((batch.positions_BT == 0).sum()) == 2 * batch.num_targets
    segments = [one for _, place in whole.places(1) for one in whole.streams[0].pairs.segments(place)]
    learned = [int(one.learned.sum()) for one in segments if one.learned is not None]
    assert int((batch.targets_BT != NO_TARGET).sum()) == sum(learned)
    assert [len(found) for found in whole.iterate(0)] == [1, 1]


def test_watched_pairs_are_whole_and_seen_once(make_pairs: MakePairs) -> None:
    store = make_pairs([(4, 2, 2)] * 6)
    chosen: Any = np.array([True, True, False, False, True, True, True, False, False, True, True, True])
    assert watch_pairs(store, chosen, 1000).tolist() == [0, 1, 4, 5, 10, 11]
    assert len(watch_pairs(store, chosen, 25)) == 4
    assert len(watch_pairs(store, chosen, 1)) == 2
