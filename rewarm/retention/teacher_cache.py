"""A teacher's largest probabilities on disk, one record a packed row, for every later run over the same rows.

A folder holds files of records of one size; every process adds to a file of its own and reads those of all that were
there when it began. A record carries a digest of itself, so that one whose writing was cut off is as if it were not
there. What a record holds does not depend on who made it: rows are put to the teacher one by one.

Shapes: B rows, T positions, N targets of a row (at most T), K ids kept.
"""

from __future__ import annotations

import hashlib
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarm.retention.teacher import Teacher
from rewarm.tokens.packing import NO_TARGET
from rewarm.types import Batch, StorageError


def _digest(*parts: bytes) -> int:
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(part)
    return int.from_bytes(found.digest(), "little")


def _check(record: NDArray[Any], key: int) -> int:
    """The digest of a record of that key, so that one that was cut off or belongs to another row is found out."""
    return _digest(record["ids"].tobytes(), record["logs"].tobytes(), key.to_bytes(8, "little"))


@dataclass(frozen=True, slots=True)
class Kind:
    """What records are of: the rows' length, the ids kept of how many, and the digest of whatever else makes them."""

    length: int
    kept: int
    vocabulary: int
    teacher: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """One record. fp16 costs a KL that is 0 at most 3e-7 nats at 64 of 8,192 ids, 1e-5 where all are kept."""
        ids = np.uint16 if self.vocabulary <= 1 << 16 else np.uint32
        values = [("ids", ids, (self.length, self.kept)), ("logs", np.float16, (self.length, self.kept + 1))]
        return np.dtype([("key", np.uint64), ("check", np.uint64), *values])

    @property
    def name(self) -> str:
        """Of the folder that holds them."""
        return f"{self.teacher[:24]}-{self.length}x{self.kept}"


class TeacherCache:
    """The records of a folder, and the teacher for rows that have none yet. `hits` counts rows that were there."""

    def __init__(self, folder: Path, kind: Kind, teacher: Teacher) -> None:
        self.kind, self.teacher = kind, teacher
        self._dtype = kind.dtype
        self._folder = folder / kind.name
        self._own = self._folder / f"{uuid.uuid4().hex}.rows"
        self._written = 0
        # Several runs may have written the same row, and one of them in part only.
        self._places: dict[int, list[tuple[Path, int]]] = {}
        self.hits = 0
        for file in sorted(self._folder.glob("*.rows")):
            count = file.stat().st_size // self._dtype.itemsize  # what is cut off at its end is no record
            if count:
                keys = np.memmap(file, self._dtype, "r", shape=(count,))["key"].tolist()
                for number, key in enumerate(keys):
                    self._places.setdefault(key, []).append((file, number))

    def largest(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """As `Teacher.largest` of a batch of rows, rounded, on the CPU: read, or made and written."""
        records = [self._of(Batch(*row, num_targets=0)) for row in _rows(batch)]
        counts = (batch.targets_BT != NO_TARGET).sum(1).tolist()
        ids, logs = (
            np.concatenate([record[name][:count] for record, count in zip(records, counts, strict=True)])
            for name in ("ids", "logs")
        )
        return torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(logs.astype(np.float32))

    def _of(self, row: Batch) -> NDArray[Any]:
        parts = [row.tokens_BT, row.positions_BT, row.targets_BT if self.teacher.swaps else row.targets_BT != NO_TARGET]
        key = _digest(*(part.numpy().tobytes() for part in parts))
        found = self._read(key)
        if found is not None:
            self.hits += 1
            return found
        return self._write(key, *self.teacher.largest(row, self.kind.kept))

    def _read(self, key: int) -> NDArray[Any] | None:
        """The record of a key, if there is one and it is whole."""
        for file, number in self._places.get(key, []):
            with suppress(FileNotFoundError):  # deleted since
                found = np.fromfile(file, self._dtype, 1, offset=number * self._dtype.itemsize)
                if len(found) and int(found["check"][0]) == _check(found, key):
                    record: NDArray[Any] = found[0]
                    return record
        return None

    def _write(self, key: int, ids_NK: Tensor, logs_NK1: Tensor) -> NDArray[Any]:
        """Adds a record to this process's file. StorageError where it cannot be written."""
        records = np.zeros(1, self._dtype)
        records["key"] = key
        records["ids"][0, : len(ids_NK)] = ids_NK.cpu().numpy()
        records["logs"][0, : len(ids_NK)] = logs_NK1.cpu().numpy()
        records["check"] = _check(records, key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._own.open("ab") as file:
                file.write(records.tobytes())
        except OSError as error:
            raise StorageError(
                f"the teacher's answers could not be kept in '{self._folder}': {error}. Make room, or set top_k to "
                "null (then nothing is kept)"
            ) from error
        self._places.setdefault(key, []).append((self._own, self._written))
        self._written += 1
        made: NDArray[Any] = records[0]
        return made


def _rows(batch: Batch) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Tokens, targets and positions of each row, (1, T) each."""
    parts = (value_BT.split(1) for value_BT in (batch.tokens_BT, batch.targets_BT, batch.positions_BT))
    return list(zip(*parts, strict=True))
