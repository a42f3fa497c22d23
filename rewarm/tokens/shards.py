"""A corpus as tokens on disk: memory-mapped shards, per-document columns, and a manifest that says what they hold.

A store is a folder. `tokens-NNNNN.bin` hold the documents' ids end to end (a document never spans two shards);
`offsets.bin` (D+1 uint64) says where each document starts in the whole; `bytes.bin` (D uint32), `hashes.bin` and
`groups.bin` (D uint64) give each document's UTF-8 size, text hash and held-out key; `repeated.bin` (int64) numbers the
documents whose text occurs more than once. A corpus of which only some tokens are learned has `learned-NNNNN.bin` too,
one byte for each token of its shard; then `bytes.bin` counts what is learned. The folder appears under its name only
when complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rewarm.hashing import Indices, Words, chunks
from rewarm.storage import file_digest
from rewarm.tokens.manifests import read_manifest
from rewarm.types import StorageError, UserError

SHARD_TOKENS = 1 << 28
FORMAT = 1
REPEATED = "repeated.bin"
Learned = tuple[NDArray[np.bool_], NDArray[np.int64]]
"""Which ids of some documents, end to end, are learned (N,), and the UTF-8 bytes of that text of each (D,)."""
_COLUMNS = {"offsets": np.uint64, "bytes": np.uint32, "hashes": np.uint64, "groups": np.uint64}


class StoreWriter:
    """Writes a store into `folder`.partial; leaving the `with` block without an error publishes it as `folder`.

    Either all documents of a store say what of them is learned, or none does.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any], shard_tokens: int = SHARD_TOKENS) -> None:
        self.folder = folder
        self.partial = folder.with_name(folder.name + ".partial")
        self.dtype = dtype
        self.shard_tokens = shard_tokens
        self.documents = self.tokens = self.text_bytes = self.learned = 0
        self.manifest: dict[str, Any] = {}
        self._shards: list[dict[str, Any]] = []

    def __enter__(self) -> StoreWriter:
        shutil.rmtree(self.partial, ignore_errors=True)
        try:
            self.partial.mkdir(parents=True)
            self._files = {name: (self.partial / f"{name}.bin").open("wb") for name in _COLUMNS}
            self._files["offsets"].write(np.zeros(1, np.uint64).tobytes())
            self._open_shard()
        except OSError as error:
            raise StorageError(f"could not write tokens to '{self.partial}': {error}") from error
        return self

    def _open_shard(self) -> None:
        name = f"tokens-{len(self._shards):05d}.bin"
        self._shard: BinaryIO = (self.partial / name).open("wb")
        self._digest = hashlib.blake2b(digest_size=16)
        self._mask: BinaryIO | None = None
        self._shards.append({"file": name, "tokens": 0})

    def add(
        self, ids: Sequence[NDArray[Any]], sizes: Sequence[int], hashes: Sequence[int], groups: Sequence[int]
    ) -> None:
        """Appends documents: their ids, UTF-8 sizes, text hashes and held-out keys."""
        lengths = np.array([len(document) for document in ids], np.int64)
        joined = np.concatenate(ids) if len(ids) else np.zeros(0, self.dtype)
        words = np.array(hashes, np.uint64), np.array(groups, np.uint64)
        self.add_flat(joined, lengths, np.array(sizes, np.int64), words[0], words[1])

    def add_flat(
        self, ids: NDArray[Any], lengths: NDArray[np.int64], sizes: NDArray[np.int64], hashes: Words, groups: Words,
        learned: Learned | None = None,
    ) -> None:  # fmt: skip
        """Appends D documents whose ids (N,) stand end to end: the number of ids of each and its columns, all (D,)."""
        ends = np.cumsum(lengths)
        mask = None if learned is None else learned[0].astype(np.uint8)
        try:
            self._write_ids(ids.astype(self.dtype, copy=False), ends, mask)
            for name, column in (
                ("offsets", self.tokens + ends),
                ("bytes", sizes if learned is None else learned[1]),
                ("hashes", hashes),
                ("groups", groups),
            ):
                self._files[name].write(np.asarray(column).astype(_COLUMNS[name], copy=False).data)
        except OSError as error:
            raise StorageError(f"could not write tokens to '{self.partial}': {error}") from error
        self.documents += len(lengths)
        self.tokens += len(ids)
        self.text_bytes += int(sizes.sum())
        self.learned += 0 if mask is None else int(mask.sum())

    def _write_ids(self, ids: NDArray[Any], ends: NDArray[np.int64], mask: NDArray[np.uint8] | None) -> None:
        """Writes whole documents into the open shard while it has room for them, then into the next."""
        document = start = 0
        while document < len(ends):
            held = self._shards[-1]["tokens"]
            fitting = int(np.searchsorted(ends, start + self.shard_tokens - held, side="right"))
            if held == 0:
                fitting = max(fitting, document + 1)
            if fitting <= document:
                self._close_shard()
                self._open_shard()
                continue
            data = ids[start : int(ends[fitting - 1])].data
            self._shard.write(data)
            self._digest.update(data)
            self._shards[-1]["tokens"] += len(data)
            if mask is not None:
                self._write_mask(mask[start : int(ends[fitting - 1])].data)
            document, start = fitting, int(ends[fitting - 1])

    def _write_mask(self, data: memoryview) -> None:
        if self._mask is None:
            name = f"learned-{len(self._shards) - 1:05d}.bin"
            self._mask, self._mask_digest = (self.partial / name).open("wb"), hashlib.blake2b(digest_size=16)
            self._shards[-1]["learned"] = name
        self._mask.write(data)
        self._mask_digest.update(data)

    def _close_shard(self) -> None:
        _close(self._shard)
        self._shards[-1]["blake2b"] = self._digest.hexdigest()
        if self._mask is not None:
            _close(self._mask)
            self._shards[-1]["learned_blake2b"] = self._mask_digest.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        except OSError as fault:
            raise StorageError(f"could not write tokens to '{self.folder}': {fault}") from fault
        finally:
            for file in (self._shard, self._mask, *self._files.values()):
                with suppress(OSError):  # what was buffered may fail once more; the first failure is the one to tell
                    if file is not None:
                        file.close()
            shutil.rmtree(self.partial, ignore_errors=True)

    def _publish(self) -> None:
        self._close_shard()
        for file in self._files.values():
            _close(file)
        self.manifest |= {
            "format": FORMAT,
            "dtype": self.dtype.name,
            "documents": self.documents,
            "tokens": self.tokens,
            "bytes": self.text_bytes,
            "repeated": write_repeated(self.partial),
            "columns": {
                one.name: file_digest(one) for one in sorted(self.partial.glob("*.bin")) if "-" not in one.name
            },
            "shards": self._shards,
        }
        if "learned" in self._shards[0]:
            self.manifest["learned"] = self.learned
        (self.partial / "manifest.json").write_text(json.dumps(self.manifest, indent=1), encoding="utf-8")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.replace(self.partial, self.folder)


