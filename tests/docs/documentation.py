"""What tests of the documentation share: its pages, the code in them, and the scripts that make the site."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
_FENCE = re.compile(r"^(?P<mark><!-- (?P<word>[\w-]+) -->\n)?```(?P<kind>[\w-]*)\n(?P<text>.*?)^```$", re.M | re.S)
_INDENTED = re.compile(r"(?:^ {4}.*\n(?:\n(?= {4}))?)+", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """Code of a page: its language ("" for indented code), the word of a comment before it, its text and line."""

    page: Path
    kind: str
    word: str
    text: str
    line: int

    @property
    def place(self) -> str:
        """Where it begins, for messages and names of tests."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Every block of code of a page, fenced and indented, in its order."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(page, one["kind"], one["word"] or "", one["text"], text.count("\n", 0, one.start("kind")) + 1)
        for one in _FENCE.finditer(text)
    ]
    rest = _FENCE.sub(lambda one: "\n" * one[0].count("\n"), text)
    found += [Block(page, "", "", one[0], rest.count("\n", 0, one.start()) + 1) for one in _INDENTED.finditer(rest)]
    return sorted(found, key=lambda block: block.line)


EVERY = [block for page in PAGES for block in blocks(page)]
