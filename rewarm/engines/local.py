"""Work on this machine: in this process, in its threads, or in other processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rewarm.engines import KEPT, Engine, Item, Numbered, Result


@dataclass(frozen=True, slots=True)
class Here(Engine):
    """One item after the other, in this process."""

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As every engine; an item is taken when the result of the one before has been."""
        numbered = Numbered(work)
        return (numbered(pair) for pair in enumerate(items))


@dataclass(frozen=True, slots=True)
class Threads(Engine):
    """Threads, for functions that use every core themselves."""

    workers: int

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As every engine; one item more than there are threads is under way."""
        with ThreadPoolExecutor(self.workers) as pool:
            yield from _in_order(pool, Numbered(work), enumerate(items), self.workers + 1)


@dataclass(frozen=True, slots=True)
class Processes(Engine):
    """Other processes of this machine; this one where one is asked for, or where there is one item only."""

    workers: int

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As every engine; twice as many items as processes are under way, so that each has the next one.

        RuntimeError when a process is killed, as the system does where memory is short.
        """
        if self.workers <= 1:
            yield from Here().map(work, items)
            return
        begun, is_one = ahead(items)
        if is_one:
            yield from Here().map(work, begun)
            return
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, spawn, initializer=_begin, initargs=(Numbered(work),))
        try:
            yield from _in_order(pool, _done, enumerate(begun), 2 * self.workers)
        except BrokenProcessPool:
            raise RuntimeError(f"a worker process was killed: is memory short? {KEPT}") from None
        finally:
            pool.shutdown(cancel_futures=True)


def ahead(items: Iterable[Item]) -> tuple[Iterator[Item], bool]:
    """The same items, and whether they are fewer than two: for those no process is started, which takes longer."""
    iterator = iter(items)
    first = deque(islice(iterator, 2))

    def every() -> Iterator[Item]:
        while first:  # each is let go once it is taken
            yield first.popleft()
        yield from iterator

    return every(), len(first) < 2


def _in_order(pool: Executor, work: Callable[[Any], Any], items: Iterable[Any], most: int) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            while len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


_WORK: list[Numbered] = []
"""In a worker process: the function, which is sent once and not with every item."""


def _done(item: tuple[int, Any]) -> Any:
    return _WORK[0](item)


def _begin(work: Numbered) -> None:
    """In a new process: takes the function, leaves Ctrl-C to the parent, and ends with it, since a killed parent could
    not tell it to."""
    _WORK[:] = [work]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
