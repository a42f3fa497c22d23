"""A label of each word: a linear head on one hidden state of it, words read by any fast tokenizer, and their scores.

Shapes: B rows, T positions, N words, M real tokens, D width, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from rewarm.evaluation.classifier import Classifier, filled
from rewarm.evaluation.learners import IGNORED, Judged, Learner, Padded, Passed, macro_f1, passes
from rewarm.types import UserError

Subword = Literal["first", "last"]


@dataclass(frozen=True, slots=True)
class WordRows:
    """Rows of token ids, with the label of a word at one of its tokens and IGNORED everywhere else."""

    tokens: Sequence[Sequence[int]]
    labels: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        """UserError for labels that do not match, and for a row without a label."""
        if [len(row) for row in self.tokens] != [len(row) for row in self.labels]:
            raise UserError("every row needs as many labels as it has tokens: IGNORED where a token has none")
        if bare := [number for number, row in enumerate(self.labels) if all(label == IGNORED for label in row)]:
            raise UserError(f"row {bare[0]} has no word with a label: leave it out")

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each row."""
        return [len(row) for row in self.tokens]

    def padded(self, chosen: Sequence[int], pad: int) -> Padded:
        """The chosen rows, filled up on the right."""
        tokens_BT, real_BT = filled([self.tokens[row] for row in chosen], pad)
        labels_BT, _ = filled([self.labels[row] for row in chosen], IGNORED)
        return Padded(tokens_BT, real_BT, labels_BT)


@dataclass(frozen=True, slots=True)
class WordsRead:
    """Rows, the places of those that were given, and what was lost: words beyond the cut or without a token of their
    own, and rows without a word left."""

    rows: WordRows
    places: tuple[int, ...]
    words_lost: int

    @classmethod
    def of(
        cls, words: Sequence[Sequence[str]], labels: Sequence[Sequence[int]], tokenizer: Any, max_length: int,
        subword: Subword = "first",
    ) -> WordsRead:  # fmt: skip
        """Words as a fast transformers tokenizer reads them with a blank between two, cut after `max_length` tokens.

        Whose label a token bears follows from the characters that it stands for, so that byte-level tokenizers, which
        count the blank to the word behind it, are read as well. UserError for a tokenizer that does not tell them.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(f"{type(tokenizer).__name__} is no fast tokenizer, which labelling of words needs")
        texts = [" ".join(row) for row in words]
        read = tokenizer(texts, truncation=True, max_length=max_length, return_offsets_mapping=True) if texts else {}
        tokens, marked, places, lost = [], [], [], 0
        for place, row in enumerate(words):
            offsets = read["offset_mapping"][place]
            at = [_token(offsets, start, end, subword) for start, end in _spans(row)]
            found = [IGNORED] * len(offsets)
            for token, label in zip(at, labels[place], strict=True):
                if token is None or found[token] != IGNORED:
                    lost += 1
                else:
                    found[token] = label
            if any(label != IGNORED for label in found):
                tokens.append(read["input_ids"][place])
                marked.append(found)
                places.append(place)
        return cls(WordRows(tokens, marked), tuple(places), lost)


def _spans(words: Sequence[str]) -> list[tuple[int, int]]:
    """First and last-but-one character of each word, in the words with a blank between two."""
    starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    return [(start, following - 1) for start, following in pairwise(starts)]


def _token(offsets: Sequence[tuple[int, int]], start: int, end: int, subword: Subword) -> int | None:
    """The token with the word's first (last) character; None where it was cut off, or has none."""
    wanted = start if subword == "first" else end - 1
    holding = [place for place, (first, past) in enumerate(offsets) if first <= wanted < past]
    if not holding:
        return None
    return holding[0] if subword == "first" else holding[-1]


