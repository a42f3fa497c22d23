"""What the small recipe of incremental languages reads: tagged sentences of an invented world."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rewarm.recipes.demo_facts import Fact, statements
from rewarm.recipes.demo_text import write_rows
from rewarm.recipes.demo_wiki import facts, subjects


def write_tagged(folder: Path, languages: Mapping[str, tuple[str, str]]) -> None:
    """Writes NAME.jsonl for each language: words, and which of them are the thing that is told of, and what is told.

    `languages` are the letters that are written for others. Names are the same in every language, all other words its
    own; each language has facts of its own.
    """
    found = facts(1, subjects())
    for place, (name, letters) in enumerate(languages.items()):
        own = found[place :: len(languages)]
        rows = [row for fact in own for row in _rows(fact, str.maketrans(*letters))]
        random.Random(name).shuffle(rows)
        write_rows(folder / "tasks" / f"{name}.jsonl", rows)


def _rows(fact: Fact, table: dict[int, int]) -> Iterator[dict[str, Any]]:
    for text in statements(fact):
        tokens = re.findall(r"\w+|[^\w\s]", text)
        labels = ["O"] * len(tokens)
        for kind, name in (("SUBJECT", fact.subject), ("VALUE", fact.object)):
            words = name.split()
            at = next((at for at in range(len(tokens)) if tokens[at : at + len(words)] == words), None)
            if at is not None:
                labels[at : at + len(words)] = [f"B-{kind}", *[f"I-{kind}"] * (len(words) - 1)]
        told = [
            word if label != "O" else word.lower().translate(table) for word, label in zip(tokens, labels, strict=True)
        ]
        yield {"tokens": told, "labels": labels}
