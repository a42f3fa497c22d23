"""What a way to select measures of every document of a prepared corpus: part by part, kept on disk beside the corpus.

A stopped scoring goes on after the parts that are whole, and another budget, seed or judgement of the same numbers
measures nothing again. One forward pass serves every method that needs one.

Shapes: D documents of the corpus, N documents of the task.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rewarm.engines import Engine
from rewarm.engines.local import Here
from rewarm.evaluation.document_scores import DocumentScore, DocumentScorer
from rewarm.hashing import Indices, seed_of, shuffled
from rewarm.models.load import weights_hash
from rewarm.river.stale_documents import Text
from rewarm.selection import Column, Need, Scene, Selection
from rewarm.selection.measuring import Measuring, Part
from rewarm.tokens.prepare import alone_in
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import Document, Tell, UserError, silent

PART_BYTES = 4_000_000
"""Text of one part: what a stopped scoring may have to score again."""
TASK_DOCUMENTS = 4096
"""Of a task's text so many documents are taken, by the hash of their text; the states of all are held at once."""
_RULES = 1
"""Goes up when the same method measures other numbers than before: what was kept is then measured again."""
_BLOCK = 128


@dataclass(frozen=True)
class Reader:
    """The model that reads documents, in rows of `seq_len` tokens."""

    model: PreTrainedModel
    seq_len: int
    precision: torch.dtype

    @cached_property
    def key(self) -> list[Any]:
        """What decides about its numbers."""
        return [weights_hash(self.model), self.seq_len, str(self.precision)]

    def scorer(self, tokenizer: TextTokenizer, reads: frozenset[Need]) -> DocumentScorer:
        """What gives the losses and states that are read."""
        return DocumentScorer(
            self.model, tokenizer, self.seq_len, precision=self.precision, losses="losses" in reads,
            states="states" in reads,
        )  # fmt: skip


@dataclass(frozen=True)
class Task:
    """The text that stands for what the model is to become good at: some documents (N,) of a prepared corpus."""

    text: Text
    documents: Indices

    @classmethod
    def of(cls, text: Text, documents: Indices) -> Task:
        """At most `TASK_DOCUMENTS` of the documents, which ascend."""
        order = shuffled(text.store.hashes[documents], seed_of("task of a selection"))
        return cls(text, np.sort(documents[order[:TASK_DOCUMENTS]]))

    @property
    def key(self) -> list[str]:
        """What decides about it."""
        numbers = np.ascontiguousarray(self.documents, np.int64)
        return [self.text.store.hash, hashlib.sha256(numbers.data).hexdigest()]


