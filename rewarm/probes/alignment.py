"""Keeps facts that a text states: changed ones by what changed in the article of their subject, unchanged ones by what
did not (TWiki-Probes, arXiv 2204.14211).

Articles are read once, in order; the facts of a title are found by its hash and read where they lie on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rewarm.facts import Tally, leave_out, reject
from rewarm.facts.files import InFiles, rows, words
from rewarm.probes import KINDS, Kind
from rewarm.probes.candidates import Candidates, page_of, word_of
from rewarm.types import BadRows, Tell, UserError

NOT_STATED = "not in the text of its article"
_DIFF_FILES = ("diff.jsonl", "diff.jsonl.zst", "diff.jsonl.gz")


@dataclass(frozen=True, slots=True)
class Pages:
    """Texts of articles, in lines of JSON with `title` and `text`, and the kinds of facts that must stand in them."""

    files: tuple[Path, ...]
    kinds: frozenset[Kind]

    def read(self, bad: BadRows) -> Iterator[tuple[str, str]]:
        """Title and text of every row, as they are compared."""
        for row, place in rows(self.files, bad):
            title, text = words(row.get("title")) or words(row.get("id")), row.get("text")
            if not title or not isinstance(text, str):
                reject(bad, "no title" if not title else "no text", place)
            elif text:
                bad.rows += 1
                yield page_of(title), " ".join(text.split()).casefold()
            else:
                leave_out(bad, "empty text")


def diff_pages(path: Path) -> Pages:
    """What changed: the folder that `rewarm corpus diff` wrote, or a file of its form. UserError if it is neither."""
    found = [path / name for name in _DIFF_FILES if (path / name).is_file()] if path.is_dir() else [path]
    if len(found) != 1 or not found[0].is_file():
        raise UserError(
            f"--diff '{path}': give a folder with one of {', '.join(_DIFF_FILES)}, as rewarm corpus diff makes it, "
            "or a file of its form"
        )
    return Pages((found[0],), frozenset({"changed", "new"}))


def unchanged_pages(path: Path) -> Pages:
    """What did not change: a file or folder of rows with title and text. UserError if there is none."""
    return Pages(tuple(InFiles(path=str(path)).files()), frozenset({"unchanged"}))


def align(candidates: Candidates, pages: Pages, tell: Tell) -> Tally:
    """Drops what no text of its article states, among the kinds of `pages`; what was read of them comes back.

    An object stands in a text as whole words, whatever the case of its letters.
    """
    total = sum(file.stat().st_size for file in pages.files)
    tally = Tally(watch=lambda what, done: tell("read articles", done, total, "bytes"))
    hashes = np.frombuffer(candidates.pages, np.uint64) if candidates.pages else np.zeros(0, np.uint64)
    order = np.argsort(hashes, kind="stable")
    sorted_hashes = hashes[order]
    stated = bytearray(len(hashes))
    for title, text in pages.read(tally):
        word = np.uint64(word_of(title))
        first = int(np.searchsorted(sorted_hashes, word))
        while first < len(order) and sorted_hashes[first] == word:
            number = int(order[first])
            first += 1
            if not stated[number] and KINDS[candidates.kinds[number]] in pages.kinds:
                change = candidates.at(number)
                stated[number] = page_of(change.title or change.subject) == title and stands(change.object, text)
    for number, kind in enumerate(candidates.kinds):
        if KINDS[kind] in pages.kinds and candidates.alive[number] and not stated[number]:
            candidates.drop(number, NOT_STATED)
    return tally


def stands(name: str, text: str) -> bool:
    """Whether a name stands in a text, whose letters are small and blanks single, as whole words."""
    name = name.casefold()
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        begins = start == 0 or not (name[0].isalnum() and text[start - 1].isalnum())
        if begins and (end == len(text) or not (name[-1].isalnum() and text[end].isalnum())):
            return True
        start = text.find(name, start + 1)
    return False
