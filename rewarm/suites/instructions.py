"""Instructions: does the model answer in the form it was asked for, does it stop, does it go round in circles?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field, ValidationError

from rewarm.corpora.sources import Name
from rewarm.methods import Options
from rewarm.quantities import PositiveCount
from rewarm.suites import Ability, Answers, Asked, Measure, Values
from rewarm.suites.asking import ChatTemplate, Pattern, Several, asked_of
from rewarm.suites.rows import BadRow, FileSuite, check_template

BAD_RULES = "rules that cannot be read"
GRAM = 4
"""Tokens of a sequence whose repeats are counted."""


class Rules(Options):
    """What an answer must look like, blanks at its ends left out; it follows the rules when it follows them all.

    `starts_with`, `ends_with` and each text of `contains` are compared as they stand; `matches` is a regular
    expression that is found somewhere in it (`^` and `$` are the ends of a line); `json` asks for one JSON value.
    """

    starts_with: str | None = None
    ends_with: str | None = None
    contains: Several = ()
    matches: Pattern | None = None
    json_: bool = Field(default=False, alias="json")
    min_words: Annotated[int, Field(ge=1)] | None = None
    max_words: Annotated[int, Field(ge=1)] | None = None

    def followed(self, text: str) -> bool:
        """Whether an answer follows them all; an empty one never does."""
        text = text.strip()
        words = len(text.split())
        return (
            bool(text)
            and text.startswith(self.starts_with or "")
            and text.endswith(self.ends_with or "")
            and all(part in text for part in self.contains)
            and (self.matches is None or re.search(self.matches, text, re.MULTILINE) is not None)
            and (not self.json_ or _is_json(text))
            and (self.min_words or 0) <= words <= (self.max_words or words)
        )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class Instruction(NamedTuple):
    """Messages (role, content) that an answer is asked to, what it must look like, and what is right."""

    messages: tuple[tuple[str, str], ...]
    rules: Rules | None
    answers: tuple[str, ...]


class Instructions(FileSuite[Instruction]):
    """Rows with `messages` (role and content), `prompt`, or `instruction` and perhaps `input`; `template` makes the
    prompt from the row's fields. A row may have `rules` for its answer, which are added to those of the file, and an
    `answer`, or several.

    The model writes up to `new_tokens`, greedily, after the prompt in a chat template: `chat` names it as a corpus of
    conversations does (auto: the tokenizer's own, else a plain one), and is none for prompts as they stand. Of its
    answers `format_rate` follow the rules,
    `stop_rate` end by themselves (or at a text of `stop`) before the limit, and `accuracy` are right: the answer is
    what the first line says (`exact`, after normalisation), or stands somewhere in it (`contains`). `repetition` is
    the share of the sequences of four tokens that stood there before.
    """

    paper: ClassVar[str] = "rules as IFEval has them (arXiv 2311.07911); endings and repetition are measured our way"
    asks_causal_models: ClassVar[bool] = True

    ability: Ability = "instruction"
    template: Annotated[str | None, AfterValidator(check_template)] = None
    system: str | None = None
    chat: ChatTemplate = "auto"
    rules: Rules | None = None
    answer_field: Name = Field(default="answer", alias="answer")
    match: Literal["exact", "contains"] = "exact"
    new_tokens: Annotated[PositiveCount, Field(ge=1)] = 128
    stop: tuple[Name, ...] = ()
    limit: Annotated[PositiveCount, Field(ge=1)] | None = 200

    def item(self, row: Mapping[str, Any]) -> Instruction:
        """The instruction of a row; BadRow when it has no prompt, or rules that cannot be read."""
        messages = asked_of(row, self.template)
        if self.system is not None and messages[0][0] != "system":
            messages = (("system", self.system), *messages)
        given = row.get(self.answer_field)
        answers = tuple(str(one) for one in (given if isinstance(given, list) else [given]) if one not in (None, ""))
        return Instruction(messages, self._rules(row.get("rules")), answers)

    def _rules(self, given: Any) -> Rules | None:
        if given is None:
            return self.rules
        own = {} if self.rules is None else self.rules.model_dump(by_alias=True, exclude_defaults=True)
        try:
            return Rules.model_validate({**own, **given})
        except (ValidationError, TypeError):
            raise BadRow(BAD_RULES) from None

    def cost(self, bytes_per_token: float) -> float:
        """What is read and written."""
        items = self.choose(0).items
        read = sum(len(content.encode()) for item in items for _, content in item.messages)
        return read / bytes_per_token + 2 * self.new_tokens * len(items)

    def answer(self, asked: Asked) -> Answers:
        """`format_rate` and `accuracy` where some row asks for them, `stop_rate`, and `repetition`."""
        from rewarm.suites.writing import prompts, write

        chosen = self.choose(asked.seed)
        made = prompts(asked, [item.messages for item in chosen.items], self.chat)
        said = write(asked, made, self.new_tokens, self.stop)
        texts = [one.text for one in said]
        both = list(zip(chosen.items, texts, strict=True))
        measures = {
            "format_rate": Measure(
                _values([None if item.rules is None else item.rules.followed(text) for item, text in both])
            ),
            "accuracy": Measure(_values([self._is_right(item, text) for item, text in both])),
            "stop_rate": Measure(_values([one.stopped for one in said])),
            "repetition": Measure(_values([repetition(one.ids) for one in said]), better="lower"),
        }
        held = {name: measure for name, measure in measures.items() if measure.asked_N.any()}
        return chosen.answers(held, texts)

    def _is_right(self, item: Instruction, text: str) -> bool | None:
        from rewarm.evaluation.normalisation import is_exact, normalised

        if not item.answers:
            return None
        if self.match == "exact":
            return is_exact(text, item.answers)
        return any(f" {normalised(answer)} " in f" {normalised(text)} " for answer in item.answers)


def repetition(ids: Sequence[int]) -> float:
    """The share of the sequences of four tokens that stood there before; 0 for an answer too short to have two."""
    grams = [tuple(ids[start : start + GRAM]) for start in range(len(ids) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _values(given: Sequence[float | None]) -> Values:
    return np.array([np.nan if one is None else float(one) for one in given], np.float64)