class WordLabeller(Learner):
    """A linear head on the last hidden state of one token of each word. The body is the model itself, not a copy.

    The head is random by the seed. A causal body has read nothing behind that token: `last` lets it see the whole word.
    """

    judged: ClassVar[Judged] = "loss"

    def __init__(self, body: PreTrainedModel, labels: int, seed: int = 0) -> None:
        super().__init__()
        made = Classifier(body, labels, seed)
        self.body, self.head = made.body, made.head

    def read(self, rows: Padded, states: bool = False) -> Passed:
        """Logits of the words' labels (N, C), in fp32."""
        device = self.body.device
        real_BT, labels_BT = rows.real_BT.to(device), rows.labels.to(device)
        found = self.body(
            input_ids=rows.tokens_BT.to(device), attention_mask=real_BT.long(), output_hidden_states=states
        )
        is_asked = labels_BT != IGNORED
        logits_NC = self.head(found.last_hidden_state[is_asked].float()).float()
        kept = tuple(state[real_BT] for state in found.hidden_states[:-1]) if states else ()
        return Passed(logits_NC, labels_BT[is_asked], is_asked.nonzero()[:, 0], kept)


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labels a learner gave to the words of each row and the right ones, in order; `loss` is nats a word."""

    given: Sequence[NDArray[np.int64]]
    right: Sequence[NDArray[np.int64]]
    loss: float

    @property
    def accuracy(self) -> float:
        """The share of words with the right label."""
        return float((np.concatenate(self.given) == np.concatenate(self.right)).mean())

    def macro_f1(self, labels: int) -> float:
        """The mean F1 over the labels that occur or were given."""
        return macro_f1(np.concatenate(self.given), np.concatenate(self.right), labels)

    def entity_f1(self, names: Sequence[str]) -> float:
        """F1 of whole entities, of the IOB2 tags with these names."""
        given, right = ([[names[label] for label in row] for row in rows] for rows in (self.given, self.right))
        return entity_f1(given, right)


def label(learner: Learner, rows: WordRows, precision: str = "fp32") -> Labelled:
    """What a learner says of every word of the rows, without dropout. UserError for no row."""
    if not rows.tokens:
        raise UserError("there is no row to score: give at least one")
    none = np.zeros(0, np.int64)
    given, right, nats, words = [none] * len(rows.tokens), [none] * len(rows.tokens), 0.0, 0
    for chosen, _, passed in passes(learner, rows, precision):
        best_N, labels_N, row_N = (
            one.cpu().numpy() for one in (passed.logits_NC.argmax(1), passed.labels_N, passed.row_N)
        )
        nats += float(nn.functional.cross_entropy(passed.logits_NC, passed.labels_N, reduction="sum"))
        words += len(labels_N)
        for place, number in enumerate(chosen.tolist()):
            given[number], right[number] = best_N[row_N == place], labels_N[row_N == place]
    return Labelled(given, right, nats / words)


def is_iob2(names: Sequence[str]) -> bool:
    """Whether labels are IOB2 tags: O, and B- or I- before the name of a kind, with some B-."""
    marked = [name for name in names if name != "O"]
    return bool(marked) and all(name[:2] in ("B-", "I-") for name in marked) and any(name[0] == "B" for name in marked)


def entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """The entities of a row of IOB2 tags: first word, word behind the last, kind. An I- that goes on from no entity of
    its kind begins one, as in the CoNLL evaluation."""
    found, start, kind = set(), 0, ""
    for place, tag in enumerate([*tags, "O"]):
        if kind and (tag[:2] != "I-" or tag[2:] != kind):
            found.add((start, place, kind))
            kind = ""
        if not kind and tag != "O":
            start, kind = place, tag[2:]
    return found


def entity_f1(given: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """2TP / (2TP + FP + FN) over the entities of all rows, where both ends and the kind must agree (Tjong Kim Sang and
    De Meulder 2003); 1 where there is none and none was found."""
    same = said = there = 0
    for one, other in zip(given, right, strict=True):
        mine, true = entities(one), entities(other)
        same, said, there = same + len(mine & true), said + len(mine), there + len(true)
    return 2 * same / (said + there) if said + there else 1.0
