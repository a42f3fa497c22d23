"""A source of facts at one time -> Fact. One file per kind of source; the class is its options.

Laws: reading twice gives the same facts in the same order; a row that cannot be read is counted in `BadRows` with its
reason and place, and never silently dropped; memory does not grow with the source.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rewarm.methods import Method
from rewarm.types import BadRows


@dataclass(frozen=True, slots=True)
class Fact:
    """`relation` holds between two things, named as people write them.

    `subject_id` and `object_id` tell apart what has the same name (`Q142`); where a source has none they are the names.
    `title` is the title of the article about the subject, where the source knows it; "" elsewhere.
    """

    subject: str
    relation: str
    object: str
    subject_id: str
    object_id: str
    place: str
    title: str = ""


class Snapshot(Method):
    """Slot: the facts that held at one time."""

    @abstractmethod
    def files(self) -> list[Path]:
        """The files read, sorted; UserError when there are none."""

    @abstractmethod
    def read(self, bad: BadRows) -> Iterator[Fact]:
        """Every good fact in a fixed order; bad rows and the number of rows seen are counted in `bad`."""


SLOT = Snapshot
