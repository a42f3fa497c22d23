"""Pairs of answers to one prompt, one of which people chose: what a model is aligned with."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from rewarm.corpora import faults, paths
from rewarm.corpora.chat import Chat
from rewarm.corpora.conversations import Fault, Message, Shape, check, readable
from rewarm.corpora.json_rows import rows_of
from rewarm.corpora.rows import RowReader, text_fault
from rewarm.corpora.sources import Name
from rewarm.types import BadRows, Document

PAIRS = "pairs of answers"
PairColumn = Literal["prompt", "chosen", "rejected", "system", "role", "content"]
_FIELDS: tuple[PairColumn, ...] = ("prompt", "chosen", "rejected", "system")
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_TEXT = "\0text"
"""A key no row has: rows with a NUL character in them are refused."""


class Preferences(Chat):
    """Pairs of answers from rows of JSON (lines, or an array in a `.json` file) or Parquet, packed or plain.

    A row holds `chosen` and `rejected`: two answers to its `prompt`, as text or as lists of turns; or without a prompt
    two whole dialogues, as lists of turns or as text with "Human:" and "Assistant:" after blank lines, which part in
    their last answer. `columns` names other fields, as in {chosen: better, prompt: question}, and `roles` other roles.
    A row without such a pair, with equal answers or an empty one is a bad row, counted by its reason.

    Each pair is two documents, the chosen one first: `limit`, and the counts of rows, count both. Pairs with one prompt
    are held out together, unless `holdout_by` names a field. `template` is as for conversations (type chat).
    """

    holds: ClassVar[str] = PAIRS

    # A dict of other keys could be written to, says mypy; options are frozen.
    columns: dict[PairColumn, Name] = Field(default_factory=dict)  # type: ignore[assignment]
    learn: Literal["answers"] = "answers"
    holdout_by: str | None = "prompt"

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        shape = Shape({key: name for key, name in self.columns.items() if key in ("role", "content")}, self.roles)
        kept = self.keep_fields if self.holdout_by in (None, "prompt") else (*self.keep_fields, str(self.holdout_by))
        reader = RowReader(_TEXT, self.id_field, kept, bad)
        own = [*kept, *(() if self.id_field is None else (self.id_field,))]
        fields = [*map(self._field, _FIELDS), *own]
        for file, name in self._named_files():
            place = paths.printable(file)
            for number, row, reason in rows_of(file, list(dict.fromkeys(fields)), self.max_row_bytes):
                where = f"{place}:{number}" if number else place
                if row is None:
                    reader.reject(reason, where)
                else:
                    yield from self._pair(shape, reader, row, (f"{name}:{number}", where))

    def _field(self, column: PairColumn) -> str:
        return self.columns.get(column, column)

    def _pair(
        self, shape: Shape, reader: RowReader, row: Mapping[str, Any], names: tuple[str, str]
    ) -> Iterator[Document]:
        """The two documents of a row, or none of a bad one, which is counted."""
        try:
            chosen, rejected = self._dialogues(shape, row)
            if (reason := text_fault(readable(rejected))) is not None:
                raise Fault(reason)
        except Fault as fault:
            reader.reject(str(fault), names[1])
            return
        first = reader.document({**row, _TEXT: readable(chosen)}, *names)
        if first is None:
            return
        meta = {**first.meta, "prompt": readable(chosen[:-1])}
        if self.holdout_by is not None:
            meta = {self.holdout_by: meta["prompt"], **meta}
        yield dataclasses.replace(first, id=f"{first.id}:chosen", meta={**meta, "messages": tuple(chosen)})
        reader.bad.rows += 1
        yield Document(f"{first.id}:rejected", readable(rejected), names[1], {**meta, "messages": tuple(rejected)})

    def _dialogues(self, shape: Shape, row: Mapping[str, Any]) -> tuple[list[Message], list[Message]]:
        """Both dialogues, which differ in their last answer only; Fault when they are no such pair."""
        values = [row.get(self._field(column)) for column in _FIELDS[:3]]
        if values[1] is None or values[2] is None:
            raise Fault(faults.NO_PAIR)
        prompt = [] if values[0] is None else _prompt(shape, values[0])
        chosen, rejected = (_dialogue(shape, prompt, value) for value in values[1:])
        system = row.get(self._field("system"))
        if isinstance(system, str) and system.strip() and chosen[:1] and chosen[0]["role"] != "system":
            chosen, rejected = ([{"role": "system", "content": system}, *turns] for turns in (chosen, rejected))
        check(chosen)
        check(rejected)
        if chosen[:-1] != rejected[:-1]:
            raise Fault(faults.NO_COMMON_PROMPT)
        if chosen[-1]["content"].strip() == rejected[-1]["content"].strip():
            raise Fault(faults.EQUAL_ANSWERS)
        return chosen, rejected


def _prompt(shape: Shape, value: Any) -> list[Message]:
    """The turns of a prompt: a list of them, a dialogue that ends where the answer begins, or a question."""
    if not isinstance(value, str):
        return shape.turns(value)
    spoken = _spoken(value)
    if not spoken:
        return [{"role": "user", "content": value}]
    return spoken[:-1] if not spoken[-1]["content"] else spoken


def _dialogue(shape: Shape, prompt: Sequence[Message], value: Any) -> list[Message]:
    """The prompt with an answer to it, or a dialogue that holds its own prompt."""
    if isinstance(value, str):
        spoken = [] if prompt else _spoken(value)
        if not prompt and not spoken:
            raise Fault(faults.NO_PROMPT)
        return spoken or [*prompt, {"role": "assistant", "content": value}]
    turns = shape.turns(value)
    return [*prompt, *turns] if len(turns) == 1 and turns[0]["role"] == "assistant" else turns


def _spoken(text: str) -> list[Message]:
    """The turns of a dialogue written with "Human:" and "Assistant:"; none when the text does not begin so."""
    marks = list(_SPEAKER.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        return []
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return [
        {"role": "user" if mark[1] == "Human" else "assistant", "content": text[mark.end() : end].strip()}
        for mark, end in zip(marks, ends, strict=True)
    ]
