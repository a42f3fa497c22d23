"""Pairs of answers to one prompt, as tokens: which ones a step learns from, and batches of them.

A store of pairs holds two documents for each, the chosen answer at an even number and the rejected one after it, of
which the last learned run of tokens is the answer. A pair is never parted: both its documents are trained on or
neither is, they follow each other in one micro-batch, and they are held out together.

Shapes: P pairs, 2 its documents (chosen, rejected), C sources, B rows (1), T positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rewarm.hashing import Indices, seed_of, shuffled
from rewarm.tokens.loader import Source, StageRows, named
from rewarm.tokens.order import Segment
from rewarm.tokens.packing import pack
from rewarm.tokens.shards import Store
from rewarm.types import Batch, UserError

Made = TypeVar("Made")
_WATCH_SEED = seed_of("rewarm watched pairs")


@dataclass(frozen=True, slots=True)
class PairBatch(Batch):
    """One row of documents end to end, chosen and rejected in turn; `num_targets` counts pairs, targets are answers.

    `reference_P2` are the log-probabilities of the answers under the reference, in nats.
    """

    reference_P2: torch.Tensor | None = None


class Pairs:
    """The pairs of a store both of whose documents are among `documents`, each at most `seq_len` tokens long.

    `numbers` (P,) are the pairs' own, ascending; pair n is documents 2n and 2n + 1. Of one that is too long, both
    prompts lose as many tokens at their beginning (`cut` counts such pairs); one whose answer leaves no token of a
    prompt is left out (`too_long`), and so is one of which only one document is there (`parted`).
    """

    def __init__(self, store: Store, documents: Indices, seq_len: int) -> None:
        self.store, self.seq_len = store, seq_len
        chosen = documents[documents % 2 == 0].astype(np.int64)
        there = np.isin(chosen + 1, documents)
        halves = len(documents) - 2 * int(there.sum())
        numbers = chosen[there] // 2
        lengths_P2 = np.stack([store.lengths_of(2 * numbers), store.lengths_of(2 * numbers + 1)], axis=1)
        over_P = np.maximum(0, lengths_P2.max(axis=1, initial=0) - seq_len)
        fits_P = np.ones(len(numbers), bool)
        for place in np.flatnonzero(over_P):
            prompts = [_answer_start(store, 2 * int(numbers[place]) + side) for side in (0, 1)]
            fits_P[place] = min(prompts) > over_P[place]
        self.cut, self.too_long, self.parted = int((over_P[fits_P] > 0).sum()), int((~fits_P).sum()), halves
        self.numbers = numbers[fits_P]
        self._over_P = over_P[fits_P]
        self.lengths_P = lengths_P2[fits_P].sum(axis=1) - 2 * self._over_P

    def __len__(self) -> int:
        return len(self.numbers)

    def segments(self, place: int) -> tuple[Segment, Segment]:
        """Both documents of the pair at a place of `numbers`, cut to fit; only tokens of the answers are learned."""
        number, over = int(self.numbers[place]), int(self._over_P[place])
        return self._segment(2 * number, over), self._segment(2 * number + 1, over)

    def _segment(self, document: int, over: int) -> Segment:
        ids = self.store.ids(document, over)
        learned = np.zeros(len(ids), bool)
        start, stop = _answer(self.store, document)
        learned[start - over : stop - over] = True
        return Segment(ids, len(ids), learned)


def _answer(store: Store, document: int) -> tuple[int, int]:
    """Where a document's answer begins and ends: the last run of tokens that are learned."""
    learned = store.learned(document)
    if learned is None:
        raise UserError(f"'{store.folder}' does not say which tokens are answers: it holds no pairs")
    at = np.flatnonzero(learned)
    breaks = np.flatnonzero(np.diff(at) > 1)
    return int(at[breaks[-1] + 1] if len(breaks) else at[0]), int(at[-1]) + 1


def _answer_start(store: Store, document: int) -> int:
    return _answer(store, document)[0]


