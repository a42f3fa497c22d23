"""Probes in lines of JSON, as `rewarm corpus probes` writes them; the default for `.jsonl`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rewarm.facts import leave_out, reject
from rewarm.facts.files import rows, words
from rewarm.probes import KINDS, Kind, Probe
from rewarm.probes.asking import Templates
from rewarm.probes.sets import NO_ANSWER, NO_LABEL, NO_QUESTION, NO_SUBJECT, FileProbeSet, names
from rewarm.types import BadRows

ANOTHER_VALUE = "another value of {field}"
_PERIOD = re.compile(r"(\d{4})-?(\d\d)(\d\d)-(\d\d)(\d\d)$")  # 2021-0901-1001: from 1 September to 1 October


class Jsonl(FileProbeSet):
    """Probes from rows with `subject`, `relation`, `object`, `object_old` and `label` (what became of the fact).

    `kind` is the label of rows without one. Rows with another label than changed, unchanged, new and deleted are left
    out. `prompt` and `suffix` may be given; else the fact is asked for by a template. An object may be a list, and
    `answer` stands for a missing one. `where` chooses rows by the values of fields, as in {period: 2021-0901-1001}.
    The date is `date`, `date_new` or the end of `period`.
    """

    kind: Kind | None = None
    where: Mapping[str, str] = {}

    def _probes(self, templates: Templates, bad: BadRows) -> Iterator[Probe]:
        for row, place in rows(self.files(), bad):
            other = next((field for field, value in self.where.items() if words(row.get(field)) != value), None)
            label = words(row.get("label")) or self.kind or ""
            if other is not None:
                leave_out(bad, ANOTHER_VALUE.format(field=other))
            elif not label:
                reject(bad, NO_LABEL, place)
            elif label not in KINDS:
                leave_out(bad, f"label {label}")
            else:
                found = _probe(row, place, label, templates)
                if isinstance(found, str):
                    reject(bad, found, place)
                else:
                    yield found


def _probe(row: Mapping[str, Any], place: str, kind: Kind, templates: Templates) -> Probe | str:
    """The probe of a row, or what is wrong with it."""
    subject, relation = words(row.get("subject")), words(row.get("relation"))
    answers = () if kind == "deleted" else names(row.get("object") or row.get("answer"))
    old = () if kind == "unchanged" else names(row.get("object_old"))
    if not answers and not (kind == "deleted" and old):
        return NO_ANSWER
    prompt, suffix = row.get("prompt"), row.get("suffix")
    if not isinstance(prompt, str) or (not prompt.strip() and not words(suffix)):
        if not subject or not relation:
            return NO_QUESTION if subject else NO_SUBJECT
        prompt, suffix = templates.ask(subject, relation)
    return Probe(
        id=words(row.get("id")) or place,
        kind=kind,
        prompt=prompt.rstrip(),
        answers=answers,
        old_answers=old,
        suffix=suffix if isinstance(suffix, str) else ".",
        subject=subject,
        relation=relation,
        date=words(row.get("date")) or words(row.get("date_new")) or _end(words(row.get("period"))),
        choices=names(row.get("choices")),
        place=place,
    )


def _end(period: str) -> str:
    found = _PERIOD.match(period)
    if found is None:
        return ""
    year, begin, _, month, day = found.groups()
    # A period such as 1201-0101 ends in the next year.
    return f"{int(year) + (month < begin)}-{month}-{day}"
