"""Programs that nobody has read, run in a child process under limits: what they may do, and how they ended.

`run_program` runs one; `protections` says what really holds on this machine. Nothing here knows of models. `jail.py` is
the child: it shuts itself in, runs the program in a process of its own, and reports. `permission.py` holds whether the
user has said that programs may be run at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

End = Literal["passed", "failed", "timed out", "memory", "output", "crash"]
ENDS: tuple[End, ...] = get_args(End)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. `seconds` are of wall-clock time; `memory` (bytes) is of each of its processes, `files`
    (bytes) of each file it writes and, where it has a file system of its own, of four such files in all."""

    seconds: float = 5.0
    memory: int = 2 << 30
    files: int = 16 << 20
    output: int = 1 << 20
    processes: int = 32


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended. `fault` names the exception or the signal; `output` is the beginning of what it wrote.

    `passed` means that its last line was reached without an exception: sys.exit(0) before the tests is a failure.
    `protections` are those under which it ran.
    """

    end: End
    fault: str = ""
    output: str = ""
    protections: dict[str, bool] = field(default_factory=dict)
