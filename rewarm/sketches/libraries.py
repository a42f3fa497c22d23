"""Which libraries a source imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from rewarm.types import UserError

_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def imported(tree: ast.AST) -> set[str]:
    """Modules that a source imports anywhere, `from numpy import linalg` as numpy and numpy.linalg; none of its own."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def imports_any(tree: ast.AST, libraries: Sequence[str]) -> bool:
    """Whether a source imports one of some libraries, or a part of one."""
    inside = tuple(f"{library}." for library in libraries)
    return any(f"{module}.".startswith(inside) for module in imported(tree))


def checked_libraries(libraries: Sequence[str]) -> tuple[str, ...]:
    """The libraries, each once; UserError for what is no name of a module."""
    for library in libraries:
        if not _NAME.fullmatch(library):
            raise UserError(f"--library {library!r}: give the name that is imported, such as pandas or numpy.linalg")
    return tuple(dict.fromkeys(libraries))
