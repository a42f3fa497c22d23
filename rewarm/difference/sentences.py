"""Text -> paragraphs -> sentences, without losing a character.

Where a sentence ends is a guess; nothing depends on its being right, since both snapshots are cut by the same rules
and every piece is kept. A missed end makes a piece longer, a wrong one makes it shorter.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

Paragraphs = Literal["lines", "blocks"]
PARAGRAPHS: tuple[Paragraphs, ...] = get_args(Paragraphs)
"""What a paragraph is: a line, or what stands between blank lines (text whose lines are wrapped by hand)."""

# Full stops of scripts that write no blank after them: Chinese and Japanese, Devanagari, Urdu, Arabic, Ethiopic,
# Armenian, Burmese, Khmer.
_FULL = "。！？｡।॥۔؟።։။។"
_CLOSERS = "\"'”’»)\\]」』）】"
_END = re.compile(rf"[{_FULL}]+[{_CLOSERS}]*\s*|[.!?…]+[{_CLOSERS}]*\s+")
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_LAST_WORD = re.compile(r"[\w.]+\.$")
_SHORT = (
    "adm al approx art apr aug ave bros bzgl bzw c ca capt cf ch co col cpl corp d dec dept dr ed eds eg esp est etc "
    "etw feb ff fig fl fr gen gov hon hr hrsg inc incl jan jr jul jun lat lit lt ltd m maj mar max messrs min mlle mm "
    "mme mr mrs ms mt nat nov no nos nr oct op p par ph pl pp prof pvt r rep resp rev s sec sen sep sept sgt sq sr st "
    "str tel u v vgl vol vols vs z"
)
_ABBREVIATIONS = frozenset(_SHORT.split())


def paragraphs(text: str, kind: Paragraphs = "lines") -> list[str]:
    """The paragraphs of a text that hold more than white space, in order, without white space at their end.

    White space at the start of a line stays, since it is part of code.
    """
    parts = text.split("\n") if kind == "lines" else [part.strip("\n") for part in _BLANK_LINES.split(text)]
    return [part.rstrip() for part in parts if part and not part.isspace()]


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, each with the white space after it: joined they are the paragraph.

    A full stop ends a sentence where white space follows, then no lower-case letter, and no abbreviation, initial or
    `U.S.` stands before it. So digits (3.14, 1,000), addresses and names of files stay whole.
    """
    found = []
    start = 0
    for end in _END.finditer(paragraph):
        if _ends(paragraph, start, end):
            found.append(paragraph[start : end.end()])
            start = end.end()
    if start < len(paragraph):
        found.append(paragraph[start:])
    return found


def _ends(text: str, start: int, end: re.Match[str]) -> bool:
    first = end[0][0]
    if first in _FULL or end.end() == len(text):
        return True
    if text[end.end()].islower():
        return False
    if first != "." or end[0][1:2] == ".":
        return True
    # Names are short: what stands far before cannot be an abbreviation, and a search from the start is quadratic.
    word = _LAST_WORD.search(text, max(start, end.start() - 24), end.start() + 1)
    if word is None:
        return True
    name = word[0][:-1]
    is_initial = len(name) == 1 and name.isalpha() and name.isupper()
    has_stops = "." in name.strip(".") and not name[-1].isdigit()
    return not (is_initial or has_stops or name.lower() in _ABBREVIATIONS)


def key(text: str) -> str:
    """What two pieces are compared by: their words with single blanks between, case and digits as they are."""
    return " ".join(text.split())