@dataclass(frozen=True)
class Scoring:
    """A method and the corpus whose documents it measures; what is kept lies in a folder for each part of the method.

    `reader` and `task` may be None where the method needs none.
    """

    text: Text
    method: Selection
    folder: Path
    task: Task | None = None
    reader: Reader | None = None
    engine: Engine = field(default_factory=Here)

    def run(self, tell: Tell = silent) -> list[Column]:
        """What each of the method's parts measures of every document (D,), in the parts' order.

        UserError for a task or a column that is of no use, or when a text is not the prepared one. What `tell` raises
        ends the scoring for now.
        """
        if self._missing():
            with alone_in(self.folder):
                missing = self._missing()  # another run may have scored while this one waited
                if missing:
                    self._score(missing, tell)
        return [self._read(part) for part in self.method.parts()]

    @property
    def _documents_per_part(self) -> int:
        store = self.text.store
        return max(1, PART_BYTES * store.documents // max(1, int(store.manifest["bytes"])))

    def _bounds(self) -> list[tuple[int, int]]:
        store, size = self.text.store, self._documents_per_part
        return [(first, min(first + size, store.documents)) for first in range(0, store.documents, size)]

    def _file(self, method: Selection, number: int) -> Path:
        reads = method.reads()
        key: list[Any] = [_RULES, method.measured(), self._documents_per_part, self.text.store.hash]
        key += self.task.key if self.task is not None and "task" in reads else []
        key += self.reader.key if self.reader is not None and reads & {"losses", "states"} else []
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{method.method_name()}-{digest}" / f"{number:05d}.npy"

    def _missing(self) -> dict[int, list[Selection]]:
        """The parts of the corpus that are still to be measured, and by what."""
        found: dict[int, list[Selection]] = {}
        for number, (first, last) in enumerate(self._bounds()):
            files = {self._file(method, number): method for method in self.method.parts()}
            if left := [method for file, method in files.items() if not _is_whole(file, last - first)]:
                found[number] = left
        return found

    def _read(self, method: Selection) -> Column:
        return np.concatenate(
            [np.load(self._file(method, number), allow_pickle=False) for number in range(len(self._bounds()))]
        )

    def _score(self, missing: Mapping[int, Sequence[Selection]], tell: Tell) -> None:
        methods = {self._file(method, 0).parent: method for methods in missing.values() for method in methods}
        reads = frozenset[Need]().union(*(method.reads() for method in methods.values()))
        task = self._task_scene(reads) if "task" in reads else None
        learned = {folder: method.learn(task, self._texts()) for folder, method in methods.items()}
        label, total = f"score {self.text.name}", int(self.text.store.tokens)
        work = Measuring({str(folder.resolve()): (method, learned[folder]) for folder, method in methods.items()})
        for _ in self.engine.map(work, self._parts(missing, reads, lambda at: tell(label, at, total, "tokens"))):
            pass  # whoever measured a part has written it
        if self._missing():
            raise UserError(
                f"'{self.folder}': the scores that were written are not here. All machines of a cluster must see it "
                "under the same path, on a file system that they share. Give another folder"
            )
        tell(label, total, total, "tokens")

    def _parts(
        self, missing: Mapping[int, Sequence[Selection]], reads: frozenset[Need], tell: Callable[[int], None]
    ) -> Iterator[Part]:
        """The parts to measure, with what the model says of their documents."""
        reading = _Reading(self.text, self._fields()) if "text" in reads or self._fields() else None
        for number, (first, last) in enumerate(self._bounds()):
            if number not in missing:
                continue
            scenes = []
            for start, scene in self._scenes(first, last, reads, reading):
                tell(int(self.text.store.offsets[start]))
                scenes.append(scene)
            yield [str(self._file(method, number).resolve()) for method in missing[number]], scenes

    def _fields(self) -> tuple[str, ...]:
        return self.method.fields()

    def _texts(self) -> Iterator[str]:
        """The texts of the corpus, for a method that counts them all before it measures."""
        return (document.text for document in self.text.read())

    def _scenes(
        self, first: int, last: int, reads: frozenset[Need], reading: _Reading | None
    ) -> Iterator[tuple[int, Scene]]:
        """Documents `first` to `last` in scenes, with the number of each scene's first."""
        scores = self._scores(self.text, np.arange(first, last), reads)
        for start in range(first, last, _BLOCK):
            end = min(start + _BLOCK, last)
            rows = [] if reading is None else reading.take(start, end)
            lengths_D = self.text.store.lengths_of(np.arange(start, end))
            yield (
                start,
                _scene(rows, lengths_D, [] if scores is None else list(islice(scores, end - start)), self._fields()),
            )

    def _scores(self, text: Text, documents: Indices, reads: frozenset[Need]) -> Iterator[DocumentScore] | None:
        if not reads & {"losses", "states"}:
            return None
        assert self.reader is not None  # whoever asks for such a method gives one
        return self.reader.scorer(text.tokenizer, reads).score_store(text.store, documents)

    def _task_scene(self, reads: frozenset[Need]) -> Scene:
        assert self.task is not None  # whoever asks for such a method gives one
        text, documents = self.task.text, self.task.documents
        if not len(documents):
            raise UserError(f"the task '{text.name}' has no document. Give another one")
        wanted = set(documents.tolist())
        rows = [row for number, row in enumerate(text.read(self._fields())) if number in wanted]
        scores = self._scores(text, documents, reads - {"losses"})
        lengths_N = text.store.lengths_of(documents)
        return _scene(rows, lengths_N, [] if scores is None else list(scores), self._fields())


class _Reading:
    """The documents of a corpus, of which later and later ones are taken."""

    def __init__(self, text: Text, fields: Sequence[str]) -> None:
        self.documents = text.read(fields)
        self.at = 0

    def take(self, first: int, last: int) -> list[Document]:
        """Documents `first` to `last`; those before are passed over."""
        deque(islice(self.documents, first - self.at), maxlen=0)
        self.at = last
        return list(islice(self.documents, last - first))


def _scene(
    rows: Sequence[Document], lengths_D: NDArray[np.int64], scores: Sequence[DocumentScore], fields: Iterable[str]
) -> Scene:
    losses_D = states_DE = None
    if scores:
        nats_D = np.array([score.nats for score in scores])
        targets_D = np.array([score.targets for score in scores])
        # A document of one token predicts nothing: it has no loss, rather than none to lose.
        losses_D = np.divide(nats_D, targets_D, out=np.full(len(scores), np.nan), where=targets_D > 0)
        states = [score.state_D for score in scores if score.state_D is not None]
        states_DE = np.stack(states) if states else None
    return Scene(
        texts=[row.text for row in rows],
        tokens_D=lengths_D,
        losses_D=losses_D,
        states_DE=states_DE,
        fields={name: [row.meta.get(name) for row in rows] for name in fields},
    )


def _is_whole(file: Path, documents: int) -> bool:
    try:
        return bool(np.load(file, mmap_mode="r", allow_pickle=False).shape == (documents,))
    except (FileNotFoundError, EOFError, ValueError):
        return False
