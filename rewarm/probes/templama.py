"""TempLAMA: one sentence with a blank for each year, and the answers of that year (arXiv 2106.15110)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, model_validator

from rewarm.corpora import faults
from rewarm.facts import leave_out, reject
from rewarm.facts.files import Written, rows, several, words
from rewarm.probes import Kind, Probe
from rewarm.probes.asking import Templates, cut
from rewarm.probes.sets import NO_ANSWER, NO_BLANK, FileProbeSet, unique
from rewarm.types import BadRows

ANOTHER_DATE = "another date"
EARLIER = "earlier row of a probe"
NO_DATE = "no date"


@dataclass(frozen=True, slots=True)
class _Asked:
    name: str
    parts: tuple[str, str]
    answers: tuple[str, ...]
    relation: str
    place: str


class Templama(FileProbeSet):
    """What became of the answers from the date `old` to the date `new` (years, or as the rows write them).

    A row has `query` with `_X_`, `answer` (names, or mappings with `name`), `date`, `relation`, and an `id` that ends
    in the date. If an answer came, the fact is changed and its answers are those that came; if none did, it is
    unchanged and its answers are those that stayed. A query of the later date only is new, of the earlier only deleted.
    The rows of both dates are held in memory.
    """

    paper: ClassVar[str] = "TempLAMA, arXiv 2106.15110"
    suffixes_read: ClassVar[frozenset[str]] = frozenset({".jsonl", ".ndjson", ".json"})

    old: Written = Field(min_length=1)
    new: Written = Field(min_length=1)

    @model_validator(mode="after")
    def _ordered(self) -> Templama:
        if self.old >= self.new:
            raise ValueError(f"old is {self.old} and new is {self.new}: give an earlier and a later date")
        return self

    def _probes(self, templates: Templates, bad: BadRows) -> Iterator[Probe]:
        held: dict[str, dict[str, _Asked]] = {self.old: {}, self.new: {}}
        for row, place in rows(self.files(), bad):
            date = words(row.get("date"))
            if date not in held:
                if date:
                    leave_out(bad, ANOTHER_DATE)
                else:
                    reject(bad, NO_DATE, place)
                continue
            parts = cut(words(row.get("query")))
            answers = unique(
                words(one.get("name") if isinstance(one, dict) else one) for one in several(row.get("answer"))
            )
            if parts is None or not answers:
                reject(bad, NO_ANSWER if parts else NO_BLANK, place)
                continue
            name = words(row.get("id")).removesuffix(date).rstrip("_-: ") or words(row.get("query"))
            if name in held[date]:
                reject(bad, faults.DUPLICATE_ID, place)
                continue
            held[date][name] = _Asked(name, parts, answers, words(row.get("relation")), place)
        for name, asked in held[self.new].items():
            before = held[self.old].pop(name, None)
            if before is not None:
                leave_out(bad, EARLIER)
            yield self._probe(before, asked)
        for before in held[self.old].values():
            yield self._probe(before, None)

    def _probe(self, before: _Asked | None, after: _Asked | None) -> Probe:
        had, has = (one.answers if one else () for one in (before, after))
        came = tuple(text for text in has if text not in had)
        gone = tuple(text for text in had if text not in has)
        kind: Kind = "deleted" if not has else "new" if not had else "changed" if came else "unchanged"
        one = after or before
        assert one is not None  # a query is held under one of the two dates
        return Probe(
            id=one.name,
            kind=kind,
            prompt=one.parts[0],
            answers=came or has,
            old_answers=gone if kind in ("changed", "deleted") else (),
            suffix=one.parts[1],
            relation=one.relation,
            date=self.new,
            place=one.place,
        )