def _close(file: BinaryIO) -> None:
    """Closes a file once its bytes are on the disk, not only on their way there."""
    file.flush()
    os.fsync(file.fileno())
    file.close()


def write_repeated(folder: Path) -> int:
    """Writes the numbers of the documents of a store whose text occurs more than once; returns how many they are."""
    file = folder / "hashes.bin"
    found = _repeated(np.memmap(file, np.uint64, mode="r") if file.stat().st_size else np.zeros(0, np.uint64))
    with (folder / REPEATED).open("wb") as out:
        out.write(found.astype(np.int64).data)
        out.flush()
        os.fsync(out.fileno())
    return len(found)


def _repeated(hashes: Words, at_once: int = 1 << 22) -> Indices:
    """Places, ascending, of the values that occur more than once; sorts about `at_once` of them at a time."""
    passes = np.uint64(-(-max(1, len(hashes)) // at_once))
    found = []
    for number in range(int(passes)):
        here = np.concatenate([
            part.start + np.flatnonzero((hashes[part] >> np.uint64(32)) * passes >> np.uint64(32) == number)
            for part in chunks(len(hashes))
        ] or [np.zeros(0, np.int64)])  # fmt: skip
        order = np.argsort(hashes[here])
        ordered = hashes[here[order]]
        same = ordered[1:] == ordered[:-1]
        found.append(here[order[np.append(same, False) | np.insert(same, 0, False)]] if len(here) else here)
    return np.sort(np.concatenate(found))


class Store:
    """A finished store, memory-mapped: opening costs the same for any size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = read_manifest(folder)
        self.documents, self.tokens = int(self.manifest["documents"]), int(self.manifest["tokens"])
        self.offsets = self._column("offsets")
        self.bytes = self._column("bytes")
        self.hashes = self._column("hashes")
        self.groups = self._column("groups")
        sizes = [int(shard["tokens"]) for shard in self.manifest["shards"]]
        self._shards = [
            self._mapped(shard["file"], np.dtype(self.manifest["dtype"]), size)
            for shard, size in zip(self.manifest["shards"], sizes, strict=True)
        ]
        self._masks = [
            self._mapped(shard["learned"], np.dtype(np.bool_), size) if "learned" in shard else np.zeros(size, bool)
            for shard, size in zip(self.manifest["shards"], sizes, strict=True)
            if self.masked
        ]
        self._starts = [0, *np.cumsum(sizes).tolist()]

    @property
    def masked(self) -> bool:
        """Whether only some tokens of the documents are learned."""
        return "learned" in self.manifest

    def _column(self, name: str) -> NDArray[Any]:
        return self._mapped(f"{name}.bin", np.dtype(_COLUMNS[name]), self.documents + (name == "offsets"))

    def _mapped(self, name: str, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        file = self.folder / name
        size = file.stat().st_size if file.is_file() else 0
        if size != count * dtype.itemsize:
            raise UserError(
                f"'{file}' holds {size} bytes, and its manifest says {count * dtype.itemsize}: the prepared corpus is "
                f"damaged. Delete the folder '{self.folder}'; it is made again from the corpus"
            )
        # A plain array over the map: slices of a `memmap` itself take five times as long.
        return np.memmap(file, dtype=dtype, mode="r", shape=(count,)).view(np.ndarray) if count else np.zeros(0, dtype)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, shape (D,)."""
        return np.diff(self.offsets).astype(np.int64)

    def lengths_of(self, documents: Indices) -> NDArray[np.int64]:
        """Tokens of each of some documents, shape (N,)."""
        lengths: NDArray[np.uint64] = self.offsets[1:][documents] - self.offsets[documents]
        return lengths.astype(np.int64)

    def tokens_of(self, documents: Indices) -> int:
        """Tokens of some documents together."""
        return sum(int(self.lengths_of(documents[part]).sum()) for part in chunks(len(documents)))

    def repeated(self) -> Indices:
        """Documents, ascending, whose text occurs more than once in the store; older stores have no list of them."""
        count = self.manifest.get("repeated")
        return _repeated(self.hashes) if count is None else self._mapped(REPEATED, np.dtype(np.int64), count)

    @property
    def hash(self) -> str:
        """A digest of every shard's digest: the same tokens in the same order, learned alike, give the same hash."""
        parts = [shard["blake2b"] + shard.get("learned_blake2b", "") for shard in self.manifest["shards"]]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def ids(self, document: int, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Token ids `start` to `stop` of one document, without copying."""
        shard, part = self._part(document, start, stop)
        return self._shards[shard][part]

    def learned(self, document: int, start: int = 0, stop: int | None = None) -> NDArray[np.bool_] | None:
        """Which of these ids are learned, without copying; None where all are."""
        if not self._masks:
            return None
        shard, part = self._part(document, start, stop)
        return self._masks[shard][part]

    def _part(self, document: int, start: int, stop: int | None) -> tuple[int, slice]:
        """The shard that holds a document, and where in it some of its tokens stand."""
        first = int(self.offsets[document])
        end = int(self.offsets[document + 1])
        # The last shard may be empty, and so may a document after its end.
        shard = min(bisect_right(self._starts, first), len(self._shards)) - 1
        base = first - self._starts[shard]
        length = end - first
        stop = length if stop is None else min(stop, length)
        return shard, slice(base + start, base + stop)
