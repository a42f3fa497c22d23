"""The process environment that training is fastest in, how a command gets into it, and a command as several processes.

Measured on CPUs: freshly mapped memory costs a page fault per 4 KiB at each step, because large tensors are returned to
the system and mapped again. Settings of the C library end that: transparent huge pages for its heap, and a heap that
keeps large blocks. They can only be set before a process starts, so a verb that trains starts itself again, once, with
them. `REWARM_TUNED=off` leaves the environment alone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

FLAG = "REWARM_TUNED"
LEAVING_SECONDS = 60.0
"""How long a process may take to leave after another one has."""
_TUNABLES = {
    "glibc.malloc.hugetlb": "1",
    "glibc.malloc.mmap_threshold": str(1 << 32),
    "glibc.malloc.trim_threshold": str(1 << 36),
    "glibc.malloc.top_pad": str(64 << 20),
}


def tuned_environment() -> dict[str, str]:
    """The variables to add; none on other systems, or when the user has set the allocator or its settings."""
    if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ or "LD_PRELOAD" in os.environ:
        return {}
    return {FLAG: "on", "GLIBC_TUNABLES": ":".join(f"{name}={value}" for name, value in _TUNABLES.items())}


def tune() -> None:
    """Starts this very command again in the tuned environment, with its arguments; it does not come back from that.

    Does nothing when the command runs in that environment, when the user said `off`, when there is nothing to set, or
    when no interpreter can be started (Python embedded in another program).
    """
    if os.environ.get(FLAG) in ("on", "off") or not sys.orig_argv or not sys.executable:
        return
    if variables := tuned_environment():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | variables)


def start_together(count: int, restarts: int = 0) -> int:
    """Starts this very command as `count` processes of this machine that find each other; the exit code of the first.

    SIGTERM and Ctrl-C are passed on to all of them. One that dies without a word ends the others; where that was by a
    signal that did not come from here, all are started again, up to `restarts` times. An error would come again.
    """
    started: list[subprocess.Popen[bytes]] = []
    asked = False

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        for process in started:
            process.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while True:
            started[:] = _started(count)
            killed = _killed(started)
            if killed is None or asked or not restarts:
                return max(1, started[0].returncode) if started[0].returncode else 0
            restarts -= 1
            left = f"{restarts} more restart{'' if restarts == 1 else 's'} left"
            print(f"rewarm: process {killed} of {count} was killed; all start again ({left})", file=sys.stderr)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _started(count: int) -> list[subprocess.Popen[bytes]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))} | dict(os.environ)
    command = [sys.executable, *sys.orig_argv[1:]]
    return [
        # A group of its own: Ctrl-C of a terminal reaches it once, from here.
        subprocess.Popen(command, env=threads | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, process_group=0)
        for rank in range(count)
    ]


def _killed(started: list[subprocess.Popen[bytes]]) -> int | None:
    """Waits until all have ended; the number of one that was killed by a signal, though not from here."""
    while started[0].poll() is None and all(process.poll() is None for process in started[1:]):
        time.sleep(0.1)
    # The first one tells of what another one ended by; where it cannot, it is ended, too.
    by_themselves = [_ends(process) for process in started]
    dead = zip(started, by_themselves, strict=True)
    return next((rank for rank, (process, alone) in enumerate(dead) if alone and process.returncode < 0), None)


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Waits for a process of which another one has ended, and ends it where it does not end by itself."""
    try:
        process.wait(LEAVING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
