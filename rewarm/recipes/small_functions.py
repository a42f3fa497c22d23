"""What the small recipe of CodeTask-CL reads: functions of installed packages, and four tasks about them."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import Path

from rewarm.hashing import seed_of
from rewarm.recipes.demo_text import code, write_rows
from rewarm.sketches.mutation import functions, mutate
from rewarm.sketches.sketching import Settings, edits
from rewarm.sketches.source import Source, Unsketchable, edited

TASKS = ("generation", "translation", "summarisation", "refinement")
LONGEST = 260
"""Characters of a function: with its answer it must fit into a short row."""
ROWS = 400
"""Rows of a task, at most."""


def write_codetask(folder: Path) -> None:
    """Writes NAME.jsonl for each of the tasks: rows with a prompt and an answer."""
    found: dict[str, dict[str, str]] = {name: {} for name in TASKS}
    for text in _functions():
        for name, prompt, answer in _asked(text):
            found[name].setdefault(prompt, answer)
    for name, pairs in found.items():
        rows = [{"prompt": prompt, "answer": answer} for prompt, answer in pairs.items()]
        random.Random(name).shuffle(rows)
        write_rows(folder / "tasks" / f"{name}.jsonl", rows[:ROWS])


def _functions() -> Iterator[str]:
    for one in code():
        try:
            found = list(functions(Source(one.text)))
        except Unsketchable:  # its end was cut off
            continue
        yield from (text for _, text in found if text is not None)


def _asked(text: str) -> Iterator[tuple[str, str, str]]:
    """Tasks that a function gives a row of, with prompt and answer."""
    source = Source(text)
    function = source.tree.body[0]
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    bare = text
    if (said := ast.get_docstring(function)) and len(function.body) > 1:
        line = said.partition("\n")[0]
        bare = edited(text, [(source.start(function.body[0]), source.start(function.body[1]), "")])
        head = text[: source.start(function.body[0])].rstrip()
        if line and len(head) + len(line) <= LONGEST:
            yield "generation", line, head
        if line and len(bare) <= LONGEST:
            yield "summarisation", bare, line
    if len(bare) > LONGEST:
        return
    sketch = edited(bare, edits(bare, Source(bare), Settings("constants")))
    if sketch != bare:
        yield "translation", bare, sketch
    try:
        yield "refinement", mutate(bare, seed_of(0, "small", bare)).text, bare
    except Unsketchable:
        return
