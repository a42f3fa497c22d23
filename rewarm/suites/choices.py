"""Multiple choice by likelihood: which of several continuations does the model find likeliest?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import AfterValidator

from rewarm.corpora.sources import Name
from rewarm.suites import Answers, Asked, Measure
from rewarm.suites.rows import BadRow, FileSuite, check_template, filled, strings, text_of

if TYPE_CHECKING:
    from rewarm.suites.scoring import Pair

NO_GOLD = "no right choice"
ONE_CHOICE = "fewer than two choices"
EMPTY_CHOICE = "an empty choice"


class Question(NamedTuple):
    """Pairs of context and continuation, one for each choice, and the number of the right one."""

    pairs: tuple[Pair, ...]
    gold: int


class Choices(FileSuite[Question]):
    """Rows with `query`, `choices` and `gold` (the number of the right one, or its text); or, as WinoGrande does,
    `context_options`, one `continuation` and `gold`.

    `template` makes the text before a choice from the row's fields (`"{context}\\nQuestion: {question}\\nAnswer:"`)
    instead of `query`. `between` stands between it and the choice. `choices` gives every row the same ones, and `gold`
    names the field of the right one. Every choice is scored as a whole (the sum over its tokens), so the length of its
    text has a part in `accuracy`; `accuracy_per_byte` takes it out. A choice that stands there twice counts once, and a
    right one that ties with another does not win.
    """

    paper: ClassVar[str] = "Brown et al. 2020 (arXiv 2005.14165), who divide by tokens where this does by bytes"
    asks_causal_models: ClassVar[bool] = True

    template: Annotated[str | None, AfterValidator(check_template)] = None
    between: str = " "
    choices: tuple[Name, ...] = ()
    gold: Name = "gold"

    def item(self, row: Mapping[str, Any]) -> Question:
        """The question of a row; BadRow when it has not two different choices and a right one among them."""
        from rewarm.suites.scoring import Pair

        if "context_options" in row and self.template is None:
            contexts, ending = strings(row["context_options"], "context_options"), text_of(row, "continuation")
            pairs, names = [(context, ending) for context in contexts], contexts
        else:
            query = text_of(row, "query") if self.template is None else filled(self.template, row)
            names = self.choices or strings(row.get("choices"), "choices")
            pairs = [(query, choice) for choice in names]
        if not all(name.strip() for name in names):
            raise BadRow(EMPTY_CHOICE)
        right = pairs[_place(row.get(self.gold), names)]
        once = list(dict.fromkeys(pairs))
        if len(once) < 2:
            raise BadRow(ONE_CHOICE)
        made = tuple(Pair(context + self.between, continuation) for context, continuation in once)
        return Question(made, once.index(right))

    def cost(self, bytes_per_token: float) -> float:
        """Contexts that choices share are read once."""
        items = self.choose(0).items
        once = sum(len(context.encode()) for item in items for context in {pair.context for pair in item.pairs})
        ends = sum(len(pair.continuation.encode()) for item in items for pair in item.pairs)
        return (once + ends) / bytes_per_token

    def answer(self, asked: Asked) -> Answers:
        """`accuracy`, `accuracy_per_byte`, and `nats_per_byte` of the right choice."""
        from rewarm.suites.scoring import score

        chosen = self.choose(asked.seed)
        pairs = [pair for item in chosen.items for pair in item.pairs]
        found = score(asked, pairs, "score choices")
        ends = np.cumsum([len(item.pairs) for item in chosen.items])
        starts = ends - [len(item.pairs) for item in chosen.items]
        right_N, per_byte_N = np.zeros(len(ends)), np.zeros(len(ends))
        for place, (item, start, end) in enumerate(zip(chosen.items, starts, ends, strict=True)):
            sums, sizes = found.logprob_N[start:end], found.bytes_N[start:end]
            right_N[place] = _wins(sums, item.gold)
            per_byte_N[place] = _wins(sums / sizes, item.gold)
        gold_N = starts + [item.gold for item in chosen.items]
        measures = {
            "accuracy": Measure(right_N),
            "accuracy_per_byte": Measure(per_byte_N),
            "nats_per_byte": Measure(-found.logprob_N[gold_N], found.bytes_N[gold_N], "lower", "nats per byte"),
        }
        chance = float(np.mean([1 / len(item.pairs) for item in chosen.items]))
        return chosen.answers(measures, chance=chance, truncated=found.truncated)


def _wins(scores: Any, gold: int) -> bool:
    """Whether the right choice is above all others."""
    return bool(scores[gold] > np.delete(scores, gold).max())


def _place(given: Any, names: tuple[str, ...]) -> int:
    """The number of the right choice, given as that number or as its text."""
    if isinstance(given, str) and given in names:
        return names.index(given)
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(names):
        return given
    raise BadRow(NO_GOLD)
