"""A snapshot in any order -> buckets on disk, so that both versions of an article lie in the buckets of one number.

Articles are kept in memory by bucket until they take their share of it, then written as one spill: a file with a
packed frame for every bucket. A spill appears whole or not at all and knows how many articles were read by its end,
so a stopped partition goes on after the last one.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import orjson
import zstandard

from rewarm.difference.editions import Article, Edition
from rewarm.types import BadRows

_EXPANSION = {".bz2": 5, ".gz": 4, ".zst": 4, ".parquet": 4}
_OVERHEAD = 8
"""A bucket may take this part of the memory: Python holds a character in up to 4 bytes, and buckets differ in size."""


def buckets_needed(edition: Edition, memory: int) -> int:
    """How many buckets keep one of them within `memory` bytes, guessed from the sizes of the files."""
    unpacked = sum(
        size * _EXPANSION.get(file.suffix.lower(), 1) for file, size in zip(edition.files, edition.sizes, strict=True)
    )
    return max(1, -(-unpacked * _OVERHEAD // memory))


class Buckets:
    """The buckets of one snapshot in a folder."""

    def __init__(self, folder: Path, count: int, memory: int) -> None:
        self.folder = folder
        self.count = count
        self.memory = memory
        self._header = struct.Struct(f"<{count + 2}Q")

    def fill(self, edition: Edition, bad: BadRows, look: Callable[[], None]) -> None:
        """Reads the snapshot to its end; calls `look` after every article, which may raise to stop."""
        self.folder.mkdir(parents=True, exist_ok=True)
        spills = self._spills()
        read = self._read_by(spills[-1]) if spills else 0
        number, held = len(spills), 0
        # One growing buffer for each: rows of a few kB as objects of their own took five times the memory.
        waiting = [bytearray() for _ in range(self.count)]
        # Articles already in spills are read once more, because only that brings a packed file to its place.
        for article in islice(edition.articles(bad), read, None):
            row = orjson.dumps([*article], option=orjson.OPT_APPEND_NEWLINE)
            waiting[self._bucket(article.id)] += row
            held += len(row)
            read += 1
            if held >= self.memory // 2:
                self._spill(number, waiting, read)
                number, held = number + 1, 0
                waiting = [bytearray() for _ in range(self.count)]
            look()
        if held:
            self._spill(number, waiting, read)

    def articles(self, bucket: int) -> Iterator[Article]:
        """The articles of a bucket, in the order of the snapshot."""
        unpacker = zstandard.ZstdDecompressor()
        for spill in self._spills():
            with spill.open("rb") as file:
                _, *ends = self._header.unpack(file.read(self._header.size))
                file.seek(ends[bucket])
                packed = file.read(ends[bucket + 1] - ends[bucket])
            if packed:
                for row in unpacker.decompress(packed).splitlines():
                    yield Article(*orjson.loads(row))

    def _bucket(self, name: str) -> int:
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") % self.count

    def _spills(self) -> list[Path]:
        return sorted(self.folder.glob("spill-*.bin"))

    def _read_by(self, spill: Path) -> int:
        with spill.open("rb") as file:
            return int(self._header.unpack(file.read(self._header.size))[0])

    def _spill(self, number: int, waiting: list[bytearray], read: int) -> None:
        packer = zstandard.ZstdCompressor(level=1)
        partial = self.folder / "partial"
        ends = [self._header.size]
        with partial.open("wb") as file:
            file.seek(self._header.size)
            for rows in waiting:
                packed = packer.compress(rows) if rows else b""
                file.write(packed)
                ends.append(ends[-1] + len(packed))
            file.seek(0)
            file.write(self._header.pack(read, *ends))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.folder / f"spill-{number:06d}.bin")
