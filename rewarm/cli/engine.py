"""Where a verb that prepares text works: on this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rewarm.engines import Engine

ENGINES = ("local", "ray")

EngineName = Annotated[
    str, typer.Option("--engine", metavar="NAME", help="Where work is done: local, or ray for a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="HOST:PORT", help="The Ray cluster; RAY_ADDRESS or one of this machine if unset."
    ),
]


@contextmanager
def chosen(name: str, address: str | None) -> Iterator[Engine | None]:
    """The engine of that name; None for this machine. UserError for another name, or when no cluster is reached."""
    from rewarm.methods import nearest
    from rewarm.types import UserError

    if name not in ENGINES:
        raise UserError(f"--engine {name}: {nearest(name, ENGINES)} Allowed: {', '.join(ENGINES)}")
    if name == "local":
        if address is not None:
            raise UserError(f"--address {address} is of a Ray cluster: give --engine ray with it")
        yield None
        return
    from rewarm.engines.cluster import Cluster

    with Cluster(address) as cluster:
        yield cluster
