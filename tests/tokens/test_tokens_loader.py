"""The loader's state is the step: any way to reach a step gives the same rows, and no token is lost or repeated."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.mixtures.draw import draw
from rewarm.mixtures.fixed import Fixed
from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.order import DocumentStream
from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch

LENGTH = 16


@pytest.fixture
def stage(make_store: Any, numbered: Any) -> Any:
    """A function: options -> 12 steps of 6 rows from two corpora, 2 to 1."""

    def make(micro_rows: int = 6, seed: int = 0, first_rows: tuple[int, int] = (0, 0)) -> StageRows:
        sources = [
            Source(name, DocumentStream(make_store(numbered(index, 30)), np.arange(30), seed, name), first_rows[index])
            for index, name in enumerate(("new", "old"))
        ]
        return StageRows(sources, draw(Fixed(), {"new": 2 / 3, "old": 1 / 3}, 12, 6, seed), LENGTH, micro_rows)

    return make


def rows_of(batches: list[Batch]) -> list[list[int]]:
    """Each row's tokens, targets and positions, whatever batch they came in."""
    parts = [(batch.tokens_BT, batch.targets_BT, batch.positions_BT) for batch in batches]
    return torch.cat([torch.cat(tensors, dim=1) for tensors in parts]).tolist()


def tokens_and_targets(steps: list[list[Batch]]) -> tuple[list[int], list[int]]:
    tokens = torch.cat([batch.tokens_BT for batches in steps for batch in batches]).flatten()
    targets = torch.cat([batch.targets_BT for batches in steps for batch in batches]).flatten()
    return tokens.tolist(), targets[targets != NO_TARGET].tolist()


@pytest.mark.parametrize("start", range(12))
def test_any_start_gives_the_same_steps(stage: Any, start: int) -> None:
    rows = stage()
    unbroken = [rows_of(rows.batches(step)) for step in range(12)]
    resumed = [rows_of(batches) for batches in stage().iterate(start)]
    assert resumed == unbroken[start:]


