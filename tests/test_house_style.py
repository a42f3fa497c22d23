"""The house style that a machine can check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rewarm

PACKAGE = Path(rewarm.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FUNCTION_LINES = 50
FILE_LINES = 300
PARAMETERS = 7
NO_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "misc", "base", "tools"}
Function = ast.FunctionDef | ast.AsyncFunctionDef

by_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def functions(file: Path) -> Iterator[Function]:
    return (node for node in ast.walk(parsed(file)) if isinstance(node, Function))


def public(node: ast.Module | ast.ClassDef, owner: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Public classes, functions and methods, by dotted name; what a function defines inside itself is its own."""
    for item in node.body:
        if isinstance(item, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_"):
            yield f"{owner}{item.name}", item
            if isinstance(item, ast.ClassDef):
                yield from public(item, f"{item.name}.")


def is_inherited(node: ast.AST) -> bool:
    """Hooks that a library calls, whose contract is the library's: forward and backward of autograd functions."""
    return isinstance(node, Function) and node.name in {"forward", "backward"}


@by_file
def test_files_are_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


@by_file
def test_functions_are_short(file: Path) -> None:
    long = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions(file)}
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES} == {}


@by_file
def test_functions_have_few_parameters(file: Path) -> None:
    many = {}
    for node in functions(file):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
        if len(names) > PARAMETERS:
            many[node.name] = names
    assert many == {}


@by_file
def test_what_is_public_is_explained(file: Path) -> None:
    tree = parsed(file)
    assert ast.get_docstring(tree), "the file has no docstring"
    silent = [name for name, node in public(tree) if not is_inherited(node) and not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert silent == []


@by_file
def test_nothing_is_caught_that_is_not_named(file: Path) -> None:
    """A catch-all hides the defect of tomorrow; one that cleans up and raises again hides nothing."""
    caught = [
        node.lineno
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]
    assert caught == []


@by_file
def test_no_notes_to_self(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", text) == []
    assert re.findall("[\U0001f300-\U0001faff]", text) == []


@by_file
def test_names_of_files_say_what_is_inside(file: Path) -> None:
    assert file.stem not in NO_NAMES


def test_folders_are_two_levels_deep() -> None:
    deep = [str(file.relative_to(PACKAGE)) for file in FILES if len(file.relative_to(PACKAGE).parts) > 2]
    assert deep == []
    assert not {folder.name for folder in PACKAGE.iterdir() if folder.is_dir()} & NO_NAMES


def test_files_of_tests_have_one_name_each_and_are_short() -> None:
    names = [file.name for file in TESTS.rglob("test_*.py")]
    assert {name for name in names if names.count(name) > 1} == set()
    assert not list(TESTS.rglob("__init__.py"))
    long = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in TESTS.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 340} == {}


def test_nothing_names_the_machine_it_was_written_on() -> None:
    """Paths of a home or a workplace, in anything that is shipped."""
    pattern = re.compile(r"(?<![\w.])/(?:home|Users|work|root)/\w+")
    found = [
        f"{file.relative_to(PACKAGE)}: {match}"
        for file in PACKAGE.rglob("*")
        if file.suffix in {".py", ".yaml", ".json", ".j2", ".md"}
        for match in pattern.findall(file.read_text(encoding="utf-8"))
    ]
    assert found == []
