"""How programs end, what they find around them, and who may run them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from rewarm.sandbox import Limits, permission, run
from rewarm.sandbox.run import protections, run_program
from rewarm.types import UserError

linux = pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only")


@linux
@pytest.mark.parametrize(
    ("program", "end", "fault"),
    [
        ("assert 1 + 1 == 2", "passed", ""),
        ("assert 1 + 1 == 3", "failed", "AssertionError"),
        ("def f(:", "failed", "SyntaxError"),
        ("import sys\nsys.exit(0)", "failed", "SystemExit"),
        ("class E(BaseException): pass\nraise E", "failed", "E"),
        ("import os\nos._exit(0)", "crash", "exit status 0 before the end"),
        ("import ctypes\nctypes.string_at(0)", "crash", "SIGSEGV"),
        ("import os\nif os.fork(): os.wait()\nelse: raise ValueError", "passed", ""),
        ("import pickle\nclass A: pass\npickle.loads(pickle.dumps(A()))", "passed", ""),
        ("assert __name__ == '__main__'", "passed", ""),
    ],
)
def test_how_programs_end(program: str, end: str, fault: str) -> None:
    found = run_program(program, Limits(seconds=10))
    assert (found.end, found.fault) == (end, fault)


@linux
def test_numpy_can_be_imported_and_the_package_cannot() -> None:
    assert run_program("import numpy\nprint(numpy.arange(3))", Limits(seconds=20)).output == "[0 1 2]\n"
    for name in ("walls", "jail"):
        assert run_program(f"import {name}").fault == "ModuleNotFoundError"


@linux
def test_the_environment_is_empty_and_sets_have_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADE_UP_SECRET", "x")
    program = "import os\nassert 'MADE_UP_SECRET' not in os.environ\nprint({'a', 'b', 'c', 'd'})"
    first, second = (run_program(program) for _ in range(2))
    assert first.end == "passed"
    assert first.output == second.output


@linux
def test_what_contains_a_program_is_told() -> None:
    assert set(protections()) == {"network", "processes", "files", "rights", "limits"}
    assert run_program("").protections == protections()


@linux
def test_packages_below_tmp_take_no_wall_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an environment that lies there: /tmp is then a folder of the jail, and can be written."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "there.py").write_text("answer = 42\n", encoding="utf-8")
        Path(folder).chmod(0o755)
        monkeypatch.setattr(run, "_packages", lambda: [folder])
        found = run_program("import there\nopen('/tmp/x', 'w').write('y')\nassert there.answer == 42")
        assert (found.end, found.fault) == ("passed", "")
        assert found.protections == protections()
        assert not Path("/tmp/x").exists()


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="on Linux only, and this is darwin"):
        run_program("")


def test_only_the_user_allows_programs() -> None:
    with pytest.raises(UserError, match="add --execute"):
        permission.require("a suite")
    with permission.executing(False), pytest.raises(UserError, match="add --execute"):
        permission.require("a suite")
    with permission.executing():
        permission.require("a suite")
        with permission.executing(False):
            permission.require("a suite")
