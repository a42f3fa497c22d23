"""Documents -> a store: read, tokenise on every core, write; or reuse the store when nothing has changed.

A store holds all of a corpus. Which documents are held out is decided when they are drawn, so plans with another
watch-list, split or mixture share the same stores.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.corpora import Corpus
from rewarm.corpora.faults import check_budget
from rewarm.hashing import Words, text_hash, text_hashes
from rewarm.tokens.chat import ChatEncoder, encoder_of
from rewarm.tokens.shards import FORMAT, Learned, Store, StoreWriter
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, Document, StorageError, Tell, UserError, silent

BLOCK_CHARACTERS = 1_000_000
ENCODERS = 2
"""Blocks encoded at a time: while the ids of one are copied, on one core, the other keeps the rest of them busy."""

Encoded = tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64], Words, Words, Learned | None]


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
    name: str, corpus: Corpus, tokenizer: TextTokenizer, root: Path, bad_limit: float, tell: Tell = silent
) -> Store:
    """The store of a corpus, made now unless it exists.

    UserError when the corpus is empty or more than `bad_limit` (a share) of its rows cannot be read.
    """
    folder = store_folder(name, corpus, tokenizer, root)
    with alone_in(root):
        if not (folder / "manifest.json").is_file():
            _write(name, corpus, tokenizer, folder, bad_limit, tell)
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


def _write(name: str, corpus: Corpus, tokenizer: TextTokenizer, folder: Path, bad_limit: float, tell: Tell) -> None:
    bad, chat, before = BadRows(), encoder_of(corpus, tokenizer), fingerprint(corpus)
    with StoreWriter(folder, tokenizer.dtype) as writer, ThreadPoolExecutor(ENCODERS) as pool:
        pending: deque[Future[Encoded]] = deque()
        grouped = corpus.holdout_by is None
        for block in _blocks(corpus.read(bad)):
            grouped = grouped or any(corpus.holdout_by in document.meta for document in block)
            pending.append(pool.submit(_encode, block, corpus.holdout_by, tokenizer, chat))
            if len(pending) > ENCODERS:
                writer.add_flat(*pending.popleft().result())
                tell(f"tokenise {name}", writer.tokens, None, "tokens")
        while pending:
            writer.add_flat(*pending.popleft().result())
        if fingerprint(corpus) != before:
            raise UserError(f"corpus '{name}' changed while it was read: run again once nothing writes to its files")
        check_budget(name, bad, bad_limit)
        if not grouped:
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


def _encode(
    block: list[Document], group_field: str | None, tokenizer: TextTokenizer, chat: ChatEncoder | None
) -> Encoded:
    texts = [document.text for document in block]
    hashes, sizes = text_hashes(texts)
    groups = hashes if group_field is None else np.array([group_key(one, group_field) for one in block], np.uint64)
    ids, lengths, learned = (*tokenizer.encode_flat(texts), None) if chat is None else chat.encode_flat(block)
    return ids, lengths, sizes, hashes, groups, learned


def count_tokens(corpus: Corpus, documents: list[Document], tokenizer: TextTokenizer) -> int:
    """Tokens that documents of a corpus would have."""
    return len(_encode(documents, None, tokenizer, encoder_of(corpus, tokenizer))[0])
