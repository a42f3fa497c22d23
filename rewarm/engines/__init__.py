"""Where work is done: here, in processes of this machine, or on a cluster. What comes out is the same.

An engine applies a function to items, one after the other, and gives the results in the items' order. The function and
the items go to other processes, so they hold no open files and no folder that only this machine has. Few items are
under way at a time: a corpus never lies in memory. `parts` keeps results on disk, so that stopped work goes on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from rewarm.types import Stopped, StorageError, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
KEPT = "Finished shards are kept: the same command goes on from them"


class Engine(Protocol):
    """Slot: applies a function to items."""

    @abstractmethod
    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The result of every item, in the items' order; items are taken as they are needed.

        What the function raises is raised here, for the first item that fails; what is under way is then given up.
        """


@dataclass(frozen=True, slots=True)
class Numbered:
    """A function of a numbered item: an error that nobody foresaw tells the number."""

    work: Callable[[Any], Any]

    def __call__(self, numbered: tuple[int, Any]) -> Any:
        """The function's result."""
        number, item = numbered
        try:
            return self.work(item)
        except (UserError, StorageError, Stopped):
            raise
        except Exception as error:
            error.add_note(f"This happened in shard {number}, counted from 0. {KEPT}.")
            raise
