"""pass@k by enumeration, programs by hand, and what is refused."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from rewarm.methods import build
from rewarm.river.suite_sets import check_execution
from rewarm.sandbox.permission import executing
from rewarm.suites.code import Code
from rewarm.suites.problems import COMPLETION_STOPS, WHOLE_STOPS, cut, pass_at, problem_of
from rewarm.suites.rows import BadRow
from rewarm.types import UserError

linux = pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only")
DOUBLE = {
    "id": "double", "prompt": "def double(n):\n    ", "entry_point": "double", "canonical_solution": "return 2 * n\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4",
}  # fmt: skip


@pytest.mark.parametrize("samples", range(1, 7))
def test_pass_at_k_is_what_enumeration_gives(samples: int) -> None:
    for passed, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        draws = list(itertools.combinations([True] * passed + [False] * (samples - passed), k))
        assert pass_at(samples, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_pass_at_k_is_stable_for_many_samples() -> None:
    assert pass_at(2000, 1, 1) == pytest.approx(1 / 2000, rel=1e-9)
    assert pass_at(2000, 1000, 1000) == 1
    assert pass_at(2000, 0, 1000) == 0


def test_programs_are_put_together_as_the_benchmarks_do() -> None:
    function = problem_of(DOUBLE)
    assert function.program("return 4\n").endswith(
        "def double(n):\n    return 4\n\ndef check(candidate):\n    assert candidate(2) == 4\ncheck(double)\n"
    )
    # The model is not shown the blanks at the prompt's end, and writes its own.
    assert function.written("\n    return 4").startswith("def double(n):\n    return 4\ndef check")
    script = problem_of(DOUBLE | {"entry_point": "none", "canonical_solution": ["a", "b"]})
    assert script.after.endswith("\ncheck()\n")
    assert script.answers == ("a", "b")
    whole = problem_of(
        {"text": "Add.", "code": "def f(): ...", "test_list": ["assert f()"], "test_setup_code": "x = 1"}
    )
    assert whole.prompt == '"""\nAdd.\nassert f()\n"""\n'
    assert whole.program("def f(): return x") == "def f(): return x\nx = 1\nassert f()\n"
    assert (function.stops, whole.stops) == (COMPLETION_STOPS, WHOLE_STOPS)


@pytest.mark.parametrize("row", [{}, DOUBLE | {"canonical_solution": []}, {"text": "a", "code": "b", "test_list": []}])
def test_rows_of_another_form_are_bad(row: dict[str, Any]) -> None:
    with pytest.raises(BadRow):
        problem_of(row)


def test_answers_end_at_what_begins_something_else() -> None:
    assert cut("    return 1\n\ndef f():\n", COMPLETION_STOPS) == "    return 1\n"
    assert cut("    if a:\n        return 1\nif b", COMPLETION_STOPS) == "    if a:\n        return 1"
    assert cut("\ndef f():\n    return 1\nassert f()", WHOLE_STOPS) == "\ndef f():\n    return 1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 2}, "raise samples, or lower k"),
        ({"samples": 2}, "set a temperature"),
        ({"k": []}, "k"),
        ({"execute": True}, "execute"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build("suites", {"type": "code", "path": "x", **options})


def test_nothing_is_run_unless_the_user_says_so(write_rows: Any, answers_of: Any) -> None:
    values = {"type": "code", "path": write_rows([DOUBLE]), "new_tokens": 3}
    with pytest.raises(UserError, match="add --execute"):
        answers_of(values)
    plan: Any = type("Plan", (), {"suites": {"mine": build("suites", values)}})
    with pytest.raises(UserError, match=r"suites\.mine runs programs .* add --execute"):
        check_execution(plan)
    with executing():
        check_execution(plan)


@linux
def test_problems_that_fail_their_own_answer_are_left_out(
    write_rows: Any, answers_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    broken = DOUBLE | {"id": "broken", "canonical_solution": "return 3 * n"}
    second = DOUBLE | {"id": "second", "canonical_solution": ["return 3 * n", "return n + n"]}
    values = {"type": "code", "path": write_rows([DOUBLE, broken, second]), "new_tokens": 3, "samples": 4}
    with executing():
        found = answers_of(values | {"temperature": 1.0, "k": [1, 4]})
        monkeypatch.setattr("rewarm.suites.valid.run_program", None)  # not run again
        again = answers_of(values | {"temperature": 1.0, "k": [1, 4]})
    assert found.as_json() == again.as_json()
    assert found.ids == ("double", "second")
    assert found.left_out == {"its own answer fails here: failed (AssertionError)": 1}
    assert list(found.measures) == ["pass@1", "pass@4"]
    assert (found.extra["valid"], found.extra["of"], sum(found.extra["ends"].values())) == (2, 3, 8)


@linux
def test_a_right_answer_passes_and_the_others_are_counted(
    write_rows: Any, asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    rows = [DOUBLE, DOUBLE | {"id": "other"}]
    suite = Code(path=write_rows(rows), samples=3, temperature=1.0, k=(1, 2))
    texts = [["\n    return n + n", "\n    return 1", "\n    while n: pass"], ["\n    return 2 * n"] * 3]
    monkeypatch.setattr(Code, "_texts", lambda self, asked, items: (texts, {}))
    with executing():
        found = suite.model_copy(update={"seconds": 2.0}).answer(asked())
    assert found.measures["pass@1"].values_N == pytest.approx([1 / 3, 1])
    assert found.measures["pass@2"].values_N == pytest.approx([2 / 3, 1])
    assert {end: count for end, count in found.extra["ends"].items() if count} == {
        "passed": 4, "failed": 1, "timed out": 1,
    }  # fmt: skip
    assert found.extra["faults"] == {"failed (AssertionError)": 1, "timed out": 1}


@linux
def test_the_first_problems_of_real_files_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ.get("REWARM_DATA") or Path(__file__).parents[3] / "shared" / "data") / "code"
    monkeypatch.setenv("REWARM_CACHE", str(tmp_path / "cache"))
    for name, rows in (("humaneval", 164), ("mbpp", 974)):
        file = folder / f"{name}.jsonl.zst"
        if not file.is_file():
            pytest.skip("set REWARM_DATA to the folder of real data")
        chosen = Code(path=str(file), limit=None).choose(0)
        assert (len(chosen.ids), chosen.tally.total) == (rows, 0)
        with executing():
            few = Code(path=str(file), limit=3)
            assert len(few.valid(few.choose(0)).ids) == 3
