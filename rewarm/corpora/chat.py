"""Conversations and instructions: rows of turns, of which a model learns the answers."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rewarm.corpora import paths
from rewarm.corpora.conversations import Column, Fault, Role, Shape, readable
from rewarm.corpora.json_rows import SUFFIXES, rows_of
from rewarm.corpora.rows import RowReader
from rewarm.corpora.sources import FileCorpus, Name
from rewarm.quantities import Count
from rewarm.types import BadRows, Document, UserError

_TEXT = "\0text"
"""A key no row has: rows with a NUL character in them are refused."""


class Chat(FileCorpus):
    """Conversations from rows of JSON (lines, or an array in a `.json` file) or Parquet, packed or plain.

    A row holds a list of turns in `messages` or `conversations`, with `role` and `content` or `from` and `value`; or
    an `instruction` (or `prompt`, `question`), an `input` or none, and an `output` (or `response`, `completion`,
    `answer`); beside either, a `system` text. `columns` names other fields, as in {messages: turns, role: who}, and
    `roles` other roles, as in {agent: assistant}. A conversation ends with an answer and its speakers take turns:
    others are bad rows, counted by reason.

    `template` says how turns become tokens: `tokenizer`, by the tokenizer's own chat template; `plain`, in plain words;
    `auto`, the first where there is one and else the second; or a Jinja template, in a file or in the plan itself.
    `learn: answers` makes targets of what the assistant says, with the token that ends its turn; `all`, of every token.
    A document's text is the conversation in plain words, and its meta holds the `messages`.
    """

    suffixes_read: ClassVar[frozenset[str]] = SUFFIXES

    columns: dict[Column, Name] = Field(default_factory=dict)
    roles: dict[Name, Role] = Field(default_factory=dict)
    template: Annotated[str, Field(min_length=1)] = "auto"
    learn: Literal["answers", "all"] = "answers"
    id_field: Name | None = None
    keep_fields: tuple[Name, ...] = ()
    max_row_bytes: Count = 64_000_000

    def files(self) -> list[Path]:
        """The files read, sorted by path, each once; UserError for a path that gives none, or a template's file."""
        found = super().files()
        file = self.template_file()
        if file is not None and not file.is_file():
            raise UserError(
                f"template '{self.template}' is no file. Allowed: auto, tokenizer, plain, a file of a Jinja template, "
                "or the template itself, which holds '{{' or '{%'"
            )
        return found

    def template_file(self) -> Path | None:
        """The file of the template; None when it is a word or the template itself."""
        if self.template in ("auto", "tokenizer", "plain") or "{{" in self.template or "{%" in self.template:
            return None
        return Path(self.template).expanduser()

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        shape = Shape(self.columns, self.roles)
        kept = self.keep_fields if self.holdout_by is None else (*self.keep_fields, self.holdout_by)
        own = [*kept, *(() if self.id_field is None else (self.id_field,))]
        reader = RowReader(_TEXT, self.id_field, kept, bad)
        fields = list(dict.fromkeys((*shape.fields(), *own)))
        for file, name in self._named_files():
            place = paths.printable(file)
            for number, row, reason in rows_of(file, fields, self.max_row_bytes):
                where = f"{place}:{number}" if number else place
                if row is None:
                    reader.reject(reason, where)
                    continue
                document = _document(shape, reader, row, (f"{name}:{number}", where))
                if document is not None:
                    yield document


def _document(shape: Shape, reader: RowReader, row: Mapping[str, Any], names: tuple[str, str]) -> Document | None:
    """The document of a row, called by its place unless a field gives its id; None for a bad row, which is counted."""
    try:
        messages = shape.messages(row)
    except Fault as fault:
        reader.reject(str(fault), names[1])
        return None
    document = reader.document({**row, _TEXT: readable(messages)}, *names)
    if document is None:
        return None
    return dataclasses.replace(document, meta={**document.meta, "messages": tuple(messages)})
