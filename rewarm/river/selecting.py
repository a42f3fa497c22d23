"""A pool of text -> the documents chosen of it, as many chosen by chance, and why each is or is not among them.

The pool is tokenised once (a budget counts tokens), scored in parts that are kept, and read once more to be written.
What is held for a document meanwhile is a few numbers.

Shapes: D documents of the pool.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rewarm.corpora import Corpus
from rewarm.engines import Engine
from rewarm.engines.local import Here
from rewarm.hashing import fraction, seed_of
from rewarm.hub import Pinned, fetched
from rewarm.models.load import check_vocabulary, load_model, save_tokenizer
from rewarm.river.pinning import locked_commit
from rewarm.river.sampling import look
from rewarm.river.selection_files import Output, write
from rewarm.river.selection_scores import Reader, Scoring, Task
from rewarm.river.stale_documents import Text
from rewarm.selection import Column, Judged, Scene, Selection
from rewarm.selection.budget import Budget, Choice, choose
from rewarm.storage import held, read_json, write_json
from rewarm.tokens.prepare import file_sizes, prepare
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.training.machine import choose_precision, on_device
from rewarm.types import BadRows, Tell, UserError, silent

SEQ_LEN = 512
_SAMPLE_DOCUMENTS = 64
_SAMPLE_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """A choice with what led to it: the numbers of each part of the method, scores, and the choice by chance beside."""

    values: dict[str, Column]
    judged: Judged
    choice: Choice
    chance: Choice


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a selection would take: documents and tokens of the pool, tokens to choose, and seconds of the whole at the
    rate (tokens per second of scoring) that was measured on its first documents."""

    documents: int
    tokens: int
    chosen_tokens: int
    rate: float
    seconds: float
    bad_rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class Select:
    """A job: the pool, how its documents are scored, how much is chosen, and where it goes.

    `out` is the file of the chosen documents; beside it lie those chosen by chance, provenance and summary. `work`
    holds tokens and scores and may serve several selections. `model` is a folder or a name; only its tokenizer is read
    where the method needs no model. `source_field` is the field whose values are counted.
    """

    pool: Corpus
    method: Selection
    budget: Budget
    model: str
    out: Path
    work: Path
    task: Corpus | None = None
    seed: int = 0
    seq_len: int = SEQ_LEN
    precision: str = "auto"
    bad_rows: float = 0.001
    source_field: str = "source"
    output: Output = field(init=False)

    def __post_init__(self) -> None:
        """UserError for a method without the task it needs, or a file of another kind."""
        object.__setattr__(self, "output", Output.of(self.out))
        if "task" in self.method.reads() and self.task is None:
            raise UserError(
                f"selection by {self.method.method_name()} compares with a task's text: name one with --task, or "
                "choose by perplexity, entropy or loss"
            )

    def described(self) -> dict[str, Any]:
        """What decides about the result: settings, and the files with their sizes."""
        return {
            "pool": _described(self.pool), "task": None if self.task is None else _described(self.task),
            "by": self.method.described(), "measured": [part.measured() for part in self.method.parts()],
            "budget": self.budget.model_dump(mode="json"), "model": self.model, "seed": self.seed,
            "seq_len": self.seq_len, "precision": self.precision, "source_field": self.source_field,
        }  # fmt: skip

    def finished(self) -> dict[str, Any] | None:
        """The summary when this very job is finished; UserError when the files are those of another one."""
        summary = read_json(self.output.summary)
        if summary is not None and summary["job"] != self.described():
            raise UserError(
                f"'{self.output.summary}' is of another selection, or of other text. Give another --out, or delete it"
            )
        if summary is None and self.out.exists():
            raise UserError(f"'{self.out}' is not from this command: give another --out, or delete it")
        return summary  # type: ignore[no-any-return]

    def run(self, tell: Tell = silent, engine: Engine | None = None) -> dict[str, Any]:
        """Selects, or goes on with it; the summary, which is also written. What `tell` raises ends the job for now.

        The engine (None: this machine) tokenises, and measures; what needs the model is done here.

        UserError for text, a task or a budget that is of no use; StorageError when the disk is full.
        """
        with held(self.work, "What was scored before"):
            if (summary := self.finished()) is not None:
                return summary
            place = fetched(self.model, locked_commit(self.work, self.model, None, begun=False))
            with _tokenizer(place.folder) as tokenizer:
                return self._run(place, tokenizer, tell, engine)

    def _run(self, place: Pinned, tokenizer: TextTokenizer, tell: Tell, engine: Engine | None) -> dict[str, Any]:
        text = self._prepared("pool", self.pool, tokenizer, tell, engine)
        reader = self._reader(tokenizer, place.folder)
        task = None
        if self.task is not None and "task" in self.method.reads():
            held_text = self._prepared("task", self.task, tokenizer, tell, engine)
            task = Task.of(held_text, np.arange(held_text.store.documents))
        scoring = Scoring(text, self.method, self.work / "scores", task, reader, engine or Here())
        chosen = self._choose(text.store, scoring.run(tell))
        facts = {
            "job": self.described(), "revision": place.commit, "hashes": _hashes(text.store, task, reader, tokenizer),
            "notes": [note for note in (self.method.note(),) if note],
            "bad_rows": text.store.manifest["bad_rows"], "bad_examples": text.store.manifest["bad_examples"],
        }  # fmt: skip
        summary = write(self.output, text, chosen, facts, self.source_field, tell)
        write_json(self.output.summary, summary)
        return summary

    def _choose(self, store: Store, values: list[Column]) -> Chosen:
        hashes_D, lengths_D = np.asarray(store.hashes), store.lengths
        draw_D = fraction(hashes_D, seed_of(self.seed, "selection"))
        judged = self.method.judge(values, fraction(hashes_D, seed_of(self.seed, "scores")))
        choice = choose(judged, hashes_D, lengths_D, draw_D, self.budget)
        control_D = fraction(hashes_D, seed_of(self.seed, "control"))
        equal = Budget(tokens=choice.tokens)
        chance = choose(Judged.of(control_D), hashes_D, lengths_D, control_D, equal)
        names = [part.method_name() for part in self.method.parts()]
        named = {
            name if names.count(name) == 1 else f"{name}-{number}": column
            for number, (name, column) in enumerate(zip(names, values, strict=True), 1)
        }
        return Chosen(named, judged, choice, chance)

    def _prepared(self, name: str, corpus: Corpus, tokenizer: TextTokenizer, tell: Tell, engine: Engine | None) -> Text:
        store = prepare(name, corpus, tokenizer, self.work / "prepared", self.bad_rows, tell, engine)
        return Text(name, store, corpus, tokenizer)

    def _reader(self, tokenizer: TextTokenizer, folder: str) -> Reader | None:
        if not self.method.reads() & {"losses", "states"}:
            return None
        model = on_device(load_model(folder))
        check_vocabulary(model, tokenizer)
        most = getattr(model.config, "max_position_embeddings", None)
        seq_len = min(self.seq_len, most) if isinstance(most, int) else self.seq_len
        return Reader(model, seq_len, choose_precision(self.precision))

    def outlook(self) -> Outlook:
        """A forecast from scoring the first documents; nothing is written."""
        place = fetched(self.model)
        with _tokenizer(place.folder) as tokenizer:
            found = look("pool", self.pool, 0.0, tokenizer, self.work / "prepared", self.bad_rows)
            rate = self._rate(tokenizer, place.folder)
        scoring = found.tokens / rate if self.method.parts() else 0.0
        return Outlook(
            found.documents, found.tokens, self.budget.of(found.tokens), rate, found.seconds + scoring, found.bad_rows
        )

    def _rate(self, tokenizer: TextTokenizer, folder: str) -> float:
        """Tokens per second of scoring, measured on the second half of a sample: the first warms up."""
        reads, fields = self.method.reads(), self.method.fields()
        reader = self._reader(tokenizer, folder)

        def scene(corpus: Corpus) -> Scene:
            kept = {"keep_fields": (*getattr(corpus, "keep_fields", ()), *fields)}
            taken = list(islice(corpus.model_copy(update=kept).read(BadRows()), _SAMPLE_DOCUMENTS))
            texts = [document.text[: _SAMPLE_CHARACTERS // _SAMPLE_DOCUMENTS * 4] for document in taken]
            scores = [] if reader is None else list(reader.scorer(tokenizer, reads).score(texts))
            has_states = bool(scores) and scores[0].state_D is not None
            return Scene(
                texts=texts,
                tokens_D=np.array([len(ids) for ids in tokenizer.encode(texts)], np.int64),
                losses_D=np.array([score.nats / max(1, score.targets) for score in scores]),
                states_DE=np.stack([score.state_D for score in scores if score.state_D is not None])
                if has_states else None,
                fields={name: [document.meta.get(name) for document in taken] for name in fields},
            )  # fmt: skip

        task = None if self.task is None else scene(self.task)
        sample = scene(self.pool)
        if not sample.texts:
            raise UserError("the pool is empty: there is nothing to select from")
        begun = time.perf_counter()
        again = scene(self.pool)
        for part in self.method.parts():
            part.measure(again, part.learn(task, again.texts))
        return int(again.tokens_D.sum()) / max(1e-6, time.perf_counter() - begun)


@contextmanager
def _tokenizer(model: str) -> Iterator[TextTokenizer]:
    """The tokenizer of a model folder or name."""
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(model, Path(folder) / "tokenizer")
        yield TextTokenizer(Path(folder) / "tokenizer")


def _described(corpus: Corpus) -> dict[str, Any]:
    files = [str(file) for file in corpus.files()]
    return {**corpus.described(), "files": [list(pair) for pair in zip(files, file_sizes(corpus), strict=True)]}


def _hashes(store: Store, task: Task | None, reader: Reader | None, tokenizer: TextTokenizer) -> dict[str, str]:
    found = {"pool": store.hash, "tokenizer": tokenizer.hash}
    found |= {} if task is None else {"task": task.text.store.hash}
    return found if reader is None else {**found, "model": str(reader.key[0])}
