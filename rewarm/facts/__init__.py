"""A source of facts at one time -> Fact. One file per kind of source; the class is its options.

Laws: reading twice gives the same facts in the same order; a row that cannot be read is counted in `BadRows` with its
reason and place, and one that is left out on purpose with its reason, so that rows = facts + left out + bad;
memory does not grow with the source.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rewarm.methods import Method
from rewarm.types import BadRows


def _unwatched(what: str, bytes_read: int) -> None:
    """Progress for nobody."""


@dataclass(slots=True)
class Tally(BadRows):
    """Rows of a source of facts; a row is whatever gives one fact or one probe, those left out included.

    `bytes_read` is how far into its files, as they are packed, a reader is; `watch` is told what it does and how far
    it is, and may stop it by raising.
    """

    bytes_read: int = 0
    watch: Callable[[str, int], None] = _unwatched


def reject(bad: BadRows, reason: str, place: str) -> None:
    """Counts a row that cannot be read."""
    bad.rows += 1
    bad.add(reason, place)


def leave_out(bad: BadRows, reason: str, rows: int = 1) -> None:
    """Counts rows that are well but not asked for, which no budget of bad rows counts."""
    bad.rows += rows
    bad.left_out[reason] += rows


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

    passes: ClassVar[int] = 1
    """How often a reading goes through the files."""

    def sample(self, bad: BadRows) -> Iterator[Fact]:
        """The facts as `read` gives them, for a forecast; writes nothing, for which it may name them otherwise."""
        return self.read(bad)

    def held(self) -> str:
        """When the facts held (ISO, possibly a year or month only); "" where that is not known."""
        return ""

    @abstractmethod
    def files(self) -> list[Path]:
        """The files read, sorted; UserError when there are none."""

    @abstractmethod
    def read(self, bad: BadRows) -> Iterator[Fact]:
        """Every good fact in a fixed order; bad rows and the number of rows seen are counted in `bad`."""


SLOT = Snapshot
