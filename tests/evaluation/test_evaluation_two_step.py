"""Two-step decoding: what is a sketch, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from rewarm.evaluation.two_step import cut, has_marker, most_frequent, two_step


@pytest.mark.parametrize(
    "text",
    [
        "df.to_string(index=False)",
        "    return df.astype(float)",
        "x = np.zeros(3, dtype=float)",
        "x = float(y)",
        "def f(x: float) -> float:\n    return x",
        "isinstance(x, (int, float))",
        "total: float = 0",
        "df.astype({'a': float})",
        "x = df.number + f(string=y)",
        "for number in range(3):\n    print(number)",
        "x = 'a string, a number'  # number",
        "",
    ],
)
def test_finished_answers_have_no_marker(text: str) -> None:
    assert not has_marker(text)


@pytest.mark.parametrize(
    "text",
    [
        "df = pd.read_csv(path, sep=string)",
        "return df * float",
        "x = [float, float]",
        "f(x, float)",
        "return df[string",
        "x = y[number:number]",
        "f(interstring)",
        "return x + complex",
    ],
)
def test_sketches_have_markers(text: str) -> None:
    assert has_marker(text)


def test_what_the_prompt_binds_is_no_marker() -> None:
    assert has_marker("return number + n")
    assert not has_marker("return string.digits", "import string\n")
    assert not has_marker("f(number)", "number = 3\n")


def test_new_names_are_markers_when_asked_for() -> None:
    assert not has_marker("x = func(var2)")
    assert has_marker("x = func(y)", names=True)
    assert not has_marker("x = function(variable)", names=True)


def test_answers_are_cut_and_counted() -> None:
    assert cut("return x\nprint(x)\nif y") == "return x"
    assert cut("return x") == "return x"
    assert most_frequent(["b", "a", "a \n", "b", "c"]) == "b"
    assert most_frequent([]) == ""


def sampler(texts: Sequence[str], asked: list[str]) -> Callable[[str, int], list[str]]:
    def sample(prompt: str, count: int) -> list[str]:
        asked.append(prompt)
        return [texts[number % len(texts)] for number in range(count)]

    return sample


@pytest.mark.parametrize(
    ("sketches", "written", "by", "asked", "first"),
    [
        (["x = number", "x = number", "y"], ["x = 1\ndef f"], "generator", "x = number\n# [segmentation]\nP", "x = 1"),
        (["", " ", "x = 1"], ["x = 2"], "generator", "P", "x = 2"),
        (["df.to_string()"], ["never"], "sketcher", None, "df.to_string()"),
        (["x = number"], [" ", ""], "sketcher", "x = number\n# [segmentation]\nP", "x = number"),
    ],
)
def test_two_steps(sketches: list[str], written: list[str], by: str, asked: str | None, first: str) -> None:
    prompts: list[str] = []
    found = two_step("P", sampler(sketches, []), sampler(written, prompts), 3)
    assert found.by == by
    assert prompts == ([asked] if asked is not None else [])
    assert len(found.texts) == 3
    assert found.texts[0] == first
