"""Documents -> a store: read, tokenise on every core, write; or reuse the store when nothing has changed.

A store holds all of a corpus. Which documents are held out is decided when they are drawn, so plans with another
watch-list, split or mixture share the same stores.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rewarm.corpora import Corpus
from rewarm.corpora.faults import check_budget
from rewarm.engines import Engine
from rewarm.engines.local import Threads
from rewarm.engines.parts import Arrays, Parts, digest, kept
from rewarm.hashing import text_hash, text_hashes
from rewarm.tokens.chat import encoder_of
from rewarm.tokens.shards import FORMAT, Store, StoreWriter
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, Document, StorageError, Tell, UserError, silent

BLOCK_CHARACTERS = 1_000_000
ENCODERS = 2
"""Blocks encoded at a time: while the ids of one are copied, on one core, the other keeps the rest of them busy."""


def fingerprint(corpus: Corpus) -> list[dict[str, Any]]:
    """Name, size and time of change of every file of a corpus: what a run compares before it goes on."""
    return [
        {"file": str(file), "size": file.stat().st_size, "changed_ns": file.stat().st_mtime_ns}
        for file in corpus.files()
    ]


def file_sizes(corpus: Corpus) -> list[int]:
    """The size of every file of a corpus, in order: other ones are other text."""
    return [item["size"] for item in fingerprint(corpus)]


def store_folder(name: str, corpus: Corpus, tokenizer: TextTokenizer, root: Path) -> Path:
    """Where the store of this corpus, as its files and this tokenizer are now, belongs."""
    options = {key: value for key, value in corpus.described().items() if key != "holdout"}
    chat = encoder_of(corpus, tokenizer)
    more = [] if chat is None else chat.key
    key = json.dumps([FORMAT, options, fingerprint(corpus), tokenizer.hash, *more], sort_keys=True)
    return root / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def prepare(
    name: str,
    corpus: Corpus,
    tokenizer: TextTokenizer,
    root: Path,
    bad_limit: float,
    tell: Tell = silent,
    engine: Engine | None = None,
) -> Store:
    """The store of a corpus, made now unless it exists; where that was stopped, it goes on. The engine (None: this
    machine) decides nothing about the store.

    UserError when the corpus is empty or more than `bad_limit` (a share) of its rows cannot be read.
    """
    folder = store_folder(name, corpus, tokenizer, root)
    with alone_in(root):
        if not (folder / "manifest.json").is_file():
            with kept(folder.with_name(f"{folder.name}.parts")) as parts:
                encoded = _Encoded(parts, engine or Threads(ENCODERS), Encoding(corpus, tokenizer))
                _write(name, corpus, encoded, folder, bad_limit, tell)
    return Store(folder)


@contextmanager
def alone_in(root: Path) -> Iterator[None]:
    """Waits for other processes that prepare corpora under `root`: two writers of one store would mix their files."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / ".lock").open("a")
    except OSError as error:
        raise StorageError(f"could not write tokens to '{root}': {error}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Encoding:
    """Documents of a corpus -> arrays: ids end to end, and the columns of a store. It may go to other processes."""

    def __init__(self, corpus: Corpus, tokenizer: TextTokenizer) -> None:
        self.group_field, self.tokenizer = corpus.holdout_by, tokenizer
        self.chat = encoder_of(corpus, tokenizer)

    def __call__(self, documents: list[Document]) -> Arrays:
        """The arrays of some documents."""
        texts = [document.text for document in documents]
        hashes, sizes = text_hashes(texts)
        by = self.group_field
        groups = hashes if by is None else np.array([group_key(one, by) for one in documents], np.uint64)
        found = {"sizes": sizes, "hashes": hashes, "groups": groups}
        if self.chat is None:
            found["ids"], found["lengths"] = self.tokenizer.encode_flat(texts)
            return found
        found["ids"], found["lengths"], learned = self.chat.encode_flat(documents)
        return found if learned is None else {**found, "learned": learned[0], "learned_sizes": learned[1]}


@dataclass(slots=True)
class _Encoded:
    """What is encoded of a corpus, block after block; `grouped` says whether a document had a group."""

    parts: Parts
    engine: Engine
    encoding: Encoding
    grouped: bool = field(default=False, init=False)

    def blocks(self, documents: Iterator[Document]) -> Iterator[Arrays]:
        return self.parts.map(self.engine, self.encoding, self._named(documents))

    def _named(self, documents: Iterator[Document]) -> Iterator[tuple[str, list[Document]]]:
        by = self.encoding.group_field
        self.grouped = by is None
        for block in _blocks(documents):
            self.grouped = self.grouped or any(by in document.meta for document in block)
            yield digest((one.text for one in block), (one.id for one in block)), block


def _write(name: str, corpus: Corpus, encoded: _Encoded, folder: Path, bad_limit: float, tell: Tell) -> None:
    bad, before, tokenizer = BadRows(), fingerprint(corpus), encoded.encoding.tokenizer
    with StoreWriter(folder, tokenizer.dtype) as writer:
        for found in encoded.blocks(corpus.read(bad)):
            learned = (found["learned"], found["learned_sizes"]) if "learned" in found else None
            if writer.documents:
                tell(f"tokenise {name}", writer.tokens, None, "tokens")
            ids, lengths, sizes = found["ids"], found["lengths"], found["sizes"]
            writer.add_flat(ids, lengths, sizes, found["hashes"], found["groups"], learned)
        if fingerprint(corpus) != before:
            raise UserError(f"corpus '{name}' changed while it was read: run again once nothing writes to its files")
        check_budget(name, bad, bad_limit)
        if not encoded.grouped:
            raise UserError(
                f"corpora.{name}.holdout_by: no document has a field '{corpus.holdout_by}'. Name one that they have"
            )
        if writer.documents == 0:
            where = ", ".join(str(file) for file in corpus.files()[:3]) or "its source"
            raise UserError(f"corpus '{name}' is empty: {bad.rows} rows read from {where}, no document among them")
        writer.manifest = {
            "corpus": name,
            "options": corpus.described(),
            "inputs": before,
            "tokenizer": tokenizer.hash,
            "rows": bad.rows,
            "bad_rows": dict(bad.counts),
            "bad_examples": bad.examples,
            "left_out": dict(bad.left_out),
        }
        if (commit := corpus.commit()) is not None:
            writer.manifest["commit"] = commit
    tell(f"tokenise {name}", writer.tokens, writer.tokens, "tokens")


def _blocks(documents: Iterator[Document]) -> Iterator[list[Document]]:
    block: list[Document] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document.text)
        if size >= BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def group_key(document: Document, group_field: str | None) -> int:
    """What decides whether a document is held out: the hash of its group, or of its text when it names none."""
    if group_field is not None and group_field in document.meta:
        return text_hash(str(document.meta[group_field]))
    return text_hash(document.text)


def count_tokens(corpus: Corpus, documents: list[Document], tokenizer: TextTokenizer) -> int:
    """Tokens that documents of a corpus would have."""
    return len(Encoding(corpus, tokenizer)(documents)["ids"])
