"""Spans of a document that an encoder-decoder model is to fill in, and rows of such documents (T5's pre-training).

Nothing is drawn: every choice is a hash of a document's place in the row and a seed, so that a row found again has the
same spans, and another row, or the same text in a later epoch, others.

Shapes: B rows, S positions that the encoder reads, T that the decoder writes, K spans, X ids (of a document, of a row).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewarm.hashing import seed_of, shuffled
from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.packing import NO_TARGET
from rewarm.tokens.tokenizer import SENTINELS, TextTokenizer
from rewarm.types import Batch, UserError

Ids = NDArray[np.int64]
Example = tuple[Ids, Ids]
"""What the encoder reads of a document (S,), and what the decoder is to write (T,)."""

SHORTEST = 2
"""Tokens of text from which something can be filled in and something is left to read."""
FEWEST = 3
LOOKED = 1000
"""Rows that are looked at for pieces that are too short."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Of a text's tokens a share `rate` is taken out, in spans of `mean_length` tokens on average.

    Each span leaves the next of the `sentinels` in its place. The decoder is to write each sentinel and its span, then
    one more sentinel, then `closing` (arXiv 1910.10683, section 3.1.4). `opening` and `closing` are the ids that begin
    a document and end it, and are never taken out.
    """

    sentinels: tuple[int, ...]
    opening: tuple[int, ...]
    closing: int
    rate: float = 0.15
    mean_length: float = 3.0

    @classmethod
    def of(cls, tokenizer: TextTokenizer, rate: float = 0.15, mean_length: float = 3.0) -> Spans:
        """With a tokenizer's sentinels: <extra_id_0> and so on, as in T5, or the same after a ▁, as in mT5.

        UserError when it has fewer than three.
        """
        found: list[int] = []
        for form in (SENTINELS, f"▁{SENTINELS}"):
            ids = takewhile(lambda one: one is not None, (tokenizer.id_of(form.format(place)) for place in count()))
            found = max(found, [one for one in ids if one is not None], key=len)
        if len(found) < FEWEST:
            raise UserError(
                "span-corruption puts sentinels in the places of what is to be filled in, and the tokenizer has "
                f"{len(found)} of them ({SENTINELS.format(0)}, {SENTINELS.format(1)}, ...). Take the tokenizer that "
                "the model (T5, mT5, umT5) was trained with; for a base from scratch have one trained, with "
                "tokenizer: {vocab_size: 8192}. A decoder is trained with objective: causal"
            )
        return cls(tuple(found), tokenizer.prefix, tokenizer.eos_id, rate, mean_length)

    @property
    def longest(self) -> int:
        """Tokens of the longest text for which there are sentinels."""
        return int((len(self.sentinels) - 2) * self.mean_length / self.rate)

    def check(self, seq_len: int) -> None:
        """UserError when there are too few sentinels for documents of `seq_len` tokens."""
        if seq_len > self.longest:
            raise UserError(
                f"span-corruption: a document of seq_len {seq_len} tokens, of which a share {self.rate:g} is taken out "
                f"in spans of {self.mean_length:g}, needs more than the tokenizer's {len(self.sentinels)} sentinels. "
                f"Set seq_len to {self.longest} or less, or mean_length to {self._enough(seq_len):g} or more"
            )

    def _enough(self, seq_len: int) -> float:
        return float(np.ceil(10 * seq_len * self.rate / (len(self.sentinels) - 2))) / 10

    def counts(self, length: int) -> tuple[int, int]:
        """How many of a text's tokens are taken out, in how many spans: at least one, and of two tokens one stays."""
        taken = max(1, min(int(length * self.rate + 0.5), length - 1))
        return taken, max(1, min(int(taken / self.mean_length + 0.5), length - taken + 1))

    def text(self, ids_X: NDArray[Any]) -> slice:
        """Where a document's text is among its ids, between what opens and what closes it."""
        opened = len(self.opening) if tuple(ids_X[: len(self.opening)].tolist()) == self.opening else 0
        return slice(opened, len(ids_X) - int(len(ids_X) > opened and int(ids_X[-1]) == self.closing))

    def example(self, ids_X: NDArray[Any], seed: int) -> Example | None:
        """A document, or a piece of one, as an example; None without a token of text.

        The encoder's part ends with `closing` also where the document goes on, as T5's does.
        """
        found = self.text(ids_X)
        text_X = ids_X[found].astype(np.int64)
        if not len(text_X):
            return None
        taken, spans = self.counts(len(text_X))
        lengths_K = _parts(taken, spans, seed_of(seed, "spans"))
        # What stands before the first span and after the last one may be empty; between two there is a token.
        gaps_K = _parts(len(text_X) - taken + 2, spans + 1, seed_of(seed, "gaps"))[:-1]
        gaps_K[0] -= 1
        before_K = np.cumsum(lengths_K) - lengths_K
        starts_K = np.cumsum(gaps_K) + before_K
        sentinels_K = np.asarray(self.sentinels[: spans + 1], np.int64)
        hidden_X = np.zeros(len(text_X), bool)
        hidden_X[np.repeat(starts_K - before_K, lengths_K) + np.arange(taken)] = True
        written_T = np.insert(text_X[hidden_X], before_K, sentinels_K[:-1])
        text_X[starts_K] = sentinels_K[:-1]
        hidden_X[starts_K] = False
        opening, closing = ids_X[: found.start].astype(np.int64), np.array([self.closing], np.int64)
        return (
            np.concatenate([opening, text_X[~hidden_X], closing]),
            np.concatenate([written_T, sentinels_K[-1:], closing]),
        )


