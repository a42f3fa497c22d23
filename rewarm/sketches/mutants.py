"""A corpus of Python sources -> rows of functions with a bug, each with the function as it was: repairs to learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from rewarm.corpora import Corpus
from rewarm.hashing import seed_of, text_hash
from rewarm.sketches.mutation import INDENTED, OPERATORS, functions, mutate
from rewarm.sketches.source import Source, Unsketchable
from rewarm.storage import full_disk_told, replaced, write_json
from rewarm.types import BadRows, Document, Tell

NO_FUNCTION = "has no function"
TOO_LONG = "is too long"
TWICE = "was there before"
_EVERY = 16
_EXAMPLES = 5


class _Counts:
    """What was made and what was not, with the reasons."""

    def __init__(self) -> None:
        self.read = self.functions = 0
        self.operators: Counter[str] = Counter(dict.fromkeys(OPERATORS, 0))
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def drop(self, reason: str, place: str) -> None:
        """Counts a source or a function that gives none."""
        self.dropped[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < _EXAMPLES:
            kept.append(place)


@dataclass(frozen=True)
class MutateJob:
    """What `rewarm corpus mutate` does. Files appear under their names only when whole, at the end.

    A function of more than `longest` characters is left out, and one that was there before. The same sources and `seed`
    give the same rows. `limit`: only so many sources are read.
    """

    corpus: Corpus
    out: Path
    seed: int = 0
    longest: int = 2000
    limit: int | None = None

    @property
    def summary(self) -> Path:
        """Where the counts go."""
        return self.out.with_name(f"{self.out.name.removesuffix('.jsonl.zst')}.json")

    def run(self, tell: Tell) -> dict[str, Any]:
        """Writes the rows and the counts; the counts."""
        with full_disk_told(self.out.parent, "What was there before"), replaced(self.out) as out:
            found = self._counted(tell, out)
        write_json(self.summary, found)
        return found

    def foreseen(self, tell: Tell) -> dict[str, Any]:
        """The counts of the first `limit` sources, with an example; nothing is written."""
        return self._counted(tell, None)

    def _counted(self, tell: Tell, out: BinaryIO | None) -> dict[str, Any]:
        bad, counts = BadRows(), _Counts()
        seen: set[int] = set()
        example: Mapping[str, Any] = {}
        for number, document in enumerate(self.corpus.read(bad), 1):
            if number % _EVERY == 1:
                tell("mutate", number, None, "sources")
            if self.limit is not None and number > self.limit:
                break
            counts.read += 1
            for row in self._rows(document, counts, seen):
                example = example or row
                if out is not None:
                    out.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        return {
            "settings": {"seed": self.seed, "longest": self.longest},
            "read": counts.read,
            "functions": counts.functions,
            "written": counts.operators.total(),
            "operators": dict(counts.operators),
            "dropped": dict(counts.dropped.most_common()),
            "dropped_examples": counts.examples,
            "bad_rows": dict(bad.counts),
            "bad_examples": bad.examples,
        } | ({} if out is not None else {"example": example})

    def _rows(self, document: Document, counts: _Counts, seen: set[int]) -> Iterator[Mapping[str, Any]]:
        """A row for each function of a source that can have a bug; the others are counted."""
        path = str(document.meta.get("path", document.id))
        try:
            found = list(functions(Source(document.text)))
        except Unsketchable as error:
            counts.drop(str(error), f"{document.place}: {error.detail}".removesuffix(": "))
            return
        if not found:
            counts.drop(NO_FUNCTION, document.place)
        for number, (name, text) in enumerate(found):
            counts.functions += 1
            place = f"{document.place}: {name}"
            try:
                row = self._row(f"{document.id}#{number}", text, seen)
            except Unsketchable as error:
                counts.drop(str(error), place)
                continue
            counts.operators[row["operator"]] += 1
            yield {**row, "path": path, "function": name}

    def _row(self, place: str, text: str | None, seen: set[int]) -> dict[str, str]:
        if text is None:
            raise Unsketchable(INDENTED)
        if len(text) > self.longest:
            raise Unsketchable(TOO_LONG)
        if text_hash(text) in seen:
            raise Unsketchable(TWICE)
        mutant = mutate(text, seed_of(self.seed, "mutate", place))
        seen.add(text_hash(text))
        return {"id": place, "prompt": mutant.text, "answer": text, "operator": mutant.operator}