def watch_pairs(store: Store, chosen: NDArray[np.bool_], tokens: int) -> Indices:
    """The documents (2P,), ascending, of the held-out pairs to score: at most `tokens` in all, or one pair; each pair
    of texts once."""
    numbers = np.flatnonzero(chosen[0 : len(chosen) // 2 * 2 : 2] & chosen[1::2])
    hashes_P2 = np.stack([store.hashes[2 * numbers], store.hashes[2 * numbers + 1]], axis=1)
    _, first = np.unique(hashes_P2, axis=0, return_index=True)
    numbers = numbers[np.sort(first)]
    order = numbers[shuffled(store.hashes[2 * numbers], _WATCH_SEED)]
    total = np.cumsum(store.lengths_of(2 * order) + store.lengths_of(2 * order + 1))
    kept = np.sort(order[: max(1, int(np.searchsorted(total, tokens, side="right")))])
    found: Indices = np.stack([2 * kept, 2 * kept + 1], axis=1).reshape(-1)
    return found


class PairStream:
    """Pairs end to end, shuffled anew each epoch; those of any stretch of tokens are found without the ones before."""

    def __init__(self, pairs: Pairs, seed: int, name: str) -> None:
        self.pairs, self.seed = pairs, seed_of(seed, name, "pairs")
        self.tokens = int(pairs.lengths_P.sum())
        if self.tokens == 0:
            raise UserError(
                f"corpus '{name}' has no pair left to train on: {pairs.too_long} are longer than seq_len "
                f"{pairs.seq_len}, and of {pairs.parted} documents the other answer is held out or watched elsewhere"
            )
        self._held = (-1, np.zeros(0, np.int64), np.zeros(0, np.int64))

    def between(self, start: int, stop: int) -> list[int]:
        """Places of the pairs whose last token is one of `start` to `stop` of the endless stream, in its order."""
        found: list[int] = []
        for epoch in range(start // self.tokens, (stop - 1) // self.tokens + 1 if stop > start else 0):
            order, ends = self._shuffled(epoch)
            bounds = (start - epoch * self.tokens, stop - epoch * self.tokens)
            first, last = np.searchsorted(ends, bounds, side="right")
            found += order[first:last].tolist()
        return found

    def ended(self, stop: int) -> int:
        """How many pairs of the endless stream have ended with its first `stop` tokens."""
        epoch, inside = divmod(stop, self.tokens)
        return epoch * len(self.pairs) + int(np.searchsorted(self._shuffled(epoch)[1], inside, side="right"))

    def _shuffled(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The order of an epoch (P,), and the tokens up to the end of each pair in it; the last one is held."""
        held, order, ends = self._held
        if held != epoch:
            order = shuffled(self.pairs.store.hashes[2 * self.pairs.numbers], seed_of(self.seed, epoch))
            ends = np.cumsum(self.pairs.lengths_P[order])
            self._held = (epoch, order, ends)
        return order, ends


class PairRows:
    """The pairs of every step of a leg. A source's rows are tokens it may take: what a step leaves over, the next has.

    `references` gives, for each source, the log-probabilities (pairs of the store, 2) of the reference.
    """

    def __init__(
        self, rows: StageRows, streams: Sequence[PairStream], references: Sequence[NDArray[np.float64]] = ()
    ) -> None:
        self._rows, self.streams, self.references = rows, streams, references
        given_SC = np.stack([(rows.source_SR == source).sum(axis=1) for source in range(len(streams))], axis=1)
        self._before_SC = np.concatenate([np.zeros((1, len(streams)), np.int64), np.cumsum(given_SC, axis=0)])

    @property
    def sources(self) -> Sequence[Source]:
        """The corpora."""
        return self._rows.sources

    @property
    def steps(self) -> int:
        """Optimizer steps of the leg."""
        return self._rows.steps

    @property
    def step_tokens(self) -> int:
        """Tokens of a step, to within a pair."""
        return self._rows.step_tokens

    @property
    def seq_len(self) -> int:
        """Tokens of the longest document."""
        return self._rows.seq_len

    def counts_before(self, step: int) -> NDArray[np.int64]:
        """Rows of `seq_len` tokens that each source (C,) was given before `step`."""
        counts: NDArray[np.int64] = self._before_SC[step]
        return counts

    def documents(self, step: int) -> str:
        """The places of the pairs that a step learns from, by corpus."""
        found: dict[str, list[int]] = {}
        for source, place in self.places(step):
            found.setdefault(self.sources[source].name, []).append(place)
        return named(found)

    def pairs_of_steps(self) -> NDArray[np.int64]:
        """How many pairs each step learns from (S,)."""
        ended_SC = [
            [stream.ended((source.first_row + int(rows)) * self.seq_len) for rows in self._before_SC[:, number]]
            for number, (source, stream) in enumerate(zip(self.sources, self.streams, strict=True))
        ]
        counts: NDArray[np.int64] = np.diff(np.sum(ended_SC, axis=0))
        return counts

    def with_references(self, references: Sequence[NDArray[np.float64]]) -> PairRows:
        """The same rows, whose batches say what the reference gives."""
        return PairRows(self._rows, self.streams, references)

    def places(self, step: int) -> list[tuple[int, int]]:
        """Source and place of every pair of a step."""
        found = []
        for number, (source, stream) in enumerate(zip(self.sources, self.streams, strict=True)):
            start, stop = (
                (source.first_row + int(rows)) * self.seq_len for rows in self._before_SC[step : step + 2, number]
            )
            found += [(number, place) for place in stream.between(start, stop)]
        return found

    def drawn(self) -> list[Indices]:
        """For each source, the places of the pairs that the leg learns from, ascending."""
        taken_C = self.counts_before(self.steps)
        found: list[Indices] = []
        for source, stream in zip(self.sources, self.streams, strict=True):
            start = source.first_row * self.seq_len
            length = int(taken_C[len(found)]) * self.seq_len
            whole = length >= 2 * stream.tokens
            places = range(len(stream.pairs)) if whole else stream.between(start, start + length)
            found.append(np.unique(np.array(places, np.int64)))
        return found

    def batches(self, step: int) -> list[Batch]:
        """The micro-batches of a step: as many pairs as fit, or one."""
        most = self._rows.micro_rows * self.seq_len
        batches: list[Batch] = []
        held: list[tuple[int, int]] = []
        tokens = 0
        for source, place in self.places(step):
            length = int(self.streams[source].pairs.lengths_P[place])
            if held and tokens + length > most:
                batches.append(self._batch(held))
                held, tokens = [], 0
            held.append((source, place))
            tokens += length
        return [*batches, self._batch(held)] if held else batches

    def _batch(self, held: Sequence[tuple[int, int]]) -> PairBatch:
        segments = [one for source, place in held for one in self.streams[source].pairs.segments(place)]
        reference = None
        if self.references:
            numbers = [(source, self.streams[source].pairs.numbers[place]) for source, place in held]
            reference = torch.from_numpy(np.stack([self.references[source][number] for source, number in numbers]))
        return pair_batch(segments, reference)

    def iterate(self, start: int) -> Iterator[list[Batch]]:
        """The micro-batches of each step from `start` on, the next step's made while this one trains."""
        return _ahead(self.batches(step) for step in range(start, self.steps))


def pair_batch(segments: Sequence[Segment], reference_P2: torch.Tensor | None = None) -> PairBatch:
    """A batch of whole pairs: documents end to end in one row, so that there is no padding."""
    made = pack([segments], sum(one.length for one in segments))
    values: dict[str, Any] = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return PairBatch(**values | {"num_targets": len(segments) // 2}, reference_P2=reference_P2)


def _ahead(made: Iterator[Made]) -> Iterator[Made]:
    """The same values, each made while the one before is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
        coming = pool.submit(next, made, None)
        while (found := coming.result()) is not None:
            coming = pool.submit(next, made, None)
            yield found
