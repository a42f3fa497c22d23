"""Records that are to be left out, and the proof that they are: they are in no document, and who still names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ahocorasick_rs

_MOST_PLACES = 20


@dataclass(slots=True)
class Gone:
    """The ids asked to be left out (alone or as `source:id`), and what was found of them."""

    asked: frozenset[str]
    met: set[str] = field(default_factory=set)
    titles: dict[str, str] = field(default_factory=dict)
    records: int = 0

    def takes(self, source: str, name: str, title: str) -> bool:
        """Whether a record is to be left out; its title is remembered then."""
        words = {name, f"{source}:{name}"} & self.asked
        if words:
            self.met |= words
            self.records += 1
            if title:
                self.titles.setdefault(title, f"{source}:{name}")
        return bool(words)


class Inspection:
    """Looks through the documents that were written for records that should not be there."""

    def __init__(self, gone: Gone) -> None:
        self.gone = gone
        self.present: list[str] = []
        self.named: Counter[str] = Counter()
        self.named_in: dict[str, list[str]] = {}
        self._titles = list(gone.titles)
        self._search = ahocorasick_rs.AhoCorasick(self._titles) if self._titles else None

    def look(self, row: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]]) -> None:
        """Takes in a document and where its nodes come from."""
        for node in nodes:
            if {node["record"], f"{node['source']}:{node['record']}"} & self.gone.asked:
                self.present.append(f"{node['source']}:{node['record']} in {row['id']}")
        if self._search is not None:
            for number in {found[0] for found in self._search.find_matches_as_indexes(row["text"], overlapping=True)}:
                record = self.gone.titles[self._titles[number]]
                self.named[record] += 1
                if len(places := self.named_in.setdefault(record, [])) < _MOST_PLACES:
                    places.append(str(row["id"]))

    def result(self) -> dict[str, Any]:
        """Counts for the summary. `still_named`: titles of left-out records that stand in text of other records."""
        return {
            "asked": len(self.gone.asked), "records_left_out": self.gone.records,
            "not_found": sorted(self.gone.asked - self.gone.met)[:100], "still_present": self.present,
            "still_named": {
                name: {"documents": count, "first": self.named_in[name]} for name, count in self.named.items()
            },
        }  # fmt: skip
