"""What corpora have in common: a limit, files behind a path, and named fields behind rows."""

import os
from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from rewarm.corpora import Corpus, paths
from rewarm.quantities import Count
from rewarm.types import BadRows, Document

Name = Annotated[str, Field(min_length=1)]


class LimitedCorpus(Corpus):
    """A corpus of which `limit` keeps the first documents only; None keeps all."""

    limit: Annotated[Count, Field(ge=1)] | None = None

    def read(self, bad: BadRows) -> Iterator[Document]:
        """Every good document in a fixed order; bad rows and the number of rows seen are counted in `bad`.

        `bad.rows` is documents given out plus bad rows at any moment, also when the reader stops early.
        """
        return islice(self._documents(bad), self.limit)

    @abstractmethod
    def _documents(self, bad: BadRows) -> Iterator[Document]: ...


class FileCorpus(LimitedCorpus):
    """A corpus in files. `path` is a file, a folder or a pattern such as `data/**/*.jsonl`, or a list of these."""

    suffixes_read: ClassVar[frozenset[str]]
    # A row goes from its place to the first line that holds this.
    row_end: ClassVar[bytes] = b""

    path: Name | Annotated[tuple[Name, ...], Field(min_length=1)]

    def files(self) -> list[Path]:
        """The files read, sorted by path, each once; UserError for a path that gives none."""
        return paths.expand(self._patterns(), self._folder_rule())

    def _named_files(self) -> Iterator[tuple[Path, str]]:
        """Each file with its name in the corpus: its path relative to what `path` names."""
        root = paths.root(self._patterns())
        for file in self.files():
            yield file, paths.printable(os.path.relpath(file, root))

    def _patterns(self) -> list[str]:
        given = [self.path] if isinstance(self.path, str) else self.path
        return [os.path.expanduser(pattern) for pattern in given]

    def _folder_rule(self) -> paths.FolderRule:
        return paths.FolderRule(self.suffixes_read)


class WholeFileCorpus(FileCorpus):
    """A corpus with one document per file, whose meta holds the file's `path` in the corpus."""

    meta_fields: ClassVar[tuple[str, ...]] = ("path",)

    @field_validator("holdout_by")
    @classmethod
    def _known_field(cls, value: str | None) -> str | None:
        if value is not None and value not in cls.meta_fields:
            raise ValueError(f"a corpus of whole files is held out by {' or '.join(cls.meta_fields)}, or by its text")
        return value


class FieldCorpus(LimitedCorpus):
    """A corpus of rows with named fields.

    `text_field` holds the text. Ids come from `id_field`, or from the place of the row when it is None. The fields
    `keep_fields` and `holdout_by` are copied to a document's meta, where the row has them and they are not null; with
    "*" among `keep_fields`, all fields of a row are.
    """

    text_field: Name = "text"
    id_field: Name | None = None
    keep_fields: tuple[Name, ...] = ()

    def _meta_fields(self) -> tuple[str, ...]:
        return self.keep_fields if self.holdout_by is None else (*self.keep_fields, self.holdout_by)

    def _fields_read(self) -> list[str]:
        """Every field that reaches a document, each once."""
        identity = () if self.id_field is None else (self.id_field,)
        return list(dict.fromkeys((self.text_field, *identity, *self._meta_fields())))
