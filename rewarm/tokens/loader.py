"""The rows of each optimizer step. The loader's whole state is the step: any step's batch is found directly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import chunks
from rewarm.tokens.order import DocumentStream, Segment
from rewarm.tokens.packing import pack
from rewarm.types import Batch


@dataclass(frozen=True, slots=True)
class Source:
    """A corpus of a stage: its stream, and the first row this stage takes (earlier stages took those before)."""

    name: str
    stream: DocumentStream
    first_row: int = 0


def learned_tokens(source: Source, rows: int, seq_len: int) -> int:
    """Tokens that are learned among the first rows of `seq_len` tokens that a stage takes of a corpus."""
    pieces = (one for row in range(rows) for one in source.stream.row(source.first_row + row, seq_len))
    return sum(
        len(one.ids[1 : one.length + 1]) if one.learned is None else int(one.learned[1 : one.length + 1].sum())
        for one in pieces
    )


def named(documents: Mapping[str, Sequence[int]], most: int = 8) -> str:
    """Documents of corpora in words: of each corpus the first ones by number, and how many more there are."""
    parts = []
    for corpus, numbers in documents.items():
        one = list(dict.fromkeys(numbers))
        more = f" and {len(one) - most:,} more" if len(one) > most else ""
        parts.append(f"documents {', '.join(map(str, one[:most]))}{more} of '{corpus}'")
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class StageRows:
    """Every row of a stage: `source_SR[s, r]` names the source of row r of step s; S steps, R rows, C sources."""

    sources: Sequence[Source]
    source_SR: NDArray[np.uint8]
    seq_len: int
    micro_rows: int

    @property
    def steps(self) -> int:
        """Optimizer steps of the stage."""
        return int(self.source_SR.shape[0])

    @property
    def step_tokens(self) -> int:
        """Tokens of a step."""
        return int(self.source_SR.shape[1]) * self.seq_len

    def counts_before(self, step: int) -> NDArray[np.int64]:
        """Rows drawn from each source (C,) before `step`."""
        drawn = self.source_SR[:step].reshape(-1)
        counts = np.zeros(len(self.sources), np.int64)
        for part in chunks(len(drawn)):  # bincount makes 8 bytes of each number
            counts += np.bincount(drawn[part], minlength=len(self.sources))
        return counts

    def documents(self, step: int) -> str:
        """The numbers of the documents that a step reads, by corpus, as prepared text counts them from 0."""
        found: dict[str, list[int]] = {}
        for source, number in self._places(step, self.counts_before(step)):
            pieces = self.sources[source].stream.pieces(number, self.seq_len)
            found.setdefault(self.sources[source].name, []).extend(document for document, _, _ in pieces)
        return named(found)

    def row(self, source: Source, number: int) -> list[Segment]:
        """The segments of a row of a corpus."""
        return source.stream.row(number, self.seq_len)

    def batches(self, step: int, counts: NDArray[np.int64] | None = None) -> list[Batch]:
        """The micro-batches of a step; `counts` are the rows drawn before it, if known."""
        places = self._places(step, self.counts_before(step) if counts is None else counts)
        return [self.batch(places[at : at + self.micro_rows]) for at in range(0, len(places), self.micro_rows)]

    def _places(self, step: int, counts: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Source and row of each row of a step, before which so many were drawn of each source (C,)."""
        counts, places = counts.copy(), []
        for source in self.source_SR[step].tolist():
            places.append((source, self.sources[source].first_row + int(counts[source])))
            counts[source] += 1
        return places

    def batch(self, places: Sequence[tuple[int, int]]) -> Batch:
        """The rows at some places, each the number of a source and that of a row of it."""
        rows = [self.row(self.sources[source], number) for source, number in places]
        return pack(rows, self.seq_len, [source for source, _ in places])

    def iterate(self, start: int) -> Iterator[list[Batch]]:
        """Micro-batches of each step from `start` on, the next step's made while this one trains."""
        counts = self.counts_before(start)
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
            ahead: Future[list[Batch]] | None = None
            for step in range(start, self.steps):
                current = ahead.result() if ahead is not None else self.batches(step, counts)
                counts = counts + np.bincount(self.source_SR[step], minlength=len(self.sources))
                ahead = pool.submit(self.batches, step + 1, counts) if step + 1 < self.steps else None
                yield current
