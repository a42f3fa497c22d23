"""A command starts itself again at most once, as the very same command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rewarm import launch

# Each start writes a line: the process, its arguments, and the variables; then the command ends with its own code.
COMMAND = """
import json, os, sys
with open(sys.argv[1], "a") as file:
    print(json.dumps([os.getpid(), sys.argv[1:], os.environ.get("REWARM_TUNED"), os.environ.get("GLIBC_TUNABLES")]),
          file=file)
from rewarm.launch import tune
tune()
print("worked")
sys.exit(int(sys.argv[2]))
"""
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has settings of the C library")


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable that matters is set."""
    for name in (launch.FLAG, "GLIBC_TUNABLES", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def started(
    tmp_path: Path, *arguments: str, code: int = 0, **variables: str
) -> tuple[subprocess.CompletedProcess[str], list[list[object]]]:
    """A command that tunes itself, and what each of its starts wrote."""
    file, log = tmp_path / "command.py", tmp_path / "starts.jsonl"
    file.write_text(COMMAND, encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", str(file), str(log), str(code), *arguments],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **variables},
    )  # fmt: skip
    return finished, [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


@ON_LINUX
@pytest.mark.usefixtures("untouched")
def test_a_command_starts_itself_again_once_with_its_arguments_and_exit_code(tmp_path: Path) -> None:
    arguments = ["plan with spaces.yaml", "--json", "", "$HOME 'é'"]
    finished, starts = started(tmp_path, *arguments, code=2)
    assert (finished.returncode, finished.stdout, finished.stderr) == (2, "worked\n", "")
    (first, given, flag, tunables), (second, again, flag_then, tunables_then) = starts
    assert first == second  # the process is the same, so a signal sent to it arrives
    assert given == again == [str(tmp_path / "starts.jsonl"), "2", *arguments]
    assert (flag, tunables, flag_then) == (None, None, "on")
    assert str(tunables_then).split(":") == [
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.mmap_threshold=4294967296",
        "glibc.malloc.trim_threshold=68719476736",
        "glibc.malloc.top_pad=67108864",
    ]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "variables",
    [
        {"REWARM_TUNED": "off"},
        {"REWARM_TUNED": "on"},
        {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"},
    ],
)
def test_a_command_that_is_to_be_left_alone_starts_once(tmp_path: Path, variables: dict[str, str]) -> None:
    finished, starts = started(tmp_path, code=3, **variables)
    assert (finished.returncode, finished.stdout) == (3, "worked\n")
    assert [start[2:] for start in starts] == [[variables.get("REWARM_TUNED"), variables.get("GLIBC_TUNABLES")]]


def refused_to_start(*arguments: object) -> None:
    raise AssertionError(f"started {arguments}")


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_have_nothing_to_set(system: str, untouched: pytest.MonkeyPatch) -> None:
    untouched.setattr(launch.sys, "platform", system)
    untouched.setattr(launch.os, "execve", refused_to_start)
    assert launch.tuned_environment() == {}
    launch.tune()
    assert launch.FLAG not in os.environ


def test_an_allocator_of_the_users_own_is_left_alone(untouched: pytest.MonkeyPatch) -> None:
    untouched.setenv("LD_PRELOAD", "")
    untouched.setattr(launch.os, "execve", refused_to_start)
    launch.tune()


@pytest.mark.parametrize(("name", "value"), [("orig_argv", []), ("executable", "")])
def test_an_embedded_interpreter_cannot_be_started_again(
    name: str, value: object, untouched: pytest.MonkeyPatch
) -> None:
    untouched.setattr(launch.sys, "platform", "linux")
    untouched.setattr(launch.sys, name, value)
    untouched.setattr(launch.os, "execve", refused_to_start)
    launch.tune()


def test_what_the_interpreter_was_told_is_given_on(untouched: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    untouched.setattr(launch.sys, "platform", "linux")
    untouched.setattr(launch.sys, "orig_argv", ["python", "-m", "rewarm", "run", "plan.yaml"])
    untouched.setattr(launch.os, "execve", lambda file, arguments, variables: given.extend((file, arguments)))
    launch.tune()
    assert given == [sys.executable, [sys.executable, "-m", "rewarm", "run", "plan.yaml"]]
