"""The child: a script that shuts itself in, runs one program, stops everything it started, and reports on stdout.

    the process that runs rewarm -> this script -> a guard (process 1 of its own world) -> the program

The guard reads what the program writes, up to a limit, and the time; it alone can reach the report.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
import types
from types import TracebackType
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import walls  # type: ignore[import-not-found]

_NAME = 200
"""Characters of an exception's name that are told."""


class Verdict:
    """Tells the guard, at the end of a program, that it passed or what it raised; nothing is raised further. What the
    program forked has no say."""

    def __init__(self, pipe: int) -> None:
        self.pipe, self.process = pipe, os.getpid()

    def __enter__(self) -> None:
        """The program begins."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """The program has ended."""
        told = "passed"
        if kind is not None:
            told = "memory" if issubclass(kind, MemoryError) else kind.__name__[:_NAME]
            with contextlib.suppress(OSError, MemoryError, ValueError):
                os.write(2, f"{kind.__name__}: {error!s:.1000}\n".encode(errors="replace"))
        if os.getpid() != self.process:
            os._exit(0)
        with contextlib.suppress(OSError):
            os.write(self.pipe, told.encode(errors="replace"))
        return True


def main() -> None:
    """Runs what stdin asks for."""
    asked = json.load(sys.stdin.buffer)
    walls.die_with_parent()
    walls.adopt_orphans()
    os.umask(0o077)
    left = walls.separate()
    report = os.dup(1)
    if not left & walls.NEWPID:
        guard(asked, left, report)
        return
    first = os.fork()
    if first == 0:
        with contextlib.suppress(OSError):
            walls.die_with_parent()
        guard(asked, left, report)
        os._exit(0)
    os.close(report)
    os.waitpid(first, 0)


def guard(asked: dict[str, Any], left: int, report: int) -> None:
    """Starts the program, watches it, kills all that is left of it, and writes the report."""
    os.umask(0o022)
    hidden = bool(left & walls.NEWNS) and walls.shut_in(asked["folder"], asked["packages"], 4 * asked["files"])
    box = walls.BOX if hidden else asked["folder"]
    walls.own(box)
    was_root = os.getuid() == 0
    read, write = os.pipe()
    said, say = os.pipe()
    program = os.fork()
    if program == 0:
        for one in (read, said, report):
            os.close(one)
        be_program(asked, box, write, say)
    os.close(write)
    os.close(say)
    end, output = watch(program, read, asked)
    status = stop_all(program, bool(left & walls.NEWPID))
    os.set_blocking(said, False)
    try:
        told = os.read(said, 4096).decode(errors="replace")
    except BlockingIOError:
        told = ""
    found = {"network": walls.NEWNET, "processes": walls.NEWPID}
    protections = {name: bool(left & flag) for name, flag in found.items()} | {
        "files": hidden, "rights": was_root or bool(left & walls.NEWUSER), "limits": True,
    }  # fmt: skip
    result = answer(end, status, told) | {"output": output, "protections": protections}
    if told.startswith("!"):
        result = {"error": told[1:]}
    os.write(report, json.dumps(result).encode())


def be_program(asked: dict[str, Any], box: str, write: int, say: int) -> None:
    """Becomes the program; never returns."""
    try:
        os.chdir(box)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(write, 1)
        os.dup2(write, 2)
        os.setsid()
        os.environ.clear()
        os.environ.update({"HOME": box, "TMPDIR": box, "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"})
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
        walls.drop_rights()
        walls.limit(asked["seconds"], asked["memory"], asked["files"], asked["processes"])
        os.stat(os.__file__)
    except OSError as error:
        os.write(say, f"!{error}".encode()[:2000])
        os._exit(1)
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))] + asked["packages"]
    sys.modules.pop("walls")
    sys.argv[:] = ["program.py"]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    with Verdict(say):
        exec(compile(asked["program"], "program.py", "exec"), module.__dict__)
        sys.stdout.flush()
    os._exit(0)


def watch(program: int, read: int, asked: dict[str, Any]) -> tuple[str, str]:
    """Waits for the program's end, the limit of time or that of output; which it was, and how the output begins."""
    ended = os.pidfd_open(program)
    deadline = time.monotonic() + asked["seconds"]
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(read, select.POLLIN)
    kept, seen, end = b"", 0, ""
    os.set_blocking(read, False)
    while not end:
        left = deadline - time.monotonic()
        ready = dict(poll.poll(max(0.0, left) * 1000)) if left > 0 else {}
        if left <= 0 or not ready:
            end = "timed out"
        if read in ready:
            chunk = _chunk(read)
            if not chunk:
                poll.unregister(read)
            seen += len(chunk)
            kept = (kept + chunk)[: asked["kept"]]
            if seen > asked["output"]:
                end = "output"
        elif ended in ready:
            end = "ended"
    return end, kept.decode(errors="replace")


def _chunk(pipe: int) -> bytes:
    try:
        return os.read(pipe, 1 << 16)
    except BlockingIOError:
        return b""


def stop_all(program: int, alone: bool) -> int:
    """Kills and buries everything that was started; the program's wait status. `alone`: this is process 1 of its world,
    so all others belong to it. Otherwise orphans come to this process, and it kills until none is left."""
    status = 0
    while True:
        if alone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        else:
            for one in _descendants():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(one, signal.SIGKILL)
        try:
            number, found = os.waitpid(-1, 0 if alone else os.WNOHANG)
        except ChildProcessError:
            return status
        if number == program:
            status = found
        elif number == 0:
            time.sleep(0.002)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as opened:
                parent = int(opened.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, left = [], [os.getpid()]
    while left:
        more = children.get(left.pop(), [])
        found += more
        left += more
    return found


def answer(end: str, status: int, told: str) -> dict[str, str]:
    """How the program ended, from what ended the watch, its wait status and what it told."""
    if end != "ended":
        return {"end": end, "fault": ""}
    if told == "passed":
        return {"end": "passed", "fault": ""}
    if told == "memory":
        return {"end": "memory", "fault": "MemoryError"}
    if told and not os.WIFSIGNALED(status):
        return {"end": "failed", "fault": told}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        late = number == signal.SIGXCPU
        return {"end": "timed out" if late else "crash", "fault": signal.Signals(number).name}
    return {"end": "crash", "fault": f"exit status {os.WEXITSTATUS(status)} before the end"}


if __name__ == "__main__":
    main()
