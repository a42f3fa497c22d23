"""One of the two snapshots of a corpus, as articles with ids that mean the same in both."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rewarm.corpora import Corpus, faults, paths
from rewarm.corpora.sources import FieldCorpus, WholeFileCorpus
from rewarm.corpora.wiki import Wiki
from rewarm.kinds import corpus_options
from rewarm.methods import build, checked
from rewarm.plan_file import yaml_value
from rewarm.storage import sha256
from rewarm.types import BadRows, Document, UserError

NO_MATCH = "id without --id-pattern"
_DIGITS = re.compile(r"(\d+)")


class Article(NamedTuple):
    """One article of a snapshot. `body` is its text, or its mark-up where both snapshots are dumps of a wiki.

    `title` is "" where the snapshot names none; `date` is as the snapshot writes it, "" if unknown.
    """

    id: str
    title: str
    date: str
    body: str


class Edition:
    """A snapshot: its corpus, its files in the order in which they are read, and the rule of its ids.

    `place` says where the article last given out stands, as `file` or `file:line`; `is_read` that it was the last.
    """

    def __init__(self, name: str, corpus: Corpus, pattern: re.Pattern[str] | None) -> None:
        self.name = name
        self.corpus = corpus
        self.pattern = pattern
        self.as_markup = False
        self.place = ""
        self.is_read = False
        # Parts of a dump are numbered without zeros: 10 comes after 2, as the ids of their pages do.
        natural = isinstance(corpus, Wiki)
        self.files = sorted(corpus.files(), key=_natural) if natural else corpus.files()
        self.sizes = [file.stat().st_size for file in self.files]

    @property
    def bytes(self) -> int:
        """Bytes of all files, packed as they are."""
        return sum(self.sizes)

    def articles(self, bad: BadRows) -> Iterator[Article]:
        """Every article in the order of the files; bad rows are counted in `bad`."""
        self.is_read = False
        yield from self._pages(self.corpus, bad) if isinstance(self.corpus, Wiki) else self._documents(bad)
        self.is_read = True

    def _documents(self, bad: BadRows) -> Iterator[Article]:
        for document in self.corpus.read(bad):
            name = self._name(document, bad)
            if name is not None:
                self.place = document.place
                yield Article(name, self._title(document, name), str(document.meta.get("date", "")), document.text)

    def _pages(self, corpus: Wiki, bad: BadRows) -> Iterator[Article]:
        for file in self.files:
            part = corpus.model_copy(update={"path": str(file)})
            for page in part.articles(bad):
                self.place = page.place
                body = page.markup if self.as_markup else part.document(page, bad).text
                yield Article(page.id, page.title, page.timestamp, body)

    def _name(self, document: Document, bad: BadRows) -> str | None:
        if self.pattern is None:
            return document.id
        match = self.pattern.search(document.id)
        if match is None or not match[1]:
            bad.add(NO_MATCH, document.place)
            return None
        return match[1]

    def _title(self, document: Document, name: str) -> str:
        """The field `title`; without one an id that a person chose: a path, or the part that a pattern picks."""
        title = document.meta.get("title")
        if isinstance(title, str):
            return " ".join(title.split())
        is_chosen = self.pattern is not None or isinstance(self.corpus, WholeFileCorpus)
        return name if is_chosen and not name.isdecimal() else ""

    def fingerprint(self) -> dict[str, Any]:
        """Options, names, sizes and times of change: what a job compares before it goes on."""
        times = [file.stat().st_mtime_ns for file in self.files]
        listed = repr([*zip(map(str, self.files), self.sizes, times, strict=True)])
        pattern = None if self.pattern is None else self.pattern.pattern
        return {
            "corpus": self.corpus.described(),
            "id_pattern": pattern,
            "files": len(self.files),
            "bytes": self.bytes,
            "listed": hashlib.sha256(listed.encode()).hexdigest(),
        }

    def sha256(self) -> str:
        """A digest of the content: of the one file, or of the digests of all, in their order, in hexadecimal."""
        digests = [sha256(file) for file in self.files]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def editions(old: str, new: str, id_field: str | None = None, pattern: str | None = None) -> tuple[Edition, Edition]:
    """The two snapshots that a command names.

    Each is a path, or options of a corpus in braces as in a plan: `{type: jsonl, path: a.jsonl, id_field: page}`.
    `id_field` (for rows; `id` if it is left out) and `pattern`, a regular expression whose group is the part of an id
    that both snapshots share, hold for both. UserError when a path, an option or the pattern is wrong, or rows have
    no such field.
    """
    rule = _compiled(pattern)
    found = (Edition("OLD", _corpus(old, id_field), rule), Edition("NEW", _corpus(new, id_field), rule))
    both = all(isinstance(edition.corpus, Wiki) for edition in found)
    if rule is not None and any(isinstance(edition.corpus, Wiki) for edition in found):
        raise UserError(f"--id-pattern {pattern!r}: articles of a wiki dump have their numbers for ids. Leave it out")
    for edition in found:
        edition.as_markup = both
        _check_ids(edition)
    return found


def _natural(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(file.as_posix())]


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--id-pattern {pattern!r} is no regular expression: {error}. Escape what is literal") from None
    if rule.groups < 1:
        raise UserError(
            f"--id-pattern {pattern!r} has no group: put the part of an id that both snapshots share into brackets, "
            "as in '^factbook:[0-9]+:(.+)$'"
        )
    return rule


def _corpus(given: str, id_field: str | None) -> Corpus:
    value: Any = given
    if given.lstrip().startswith("{"):
        try:
            value = yaml_value(given)
        except UserError as error:
            raise UserError(f"{given!r} is no mapping: {error}. Write {{path: a.jsonl, id_field: page}}") from None
    corpus = build("corpora", corpus_options(value), "")
    assert isinstance(corpus, Corpus)
    if not isinstance(corpus, FieldCorpus):
        if id_field is not None:
            raise UserError(f"--id-field {id_field}: {given!r} is {corpus.method_name()}, which has no fields")
        return corpus
    added = {"id_field": id_field or corpus.id_field or "id"}
    fields = dict.fromkeys((*corpus.keep_fields, "title", "date"))
    return checked(type(corpus), corpus.model_dump(by_alias=True) | added | {"keep_fields": tuple(fields)})


def _check_ids(edition: Edition) -> None:
    """Before any work: that the first good row has an id, and that the pattern fits it."""
    bad = BadRows()
    first = next(edition.articles(bad), None) if not edition.as_markup else None
    if first is not None or not bad.total:
        return
    shown = f"{edition.name}: none of its {bad.rows:,} rows"
    if bad.counts[NO_MATCH]:
        assert edition.pattern is not None
        raise UserError(
            f"{shown} has an id that --id-pattern {edition.pattern.pattern!r} fits, such as that at "
            f"{bad.examples[NO_MATCH][0]}. Correct the pattern"
        )
    if bad.counts[faults.NO_ID] and isinstance(edition.corpus, FieldCorpus):
        raise UserError(
            f"{shown} has a field '{edition.corpus.id_field}' that tells which article it is, such as "
            f"{bad.examples[faults.NO_ID][0]}. Name the field with --id-field, or with id_field inside braces"
        )
    faults.check_budget(edition.name, bad, 0)


def shown_files(edition: Edition) -> str:
    """The first files of a snapshot, for messages."""
    more = f" and {len(edition.files) - 1:,} more" if len(edition.files) > 1 else ""
    return f"{paths.printable(edition.files[0])}{more}" if edition.files else "its source"
