"""Imports go one way, from a folder to those before it in the river. Every import statement counts, also inside a
function or under TYPE_CHECKING: a cycle that is hidden is still a cycle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rewarm

PACKAGE = Path(rewarm.__file__).parent
# One level a line. What stands on one level does not import each other.
LEVELS = (
    ("types",),
    ("quantities", "storage", "hashing", "sandbox", "plan_file", "hub"),
    ("methods",),
    ("stages", "kinds", "languages"),
    ("references", "stream", "expected"),
    ("plan",),
    ("corpora",),
    ("engines",),
    ("difference", "facts", "records", "sketches"),
    ("probes",),
    ("selection",),
    ("tokens",),
    ("mixtures",),
    ("models",),
    ("objectives",),
    ("adapters", "schedules", "retention"),
    ("training",),
    ("evaluation",),
    ("suites",),
    ("report",),
    ("river",),
    ("tasks", "planner"),
    ("recipes", "launch"),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: number for number, level in enumerate(LEVELS) for name in level}
FILES = sorted(PACKAGE.rglob("*.py"))
SLOTS = ("adapters", "schedules", "retention")


def part(file: Path) -> str:
    """The folder of a file, or the name of a file on the top level."""
    inside = file.relative_to(PACKAGE)
    return inside.parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything of the package that a file imports, `from package import name` in full."""
    package = ["rewarm", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield from ((node.lineno, f"{module}.{name.name}") for name in node.names)


def own_imports(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, part of the package and full name of a file's imports of the package itself."""
    for line, name in imports(file):
        parts = name.split(".")
        if parts[0] == "rewarm" and len(parts) > 1 and (parts[1] in LEVEL or (PACKAGE / parts[1]).exists()):
            yield line, parts[1], name


def violations(file: Path) -> list[str]:
    here = part(file)
    return [
        f"{file.name}:{line} ({here}) imports {name}"
        for line, there, name in own_imports(file)
        if there != here and LEVEL[there] >= LEVEL[here]
    ]


def test_every_part_of_the_package_has_its_place() -> None:
    parts = {part(file) for file in FILES} - {"__init__"}
    assert parts <= set(LEVEL), f"say in LEVELS where these belong: {sorted(parts - set(LEVEL))}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_backwards_only(file: Path) -> None:
    if part(file) != "__init__":
        assert violations(file) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_package_itself_imports_nothing(file: Path) -> None:
    if file.parent == PACKAGE and file.name == "__init__.py":
        assert list(own_imports(file)) == []


def test_the_loop_knows_protocols_and_no_method() -> None:
    """A new schedule, adapter or way of retention is one file that nothing of the training has to name."""
    found = [
        f"{file.name}:{line} imports {name}"
        for file in FILES
        if part(file) == "training"
        for line, there, name in own_imports(file)
        if there in SLOTS and name.count(".") != 2
    ]
    assert found == []


def test_methods_do_not_import_methods_of_other_slots_by_name() -> None:
    """A folder of methods uses another folder's slot (its __init__), never one of its methods."""
    found = []
    for file in FILES:
        for line, there, name in own_imports(file):
            module = PACKAGE / there / f"{[*name.split('.'), ''][2]}.py"
            if part(file) in (*SLOTS, "mixtures", "selection", "corpora") and there in SLOTS and there != part(file):
                found += [f"{file.name}:{line} imports {name}"] if module.is_file() else []
    assert found == []


def test_the_walk_sees_every_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of the check: hidden, relative and plain forms are all found."""
    file = PACKAGE / "tokens" / "made_up.py"
    text = (
        "import rewarm.training.loop\n"
        "from rewarm import evaluation\n"
        "from ..river import run\n"
        "from . import shards\n"
        "from .hashing import seed_of\n"
        "def f():\n    from rewarm.models.load import load_model\n"
        "import numpy\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    assert [(line, there) for line, there, _ in own_imports(file)] == [
        (1, "training"), (2, "evaluation"), (3, "river"), (4, "tokens"), (5, "tokens"), (7, "models"),
    ]  # fmt: skip
    assert len(violations(file)) == 4
