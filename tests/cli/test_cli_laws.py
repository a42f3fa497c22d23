"""What holds for every verb, also for one that is added tomorrow."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from rewarm.cli import build


def verbs(group: Any, before: str = "") -> dict[str, Any]:
    """Every verb by its words, those of groups among them."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = verbs(command, f"{before}{name} ") if hasattr(command, "commands") else {f"{before}{name}": command}
        found |= inner
    return found


COMMANDS = verbs(typer.main.get_command(build()))
HEAVY = ("torch", "transformers", "pydantic", "numpy", "yaml", "rich", "pyarrow", "matplotlib")

by_verb = pytest.mark.parametrize("name", list(COMMANDS))


def options(name: str) -> set[str]:
    return {word for parameter in COMMANDS[name].params for word in parameter.opts if word.startswith("--")}


def test_every_file_with_a_register_function_is_a_verb() -> None:
    assert set(COMMANDS) == {
        "add-stage", "add-tokens", "check", "compare", "demo", "evaluate", "gate", "init", "learn", "merge", "methods",
        "plan", "prepare", "probe", "recipe", "recycle", "report", "run", "selftest", "status", "undo", "verify",
        "corpus deduplicate", "corpus diff", "corpus languages", "corpus mutate", "corpus probes",
        "corpus records", "corpus select", "corpus sketch", "corpus split",
    }  # fmt: skip


@by_verb
def test_every_verb_answers_as_json_and_shows_tracebacks_on_request(name: str) -> None:
    assert {"--json", "--debug"} <= options(name)


@by_verb
def test_every_verb_that_writes_has_a_dry_run(name: str) -> None:
    writes = {
        "add-stage", "add-tokens", "compare", "demo", "init", "learn", "merge", "plan", "prepare", "probe", "recipe",
        "recycle", "report", "run", "undo",
    }  # fmt: skip
    made = name.startswith("corpus ") and name != "corpus languages"  # that one only counts and prints
    assert ("--dry-run" in options(name)) == (name in writes or made)


@by_verb
def test_every_verb_explains_itself(name: str, cli: Any) -> None:
    called = cli(*name.split(), "--help")
    assert called.code == 0
    assert called.out.startswith(f"Usage: rewarm {name} ")
    assert all(parameter.help for parameter in COMMANDS[name].params)


@by_verb
def test_the_list_of_verbs_shows_a_whole_sentence_for_each(name: str, cli: Any) -> None:
    *group, word = name.split()
    line = next(line for line in cli(*group, "--help").out.splitlines() if line.split()[:1] == [word])
    assert line.endswith(".")
    assert not line.endswith("...")


@by_verb
def test_an_unknown_option_names_the_nearest_one(name: str, cli: Any) -> None:
    called = cli(*name.split(), "--jsn")
    assert called.code == 3
    assert called.err.startswith(f"rewarm: rewarm {name} has no option --jsn. Did you mean '--json'")


@by_verb
def test_a_usage_error_is_one_object_with_json(name: str, cli: Any) -> None:
    called = cli(*name.split(), "--json", "--no-such-option")
    assert called.code == 3
    assert called.json().keys() == {"error", "exit_code"}
    assert called.json()["exit_code"] == 3
    assert called.err == ""


def test_an_unknown_verb_names_the_nearest_one(cli: Any) -> None:
    called = cli("stauts", "runs/x")
    assert (called.code, called.err) == (3, "rewarm: there is no verb 'stauts'. Did you mean 'status'?\n")
    assert "Allowed: add-stage, add-tokens, check" in cli("frobnicate").err


def test_a_missing_argument_is_wrong_input(cli: Any) -> None:
    called = cli("run")
    assert (called.code, called.out) == (3, "")
    assert "PLAN" in called.err


def test_nothing_at_all_asks_for_help(cli: Any) -> None:
    assert cli().out == cli("--help").out
    assert cli().code == 0


def test_the_version_is_the_packages(cli: Any) -> None:
    from rewarm import __version__

    assert cli("--version").out == f"rewarm {__version__}\n"


def test_help_loads_no_heavy_library(python: Any) -> None:
    """The time is printed, not asserted: it is the machine's."""
    code = (
        "import sys\nfrom rewarm.cli import call\ncode = call(['--help'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\nsys.exit(code)"
    )
    start = time.perf_counter()
    process = python(code)
    _, err = process.communicate(timeout=60)
    print(f"rewarm --help took {time.perf_counter() - start:.2f} s")
    assert process.returncode == 0
    assert err == "[]\n"


def test_an_error_that_nobody_foresaw_is_a_sentence_and_code_1(python: Any, tmp_path: Path) -> None:
    code = (
        "import sys\nimport rewarm.report.result as result\nfrom rewarm.cli import main\n"
        "def broken(run):\n    raise KeyError('rows')\n"
        "result.read = broken\nmain(['gate', 'x', '--max-forget', '1%', *sys.argv[1:]])"
    )
    process = python(code)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("rewarm: unexpected KeyError: 'rows'. This is a defect")
    assert "Traceback" not in err
    process = python(code, "--json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["exit_code"], err) == (1, 1, "")
    process = python(code, "--debug")
    assert "Traceback" in process.communicate(timeout=60)[1]


def test_a_note_of_an_error_is_told_with_it(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a save that failed while the leg ended by another error."""
    import rewarm.report.result

    def broken(run: Path) -> None:
        error = RuntimeError("The loss is no number.")
        error.add_note("A checkpoint could not be written.")
        raise error

    monkeypatch.setattr(rewarm.report.result, "read", broken)
    called = cli("gate", "x", "--max-forget", "1%")
    assert (called.code, called.err) == (1, "rewarm: The loss is no number. A checkpoint could not be written.\n")


def test_a_verb_leaves_the_search_for_garbage_as_it_was(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of it while a short verb runs, whose time goes into loading libraries."""
    import rewarm.methods

    seen = []
    known = rewarm.methods.known
    monkeypatch.setattr(rewarm.methods, "known", lambda folder: seen.append(gc.isenabled()) or known(folder))
    assert gc.isenabled()
    assert cli("methods").code == 0
    assert set(seen) == {False}
    assert gc.isenabled()
