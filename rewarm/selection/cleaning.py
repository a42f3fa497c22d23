"""Which documents of new text are left out: those that nearly repeat others, and those that hold what a model is scored
on. The order of reasons: near a reference; a shared run of words; near another document of its own, which stays.

Shapes: G documents of a block, N new documents, D all documents.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from rewarm.engines import Engine
from rewarm.engines.local import Here
from rewarm.engines.parts import Arrays, Parts, digest
from rewarm.selection.near_duplicates import SIZE, near_duplicates
from rewarm.selection.overlaps import Overlaps
from rewarm.selection.sketches import Sketches, SketchWriter, band_width, sketched
from rewarm.selection.word_grams import Worded, worded
from rewarm.types import Tell, UserError, silent

WITHIN = "near duplicate within"
BLOCK_CHARACTERS = 1_000_000
BLOCK_DOCUMENTS = 4096
_MOST_SETS = 250
_RULES = 1
"""Goes up when the same block gives other columns than before: kept ones are then made again."""

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


@dataclass(frozen=True, slots=True)
class Doing:
    """Where documents are compared: an engine, which decides nothing about the result, and the parts it keeps."""

    engine: Engine = field(default_factory=Here)
    parts: Parts = field(default_factory=lambda: Parts(None))


def clean(
    new: Mapping[str, Texts],
    references: Sequence[Reference],
    settings: Settings,
    work: Path,
    tell: Tell = silent,
    doing: Doing | None = None,
) -> Cleaned:
    """Compares the documents of each new text with references and with each other.

    What takes space for that is on disk under `work`, while it lasts. Documents are sketched where `doing` says, in
    shards; candidates are compared here. UserError for too many texts; StorageError when
    the disk is full.
    """
    if len(new) + len(references) > _MOST_SETS:
        raise UserError(
            f"{len(new) + len(references)} texts to compare are more than {_MOST_SETS}: put some of them together"
        )
    reading = _Reading(settings, doing or Doing(), tell)
    with tempfile.TemporaryDirectory(dir=work, prefix="sketches-") as folder:
        writing = nullcontext() if settings.near is None else SketchWriter(Path(folder), settings.near, SIZE)
        with writing as writer:
            for number, reference in enumerate(references, start=len(new)):
                reading.refer(reference, number, writer)
            read = [reading.compare(name, texts, number, writer) for number, (name, texts) in enumerate(new.items())]
        overlaps = reading.overlaps
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


@dataclass(frozen=True, slots=True)
class _Sketching:
    """Ids and texts of a block -> what is kept of its documents: columns of sketches; the words, or which runs of them
    are known. It may go to other processes."""

    near: float | None
    words: bool = False
    overlaps: Overlaps | None = None

    def __call__(self, block: tuple[list[str], list[str]]) -> Arrays:
        ids, texts = block
        words = worded(texts)
        found = {"documents": np.array([len(texts)])}
        if self.near is not None:
            found |= sketched(texts, words, ids, SIZE, band_width(self.near))
        if self.words:
            found |= {"words": words.words_N, "word_counts": words.counts_G}
        if self.overlaps is not None:
            found["set"], found["shared"] = self.overlaps.find(words)
            here = np.flatnonzero(found["set"] >= 0)
            found["places"], found["set"], found["shared"] = here, found["set"][here], found["shared"][here]
            found["named"] = np.frombuffer(json.dumps([ids[place] for place in here.tolist()]).encode(), np.uint8)
        return found


class _Reading:
    """Reads texts block by block, and takes in what was found of each."""

    def __init__(self, settings: Settings, doing: Doing, tell: Tell) -> None:
        self.near, self.doing, self.tell = settings.near, doing, tell
        self.overlaps = None if settings.ngram is None else Overlaps(settings.ngram)
        self.key = [repr(settings), version("rensa"), str(_RULES)]
        self.known: list[str] = []

    def refer(self, reference: Reference, number: int, writer: SketchWriter | None) -> None:
        """Takes in a reference."""
        overlaps = self.overlaps if reference.scored else None
        work = _Sketching(self.near, overlaps is not None)
        seen = [] if overlaps is None else self.known
        for found in self._found(work, reference.texts, f"read {reference.name}", number, seen):
            if writer is not None:
                writer.write(found, number)
            if overlaps is not None:
                overlaps.add(reference.name, Worded(found["words"], found["word_counts"]))

    def compare(
        self, name: str, new: Texts, number: int, writer: SketchWriter | None
    ) -> tuple[dict[int, Dropped], int]:
        """The documents of a new text that share runs of words, by place, and how many documents there are."""
        overlaps, dropped, count = self.overlaps, dict[int, Dropped](), 0
        for found in self._found(_Sketching(self.near, False, overlaps), new, f"compare {name}", number, []):
            if writer is not None:
                writer.write(found, number)
            if overlaps is not None:
                columns = (found[column].tolist() for column in ("places", "set", "shared"))
                for index, held, words, one in zip(*columns, json.loads(found["named"].tobytes()), strict=True):
                    reason = f"shares {overlaps.size} words with {overlaps.names[held]}"
                    dropped[count + index] = Dropped(count + index, one, reason, words=words)
            count += int(found["documents"][0])
        return dropped, count

    def _found(self, work: _Sketching, texts: Texts, label: str, number: int, seen: list[str]) -> Iterator[Arrays]:
        """What is found of each block; the blocks' digests are added to `seen`."""
        # Whatever new text is looked through for decides what is found of it.
        key = [*self.key, str(work.words), *(self.known if work.overlaps is not None else ())]

        def named() -> Iterator[tuple[str, tuple[list[str], list[str]]]]:
            for block in _blocks(texts, label, self.tell):
                seen.append(digest(key, *block))
                yield seen[-1], block

        return self.doing.parts.map(self.doing.engine, work, named(), f"{number:03d}")


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
