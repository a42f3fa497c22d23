"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

import psutil


def memory_available() -> int:
    """Bytes this process may still take: the machine's, or its container's where that has a limit (cgroup v2)."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return free
    # Files read once count as used, and are given up first.
    return min(free, int(limit) - used + int(kept["inactive_file"])) if limit.isdecimal() else free
