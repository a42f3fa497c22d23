"""Which answers no longer hold, by what a series of probes says: claims that a text should not repeat."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rewarm.probes import Probe
from rewarm.probes.wording import worded

NO_SUBJECT = "no subject"
NO_OLD_ANSWER = "no old answer"
SHORT_SUBJECT = "subject too short to be found"
SHORT_ANSWER = "old answer too short, a small number, or the subject itself"
LATER = "changes after the stage's date"
LEAST_BYTES = 3
"""A name with fewer bytes of UTF-8 stands in almost any text: `af`, `US` as `us`."""
_SMALL_NUMBER = re.compile(r"[0-9]{1,4}")
"""A count or a year: too common to say that it answers the question."""
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


@dataclass(frozen=True, slots=True)
class Claim:
    """An answer that does not hold any more, as `worded` writes it. A sentence that also gives one of `current`, which
    came in its place, tells of the change and does not make the claim. `sets` are the probe sets that call it old."""

    subject: str
    answer: str
    current: tuple[str, ...]
    sets: tuple[str, ...]


@dataclass(slots=True)
class _Old:
    """An answer that does not hold: what took its place, and which sets say so."""

    current: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)


def claims(sets: Mapping[str, Sequence[Probe]], until: str = "") -> tuple[list[Claim], Counter[str]]:
    """The claims that are out of date by sets of probes, oldest set first, and how many facts cannot be looked for.

    Probes are taken in the order of their dates, then of their sets: an answer that was replaced and is right again
    later is not out of date. Facts that changed after the date `until` did not change yet; dates are compared as far
    as both are known (2021 is not after 2021-03), and without one of the two dates a fact counts.
    """
    ignored: Counter[str] = Counter()
    of_key: dict[tuple[str, str], dict[str, _Old]] = {}
    for _, _, probe in _in_time(sets):
        if probe.kind in ("changed", "deleted"):
            reason = LATER if is_later(probe.date, until) else _unfit(probe)
            if reason:
                ignored[reason] += 1
            else:
                of_key.setdefault(_key(probe), {})
    for _, group in itertools.groupby(_in_time(sets), key=lambda item: item[0]):
        known = [
            (name, probe, of_key[_key(probe)])
            for _, name, probe in group
            if _key(probe) in of_key and not is_later(probe.date, until)
        ]
        for name, probe, old in known:
            for answer in probe.old_answers if probe.kind in ("changed", "deleted") else ():
                entry = old.setdefault(worded(answer), _Old())
                entry.current.update(map(worded, probe.answers))
                entry.sets.add(name)
        for _, probe, old in known:
            for answer in probe.answers:
                old.pop(worded(answer), None)
    found = [
        Claim(subject, answer, tuple(sorted(_successors(answer, old))), tuple(sorted(entry.sets)))
        for (subject, _), old in of_key.items()
        for answer, entry in old.items()
        if _tells(answer, subject)
    ]
    return found, ignored


def is_later(date: str, until: str) -> bool:
    """Whether a date lies after another, compared as far as both are known; False when one is no date."""
    if not (_DATE.fullmatch(date) and _DATE.fullmatch(until)):
        return False
    known = min(len(date), len(until))
    return date[:known] > until[:known]


def is_common(name: str) -> bool:
    """Whether a name is found in almost any text: shorter than `LEAST_BYTES`, or a whole number of up to 4 digits."""
    return len(name.encode()) < LEAST_BYTES or _SMALL_NUMBER.fullmatch(name) is not None


def _in_time(sets: Mapping[str, Sequence[Probe]]) -> Iterator[tuple[tuple[str, int], str, Probe]]:
    """Every probe with its time and its set, oldest first; those without a date come before all others."""
    every = [((probe.date, number), name, probe) for number, (name, held) in enumerate(sets.items()) for probe in held]
    return iter(sorted(every, key=lambda item: item[0]))


def _key(probe: Probe) -> tuple[str, str]:
    """What a probe asks; without a relation the question itself tells."""
    return worded(probe.subject), probe.relation or probe.prompt


def _unfit(probe: Probe) -> str:
    """Why a changed fact cannot be looked for in a text, "" if it can."""
    if not probe.subject:
        return NO_SUBJECT
    if is_common(worded(probe.subject)):
        return SHORT_SUBJECT
    if not probe.old_answers:
        return NO_OLD_ANSWER
    answers = {worded(answer) for answer in probe.old_answers}
    return "" if any(_tells(answer, worded(probe.subject)) for answer in answers) else SHORT_ANSWER


def _tells(answer: str, subject: str) -> bool:
    """Whether an answer that stands in a text about its subject says anything."""
    return answer != subject and not is_common(answer)


def _successors(answer: str, old: Mapping[str, _Old]) -> set[str]:
    """What came in the place of an answer, and in the place of that, down to what holds."""
    found: set[str] = set()
    waiting: Iterable[str] = [answer]
    while waiting := [name for one in waiting if one in old for name in old[one].current if name not in found]:
        found.update(waiting)
    return found - {answer}
