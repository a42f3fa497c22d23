"""What became of each fact from one snapshot to the next, by one walk along both in the order of their subjects.

For one subject and relation, O and N are the objects of the two snapshots:
    unchanged = what O and N share;
    changed = N without O, if an object of O is gone: it was replaced;
    new = N without O, if none is gone: the subject, the relation or one more object is new;
    deleted = O without N, if nothing came instead.
So a fact is of one kind only. As TemporalWiki publishes it, only subjects of both snapshots are compared, and all of N
without O is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from rewarm.facts.sorting import SEPARATOR
from rewarm.probes import Kind

Line = list[str]


@dataclass(slots=True)
class Seen:
    """How many facts a walk saw, how many came again, and how many have a subject that the other snapshot has not."""

    facts: int = 0
    repeated: int = 0
    not_compared: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A fact and what became of it: `object` is what holds now, or for a deleted fact what held.

    `old` are the objects that held instead of it before.
    """

    kind: Kind
    subject_id: str
    relation: str
    object: str
    subject: str
    title: str
    old: tuple[str, ...] = ()


@dataclass(slots=True)
class _Subject:
    """The facts of a subject: its name and title, and for each relation id -> name of its objects."""

    id: str
    name: str
    title: str
    relations: dict[str, dict[str, str]]


def compare(old: Iterable[Line], new: Iterable[Line], as_published: bool, seen: dict[str, Seen]) -> Iterator[Change]:
    """Every change from `old` to `new`, lines of facts in their order; `seen` counts under "old" and "new"."""
    before, after = _subjects(old, seen["old"]), _subjects(new, seen["new"])
    left, right = next(before, None), next(after, None)
    while left is not None or right is not None:
        # What separates fields belongs to the order, which is the order of whole lines.
        left_key, right_key = (one.id + SEPARATOR if one else None for one in (left, right))
        if right_key is None or (left_key is not None and left_key < right_key):
            yield from _alone(left, None, as_published, seen["old"])
            left = next(before, None)
        elif left_key is None or right_key < left_key:
            yield from _alone(None, right, as_published, seen["new"])
            right = next(after, None)
        else:
            yield from _changes(left, right, as_published)
            left, right = next(before, None), next(after, None)


def _subjects(lines: Iterable[Line], seen: Seen) -> Iterator[_Subject]:
    for subject_id, group in groupby(lines, key=lambda line: line[0]):
        found = _Subject(subject_id, "", "", {})
        for _, relation, object_id, subject, text, title in group:
            objects = found.relations.setdefault(relation, {})
            seen.repeated += object_id in objects
            seen.facts += object_id not in objects
            objects.setdefault(object_id, text)
            found.name = found.name or subject
            found.title = found.title or title
        yield found


def _alone(old: _Subject | None, new: _Subject | None, as_published: bool, seen: Seen) -> Iterator[Change]:
    if not as_published:
        yield from _changes(old, new, as_published)
    elif found := old or new:
        seen.not_compared += sum(map(len, found.relations.values()))


def _changes(old: _Subject | None, new: _Subject | None, as_published: bool) -> Iterator[Change]:
    named = new or old
    if named is None:
        return
    before, after = (one.relations if one else {} for one in (old, new))
    for relation in sorted({*before, *after}):
        had, has = before.get(relation, {}), after.get(relation, {})
        gone = tuple(text for number, text in had.items() if number not in has)
        came: Kind = "changed" if as_published or gone else "new"
        for object_id, text in has.items():
            kind: Kind = "unchanged" if object_id in had else came
            instead = gone if kind == "changed" else ()
            yield Change(kind, named.id, relation, text, named.name, named.title, instead)
        if had.keys() >= has.keys():
            for text in gone:
                yield Change("deleted", named.id, relation, text, named.name, named.title)
