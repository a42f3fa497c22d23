"""Runs a plan again and again, each time killed at another of its file operations; a process of its own.

Called with the plan's file and the numbers of the operations (from 1) at which the attempts are killed; an attempt
whose number is 0 runs to its end. Prints one line per attempt: the number of operations seen, or `killed`.
Python tells an audit hook of every file opened, renamed or removed, so that the instants are exact.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rewarm.plan import from_values
from rewarm.river.run import run

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}


def attempt(values: dict[str, Any], kill_at: int) -> int:
    """The whole run in this process, or its end at the given operation; the operations counted."""
    root = values["output_dir"]
    count = itertools.count(1)
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in EVENTS and root in str(arguments[0]):
            number = next(count)  # not `seen`, which another thread may set before it is compared
            seen = max(seen, number)
            if number == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    run(from_values(values))
    return seen


def main() -> None:
    """One forked child per attempt: it starts in no time, and nothing of an attempt outlives it."""
    values = json.loads(Path(sys.argv[1]).read_text())
    for kill_at in map(int, sys.argv[2:]):
        child = os.fork()
        if child == 0:
            print(attempt(values, kill_at), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            print("killed", flush=True)
        elif os.WEXITSTATUS(status):
            sys.exit(1)


if __name__ == "__main__":
    main()
