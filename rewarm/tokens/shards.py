"""A corpus as tokens on disk: memory-mapped shards, per-document columns, and a manifest that says what they hold.

A store is a folder. `tokens-NNNNN.bin` hold the documents' ids end to end (a document never spans two shards);
`offsets.bin` (D+1 uint64) says where each document starts in the whole; `bytes.bin` (D uint32), `hashes.bin` and
`groups.bin` (D uint64) give each document's UTF-8 size, text hash and held-out key. The folder appears under its
name only when complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rewarm.types import StorageError, UserError

SHARD_TOKENS = 1 << 28
FORMAT = 1
_COLUMNS = {"offsets": np.uint64, "bytes": np.uint32, "hashes": np.uint64, "groups": np.uint64}


class StoreWriter:
    """Writes a store into `folder`.partial; leaving the `with` block without an error publishes it as `folder`."""

    def __init__(self, folder: Path, dtype: np.dtype[Any], shard_tokens: int = SHARD_TOKENS) -> None:
        self.folder = folder
        self.partial = folder.with_name(folder.name + ".partial")
        self.dtype = dtype
        self.shard_tokens = shard_tokens
        self.documents = 0
        self.tokens = 0
        self.text_bytes = 0
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
        self._shards.append({"file": name, "tokens": 0})

    def add(
        self, ids: Sequence[NDArray[Any]], sizes: Sequence[int], hashes: Sequence[int], groups: Sequence[int]
    ) -> None:
        """Appends documents: their ids, UTF-8 sizes, text hashes and held-out keys."""
        try:
            for document in ids:
                if self._shards[-1]["tokens"] and self._shards[-1]["tokens"] + len(document) > self.shard_tokens:
                    self._close_shard()
                    self._open_shard()
                data = document.astype(self.dtype, copy=False).tobytes()
                self._shard.write(data)
                self._digest.update(data)
                self._shards[-1]["tokens"] += len(document)
            ends = self.tokens + np.cumsum([len(document) for document in ids], dtype=np.uint64)
            for name, column in (("offsets", ends), ("bytes", sizes), ("hashes", hashes), ("groups", groups)):
                self._files[name].write(np.asarray(column, dtype=_COLUMNS[name]).tobytes())
        except OSError as error:
            raise StorageError(f"could not write tokens to '{self.partial}': {error}") from error
        self.documents += len(ids)
        self.tokens = int(ends[-1]) if len(ends) else self.tokens
        self.text_bytes += sum(sizes)

    def _close_shard(self) -> None:
        _close(self._shard)
        self._shards[-1]["blake2b"] = self._digest.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        except OSError as fault:
            raise StorageError(f"could not write tokens to '{self.folder}': {fault}") from fault
        finally:
            for file in (self._shard, *self._files.values()):
                with suppress(OSError):  # what was buffered may fail once more; the first failure is the one to tell
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
            "shards": self._shards,
        }
        (self.partial / "manifest.json").write_text(json.dumps(self.manifest, indent=1), encoding="utf-8")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.replace(self.partial, self.folder)


def _close(file: BinaryIO) -> None:
    """Closes a file once its bytes are on the disk, not only on their way there."""
    file.flush()
    os.fsync(file.fileno())
    file.close()


class Store:
    """A finished store, memory-mapped: opening costs the same for any size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.documents = int(self.manifest["documents"])
        self.tokens = int(self.manifest["tokens"])
        self.offsets = self._column("offsets")
        self.bytes = self._column("bytes")
        self.hashes = self._column("hashes")
        self.groups = self._column("groups")
        sizes = [int(shard["tokens"]) for shard in self.manifest["shards"]]
        self._shards = [
            self._mapped(shard["file"], np.dtype(self.manifest["dtype"]), size)
            for shard, size in zip(self.manifest["shards"], sizes, strict=True)
        ]
        self._starts = np.cumsum([0, *sizes])

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
        return np.memmap(file, dtype=dtype, mode="r", shape=(count,)) if count else np.zeros(0, dtype)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, shape (D,)."""
        return np.diff(self.offsets).astype(np.int64)

    @property
    def hash(self) -> str:
        """A digest of every shard's digest: the same tokens in the same order give the same hash."""
        return hashlib.sha256("".join(shard["blake2b"] for shard in self.manifest["shards"]).encode()).hexdigest()

    def ids(self, document: int, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Token ids `start` to `stop` of one document, without copying."""
        first = int(self.offsets[document])
        end = int(self.offsets[document + 1])
        # The last shard may be empty, and so may a document after its end.
        shard = min(int(np.searchsorted(self._starts, first, side="right")), len(self._shards)) - 1
        base = first - int(self._starts[shard])
        length = end - first
        stop = length if stop is None else min(stop, length)
        return self._shards[shard][base + start : base + stop]