def _parts(total: int, count: int, seed: int) -> Ids:
    """`total` cut into `count` whole parts of at least 1, every such cut being as likely as any other."""
    cuts = np.sort(shuffled(np.arange(total - 1, dtype=np.uint64), seed)[: count - 1]) + 1
    parts: Ids = np.diff(cuts, prepend=0, append=total)
    return parts


@dataclass(frozen=True, slots=True)
class SpanBatch(Batch):
    """Rows of documents whose spans are to be filled in: `tokens_BT` and `positions_BT` (B, S) are what the encoder
    reads, `targets_BT` (B, T) what the decoder is to write, and `written_BT` the places of these in their documents.

    The documents of a row come in one order in both. Behind them is padding, each of it at place 0.
    """

    written_BT: torch.Tensor | None = None


def lay(rows: Sequence[Sequence[Example]], sources: Sequence[int] = ()) -> SpanBatch:
    """A batch of rows of documents end to end, as wide as the longest asks for."""
    tokens_BS, positions_BS = _laid([[one for one, _ in row] for row in rows], 0)
    targets_BT, written_BT = _laid([[one for _, one in row] for row in rows], NO_TARGET)
    learned = int((targets_BT != NO_TARGET).sum())
    return SpanBatch(tokens_BS, targets_BT, positions_BS, learned, tuple(sources), written_BT)


def _laid(rows: Sequence[Sequence[Ids]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and places of documents end to end; a row is at least one position wide."""
    width = max(1, *(sum(map(len, row)) for row in rows))
    ids_BX = np.full((len(rows), width), padding, np.int64)
    places_BX = np.zeros((len(rows), width), np.int64)
    for number, row in enumerate(rows):
        at = 0
        for part in row:
            ids_BX[number, at : at + len(part)] = part
            places_BX[number, at : at + len(part)] = np.arange(len(part))
            at += len(part)
    return torch.from_numpy(ids_BX), torch.from_numpy(places_BX)


@dataclass(frozen=True, slots=True)
class SpanRows(StageRows):
    """The rows of a stage, packed as for any model, with spans of each document taken out.

    Which ones is decided by the seed, the corpus, and the row's number in the corpus's endless stream. Pieces of fewer
    than two tokens of text (a row may cut a document anywhere) are left out.
    """

    spans: Spans
    seed: int

    def batch(self, places: Sequence[tuple[int, int]]) -> Batch:
        """The rows at some places, each the number of a source and that of a row of it."""
        rows = [self._examples(self.sources[source], number) for source, number in places]
        return lay(rows, [source for source, _ in places])

    def _examples(self, source: Source, number: int) -> list[Example]:
        seed = seed_of(self.seed, "span-corruption", source.name, number)
        found = []
        for place, ids_X in enumerate(self._pieces(source, number)):
            is_short = len(ids_X[self.spans.text(ids_X)]) < SHORTEST
            example = None if is_short else self.spans.example(ids_X, seed_of(seed, place))
            found += [] if example is None else [example]
        return found

    def short(self, number: int) -> tuple[int, int, int]:
        """Of the first rows that the stage takes of a source: how many were looked at, their pieces, and how many of
        these have a single token of text."""
        source, rows = self.sources[number], min(LOOKED, int(self.counts_before(self.steps)[number]))
        pieces = [ids_X for row in range(rows) for ids_X in self._pieces(source, source.first_row + row)]
        return rows, len(pieces), sum(len(ids_X[self.spans.text(ids_X)]) == 1 for ids_X in pieces)

    def _pieces(self, source: Source, number: int) -> list[NDArray[Any]]:
        return [one.ids[: one.length] for one in self.row(source, number)]
