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
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rewarm.types import StorageError

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
        self.partial.mkdir(parents=True)
        self._files = {name: (self.partial / f"{name}.bin").open("wb") for name in _COLUMNS}
        self._files["offsets"].write(np.zeros(1, np.uint64).tobytes())
        self._open_shard()
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
                data = document.tobytes()
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
        self._shard.flush()
        os.fsync(self._shard.fileno())
        self._shard.close()
        self._shards[-1]["blake2b"] = self._digest.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_shard()
        for file in self._files.values():
            file.close()
        if kind is not None:
            shutil.rmtree(self.partial, ignore_errors=True)
            return
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
        dtype = np.dtype(self.manifest["dtype"])
        self._shards = [
            np.memmap(folder / shard["file"], dtype=dtype, mode="r") if shard["tokens"] else np.zeros(0, dtype)
            for shard in self.manifest["shards"]
        ]
        self._starts = np.cumsum([0, *(int(shard["tokens"]) for shard in self.manifest["shards"])])

    def _column(self, name: str) -> NDArray[Any]:
        file = self.folder / f"{name}.bin"
        if file.stat().st_size == 0:
            return np.zeros(0, _COLUMNS[name])
        return np.memmap(file, dtype=_COLUMNS[name], mode="r")

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
        shard = int(np.searchsorted(self._starts, first, side="right")) - 1
        while self._starts[shard + 1] <= first < end:  # empty shards share a start
            shard += 1
        base = first - int(self._starts[shard])
        length = end - first
        stop = length if stop is None else min(stop, length)
        return self._shards[shard][base + start : base + stop]
