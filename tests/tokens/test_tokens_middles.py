"""Rearranged documents: the same tokens but three, in the order of the paper, found again, and the share asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.middles import KNOWN, SHORTEST, MiddleRows, Middles
from rewarm.tokens.order import DocumentStream, Segment
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.shards import Store, StoreWriter
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

PREFIX, SUFFIX, MIDDLE, BOS, EOS = 901, 902, 903, 0, 1
ALWAYS = Middles(PREFIX, SUFFIX, MIDDLE, (BOS,), EOS, rate=1.0, suffix_first=0.0)
LENGTH, STEPS, ROWS = 32, 12, 4


def whole(count: int) -> Segment:
    """A document of so many tokens of text, opened and closed."""
    ids = np.array([BOS, *range(10, 10 + count), EOS], np.uint16)
    return Segment(ids, len(ids))


def parts(ids: list[int], *marks: int) -> list[list[int]]:
    """What stands between marks, which must come in that order."""
    places = [ids.index(mark) for mark in marks]
    assert places == sorted(places)
    return [ids[a + 1 : b] for a, b in zip(places, [*places[1:], len(ids)], strict=True)]


@pytest.mark.parametrize("seed", range(20))
def test_prefix_suffix_middle_is_the_document_again(seed: int) -> None:
    found = ALWAYS.rearranged(whole(30), seed)
    ids = found.ids.tolist()
    assert found.length == len(ids) == 32
    assert (ids[0], ids[1], ids[-1]) == (BOS, PREFIX, EOS)
    before, after, middle = parts(ids[:-1], PREFIX, SUFFIX, MIDDLE)
    assert before + middle + after == list(range(10, 37))  # 30 tokens of text but the last three


@pytest.mark.parametrize("seed", range(20))
def test_suffix_first_has_the_prefix_behind_the_middle_mark(seed: int) -> None:
    ids = replace(ALWAYS, suffix_first=1.0).rearranged(whole(30), seed).ids.tolist()
    nothing, after, rest = parts(ids[:-1], PREFIX, SUFFIX, MIDDLE)
    assert nothing == []
    assert rest + after == list(range(10, 37))


def test_a_document_that_goes_on_is_rearranged_by_itself() -> None:
    """Its part in this row has no token to follow the last one: that would be a token of another place."""
    segment = Segment(np.arange(10, 41, dtype=np.uint16), 30)
    found = ALWAYS.rearranged(segment, 4)
    before, after, middle = parts(found.ids.tolist(), PREFIX, SUFFIX, MIDDLE)
    assert len(found.ids) == found.length == 30
    assert before + middle + after == list(range(10, 37))


def test_what_is_left_as_it_is() -> None:
    learned = replace(whole(30), learned=np.ones(32, bool))
    for segment in (whole(SHORTEST - 1), learned):
        assert ALWAYS.rearranged(segment, 0) is segment
    never = replace(ALWAYS, rate=0.0)
    assert all(never.rearranged(one, seed) is one for seed, one in enumerate([whole(30)] * 50))
    assert ALWAYS.rearranged(whole(SHORTEST), 0).ids.tolist() != whole(SHORTEST).ids.tolist()


def test_cuts_fall_everywhere_and_shares_are_those_asked() -> None:
    half = replace(ALWAYS, rate=0.5, suffix_first=0.25)
    found = [half.rearranged(whole(13), seed).ids.tolist() for seed in range(4000)]
    moved = [ids for ids in found if PREFIX in ids]
    assert len(moved) / len(found) == pytest.approx(0.5, abs=0.03)
    without_prefix = 1 - (10 / 11) ** 2  # one of the two places is before the first of ten tokens
    first = [ids for ids in moved if ids[2] == SUFFIX]
    assert len(first) / len(moved) == pytest.approx(0.25 + 0.75 * without_prefix, abs=0.03)
    starts = {ids.index(SUFFIX) - 2 for ids in moved}
    assert starts == set(range(11))  # from before the first of 10 tokens to behind the last


def test_marks_are_found_or_asked_for(middle_tokenizer_folder: Path, tiny_tokenizer_folder: Path) -> None:
    tokenizer = TextTokenizer(middle_tokenizer_folder)
    found = Middles.of(tokenizer)
    assert [tokenizer.name_of(one) for one in (found.prefix_id, found.suffix_id, found.middle_id)] == list(KNOWN[0])
    with pytest.raises(UserError, match=r"fill-in-middle marks .* none of the known ones"):
        Middles.of(TextTokenizer(tiny_tokenizer_folder))
    with pytest.raises(UserError, match="the tokenizer has no token '<nine>'"):
        Middles.of(tokenizer, ["<fim_prefix>", "<nine>", "<fim_middle>"])


@pytest.fixture
def plain(tmp_path: Path) -> StageRows:
    """Rows of ten documents, gone through several times."""
    source = np.random.default_rng(0)
    with StoreWriter(tmp_path / "store", np.dtype(np.uint16)) as writer:
        for number in range(10):
            ids = np.array([BOS, *source.integers(4, 400, source.integers(12, 40)), EOS], np.uint16)
            writer.add([ids], [len(ids)], [number + 1], [number + 1])
    store = Store(tmp_path / "store")
    stream = DocumentStream(store, np.arange(store.documents), 0, "text")
    return StageRows([Source("text", stream)], np.zeros((STEPS, ROWS), np.uint8), LENGTH, ROWS)


def rows_of(plain: StageRows, middles: Middles, **changes: Any) -> MiddleRows:
    values = {"seed": 3, "micro_rows": ROWS} | changes
    return MiddleRows(plain.sources, plain.source_SR, LENGTH, values["micro_rows"], middles, values["seed"])


def test_rows_are_full_found_again_and_other_in_another_epoch(plain: StageRows) -> None:
    rows = rows_of(plain, ALWAYS)
    found = [rows.batches(step)[0] for step in range(STEPS)]
    for step, batch in enumerate(found):
        assert (batch.tokens_BT == PREFIX).any()
        assert tuple(batch.tokens_BT.shape) == (ROWS, LENGTH)
        assert batch.num_targets == int((batch.targets_BT != NO_TARGET).sum())
        again = rows_of(plain, ALWAYS, micro_rows=1).batches(step)
        assert [one.tokens_BT.tolist()[0] for one in again] == batch.tokens_BT.tolist()
        followed = batch.targets_BT[:, :-1] != NO_TARGET
        assert (batch.targets_BT[:, :-1] == batch.tokens_BT[:, 1:])[followed].all()
    other = rows_of(plain, ALWAYS, seed=4).batches(0)[0]
    assert other.tokens_BT.tolist() != found[0].tokens_BT.tolist()


def test_a_rate_of_nothing_gives_the_plain_rows(plain: StageRows) -> None:
    rows = rows_of(plain, replace(ALWAYS, rate=0.0))
    for step in range(STEPS):
        for one, other in zip(rows.batches(step), plain.batches(step), strict=True):
            assert one.tokens_BT.equal(other.tokens_BT)
            assert one.targets_BT.equal(other.targets_BT)
            assert one.positions_BT.equal(other.positions_BT)
