"""What suites in files have in common: rows with named fields become items, of which a seeded draw is asked."""

from __future__ import annotations

import hashlib
import heapq
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from rewarm.corpora import faults
from rewarm.corpora.faults import check_budget
from rewarm.corpora.rows import SeenIds
from rewarm.facts import Tally, leave_out, reject
from rewarm.facts.files import InFiles, rows, words
from rewarm.hashing import seed_of
from rewarm.quantities import PositiveCount
from rewarm.storage import sha256
from rewarm.suites import Answers, Measure, Suite
from rewarm.types import UserError

Item = TypeVar("Item")
NO_FIELD = "no text in field '{field}'"
OVER_LIMIT = "over the limit"
ANOTHER_VALUE = "another value of {field}"


@dataclass(frozen=True, slots=True)
class Chosen(Generic[Item]):
    """The items asked, in the order of the files, with their ids, and what was counted of all rows."""

    ids: tuple[str, ...]
    items: tuple[Item, ...]
    tally: Tally = field(default_factory=Tally)

    def answers(self, measures: Mapping[str, Measure], written: Sequence[str] = (), **extra: Any) -> Answers:
        """The answers to these items, with what was counted of the rows."""
        left_out, bad_rows = dict(self.tally.left_out), dict(self.tally.counts)
        return Answers(self.ids, measures, left_out, bad_rows, tuple(written), extra)


class BadRow(Exception):
    """A row gives no item; the message is the reason, in words that are the same for all rows with this fault."""


class FileSuite(InFiles, Suite, Generic[Item]):
    """A suite in files. At most `limit` items are asked, the same for every model: which ones follows from the run's
    seed and their ids. `where` chooses rows by the values of fields, as in {split: test}.
    """

    limit: Annotated[PositiveCount, Field(ge=1)] | None = 1000
    where: Mapping[str, str] = {}

    @abstractmethod
    def item(self, row: Mapping[str, Any]) -> Item:
        """The item of a row; BadRow when there is none."""

    def fingerprint(self) -> str:
        """A hash of every option but where the files lie, and of the files' bytes."""
        digest = hashlib.sha256()
        options = {name: value for name, value in self.described().items() if name != "path"}
        digest.update(json.dumps(options, sort_keys=True).encode())
        for file in self.files():
            digest.update(bytes.fromhex(sha256(file)))
        return digest.hexdigest()

    def check(self, name: str, bad_limit: float) -> None:
        """UserError when more than `bad_limit` of the rows are bad, or no item is left."""
        found = self.choose(0)
        check_budget(name, found.tally, bad_limit)
        if not found.items:
            left = ", ".join(f"{count:,} {reason}" for reason, count in found.tally.left_out.items()) or "nothing"
            raise UserError(
                f"suites.{name} has no item: {found.tally.rows:,} rows of {', '.join(map(str, self.files()[:3]))} "
                f"(left out: {left}). Change its options"
            )

    def choose(self, seed: int) -> Chosen[Item]:
        """The items asked under a seed. Memory grows with the limit alone, and 16 bytes for each row."""
        tally, seen = Tally(), SeenIds()
        kept: list[tuple[int, int, str, Item]] = []
        for number, (row, place) in enumerate(rows(self.files(), tally)):
            found = self._read(row, place, seen, tally)
            if found is None:
                continue
            name, item = found
            # The largest draws are dropped first: a heap of negated ones has them on top. Numbers break ties.
            entry = (-seed_of(seed, "suite", name), -number, name, item)
            if self.limit is None or len(kept) < self.limit:
                heapq.heappush(kept, entry)
            else:
                heapq.heappushpop(kept, entry)
                leave_out(tally, OVER_LIMIT)
        tally.rows += len(kept)
        kept.sort(key=lambda entry: -entry[1])
        return Chosen(tuple(entry[2] for entry in kept), tuple(entry[3] for entry in kept), tally)

    def _read(self, row: Mapping[str, Any], place: str, seen: SeenIds, tally: Tally) -> tuple[str, Item] | None:
        """The id and the item of a row; None, and counted, when it gives none."""
        other = next((name for name, value in self.where.items() if words(row.get(name)) != value), None)
        if other is not None:
            leave_out(tally, ANOTHER_VALUE.format(field=other))
            return None
        name = words(row.get("id")) or Path(place).name
        try:
            item = self.item(row)
        except BadRow as fault:
            reject(tally, str(fault), place)
            return None
        if not seen.add(name):
            reject(tally, faults.DUPLICATE_ID, place)
            return None
        return name, item


def text_of(row: Mapping[str, Any], name: str) -> str:
    """The text of a field, as it stands; a number counts as its digits. BadRow when there is none."""
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(NO_FIELD.format(field=name))
    return value


class _Fields(dict[str, Any]):
    """The fields of a row; one that a template names and the row has not is a bad row."""

    def __missing__(self, key: str) -> str:
        raise BadRow(NO_FIELD.format(field=key))


def filled(template: str, row: Mapping[str, Any]) -> str:
    """The template with each `{field}` replaced by the row's text; BadRow when the row lacks one."""
    return template.format_map(_Fields({name: _shown(name, value) for name, value in row.items()}))


def _shown(name: str, value: Any) -> Any:
    return "\n".join(map(str, value)) if isinstance(value, list) else value


def check_template(template: str | None) -> str | None:
    """The template; ValueError when its braces do not pair."""
    if template is not None:
        try:
            template.format_map(_Anything())
        except (ValueError, IndexError, AttributeError, KeyError) as error:
            raise ValueError(
                f"'{template}' is no template ({error}): name fields in braces, as in '{{question}}\\nAnswer:', and "
                "write a brace itself twice"
            ) from None
    return template


class _Anything(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def strings(values: Any, name: str) -> tuple[str, ...]:
    """The texts of a field that holds a list of them; BadRow when it does not."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not all(isinstance(one, str) for one in values):
        raise BadRow(f"field '{name}' is no list of texts")
    return tuple(values)
