"""Items of tasks as a base's tokenizer reads them, and rows of several tasks in one.

Shapes: B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from rewarm.evaluation.answering import Answers
from rewarm.evaluation.classifier import Examples
from rewarm.evaluation.learners import IGNORED, Padded, Rows
from rewarm.evaluation.word_labels import Subword, WordsRead
from rewarm.tasks import Kind
from rewarm.tasks.reading import Item
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

_NO_CUT = 1 << 30


class Joined:
    """Rows of several tasks of one kind, one task after the other; each row knows the number of its task."""

    def __init__(self, parts: Sequence[tuple[int, Rows]]) -> None:
        self._parts = list(parts)
        self._at = [(part, row) for part, (_, rows) in enumerate(parts) for row in range(len(rows.lengths))]
        self._lengths = [length for _, rows in parts for length in rows.lengths]

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each row."""
        return self._lengths

    def padded(self, chosen: Sequence[int], pad: int) -> Padded:
        """The chosen rows in their order, filled up on the right, with their tasks' numbers."""
        at = [self._at[row] for row in chosen]
        longest = max(self._lengths[row] for row in chosen)
        tokens_BT = torch.full((len(at), longest), pad)
        real_BT = torch.zeros((len(at), longest), dtype=torch.bool)
        labels: torch.Tensor | None = None
        for part in sorted({part for part, _ in at}):
            places = [place for place, (own, _) in enumerate(at) if own == part]
            rows = self._parts[part][1].padded([at[place][1] for place in places], pad)
            width = rows.tokens_BT.shape[1]
            tokens_BT[places, :width], real_BT[places, :width] = rows.tokens_BT, rows.real_BT
            if labels is None:
                shape = (len(at),) if rows.labels.ndim == 1 else (len(at), longest)
                labels = torch.full(shape, IGNORED)
            labels[(places,) if rows.labels.ndim == 1 else (places, slice(width))] = rows.labels
        assert labels is not None  # some row was chosen
        return Padded(tokens_BT, real_BT, labels, tuple(self._parts[part][0] for part, _ in at))


class Some:
    """Some rows of others, in the order given."""

    def __init__(self, rows: Rows, kept: Sequence[int]) -> None:
        self._rows, self._kept = rows, list(kept)

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each row."""
        return [self._rows.lengths[row] for row in self._kept]

    def padded(self, chosen: Sequence[int], pad: int) -> Padded:
        """The chosen rows."""
        return self._rows.padded([self._kept[row] for row in chosen], pad)


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Rows, and what the cut took: `cut` rows of classes and answers that are longer, words of labelling; `lost` rows
    with nothing left."""

    rows: Rows
    cut: int
    lost: int = 0


class Reader:
    """Items of one kind, as the tokenizer in a folder reads them; at most `max_length` tokens."""

    def __init__(
        self, kind: Kind, folder: Path, classes: Sequence[str], max_length: int, subword: Subword = "first"
    ) -> None:
        self.kind, self._classes, self._max_length, self._subword = kind, list(classes), max_length, subword
        self.text = TextTokenizer(folder)
        self._fast: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def read(self, items: Sequence[Item]) -> ReadRows:
        """Items with what is right of them. UserError when none is left."""
        labels = [] if self.kind == "answers" else [[self._classes.index(one) for one in item.said] for item in items]
        found = self._rows([item.asked for item in items], labels, [item.said[0] for item in items])
        if not found.rows.lengths:
            raise UserError("no row has anything left within max_length: raise it")
        return found

    def without_labels(self, texts: Sequence[tuple[str, ...]]) -> Rows:
        """Texts alone: labels are 0, and every token of a prompt is asked for."""
        if self.kind == "answers":
            ids = [row[:-1].tolist()[-self._max_length :] for row in self.text.encode([text for (text,) in texts])]
            ids = [row for row in ids if len(row) > 1]
            return Answers(ids, [[True] * len(row) for row in ids])
        return self._rows(texts, [[0] * len(text) for text in texts], []).rows

    def prompts(self, rows: Answers) -> list[list[int]]:
        """The tokens before the answer of each row."""
        return [list(row[: list(asked).index(True)]) for row, asked in zip(rows.tokens, rows.asked, strict=True)]

    def _rows(
        self, asked: Sequence[tuple[str, ...]], labels: Sequence[Sequence[int]], answers: Sequence[str]
    ) -> ReadRows:
        if self.kind == "labelling":
            read = WordsRead.of(asked, labels, self._fast, self._max_length, self._subword)
            return ReadRows(read.rows, read.words_lost, len(asked) - len(read.places))
        if self.kind == "classes":
            whole, cut = (self._encoded(asked, longest) for longest in (_NO_CUT, self._max_length))
            longer = sum(len(row) > self._max_length for row in whole)
            return ReadRows(Examples(cut, [label[0] for label in labels]), longer)
        prompts = [text for (text,) in asked]
        longer = sum(length > self._max_length for length in Answers.of(prompts, answers, self.text, _NO_CUT).lengths)
        return ReadRows(Answers.of(prompts, answers, self.text, self._max_length), longer)

    def _encoded(self, asked: Sequence[tuple[str, ...]], longest: int) -> list[list[int]]:
        """Texts and pairs of them; a pair stands in two lines where the tokenizer has no sign between two texts."""
        if not asked:
            return []
        firsts: list[str] = [texts[0] for texts in asked]
        seconds = [texts[1] for texts in asked] if len(asked[0]) > 1 else None
        if seconds is not None and self._fast.sep_token is None:
            firsts = [f"{one}\n{other}" for one, other in zip(firsts, seconds, strict=True)]
            seconds = None
        read = self._fast(firsts, seconds, truncation=True, max_length=longest, verbose=False)
        return [list(row) for row in read["input_ids"]]
