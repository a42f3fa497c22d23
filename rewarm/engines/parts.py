"""Results kept on disk, a file for each item, until the whole is made: stopped work goes on with those that are there.

The one who does the work writes the file, so results do not pass through the one who gives it out. A file has its
item's number and digest in its name and appears whole or not at all; one that was damaged is made again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rewarm.engines import Engine
from rewarm.engines.local import ahead
from rewarm.storage import replaced
from rewarm.types import UserError

Arrays = Mapping[str, NDArray[Any]]
_A_FOLDER = 1000
"""Files of a folder: some file systems are slow with more."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A folder of results; None keeps nothing."""

    folder: Path | None

    def map(
        self, engine: Engine, work: Callable[[Any], Arrays], items: Iterable[tuple[str, Any]], name: str = ""
    ) -> Iterator[Arrays]:
        """What the function gives for each item, in order; `items` are digests, of all that decides about a result
        besides the function, and what the function takes. `name` tells several calls of one folder apart.

        UserError when a worker wrote into a file system that this machine does not see.
        """
        begun, is_one = ahead(items)
        if self.folder is None or is_one:
            # One part is made again in less time than its file is worth.
            yield from engine.map(work, (item for _, item in begun))
            return
        root = (self.folder / name if name else self.folder).resolve()
        # Listed once: asking for each file would make a network's file system remember that it is not there.
        there = {file.name for file in root.glob("*/*.npz")}

        def left() -> Iterator[tuple[str, Any]]:
            for number, (digest, item) in enumerate(begun):
                file = root / f"{number // _A_FOLDER:04d}" / f"{number:07d}-{digest}.npz"
                yield str(file), None if file.name in there and _read(file) is not None else item

        for written in engine.map(_Written(work), left()):
            found = _read(Path(written))
            if found is None:
                raise UserError(
                    f"a worker wrote '{written}', and it is not here: all machines of a cluster must see the output "
                    "folder under the same path, on a file system that they share. Give another folder"
                )
            yield found


@dataclass(frozen=True, slots=True)
class _Written:
    """A function whose result goes to a file; there is nothing to do where the item is None."""

    work: Callable[[Any], Arrays]

    def __call__(self, named: tuple[str, Any]) -> str:
        file, item = named
        if item is not None:
            found = self.work(item)
            with replaced(Path(file)) as out:
                np.savez(out, **found)  # type: ignore[arg-type]
        return file


def _read(file: Path) -> Arrays | None:
    """The arrays of a file, whose checksums are looked at; None for one that is not there or not whole."""
    try:
        with np.load(file, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None


def digest(*texts: Iterable[str]) -> str:
    """What names some lists of texts, in 16 bytes, hexadecimal."""
    found = hashlib.blake2b(digest_size=16)
    for some in texts:
        for text in some:
            data = text.encode("utf-8", "surrogatepass")
            found.update(len(data).to_bytes(8, "little") + data)
        found.update(b"\xff" * 8)  # no text is as long
    return found.hexdigest()


@contextmanager
def kept(folder: Path | None) -> Iterator[Parts]:
    """Parts that are kept in a folder while the block lasts, and after it where it was stopped or failed; they go when
    it is done, or when its input turns out to be of no use."""
    parts = Parts(folder)
    try:
        yield parts
    except UserError:
        _remove(folder)
        raise
    _remove(folder)


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
