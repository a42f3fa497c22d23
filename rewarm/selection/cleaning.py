"""Which documents of new text are left out: those that nearly repeat others, and those that hold what a model is scored
on. The order of reasons: near a reference; a shared run of words; near another document of its own, which stays.

Shapes: G documents of a block, N new documents, D all documents.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rewarm.selection.near_duplicates import SIZE, near_duplicates
from rewarm.selection.overlaps import Overlaps
from rewarm.selection.sketches import Sketches, SketchWriter
from rewarm.selection.word_grams import worded
from rewarm.types import Tell, UserError, silent

WITHIN = "near duplicate within"
BLOCK_CHARACTERS = 1_000_000
BLOCK_DOCUMENTS = 4096
_MOST_SETS = 250

Texts = Iterable[tuple[str, str]]
"""Ids and texts of documents."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Text that new text is compared with. What is `scored` by also has its runs of words looked for."""

    name: str
    texts: Texts
    scored: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """Similarity from which documents are near, and words of a run that may not be shared; None: not looked for.

    With `cuts`, documents that share runs stay, to have them cut out: others may then repeat them.
    """

    near: float | None
    ngram: int | None
    cuts: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that goes: its place among the new ones, its id, why, and what it repeats: `of` is the id of another
    document and `similarity` theirs; or `words` says how many of its words stand in shared runs."""

    place: int
    id: str
    reason: str
    of: str = ""
    similarity: float = 0.0
    words: int = 0


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is left out of each new text, of so many `documents`, in their order; `items` and `too_short` count what
    each scored reference was looked for by, and what of it is too short for that."""

    documents: dict[str, int]
    dropped: dict[str, list[Dropped]]
    items: dict[str, int]
    too_short: dict[str, int]
    overlaps: Overlaps | None

    def counts(self, name: str) -> dict[str, int]:
        """Documents of a new text that are left out, by reason, the commonest first."""
        return dict(Counter(one.reason for one in self.dropped[name]).most_common())


def clean(
    new: Mapping[str, Texts], references: Sequence[Reference], settings: Settings, work: Path, tell: Tell = silent
) -> Cleaned:
    """Compares the documents of each new text with references and with each other.

    What takes space for that is on disk under `work`, while it lasts. UserError for too many texts; StorageError when
    the disk is full.
    """
    if len(new) + len(references) > _MOST_SETS:
        raise UserError(
            f"{len(new) + len(references)} texts to compare are more than {_MOST_SETS}: put some of them together"
        )
    overlaps = None if settings.ngram is None else Overlaps(settings.ngram)
    with tempfile.TemporaryDirectory(dir=work, prefix="sketches-") as folder:
        writing = nullcontext() if settings.near is None else SketchWriter(Path(folder), settings.near, SIZE)
        with writing as writer:
            for number, reference in enumerate(references, start=len(new)):
                for ids, texts in _blocks(reference.texts, f"read {reference.name}", tell):
                    words = worded(texts)
                    if writer is not None:
                        writer.add(texts, words, ids, number)
                    if overlaps is not None and reference.scored:
                        overlaps.add(reference.name, words)
            read = [_read(number, *item, writer, overlaps, tell) for number, item in enumerate(new.items())]
        found = [shared for shared, _ in read]
        if settings.near is not None:
            names = [reference.name for reference in references]
            found = _with_near(Sketches(Path(folder)), settings, names, found, tell)
    documents = dict(zip(new, (count for _, count in read), strict=True))
    dropped = {name: [one[place] for place in sorted(one)] for name, one in zip(new, found, strict=True)}
    if overlaps is None:
        return Cleaned(documents, dropped, {}, {}, None)
    items, too_short = (dict(zip(overlaps.names, one, strict=True)) for one in (overlaps.items, overlaps.too_short))
    return Cleaned(documents, dropped, items, too_short, overlaps)


def _read(
    number: int, name: str, new: Texts, writer: SketchWriter | None, overlaps: Overlaps | None, tell: Tell
) -> tuple[dict[int, Dropped], int]:
    """The documents of a new text that share runs of words, by place, and how many documents there are."""
    found: dict[int, Dropped] = {}
    count = 0
    for ids, texts in _blocks(new, f"compare {name}", tell):
        words = worded(texts)
        if writer is not None:
            writer.add(texts, words, ids, number)
        if overlaps is not None:
            set_G, words_G = overlaps.find(words)
            for index in np.flatnonzero(set_G >= 0).tolist():
                reason = f"shares {overlaps.size} words with {overlaps.names[set_G[index]]}"
                place = count + index
                found[place] = Dropped(place, ids[index], reason, words=int(words_G[index]))
        count += len(texts)
    return found, count


def _with_near(
    sketches: Sketches, settings: Settings, names: Sequence[str], shared: list[dict[int, Dropped]], tell: Tell
) -> list[dict[int, Dropped]]:
    """For each new text the documents that go, by place: those that repeat others, and those that share runs."""
    assert settings.near is not None
    gone_D = np.zeros(len(sketches), bool)
    documents = [np.flatnonzero(sketches.sets_D == number) for number in range(len(shared))]
    for here_N, one in () if settings.cuts else zip(documents, shared, strict=True):
        gone_D[here_N[list(one)]] = True
    repeats = near_duplicates(sketches, settings.near, len(shared), gone_D, tell)
    found = [dict(one) for one in shared]
    for here_N, one in zip(documents, found, strict=True):
        for place in np.flatnonzero(repeats.of_D[here_N] >= 0).tolist():
            document = int(here_N[place])
            other = int(repeats.of_D[document])
            number = int(sketches.sets_D[other]) - len(shared)
            reason = WITHIN if number < 0 else f"near duplicate of {names[number]}"
            similarity = round(float(repeats.similarity_D[document]), 4)
            one[place] = Dropped(place, sketches.id(document), reason, sketches.id(other), similarity)
    return found


def _blocks(documents: Texts, label: str, tell: Tell) -> Iterator[tuple[list[str], list[str]]]:
    ids: list[str] = []
    texts: list[str] = []
    size = count = 0
    for name, text in documents:
        ids.append(name)
        texts.append(text)
        size += len(text)
        if size >= BLOCK_CHARACTERS or len(texts) >= BLOCK_DOCUMENTS:
            count += len(texts)
            tell(label, count, None, "documents")
            yield ids, texts
            ids, texts, size = [], [], 0
    if texts:
        yield ids, texts
