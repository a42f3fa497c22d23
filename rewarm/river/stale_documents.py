"""Which documents of a prepared corpus make claims that are out of date: looked for once, part by part, and kept on
disk beside the corpus, so that a stopped search goes on and later runs do not search again.

Shapes: N documents found, S probe sets.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rewarm.corpora import Corpus
from rewarm.corpora.sources import FieldCorpus
from rewarm.hashing import Indices, text_hash
from rewarm.probes.outdated import Claim
from rewarm.probes.stale import Matcher
from rewarm.storage import replaced
from rewarm.tokens.prepare import alone_in, file_sizes
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, Document, Tell, UserError

PART_BYTES = 500_000_000
"""Text of one part: what a stopped search may have to read again."""
_RULES = 1
"""Goes up when the same claims are found in other texts than before: what was kept is then searched for again."""
_TOLD_EVERY = 64


@dataclass(frozen=True, slots=True)
class Found:
    """The documents that make any of some claims, ascending, and the probe sets that call those claims old."""

    documents: Indices
    sets: tuple[str, ...]
    stated_NS: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a stage does not replay of a corpus, since it states what is out of date.

    `documents` (N,) are those that remain; so many documents and `tokens` are `left_out`, of which each of `sets` of
    probes calls for so many. `claims` were looked for, and facts were `ignored`, by reason.
    """

    documents: Indices
    left_out: int
    tokens: int
    sets: dict[str, int]
    claims: int
    ignored: dict[str, int]


