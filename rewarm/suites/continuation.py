"""One right continuation: how likely it is, and whether the model writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field

from rewarm.corpora.sources import Name
from rewarm.quantities import PositiveCount
from rewarm.suites import Answers, Asked, Measure, Values
from rewarm.suites.rows import BadRow, Chosen, FileSuite, check_template, filled, text_of

NO_NUMBER = "no number in the answer"
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)")


class Completion(NamedTuple):
    """A text to go on from, and what is to follow."""

    context: str
    ending: str


class Continuation(FileSuite[Completion]):
    """Rows with `context` and `continuation`, as LAMBADA and cloze facts: is the continuation what greedy decoding
    gives (`exact`), and at how many nats per byte? Nothing is generated for that.

    With `extract` the model writes up to `new_tokens` (or up to a text of `stop`) and its answer is compared with the
    field `answer`: the last `number` in it, as GSM8K is scored, or its first `line` (equal to the answer after
    normalisation, at one of the places where a sentence may end). `template` makes the context from the row's fields
    (`"Question: {context}\\nAnswer:"`); `between` stands between a context and its continuation.
    """

    paper: ClassVar[str] = "LAMBADA (arXiv 1606.06031) by likelihood, GSM8K (arXiv 2110.14168) by its last number"
    asks_causal_models: ClassVar[bool] = True

    template: Annotated[str | None, AfterValidator(check_template)] = None
    between: str = " "
    answer_field: Name | None = Field(default=None, alias="answer")
    extract: Literal["number", "line"] | None = None
    new_tokens: Annotated[PositiveCount, Field(ge=1)] = 128
    stop: tuple[Name, ...] = ()

    def item(self, row: Mapping[str, Any]) -> Completion:
        """The completion of a row; BadRow when a part of it is missing, or the answer has no number that is needed."""
        context = text_of(row, "context") if self.template is None else filled(self.template, row)
        name = self.answer_field or ("continuation" if self.extract is None or "continuation" in row else "answer")
        ending = text_of(row, name)
        if self.extract == "number" and last_number(ending) is None:
            raise BadRow(NO_NUMBER)
        return Completion(context, ending)

    def cost(self, bytes_per_token: float) -> float:
        """What is read, or read and written."""
        items = self.choose(0).items
        written = 0 if self.extract is None else 2 * self.new_tokens * len(items)
        return sum(len(f"{item.context}{item.ending}".encode()) for item in items) / bytes_per_token + written

    def answer(self, asked: Asked) -> Answers:
        """`exact`, and `nats_per_byte` where nothing is generated."""
        chosen = self.choose(asked.seed)
        return self._likelihood(asked, chosen) if self.extract is None else self._written(asked, chosen)

    def _likelihood(self, asked: Asked, chosen: Chosen[Completion]) -> Answers:
        from rewarm.suites.scoring import Pair, score

        pairs = [Pair(item.context + self.between, item.ending) for item in chosen.items]
        found = score(asked, pairs, "score continuations")
        measures = {
            "exact": Measure(found.greedy_N.astype(np.float64)),
            "nats_per_byte": Measure(-found.logprob_N, found.bytes_N, "lower", "nats per byte"),
        }
        return chosen.answers(measures, truncated=found.truncated)

    def _written(self, asked: Asked, chosen: Chosen[Completion]) -> Answers:
        from rewarm.suites.writing import plain, write

        said = write(asked, plain(asked, [item.context for item in chosen.items]), self.new_tokens, self.stop)
        texts = [one.text for one in said]
        measures = {
            "exact": Measure(self._exact(chosen.items, texts)),
            "stop_rate": Measure(np.array([one.stopped for one in said], np.float64)),
        }
        return chosen.answers(measures, texts)

    def _exact(self, items: Sequence[Completion], texts: Sequence[str]) -> Values:
        from rewarm.evaluation.normalisation import is_exact

        if self.extract == "line":
            found = [is_exact(text, [item.ending]) for item, text in zip(items, texts, strict=True)]
        else:
            found = [last_number(text) == last_number(item.ending) for item, text in zip(items, texts, strict=True)]
        return np.array(found, np.float64)


def last_number(text: str) -> Decimal | None:
    """The last number of a text, commas between its digits left out (`1,200.50` is 1200.5); None without one."""
    for digits in reversed(_NUMBER.findall(text)):
        try:
            return Decimal(digits.replace(",", "").rstrip(".")).normalize()
        except InvalidOperation:
            continue
    return None
