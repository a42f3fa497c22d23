"""Source -> sketch, by `tokenize` and `ast` alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rewarm.sketches.literals import comment_edits, literal_edits
from rewarm.sketches.naming import name_edits
from rewarm.sketches.source import TOO_DEEP, Edit, Source, Unsketchable, edited

MODES = ("constants", "names", "both")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a sketch leaves out: `constants` (numbers and strings), `names` (the source's own), or both.

    Triple-quoted docstrings are constants only without `keep_docstrings`.
    """

    mode: Literal["constants", "names", "both"] = "constants"
    keep_docstrings: bool = True
    strip_comments: bool = False


def sketch(text: str, settings: Settings = Settings()) -> str:
    """The sketch of a Python source; Unsketchable, with the reason, for a text that has none."""
    return edited(text, edits(text, Source(text), settings))


def edits(text: str, source: Source, settings: Settings) -> list[Edit]:
    """The edits that make a text its sketch, each inside of one token or of its white space."""
    found: list[Edit] = []
    try:
        if settings.mode != "names":
            found += literal_edits(source, text, settings.keep_docstrings)
        if settings.mode != "constants":
            found += name_edits(source, in_strings=settings.mode == "names")
    except RecursionError:
        raise Unsketchable(TOO_DEEP) from None
    if settings.strip_comments:
        found += comment_edits(source, text)
    return found
