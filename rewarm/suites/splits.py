"""The splits of a labelled set: rows to learn from, to choose by, and to be asked; capped by a seeded draw."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from rewarm.facts import Tally, leave_out
from rewarm.hashing import seed_of

Part = Literal["train", "dev", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
UNKNOWN = "a class that the train split lacks"
TOLD = {"train": "to learn from (train)", "dev": "to choose by (dev)"}
_WORDS: dict[str, Part] = {
    "train": "train", "training": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev",
    "test": "test",
}  # fmt: skip


class Example(NamedTuple):
    """A text, the name of its class, and the split it is in."""

    text: str
    label: str
    part: Part


def part_of(key: str, dev: float, test: float) -> Part:
    """The split of a text, or of the book or author it belongs to: the same in every run, whatever stands beside it."""
    place = seed_of(0, "split", key) / 2**64 % 1
    return "test" if place < test else "dev" if place < test + dev else "train"


def part_word(value: Any) -> Part | None:
    """The split that a field names; None when it names none."""
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None


@dataclass(slots=True)
class Draw:
    """Of each group at most so many entries, in the order they came; which ones follows from the seed and their names.

    Memory grows with what is kept alone.
    """

    seed: int
    kept: dict[Hashable, list[tuple[int, int, str, Example]]] = field(default_factory=dict)
    _seen: int = 0

    def add(self, group: Hashable, limit: int | None, name: str, example: Example) -> bool:
        """Takes an entry in; False when the group then has one too many, of which the last drawn was dropped."""
        self._seen += 1
        heap = self.kept.setdefault(group, [])
        # The largest draws are dropped first: a heap of negated ones has them on top. Numbers break ties.
        entry = (-seed_of(self.seed, "suite", name), -self._seen, name, example)
        if limit is None or len(heap) < limit:
            heapq.heappush(heap, entry)
            return True
        heapq.heappushpop(heap, entry)
        return False

    def entries(self, part: Part) -> list[tuple[str, Example]]:
        """Name and example of what was kept of a split, in the order they came."""
        found = [entry for heap in self.kept.values() for entry in heap if entry[3].part == part]
        return [(name, example) for _, _, name, example in sorted(found, key=lambda entry: -entry[1])]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Ids and examples of every split; `classes` are those of the train split, in order of their names."""

    rows: dict[Part, list[tuple[str, Example]]]
    classes: tuple[str, ...]


def drawn_of(draw: Draw, tally: Tally) -> Drawn:
    """The splits of a draw. Rows of a class that train lacks are left out; the test rows are the items that are asked,
    and the others, whose answer is told, are counted as left out too."""
    kept = {part: draw.entries(part) for part in PARTS}
    classes = tuple(sorted({example.label for _, example in kept["train"]}))
    rows = {part: [entry for entry in kept[part] if entry[1].label in classes] for part in PARTS}
    for part in PARTS:
        told = len(rows[part])
        if unknown := len(kept[part]) - told:
            leave_out(tally, UNKNOWN, unknown)
        if part == "test":
            tally.rows += told
        elif told:
            leave_out(tally, TOLD[part], told)
    return Drawn(rows, classes)
