"""How much text a corpus holds: counted in its store when it is prepared, otherwise estimated from a sample.

The sample is 300 kB, taken from the beginnings of files spread over the corpus. What the files hold besides
text (other fields, syntax, compression) is measured on the same sample; Parquet says itself how many rows it has.
"""

from __future__ import annotations

import bz2
import gzip
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import zstandard

from rewarm.corpora import Corpus
from rewarm.corpora.faults import check_budget
from rewarm.corpora.json_rows import is_array
from rewarm.corpora.parquet import Parquet
from rewarm.corpora.sources import FileCorpus, WholeFileCorpus
from rewarm.corpora.streams import COMPRESSED, CutShort, line_blocks
from rewarm.tokens.order import held_out
from rewarm.tokens.prepare import count_tokens, group_key, store_folder
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, Document, UserError

SAMPLE_BYTES = 300_000
SAMPLED_FILES = 8
SAMPLED_WHOLE_FILES = 64
TOKENISED_CHARACTERS = 200_000
"""Of a longer document only the beginning is tokenised for the sample."""
EXPANDED_BYTES = 8_000_000
"""Of a packed file so much is unpacked to measure how far it expands."""
BAD_ENOUGH = 2000
"""Reading a sample ends after so many bad rows: a corpus without one good row is not read to its end."""
ASSUMED_BYTES_PER_TOKEN = 3.5
COLUMN_BYTES = 28
"""What a store holds for each document beside its tokens: offset, size, hash, group."""


@dataclass(frozen=True, slots=True)
class CorpusForecast:
    """A corpus in numbers. `counted`: from its store, otherwise estimated; `known`: False for a data set of the hub,
    whose size shows only when it is prepared. `whole`: every row was read.

    `trainable` tokens are those that are not held out. `rows` were read for this, `bad_rows` of them could not be used.
    `seconds` and `store_bytes` are what preparing it would take; 0 when it is prepared.
    """

    name: str
    documents: int
    tokens: int
    bytes: int
    trainable: int
    held_out_tokens: int
    counted: bool
    known: bool
    whole: bool
    rows: int
    bad_rows: dict[str, int]
    seconds: float
    store_bytes: int


@dataclass(slots=True)
class _Taken:
    """Documents read for a sample; `ended` when there were no more."""

    beginnings: list[Document] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    bytes: int = 0
    bad: BadRows = field(default_factory=BadRows)
    ended: bool = False
    last_place: str = ""

    @property
    def documents(self) -> int:
        """Number of documents read."""
        return len(self.groups)


class _EnoughBadRows(Exception):
    """So many bad rows that the sample tells enough about them."""


class _CountedBadRows(BadRows):
    """Bad rows of a sample; the reader is stopped at `BAD_ENOUGH` of them."""

    def add(self, reason: str, place: str) -> None:
        """Counts one bad row."""
        BadRows.add(self, reason, place)
        if self.total >= BAD_ENOUGH:
            raise _EnoughBadRows


def look(
    name: str, corpus: Corpus, share: float, tokenizer: TextTokenizer | None, prepared: Path | None, bad_limit: float
) -> CorpusForecast:
    """The forecast of a corpus of which `share` is held out; UserError when it is empty or has too many bad rows.

    `prepared` is where its store would lie. Without a tokenizer (one that is yet to be trained) tokens are bytes /
    `ASSUMED_BYTES_PER_TOKEN`.
    """
    if tokenizer is not None and prepared is not None:
        folder = store_folder(name, corpus, tokenizer, prepared)
        if (folder / "manifest.json").is_file():
            return counted(name, Store(folder), share)
    started = time.perf_counter()
    taken, parts = _sample(corpus)
    _check_rows(name, corpus, taken, bad_limit)
    documents, text_bytes = (taken.documents, float(taken.bytes)) if taken.ended else _scaled(corpus, parts)
    tokens = _tokens_per_byte(corpus, taken.beginnings, tokenizer) * text_bytes
    seconds = (time.perf_counter() - started) * text_bytes / taken.bytes
    held = float(_held_out(taken.groups, share).mean()) if taken.ended else share
    token_bytes = tokenizer.dtype.itemsize if tokenizer is not None else 2
    return CorpusForecast(
        name=name,
        documents=round(documents),
        tokens=round(tokens),
        bytes=round(text_bytes),
        trainable=round(tokens * (1 - held)),
        held_out_tokens=round(tokens * held),
        counted=False,
        known=documents > 0,
        whole=taken.ended,
        rows=taken.bad.rows,
        bad_rows=dict(taken.bad.counts),
        seconds=seconds,
        store_bytes=round(tokens * token_bytes + COLUMN_BYTES * documents),
    )


def counted(name: str, store: Store, share: float) -> CorpusForecast:
    """The forecast of a prepared corpus of which `share` is held out."""
    held = int(store.lengths[held_out(store, share)].sum())
    return CorpusForecast(
        name=name,
        documents=store.documents,
        tokens=store.tokens,
        bytes=int(store.manifest["bytes"]),
        trainable=store.tokens - held,
        held_out_tokens=held,
        counted=True,
        known=True,
        whole=True,
        rows=int(store.manifest["rows"]),
        bad_rows=dict(store.manifest["bad_rows"]),
        seconds=0.0,
        store_bytes=0,
    )


def _held_out(groups: Sequence[int], share: float) -> Any:
    """Which documents would be held out, by the same rule as in a store, of which it needs the groups only."""
    return held_out(cast(Store, SimpleNamespace(groups=np.array(groups, np.uint64))), share)