@pytest.mark.parametrize("micro_rows", [1, 2, 4, 6])
def test_micro_batches_only_cut_the_step(stage: Any, micro_rows: int) -> None:
    whole, cut = stage(), stage(micro_rows)
    for step in range(12):
        batches = cut.batches(step)
        sizes = [batch.tokens_BT.shape[0] for batch in batches]
        assert sizes == [micro_rows] * (6 // micro_rows) + ([6 % micro_rows] if 6 % micro_rows else [])
        assert rows_of(batches) == rows_of(whole.batches(step))
        assert sum(batch.num_targets for batch in batches) == whole.batches(step)[0].num_targets


def test_counts_before_a_step(stage: Any) -> None:
    rows = stage()
    for step in range(13):
        assert rows.counts_before(step).tolist() == [(rows.source_SR[:step] == source).sum() for source in (0, 1)]
    assert rows.counts_before(12).tolist() == [48, 24]
    assert rows_of(rows.batches(5, rows.counts_before(5))) == rows_of(rows.batches(5))


def test_counts_given_are_not_changed(stage: Any) -> None:
    rows = stage()
    counts = rows.counts_before(3)
    rows.batches(3, counts)
    assert counts.tolist() == rows.counts_before(3).tolist()


def test_a_seed_changes_the_rows(stage: Any) -> None:
    assert rows_of(stage(seed=0).batches(0)) != rows_of(stage(seed=1).batches(0))


def one_corpus(make_store: Any, documents: list[list[int]], steps: int, rows: int, first_row: int = 0) -> StageRows:
    stream = DocumentStream(make_store(documents), np.arange(len(documents)), 0, "new")
    return StageRows([Source("new", stream, first_row)], np.zeros((steps, rows), np.uint8), LENGTH, rows)


def exact(numbered: Any, rows: int) -> list[list[int]]:
    """Documents of `rows` full rows of tokens together."""
    documents: list[list[int]] = numbered(3, 400)
    end = rows * LENGTH
    kept = [document for document in documents if document[-1] < end]
    return [*kept, list(range(kept[-1][-1] + 1, end))]


def test_an_epoch_loses_first_tokens_and_nothing_else(make_store: Any, numbered: Any) -> None:
    """The last position of a row predicts the first token of the next row, so cuts lose nothing."""
    documents = exact(numbered, 40)
    steps = list(one_corpus(make_store, documents, 10, 4).iterate(0))
    tokens, targets = tokens_and_targets(steps)
    assert Counter(tokens) == Counter(range(40 * LENGTH))
    assert Counter(targets) == Counter(token for document in documents for token in document[1:])
    follows = {first: second for document in documents for first, second in pairwise(document)}
    for batch in (batch for batches in steps for batch in batches):
        for token, target in zip(batch.tokens_BT.flatten().tolist(), batch.targets_BT.flatten().tolist(), strict=True):
            assert target == follows.get(token, NO_TARGET)


def test_positions_restart_with_each_document_and_each_row(make_store: Any, numbered: Any) -> None:
    documents = exact(numbered, 20)
    starts = {document[0] for document in documents}
    for batches in one_corpus(make_store, documents, 5, 4).iterate(0):
        for tokens, positions in zip(batches[0].tokens_BT.tolist(), batches[0].positions_BT.tolist(), strict=True):
            assert positions[0] == 0
            for (_, before), (token, position) in pairwise(zip(tokens, positions, strict=True)):
                assert position == (0 if token in starts else before + 1)


def test_a_second_epoch_is_the_same_tokens_in_another_order(make_store: Any, numbered: Any) -> None:
    documents = exact(numbered, 24)
    steps = list(one_corpus(make_store, documents, 12, 4).iterate(0))
    first, second = tokens_and_targets(steps[:6]), tokens_and_targets(steps[6:])
    assert Counter(first[0]) == Counter(second[0])
    assert Counter(first[1]) == Counter(second[1])
    assert first[0] != second[0]


def test_a_corpus_goes_on_across_stages(make_store: Any, numbered: Any) -> None:
    documents = exact(numbered, 24)
    unbroken = list(one_corpus(make_store, documents, 6, 4).iterate(0))
    one = list(one_corpus(make_store, documents, 2, 4).iterate(0))
    other = list(one_corpus(make_store, documents, 4, 4, first_row=8).iterate(0))
    assert [rows_of(batches) for batches in one + other] == [rows_of(batches) for batches in unbroken]
    assert not set(tokens_and_targets(one)[0]) & set(tokens_and_targets(other)[0])


def test_first_rows_are_each_corpus_own(stage: Any) -> None:
    moved = stage(first_rows=(3, 0))
    for step in range(12):
        sources = moved.source_SR[step]
        mine, usual = rows_of(moved.batches(step)), rows_of(stage().batches(step))
        assert [mine[row] for row in np.flatnonzero(sources == 1)] == [
            usual[row] for row in np.flatnonzero(sources == 1)
        ]
    first_of_new = rows_of(moved.batches(0))[int(np.flatnonzero(moved.source_SR[0] == 0)[0])]
    fourth = moved.sources[0].stream.row(3, LENGTH)
    assert first_of_new[:LENGTH] == [int(token) for piece in fourth for token in piece.ids[: piece.length]]


def test_leaving_early_and_failing_rows(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer may stop at any step; a row that cannot be read ends the iteration with its own error."""
    steps = stage().iterate(0)
    next(steps)
    steps.close()
    assert list(stage().iterate(12)) == []

    def broken(self: DocumentStream, index: int, length: int) -> Any:
        raise OSError(f"row {index}")

    monkeypatch.setattr(DocumentStream, "row", broken)
    with pytest.raises(OSError, match="row 0"):
        list(stage().iterate(0))
