"""The few values that travel between folders, and the errors a user can cause.

Shapes: B rows, T positions, N tokens, D documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class UserError(ValueError):
    """The plan or the input is wrong: the message names the value, what is allowed, and the remedy. Exit code 3."""


class StorageError(OSError):
    """A write did not complete (disk full, quota); everything saved before it is whole. Exit code 1."""


class Stopped(Exception):
    """The run was asked to stop (SIGTERM, Ctrl-C); it saved, and the same command goes on from there. Exit code 1."""


Tell = Callable[[str, float, float | None, str], None]
"""Progress: what is being done, how far, of how much (None: unknown), in which unit."""


def silent(label: str, done: float, total: float | None, unit: str) -> None:
    """Progress for nobody."""


def counted(tell: Tell, label: str, total: float, unit: str) -> Callable[[int], None]:
    """What takes how many more are done, and tells how many are in all."""
    finished = 0

    def done(count: int) -> None:
        nonlocal finished
        finished += count
        tell(label, finished, total, unit)

    return done


@dataclass(frozen=True, slots=True)
class Document:
    """One text. `id` is unique in its corpus; `place` is `file:line` (or `file`) for error messages."""

    id: str
    text: str
    place: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class BadRows:
    """Rows of a corpus that could not be read, counted by reason, with the first few places of each.

    `rows` counts every row seen, good or bad, so that `share` is the bad fraction. `left_out` counts, by reason, what
    is well but not asked for, such as a wiki's redirects.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    examples_kept: int = 5
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, reason: str, place: str) -> None:
        """Counts one bad row; call it in addition to counting the row itself in `rows`."""
        self.counts[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < self.examples_kept:
            kept.append(place)

    @property
    def total(self) -> int:
        """Number of bad rows of any reason."""
        return self.counts.total()

    @property
    def share(self) -> float:
        """Bad rows as a fraction of all rows seen; 0 when none were seen."""
        return self.total / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows for one forward pass.

    `targets_BT[b, t]` is the token that follows `tokens_BT[b, t]` in the same document, or -100 where there is none;
    where tokens are hidden, it is the one hidden in that place.
    `positions_BT` restarts at 0 with each document, which is also what keeps attention inside documents.
    `num_targets` counts what the loss of a step is a mean over: the targets, unless an objective says otherwise.
    `sources_B` numbers the corpus of each row among those of the stage; empty where that does not matter.
    """

    tokens_BT: torch.Tensor
    targets_BT: torch.Tensor
    positions_BT: torch.Tensor
    num_targets: int
    sources_B: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a schedule may know beyond its own stage.

    `stage` counts the stages before it on the path from the base, so it is 0 for a stage that starts from the base.
    `steps_before` is the number of optimizer steps on that path, `last_rate` the learning rate of the last of them
    (0 when there was none).
    """

    stage: int = 0
    steps_before: int = 0
    last_rate: float = 0.0
