"""The process environment that training is fastest in, and how a command gets into it.

Measured on CPUs: freshly mapped memory costs a page fault per 4 KiB at each step, because large tensors are returned to
the system and mapped again. Settings of the C library end that: transparent huge pages for its heap, and a heap that
keeps large blocks. They can only be set before a process starts, so a verb that trains starts itself again, once, with
them. `REWARM_TUNED=off` leaves the environment alone.
"""

from __future__ import annotations

import os
import sys

FLAG = "REWARM_TUNED"
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