@dataclass(frozen=True, slots=True)
class Text:
    """A prepared corpus with its text. `corpus` is None where that is only in the tokens: samples, or a corpus whose
    files are gone or were changed."""

    name: str
    store: Store
    corpus: Corpus | None
    tokenizer: TextTokenizer

    @classmethod
    def of(cls, name: str, store: Store, corpus: Corpus | None, tokenizer: TextTokenizer) -> Text:
        """Of a corpus as it was prepared: read from its files if they are still the same."""
        return cls(name, store, corpus if corpus is not None and _is_there(corpus, store) else None, tokenizer)

    @property
    def part(self) -> int:
        """Documents in a part."""
        return max(1, PART_BYTES * self.store.documents // max(1, int(self.store.manifest["bytes"])))

    def parts(self) -> range:
        """The numbers of the parts."""
        return range(-(-self.store.documents // self.part))

    def documents(self) -> Iterator[tuple[str, str]]:
        """Title and text of each document of the store, in its order; UserError when a text is not the prepared one."""
        for document in self.read(("title",)):
            yield str(document.meta.get("title", "")), document.text

    def read(self, fields: Sequence[str] = ()) -> Iterator[Document]:
        """Each document of the store, in its order, with some more fields of its row where the corpus has them.

        UserError when a text is not the prepared one.
        """
        if self.corpus is None:
            for number in range(self.store.documents):
                yield Document(str(number), self.tokenizer.decode(self.store.ids(number).tolist()), self.name)
            return
        corpus = self.corpus
        if isinstance(corpus, FieldCorpus):
            corpus = corpus.model_copy(update={"keep_fields": (*corpus.keep_fields, *fields)})
        number = 0
        for document in corpus.read(BadRows()):
            if number == self.store.documents or text_hash(document.text) != int(self.store.hashes[number]):
                break
            number += 1
            yield document
        else:
            if number == self.store.documents:
                return
        raise UserError(
            f"corpus '{self.name}': document {number + 1:,} is not what was prepared. Restore its files, or delete "
            f"'{self.store.folder}' and start a new run"
        )


def _is_there(corpus: Corpus, store: Store) -> bool:
    """Whether the files of a corpus are as large as those it was prepared from."""
    try:
        sizes = file_sizes(corpus)
    except (UserError, OSError):
        return False
    return sizes == [item["size"] for item in store.manifest["inputs"]]


class Search:
    """Several lists of claims, each for the text of one corpus; what is found lies in a folder for each list."""

    def __init__(self, text: Text, views: Sequence[Sequence[Claim]], folder: Path) -> None:
        self.text = text
        self.views = views
        self.folder = folder
        self.sets = [tuple(sorted({name for claim in view for name in claim.sets})) for view in views]
        self.folders = [folder / f"{text.store.folder.name}-{_key(text, view)}" for view in views]

    def run(self, tell: Tell) -> list[Found]:
        """What each list finds, in order.

        UserError when a text is not the prepared one, StorageError on a full disk.
        """
        if self._missing():
            with alone_in(self.folder):
                missing = self._missing()  # another run may have searched while this one waited
                if missing:
                    self._search(missing, tell)
        return [self._read(number) for number in range(len(self.views))]

    def _missing(self) -> set[int]:
        """The parts that some list has not been searched for, or whose file was damaged."""
        return {part for folder in self.folders for part in self.text.parts() if not _is_whole(_file(folder, part))}

    def _search(self, missing: set[int], tell: Tell) -> None:
        numbers = {claim: number for number, claim in enumerate(dict.fromkeys(itertools.chain(*self.views)))}
        matcher = Matcher(list(numbers))
        # For each claim, the lists that hold it and which of their sets call it old.
        of_claim: list[list[tuple[int, list[int]]]] = [[] for _ in numbers]
        for view, held in enumerate(self.views):
            for claim in held:
                of_claim[numbers[claim]].append((view, [self.sets[view].index(name) for name in claim.sets]))
        documents = enumerate(self._told(tell))
        for part, here in itertools.groupby(documents, key=lambda item: item[0] // self.text.part):
            found: list[dict[int, set[int]]] = [{} for _ in self.views]
            for number, (title, text) in here if part in missing else ():
                for stated in matcher.stated(text, title):
                    for view, names in of_claim[stated]:
                        found[view].setdefault(number, set()).update(names)
            if part in missing:
                for view, documents_stating in enumerate(found):
                    self._write(view, part, documents_stating)

    def _told(self, tell: Tell) -> Iterator[tuple[str, str]]:
        """The documents, with progress."""
        store, label, done = self.text.store, f"look for outdated facts in {self.text.name}", 0
        total = int(store.manifest["bytes"])
        for number, document in enumerate(self.text.documents()):
            if number % _TOLD_EVERY == 0:
                tell(label, done, total, "bytes")
            yield document
            done += int(store.bytes[number])
        tell(label, total, total, "bytes")

    def _write(self, view: int, part: int, stated: dict[int, set[int]]) -> None:
        rows = [[number in names for number in range(len(self.sets[view]))] for names in stated.values()]
        stated_NS = np.array(rows, bool).reshape(len(stated), len(self.sets[view]))
        with replaced(_file(self.folders[view], part)) as out:
            np.savez(out, documents=np.array(list(stated), np.int64), stated=stated_NS)

    def _read(self, view: int) -> Found:
        parts = []
        for part in self.text.parts():
            with np.load(_file(self.folders[view], part), allow_pickle=False) as held:
                parts.append((held["documents"], held["stated"]))
        documents, stated = zip(*parts, strict=True)
        return Found(np.concatenate(documents), self.sets[view], np.concatenate(stated))


def _file(folder: Path, part: int) -> Path:
    return folder / f"{part:05d}.npz"


def _is_whole(file: Path) -> bool:
    try:
        with np.load(file, allow_pickle=False) as held:
            return set(held.files) == {"documents", "stated"}
    except (FileNotFoundError, EOFError, ValueError, BadZipFile):
        return False


def _key(text: Text, claims: Sequence[Claim]) -> str:
    """Names what the claims find in the corpus."""
    values = sorted([claim.subject, claim.answer, list(claim.current), list(claim.sets)] for claim in claims)
    key = json.dumps([_RULES, text.part, text.store.hash, values])
    return hashlib.sha256(key.encode()).hexdigest()[:16]
