"""A source and its sketch in turns, block by block, and the source back from it."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rewarm.sketches.sketching import Settings, edits
from rewarm.sketches.source import Edit, Source, edited

SEGMENTATION = "# [segmentation]"
GAP = "\n\n"
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a source from one place to another. An `import` or `main` block has no sketch of its own."""

    kind: Literal["import", "main", "definition", "other"]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Interleaved:
    """A document of a generator's corpus; `spans` says where the blocks of the source stand in it."""

    text: str
    spans: tuple[tuple[int, int], ...]


def blocks(source: Source, length: int) -> list[Block]:
    """The blocks of a source of `length` characters, which together are the whole of it.

    A function or class of the top level is a block, with the comments and empty lines before it; so are imports that
    follow each other, statements with `__name__`, and what else follows each other.
    """
    found: list[Block] = []
    for node in source.tree.body:
        kind = _kind(node)
        start = found[-1].end if found else 0
        end = source.line_after(node.end_lineno or 0)
        if found and end <= start:
            continue  # after a semicolon, on a line that is in a block
        if found and kind == found[-1].kind != "definition":
            found[-1] = replace(found[-1], end=end)
        else:
            found.append(Block(kind, start, end))
    last = found.pop() if found else Block("other", 0, 0)
    return [*found, replace(last, end=length)]


def _kind(node: ast.stmt) -> Literal["import", "main", "definition", "other"]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "import"
    if any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node)):
        return "main"
    return "definition" if isinstance(node, _DEFINITIONS) else "other"


def interleave(text: str, settings: Settings, source: Source | None = None) -> Interleaved:
    """Sketch and source of each block in turns, a line `# [segmentation]` after each sketch, which has no comments."""
    source = Source(text) if source is None else source
    made = sorted(edits(text, source, replace(settings, strip_comments=True)))
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []
    place = 0
    for block in blocks(source, len(text)):
        before = _before(text, block, made)
        before = f"{GAP}{before}" if pieces else before
        place += len(before)
        pieces += [before, text[block.start : block.end]]
        spans.append((place, place + block.end - block.start))
        place = spans[-1][1]
    return Interleaved("".join(pieces), tuple(spans))


def _before(text: str, block: Block, made: Sequence[Edit]) -> str:
    """What stands before a block: its sketch, if it has one, and the line that ends it."""
    if block.kind in ("import", "main"):
        return ""
    inside = made[bisect_left(made, (block.start,)) : bisect_left(made, (block.end,))]
    shown = edited(text, inside, block.start, block.end).strip("\ufeff \t\f\r\n")
    return f"{shown}\n{SEGMENTATION}\n" if shown else ""


def recovered(row: Mapping[str, Any]) -> str:
    """The source, character by character, of a generator's row with its `text` and `blocks`."""
    return "".join(row["text"][start:end] for start, end in row["blocks"])
