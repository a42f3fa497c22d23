"""What must not get out of the sandbox. Each escape is tried for real, at a size that harms nobody if it succeeds; the
program after it runs as if nothing had been."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rewarm.sandbox import Limits, Outcome
from rewarm.sandbox.run import protections, run_program

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only"),
    pytest.mark.timeout(120),
]
SHORT = Limits(seconds=2.0)


def needs(name: str) -> None:
    """Skips where this machine does not give a protection."""
    if not protections()[name]:
        pytest.skip(f"this machine does not give the protection '{name}'")


def contained(program: str, limits: Limits = SHORT) -> Outcome:
    """How a program ended; the next one runs right after it, in a clean folder."""
    began = time.monotonic()
    found = run_program(program, limits)
    assert time.monotonic() - began < limits.seconds + 15
    after = run_program("import os\nassert os.listdir('.') == []", Limits(seconds=10))
    assert after.end == "passed", after
    return found


def running(mark: str) -> list[int]:
    """The processes whose command line holds a mark."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if mark in line]


def test_an_endless_loop_ends_at_its_time() -> None:
    assert contained("while True: pass").end == "timed out"


def test_a_program_that_ignores_sigterm_ends() -> None:
    program = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('on')\ntime.sleep(100)"
    assert contained(program).end == "timed out"


def test_a_fork_bomb_meets_the_limit_of_processes() -> None:
    needs("rights")
    # Doubling ends by itself after twelve rounds, should nothing else end it.
    program = "import os, time\nfor _ in range(12): os.fork()\ntime.sleep(100)"
    found = contained(program)
    assert (found.end, found.fault) in {("failed", "BlockingIOError"), ("timed out", "")}
    assert "BlockingIOError" in found.output


def test_an_allocation_of_100_gb_is_refused() -> None:
    assert contained("x = bytearray(100 << 30)").end == "memory"


def test_memory_grows_to_the_limit_and_no_further() -> None:
    found = contained("x = []\nwhile True: x.append(bytearray(1 << 24))", Limits(seconds=10, memory=1 << 28))
    assert found.end == "memory"


def test_a_flood_of_output_is_cut() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = contained("while True: print('x' * 10000)", Limits(seconds=20))
    assert found.end == "output"
    assert len(found.output) <= 4000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_a_huge_file_is_refused() -> None:
    program = "with open('big', 'wb') as f:\n    for _ in range(1000): f.write(bytes(1 << 20))"
    assert contained(program).end in {"failed", "crash"}


def test_many_files_are_refused_too() -> None:
    needs("files")
    program = "for n in range(20):\n    open(f'big{n}', 'wb').write(bytes((1 << 24) - 1))"
    assert contained(program, Limits(seconds=10)).fault == "OSError"


def test_a_file_outside_is_neither_seen_nor_deleted(tmp_path: Path) -> None:
    needs("files")
    canary = tmp_path / "canary"
    canary.write_text("alive", encoding="utf-8")
    for folder in (tmp_path, *tmp_path.parents[:-1]):  # permissions are not what protects it
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to(tmp_path):
            folder.chmod(0o777)
    assert contained(f"import os\nos.remove({str(canary)!r})").fault == "FileNotFoundError"
    assert contained(f"open({str(canary)!r}, 'w')").fault == "FileNotFoundError"
    assert canary.read_text(encoding="utf-8") == "alive"


def test_what_the_program_sees_cannot_be_written() -> None:
    needs("files")
    for path in (os.__file__, "/usr/made-up"):
        assert contained(f"open({path!r}, 'a')").fault in {"OSError", "PermissionError"}
    assert not Path("/usr/made-up").exists()


def test_no_wall_can_be_taken_down() -> None:
    needs("files")
    program = (
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "assert libc.mount(b'tmpfs', b'/usr', b'tmpfs', 0, None) == -1\n"
        "assert libc.umount2(b'/usr', 2) == -1\nassert libc.chroot(b'/') == -1"
    )
    assert contained(program).end == "passed"


def test_no_listener_is_reached() -> None:
    needs("network")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        found = contained(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)")
        assert (found.end, found.fault) == ("failed", "OSError")
        with pytest.raises(TimeoutError):
            listener.accept()


def test_the_parent_cannot_be_killed() -> None:
    needs("processes")
    found = contained("import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(0.2)")
    assert found.end in {"passed", "failed"}


def test_no_process_of_the_user_can_be_killed() -> None:
    needs("processes")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        contained(f"import os\nos.kill({bystander.pid}, 9)")
        contained("import os\nos.kill(-1, 9)")
        assert bystander.poll() is None
        bystander.communicate(b"\n")
        assert bystander.returncode == 0


def test_a_daemon_does_not_outlive_its_program() -> None:
    program = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        os.execv({python!r}, ['sandbox-daemon-{mark}', '-S', '-c', 'import time; time.sleep(60)'])\n"
        "    os._exit(0)\n"
        "os.wait()\ntime.sleep(0.3)"
    ).replace("{python!r}", repr(os.path.realpath(sys.executable)))
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    assert contained(program.replace("{mark}", mark), Limits(seconds=10)).end == "passed"
    assert running(f"sandbox-daemon-{mark}") == []
