"""Bugs put into functions: each operator by hand, and what holds of every one."""

from __future__ import annotations

import ast
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from rewarm.sketches.mutation import OPERATORS, functions, mutate
from rewarm.sketches.source import Source, Unsketchable

LIBRARY = Path(sysconfig.get_path("stdlib"))


def every(line: str, arguments: str = "") -> set[str]:
    """All that a function of one line becomes under some seed."""
    text = f"def f({arguments}):\n    {line}\n"
    made = {mutate(text, seed).text for seed in range(60)}
    return {one.removeprefix(f"def f({arguments}):\n    ").removesuffix("\n") for one in made}


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("return x < y", {"return x <= y"}),
        ("return x is  not y", {"return x is y"}),
        ("return x not in (y)", {"return x in (y)"}),
        ("return (x) == y >= z", {"return (x) != y >= z", "return (x) == y > z"}),
        ("return x[9]", {"return x[10]", "return x[8]"}),
        ("return 0x10", {"return 17", "return 15"}),
        ("return g(x, y[z])", {"return g(y[z], x)"}),
        ("return g(x, *y, k=z)", {"return g(*y, x, k=z)"}),
        ("return x and (y) and z", {"return x or (y) and z", "return x and (y) or z"}),
        ("return not (x or y)", {"return (x or y)", "return not (x and y)"}),
        ("x += y", {"x -= y"}),
        ("x.y <<= z", {"x.y >>= z"}),
        ("return 'é' < x, 'ü'", {"return 'é' <= x, 'ü'"}),
    ],
)
def test_operators(line: str, made: set[str]) -> None:
    assert every(line) == made


def test_a_variable_becomes_another_that_is_bound_before_it() -> None:
    assert every("return g(a)", "a, *b, c=None, **d") == {f"return g({name})" for name in "bcd"}
    assert every("x = a; y = x; z = y", "a") == {
        "x = a; y = a; z = y", "x = a; y = x; z = a", "x = a; y = x; z = x",
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "return g(a, a)", "pass", "return True", "return f'{a < 1}'", "return lambda: b < 1", "return [a for b in c]",
        "x: Literal[1] = a",
    ],
)  # fmt: skip
def test_what_has_nothing_to_change_says_so(line: str) -> None:
    with pytest.raises(Unsketchable, match="has nothing to change"):
        mutate(f"def f(a):\n    {line}\n", 0)


def test_operators_are_drawn_before_places() -> None:
    text = "def f(a):\n    return g(1, 2, 3, 4, 5, 6, 7, 8), not a\n"
    drawn = Counter(mutate(text, seed).operator for seed in range(300))
    assert set(drawn) == {"constant", "arguments", "negation"}
    assert min(drawn.values()) > 70


def test_functions_are_given_as_they_stand_and_methods_without_their_indent() -> None:
    source = Source(
        "@cache\ndef f(x):\n    def inner(): ...\n    return x  # kept\n\nif x:\n    class A:\n"
        '        async def g(self):\n            """Says.\n\n            More."""\n            return 1\n\n'
        '        def h(self):\n            return """\n'
        '            x"""\n'
    )
    assert list(functions(source)) == [
        ("f", "def f(x):\n    def inner(): ...\n    return x"),
        ("A.g", 'async def g(self):\n    """Says.\n\n    More."""\n    return 1'),
        ("A.h", None),
    ]


def test_mutants_parse_differ_and_are_the_same_again() -> None:
    """On functions of the standard library: one change in each."""
    counts: Counter[str] = Counter()
    for file in ("textwrap.py", "bisect.py", "heapq.py", "shlex.py"):
        text = (LIBRARY / file).read_text(encoding="utf-8")
        for name, function in functions(Source(text)):
            if function is None:
                continue
            if "." not in name:
                assert function in text
            for seed in range(6):
                try:
                    mutant = mutate(function, seed)
                except Unsketchable:
                    counts["none"] += 1
                    break
                assert mutant == mutate(function, seed)
                assert ast.dump(ast.parse(mutant.text)) != ast.dump(ast.parse(function))
                assert len(set(mutant.text.splitlines()) - set(function.splitlines())) <= 1
                counts[mutant.operator] += 1
    assert set(OPERATORS) <= set(counts)
