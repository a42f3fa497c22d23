"""Work on a Ray cluster (Moritz et al., arXiv 1712.05889): `pip install 'rewarm[cluster]'`.

Tasks of Ray, and not its data sets: what is done in order, in which shards, is then the same as on one machine. A task
whose worker or machine is lost is done again by Ray, three times at most; all machines need the same packages.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from rewarm import __version__
from rewarm.engines import KEPT, Engine, Item, Numbered, Result
from rewarm.engines.local import Here, ahead
from rewarm.types import UserError

RETRIES = 3
ANSWER_SECONDS = 10.0
"""How long a cluster's address may take to answer."""
_PACKAGES = ("numpy", "tokenizers", "rensa", "orjson", "mwparserfromhell")
"""What decides about the bytes of a result, besides rewarm and Python."""
_HELD: dict[str, Any] = {}
"""In a worker: the function of the work under way, which is sent once to each."""


@dataclass(slots=True)
class Cluster(Engine):
    """A cluster at an address, as `ray start` names it; else that of RAY_ADDRESS; else one of this machine is started,
    with `workers` processes (None: one for each core), and ends with the block.

    A context manager; UserError when Ray is not installed or no cluster answers.
    """

    address: str | None = None
    workers: int | None = None
    _ray: Any = field(default=None, init=False)

    def __enter__(self) -> Cluster:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Ray tells of what it plans to change in its own later versions.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if find_spec("ray") is None:
            raise UserError("--engine ray: Ray is not installed. Install it with: pip install 'rewarm[cluster]'")
        import ray

        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        own: dict[str, Any] = {}
        if address == "local":
            # Nobody else's machine can reach it there.
            own = {"num_cpus": self.workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        before = signal.getsignal(signal.SIGTERM)
        try:
            look_for(address)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"--address {address}: no cluster was reached ({error}). Start one with: ray start --head "
                "--disable-usage-stats, or leave the address out"
            ) from None
        finally:
            signal.signal(signal.SIGTERM, before)  # Ray has put its own there, which would end the process at once
        self._ray = ray
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()
        self._ray = None

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As every engine; two items for each core of the cluster are under way.

        RuntimeError when the worker of an item was lost again and again, UserError when a worker has other packages.
        """
        begun, is_one = ahead(items)
        if is_one:
            yield from Here().map(work, begun)
            return
        ray = self._ray
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        held, key, there = [ray.put(Numbered(work))], uuid.uuid4().hex, versions()
        task = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(_done)
        waiting: deque[tuple[int, Any]] = deque()
        try:
            for numbered in enumerate(begun):
                waiting.append((numbered[0], task.remote(key, held, there, numbered)))
                while len(waiting) >= most:
                    yield self._taken(*waiting.popleft())
            while waiting:
                yield self._taken(*waiting.popleft())
        finally:
            for _, reference in waiting:
                with suppress(Exception):
                    ray.cancel(reference)

    def _taken(self, number: int, reference: Any) -> Any:
        """The result of a task, or the error that it raised, without what Ray puts around it."""
        from ray import exceptions

        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from None
            raise
        except exceptions.RayError as error:
            raise RuntimeError(
                f"shard {number}, counted from 0: its worker was lost {RETRIES + 1} times "
                f"({type(error).__name__}). Is memory short there, or the machine gone? {KEPT}"
            ) from None


def look_for(address: str) -> None:
    """OSError, soon, when nobody answers at `HOST:PORT` or `ray://HOST:PORT`: Ray itself would try for minutes."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if separator and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()


def versions() -> dict[str, str]:
    """What has to be the same on every machine for the same bytes: rewarm, Python, and some packages."""
    found = {"rewarm": __version__, "Python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _done(key: str, held: list[Any], wanted: dict[str, str], numbered: tuple[int, Any]) -> Any:
    """In a worker: does the work on one item."""
    import ray

    if key not in _HELD:
        here = versions()
        if other := [f"{name} {here[name]} and not {wanted[name]}" for name in wanted if here[name] != wanted[name]]:
            raise UserError(
                f"the worker on {platform.node()} has {', '.join(other)}: the result could differ. Install the same "
                "packages on every machine of the cluster"
            )
        _HELD.clear()
        _HELD[key] = ray.get(held[0])
    return _HELD[key](numbered)
