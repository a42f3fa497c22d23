"""Time-Sensitive-QA: questions that name the time they ask about (arXiv 2108.06314)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from rewarm.facts import leave_out, reject
from rewarm.facts.files import rows, words
from rewarm.probes import Kind, Probe
from rewarm.probes.asking import Templates
from rewarm.probes.sets import NO_ANSWER, NO_QUESTION, FileProbeSet, names, question
from rewarm.types import BadRows

UNANSWERABLE = "its article has no answer"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = re.compile(
    r"\b(?:(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? )?(1\d{3}|20\d\d)\b", re.IGNORECASE
)


class TimeSensitiveQa(FileProbeSet):
    """Probes from rows with `id`, `relation` and `questions`: `q` and `answers`. Each question is counted as a row.

    The date is when the time asked about begins, a year or a month. `kind` says what became of the facts, which this
    data does not. Questions that the article does not answer are left out.
    """

    paper: ClassVar[str] = "Time-Sensitive-QA, arXiv 2108.06314"
    suffixes_read: ClassVar[frozenset[str]] = frozenset({".jsonl", ".ndjson", ".json"})

    kind: Kind = "unchanged"

    def _probes(self, templates: Templates, bad: BadRows) -> Iterator[Probe]:
        for row, place in rows(self.files(), bad):
            questions = row.get("questions")
            if not isinstance(questions, list) or not questions:
                reject(bad, NO_QUESTION, place)
                continue
            name = words(row.get("id")) or place
            for number, asked in enumerate(questions):
                found = self._probe(asked, f"{name}:{number}", words(row.get("relation")), place)
                if isinstance(found, Probe):
                    yield found
                elif found == UNANSWERABLE:
                    leave_out(bad, found)
                else:
                    reject(bad, found, f"{place}, question {number + 1}")

    def _probe(self, asked: Any, name: str, relation: str, place: str) -> Probe | str:
        text = words(asked.get("q")) if isinstance(asked, dict) else ""
        if not text:
            return NO_QUESTION
        if not isinstance(asked.get("answers"), list):
            return NO_ANSWER
        answers = names(asked["answers"])
        if not answers:
            return UNANSWERABLE
        date = begins(text)
        return Probe(name, self.kind, question(text), answers, suffix="", relation=relation, date=date, place=place)


def begins(text: str) -> str:
    """The first of the last two times that a question names (`from Jul 1929 to Sep 1937`), or the only one, or ""."""
    found = [
        year + (f"-{_MONTHS.index(month.lower()) + 1:02d}" if month else "") for month, year in _TIME.findall(text)
    ]
    return found[-2:][0] if found else ""
