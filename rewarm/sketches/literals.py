"""Numbers and strings as markers; comments taken out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from rewarm.sketches.source import Edit, Source, Token

NUMBERS = ("number", "float", "floatexponant", "complex")
STRINGS = (
    "string", "rawstring", "interstring", "interrawstring", "binarystring", "binaryrawstring", "unicodestring",
    "templatestring",
)  # fmt: skip
MARKERS = frozenset((*NUMBERS, *STRINGS))

_OPENING = re.compile(r"([A-Za-z]*)(\"\"\"|'''|\"|')")
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def number_marker(text: str) -> str:
    """The marker of a number, by how it is written."""
    low = text.lower()
    if low.startswith(("0x", "0b", "0o")):
        return "number"
    if low.endswith("j"):
        return "complex"
    if "e" in low:
        return "floatexponant"
    return "float" if "." in low else "number"


def string_marker(texts: list[str]) -> str:
    """The marker of strings that stand side by side and are one: that of the first with fields, or of the first."""
    prefixes = [opening(text)[0].lower() for text in texts]
    prefix = next((one for one in prefixes if "f" in one or "t" in one), prefixes[0])
    raw = "raw" if "r" in prefix else ""
    if "t" in prefix:
        return "templatestring"
    if "f" in prefix:
        return f"inter{raw}string"
    if "b" in prefix:
        return f"binary{raw}string"
    return "unicodestring" if "u" in prefix else f"{raw}string"


def opening(text: str) -> tuple[str, str]:
    """The letters before a string, and its quotes."""
    found = _OPENING.match(text)
    assert found is not None  # of a token of the kind STRING
    return found[1], found[2]


def groups(source: Source) -> Iterator[list[Token]]:
    """Strings that stand side by side, which Python reads as one, with the comments between them."""
    group: list[Token] = []
    for token in source.tokens:
        if token.kind == "STRING" or (group and token.kind == "COMMENT"):
            group.append(token)
        elif group:
            yield group
            group = []
    if group:
        yield group


def literal_edits(source: Source, text: str, keep_docstrings: bool) -> list[Edit]:
    """The edits that put a marker in place of every number and string.

    Literals of a `case` pattern stay: a name there would catch everything, or break `case -1` and `case {"key": x}`.
    So does a docstring before `from __future__` imports, which nothing but a docstring may stand before.
    """
    stay = _in_patterns(source) | _before_future(source) | (_docstrings(source) if keep_docstrings else set())
    edits = [
        _marked(text, token.start, token.end, number_marker(token.text))
        for token in source.tokens
        if token.kind == "NUMBER" and token.start not in stay
    ]
    for group in groups(source):
        if group[0].start not in stay:
            edits += _string_edits(text, group)
    return edits


def _string_edits(text: str, group: list[Token]) -> Iterator[Edit]:
    """The marker for the first string, nothing for the others; comments between them keep their lines."""
    start, end = group[0].start, group[0].end
    spans = []
    for before, token in pairwise(group):
        if token.kind == "COMMENT":
            continue
        if before.kind == "COMMENT":
            spans.append((start, end))
            start = token.start
        end = token.end
    spans.append((start, end))
    marker = string_marker([token.text for token in group if token.kind == "STRING"])
    yield _marked(text, *spans[0], marker)
    yield from ((first, last, "") for first, last in spans[1:])


def _marked(text: str, start: int, end: int, marker: str) -> Edit:
    """The marker as a token of its own: `1if x else"y"` needs spaces then."""
    before = " " if start and _joins(text[start - 1]) else ""
    after = " " if end < len(text) and _joins(text[end]) else ""
    return start, end, f"{before}{marker}{after}"


def _joins(character: str) -> bool:
    return character.isalnum() or character == "_"


def _in_patterns(source: Source) -> set[int]:
    found = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.match_case):
            end = source.end(node.pattern)
            for token in source.tokens_from(source.start(node.pattern)):
                if token.start >= end:
                    break
                found.add(token.start)
    return found


def _before_future(source: Source) -> set[int]:
    """Where a docstring starts that a `from __future__` import follows: after a name that would be no legal place."""
    match source.tree.body:
        case [ast.Expr(value=value), ast.ImportFrom(module="__future__"), *_]:
            return {source.start(value)}
    return set()


def _docstrings(source: Source) -> set[int]:
    """Where triple-quoted docstrings start that are one string."""
    starts = set()
    for node in ast.walk(source.tree):
        if isinstance(node, _DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr):
            value = node.body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                starts.add(source.start(value))
    return {
        group[0].start
        for group in groups(source)
        if group[0].start in starts
        and len(opening(group[0].text)[1]) == 3
        and sum(token.kind == "STRING" for token in group) == 1
    }


def comment_edits(source: Source, text: str) -> Iterator[Edit]:
    """The edits that take comments out, and the lines of which nothing else is left."""
    for token in source.tokens:
        if token.kind != "COMMENT":
            continue
        start = token.start
        while start > source.origin and text[start - 1] in " \t\f":
            start -= 1
        end = token.end
        if start == source.origin or text[start - 1] in "\r\n":
            end += 2 if text.startswith("\r\n", end) else int(end < len(text))
        yield start, end, ""