def _sample(corpus: Corpus) -> tuple[_Taken, list[tuple[Path, _Taken]]]:
    """The documents of the sample in one, and file by file; the whole corpus when it is no larger than a sample."""
    files = corpus.files()
    first = _take(corpus, SAMPLE_BYTES)
    if first.ended or len(files) < 2 or not isinstance(corpus, FileCorpus):
        return first, [(file, first) for file in files[:1]]
    most = SAMPLED_WHOLE_FILES if isinstance(corpus, WholeFileCorpus) else SAMPLED_FILES
    chosen = [files[place * len(files) // most] for place in range(most)] if len(files) > most else files
    parts = [
        (file, _take(corpus.model_copy(update={"path": str(file), "limit": None}), SAMPLE_BYTES // len(chosen)))
        for file in chosen
    ]
    together = _Taken()
    for _, part in parts:
        together.beginnings += part.beginnings
        together.groups += part.groups
        together.bytes += part.bytes
        together.bad.rows += part.bad.rows
        together.bad.counts += Counter(part.bad.counts)
        for reason, places in part.bad.examples.items():
            kept = together.bad.examples.setdefault(reason, [])
            kept += places[: together.bad.examples_kept - len(kept)]
    return together, parts


def _take(corpus: Corpus, most_bytes: int) -> _Taken:
    taken = _Taken(bad=_CountedBadRows())
    try:
        for document in corpus.read(taken.bad):
            taken.beginnings.append(replace(document, text=document.text[:TOKENISED_CHARACTERS]))
            taken.groups.append(group_key(document, corpus.holdout_by))
            taken.bytes += len(document.text.encode())
            taken.last_place = document.place
            if taken.bytes >= most_bytes:
                return taken
    except _EnoughBadRows:
        return taken
    taken.ended = True
    return taken


def _check_rows(name: str, corpus: Corpus, taken: _Taken, bad_limit: float) -> None:
    bad = taken.bad
    # In a sample a few bad rows may be chance: they are too many for certain when three deviations fewer still are.
    surely = bad.total - 3 * math.sqrt(bad.total) > bad_limit * bad.rows
    if taken.ended or surely or not taken.documents:
        check_budget(name, bad, bad_limit)
    if not taken.documents:
        where = ", ".join(str(file) for file in corpus.files()[:3]) or "its source"
        raise UserError(f"corpus '{name}' is empty: {bad.rows} rows read from {where}, no document among them")


def _tokens_per_byte(corpus: Corpus, beginnings: list[Document], tokenizer: TextTokenizer | None) -> float:
    if tokenizer is None:
        return 1 / ASSUMED_BYTES_PER_TOKEN
    return count_tokens(corpus, beginnings, tokenizer) / sum(len(one.text.encode()) for one in beginnings)


def _scaled(corpus: Corpus, parts: Sequence[tuple[Path, _Taken]]) -> tuple[float, float]:
    """Documents and bytes of text of the whole corpus, from those of its sample; (0, the sample's bytes) if unknown."""
    sampled = sum(part.documents for _, part in parts)
    if not sampled:
        return 0.0, 1.0
    mean = sum(part.bytes for _, part in parts) / sampled
    files = corpus.files()
    if isinstance(corpus, Parquet) or all(file.suffix.lower() == ".parquet" for file in files):
        chosen = [file for file, _ in parts]
        rows = sum(map(_parquet_rows, chosen)) * _size(files) / _size(chosen)
        read = sum(part.bad.rows for _, part in parts)
        documents = rows * sampled / max(1, read)
    elif isinstance(corpus, WholeFileCorpus):
        mean = _unpacked(files) / len(files)
        documents = len(files) * sampled / len(parts)
    else:
        raw = [max(1.0, _raw_bytes(corpus, file, part)) for file, part in parts]
        documents = _unpacked(files) * sampled / sum(raw)
    limit = getattr(corpus, "limit", None)
    documents = min(documents, limit) if limit is not None else documents
    return documents, documents * mean


def _parquet_rows(file: Path) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.ParquetFile(file).metadata.num_rows)


def _raw_bytes(corpus: Corpus, file: Path, part: _Taken) -> float:
    """Bytes of a file, unpacked, that hold the documents taken from it: up to the end of the last one."""
    line = part.last_place.rpartition(":")[2]
    if part.ended or not line.isdecimal():
        return _unpacked([file])
    if not isinstance(corpus, FileCorpus) or is_array(file):
        return float(part.bytes)  # about as much: rows say nothing of where in the file they lie
    raw = 0
    with suppress(CutShort):
        for first, lines in line_blocks(file, int(getattr(corpus, "max_row_bytes", 64_000_000))):
            for number, text in enumerate(lines, first):
                raw += 0 if text is None else len(text) + 1
                if number >= int(line) and corpus.row_end in (text or b""):
                    return float(raw)
    return float(raw)


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _unpacked(files: Sequence[Path]) -> float:
    """Bytes of files, unpacked; the expansion of packed ones is measured on the beginning of the largest."""
    packed = [file for file in files if file.suffix.lower() in COMPRESSED]
    plain = _size(files) - _size(packed)
    if not packed:
        return float(plain)
    return plain + _size(packed) * _expansion(max(packed, key=lambda file: file.stat().st_size))


def _expansion(file: Path) -> float:
    with file.open("rb") as packed:
        reader: Any
        if file.suffix.lower() in (".gz", ".bz2"):
            reader = (gzip if file.suffix.lower() == ".gz" else bz2).open(packed)
        else:
            unpacker = zstandard.ZstdDecompressor(max_window_size=2**31)
            reader = unpacker.stream_reader(packed, read_size=16_384, read_across_frames=True)
        try:
            unpacked = len(reader.read(EXPANDED_BYTES))
        except (OSError, EOFError, zstandard.ZstdError):
            return 1.0  # damaged: the sample of its rows says so
        return unpacked / max(1, packed.tell())
