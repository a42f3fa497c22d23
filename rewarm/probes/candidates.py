"""Changes on their way to probes: kept in a file, in order, with a few bytes of memory for each.

A change that no filter drops is a line of the file and a number. What is decided about it later, by the text of its
page or by what else reads the same, is a mark of its number.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from typing import BinaryIO

import numpy as np

from rewarm.facts.sorting import SEPARATOR
from rewarm.probes import KINDS, Kind
from rewarm.probes.comparing import Change

TWICE = "reads like another fact"
IN_TWO_SETS = "reads like a fact of another kind"


def word_of(*parts: str) -> int:
    """64 bits of some texts, whatever the case of their letters."""
    text = SEPARATOR.join(parts).casefold()
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def page_of(title: str) -> str:
    """A title as it is compared: blanks for underscores, whatever the case of its letters."""
    return " ".join(title.replace("_", " ").split()).casefold()


@dataclass(frozen=True, slots=True)
class Asked:
    """The facts of one probe: the objects of one kind for a subject and relation, and their numbers."""

    kind: Kind
    subject_id: str
    relation: str
    subject: str
    objects: tuple[str, ...]
    old: tuple[str, ...]
    numbers: tuple[int, ...]


@dataclass
class Candidates:
    """The changes that are left, in `file`; `dropped` counts facts by kind and reason."""

    file: BinaryIO
    with_pages: bool
    dropped: dict[Kind, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    kinds: bytearray = field(default_factory=bytearray)
    alive: bytearray = field(default_factory=bytearray)
    texts: array[int] = field(default_factory=lambda: array("Q"))
    pages: array[int] = field(default_factory=lambda: array("Q"))
    places: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, change: Change) -> None:
        """Keeps a change: 10 bytes of memory, 26 when its page will be looked up."""
        self.kinds.append(KINDS.index(change.kind))
        self.alive.append(1)
        self.texts.append(word_of(change.subject, change.relation, change.object))
        if self.with_pages:
            self.pages.append(word_of(page_of(change.title or change.subject)))
            self.places.append(self.file.tell())
        fields = (
            change.kind,
            change.subject_id,
            change.relation,
            change.object,
            change.subject,
            change.title,
            *change.old,
        )
        self.file.write((SEPARATOR.join(fields) + "\n").encode())

    def drop(self, number: int, reason: str) -> None:
        """Drops a change that is left."""
        self.alive[number] = 0
        self.dropped[KINDS[self.kinds[number]]][reason] += 1

    def at(self, number: int) -> Change:
        """The change of a number, read where it lies in the file."""
        self.file.seek(self.places[number])
        return _change(self.file.readline())

    def drop_twins(self) -> None:
        """Of facts that read the same, the first stays; none does if they are of different kinds.

        Two subjects of one name can make them.
        """
        texts = np.frombuffer(self.texts, np.uint64) if self.texts else np.zeros(0, np.uint64)
        order = np.argsort(texts, kind="stable")
        same = np.flatnonzero(texts[order][1:] == texts[order][:-1])
        twins: dict[int, list[int]] = {}
        for place in same.tolist():
            twins.setdefault(int(texts[order[place]]), [int(order[place])]).append(int(order[place + 1]))
        for numbers in twins.values():
            left = [number for number in numbers if self.alive[number]]
            differ = len({self.kinds[number] for number in left}) > 1
            for number in left if differ else left[1:]:
                self.drop(number, IN_TWO_SETS if differ else TWICE)

    def asked(self, one_object: bool) -> Iterator[Asked]:
        """What is left as probes, in order of subject, relation and kind; one for each object if `one_object`."""
        self.file.seek(0)
        changes = ((number, _change(line)) for number, line in enumerate(self.file) if self.alive[number])
        for (subject_id, relation), group in groupby(changes, key=lambda pair: (pair[1].subject_id, pair[1].relation)):
            held = list(group)
            for kind in KINDS:
                same = [(number, change) for number, change in held if change.kind == kind]
                for part in ([one] for one in same) if one_object else [same] * bool(same):
                    objects = tuple(change.object for _, change in part)
                    numbers = tuple(number for number, _ in part)
                    first = part[0][1]
                    yield Asked(kind, subject_id, relation, first.subject, objects, first.old, numbers)


def _change(line: bytes) -> Change:
    kind, subject_id, relation, text, subject, title, *old = line.decode().rstrip("\n").split(SEPARATOR)
    return Change(kind, subject_id, relation, text, subject, title, tuple(old))  # type: ignore[arg-type]
