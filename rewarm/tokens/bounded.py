"""Limits on somebody else's chat template, which is a program: it may loop for ever, or build a text without end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import threading
import time
from collections.abc import Iterator

SECONDS = 20.0
"""That one rendering may take; an ordinary one takes less than a thousandth of one."""
MEMORY = 2 << 30
"""Bytes that the first rendering may add to the process."""
_LOOK_SECONDS = 0.25


class Unbounded(Exception):
    """A rendering took too long."""


class _Clock:
    """One thread that looks at when each rendering must have ended: a thread for each would take as long as it does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, float] = {}
        self._process = 0

    def begin(self, seconds: float) -> None:
        """From now on the calling thread has so many seconds, after which Unbounded is raised in it."""
        with self._lock:
            self._ends[threading.get_ident()] = time.monotonic() + seconds
            if self._process != os.getpid():  # a fork takes no threads along
                self._process = os.getpid()
                threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """The calling thread has ended what it began."""
        with self._lock:
            self._ends.pop(threading.get_ident(), None)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                now = time.monotonic()
                for thread in [one for one, end in self._ends.items() if now > end]:
                    del self._ends[thread]
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Unbounded))


_CLOCK = _Clock()
_MEMORY_LOCK = threading.Lock()


@contextlib.contextmanager
def bounded_time(seconds: float = SECONDS) -> Iterator[None]:
    """Ends what runs inside by Unbounded after so many seconds, in any thread. It ends Python; a single call of a
    function in C comes to its own end first. Not to be nested."""
    _CLOCK.begin(seconds)
    try:
        yield
    finally:
        _CLOCK.end()


@contextlib.contextmanager
def bounded_memory(extra: int = MEMORY) -> Iterator[None]:
    """Ends what runs inside by MemoryError when it asks for more than so many further bytes of address space.

    The limit is that of the whole process, so this is for a trial and not for work done in several threads. Nothing is
    limited where the system does not tell how large the process is.
    """
    held = _held_bytes()
    if not held:
        yield
        return
    with _MEMORY_LOCK:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = held + extra
        resource.setrlimit(resource.RLIMIT_AS, (wanted if soft == resource.RLIM_INFINITY else min(wanted, soft), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _held_bytes() -> int:
    """The address space of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0
