"""RealTimeQA: weekly questions on the news with four choices (arXiv 2207.13332)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rewarm.facts import reject
from rewarm.facts.files import rows, several, words
from rewarm.probes import Kind, Probe
from rewarm.probes.asking import Templates
from rewarm.probes.sets import NO_ANSWER, NO_QUESTION, FileProbeSet, cloze_or_question, names, question, unique
from rewarm.types import BadRows


class Realtimeqa(FileProbeSet):
    """Probes from rows with `question_sentence`, `choices` and `answer`, the numbers (from 0) of the right choices.

    The news is new to a model: `kind` says so unless set. A question that is a sentence with a blank is asked as one.
    """

    paper: ClassVar[str] = "RealTimeQA, arXiv 2207.13332"
    suffixes_read: ClassVar[frozenset[str]] = frozenset({".jsonl", ".ndjson", ".json"})

    kind: Kind = "new"

    def _probes(self, templates: Templates, bad: BadRows) -> Iterator[Probe]:
        for row, place in rows(self.files(), bad):
            text = words(row.get("question_sentence"))
            answers = _answers(row)
            if not text or not answers:
                reject(bad, NO_ANSWER if text else NO_QUESTION, place)
                continue
            prompt, suffix = cloze_or_question(text) or (question(text), "")
            yield Probe(
                id=words(row.get("question_id")) or place,
                kind=self.kind,
                prompt=prompt,
                answers=answers,
                suffix=suffix,
                date=words(row.get("question_date")).replace("/", "-"),
                choices=names(row.get("choices")),
                place=place,
            )


def _answers(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The right choices; none where a number is no choice."""
    choices = [words(one) for one in several(row.get("choices"))]
    numbers = [words(one) for one in several(row.get("answer"))]
    if not all(number.isdecimal() and int(number) < len(choices) for number in numbers):
        return ()
    return unique(choices[int(number)] for number in numbers)
