"""A verb that several processes carry out: the first one answers, and all leave with its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.verb import DONE, FAILED, WRONG
from rewarm.types import Stopped, UserError

if TYPE_CHECKING:
    from rewarm.training.world import World

Processes = Annotated[
    int | None,
    typer.Option("--processes", min=1, help="Start so many processes here (docs/scale.md).", show_default=False),
]
Restarts = Annotated[
    int,
    typer.Option("--restarts", min=0, help="With --processes: start all again, so often, when one is killed."),
]


def launch(processes: int | None, restarts: int = 0) -> None:
    """Starts this very command as so many processes and leaves with the exit code of the first; for one, nothing.

    A process that was started as one of several starts none.
    """
    if processes is None or processes == 1 or "WORLD_SIZE" in os.environ:
        return
    from rewarm.launch import start_together

    sys.exit(start_together(processes, restarts))


@contextmanager
def together() -> Iterator[World]:
    """Meets the other processes, if there are any, and leaves them when the work is done or cannot be.

    What an error of any of them says is raised in the first; the others leave without a word.
    """
    from rewarm.training.world import Ended, start

    world = start()
    try:
        yield world
    except (UserError, Stopped, OSError, RuntimeError, MemoryError, ValueError, KeyError, TypeError) as error:
        found = world.failed(error)
        world.end(WRONG if isinstance(found, UserError) else FAILED)
        if isinstance(found, Ended):
            sys.exit(found.code)
        if found is error:
            raise
        raise found from error
    world.end(DONE)
