"""Programming problems in rows: what the model is shown, and the program that an answer becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rewarm.suites.rows import BadRow, strings, text_of

SCRIPT = "none"
"""The `entry_point` of a problem that asks for lines of a script and no function."""
COMPLETION_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif")
WHOLE_STOPS = ("\nassert", "\nclass", '\n"""', "\n#", "\n@", "\nprint", "\nif")


class Problem(NamedTuple):
    """A prompt, what stands before and after an answer in its program, the answers that are known to be right, and the
    texts at which an answer ends."""

    prompt: str
    before: str
    after: str
    answers: tuple[str, ...]
    stops: tuple[str, ...]

    def program(self, answer: str) -> str:
        """The program that shows whether an answer is right."""
        return f"{self.before}{answer}\n{self.after}"

    def written(self, answer: str) -> str:
        """The same of what a model wrote after the prompt, the blanks at whose end it was not shown."""
        return f"{self.before.rstrip()}{answer}\n{self.after}"


def problem_of(row: Mapping[str, Any]) -> Problem:
    """The problem of a row: `prompt` and `test` as HumanEval and PandasEval have them, or `text` and `test_list` as
    MBPP has them. BadRow for another."""
    if "test_list" in row:
        return _whole(row)
    prompt, test, name = text_of(row, "prompt"), text_of(row, "test"), text_of(row, "entry_point")
    call = "check()" if name == SCRIPT else f"check({name})"
    answers = _answers(row, "canonical_solution")
    return Problem(prompt, prompt, f"{test}\n{call}\n", answers, COMPLETION_STOPS)


def _whole(row: Mapping[str, Any]) -> Problem:
    tests = strings(row["test_list"], "test_list")
    if not tests:
        raise BadRow("no test in field 'test_list'")
    setup = row.get("test_setup_code") or ""
    if not isinstance(setup, str):
        raise BadRow("field 'test_setup_code' is no text")
    prompt = '"""\n' + "\n".join((text_of(row, "text"), *tests)) + '\n"""\n'
    return Problem(prompt, "", "\n".join((setup, *tests, "")), _answers(row, "code"), WHOLE_STOPS)


def _answers(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list holds alternatives, each a whole answer."""
    given = row.get(name)
    found = (given,) if isinstance(given, str) else strings(given, name)
    if not found:
        raise BadRow(f"no text in field '{name}'")
    return tuple(found)


def cut(text: str, stops: Sequence[str]) -> str:
    """The text up to the first of the stop texts."""
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]


def pass_at(samples: int, passed: int, k: int) -> float:
    """The chance that one of `k` of the samples passes, drawn without putting back: 1 - C(n - c, k) / C(n, k), without
    bias (Chen et al. 2021, arXiv 2107.03374). Exact integers, divided once."""
    return 1 - math.comb(samples - passed, k) / math.comb(samples, k)
