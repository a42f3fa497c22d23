"""The labels of millions of numbered things on disk: number -> label in two reads, without a sort and with flat memory.

Numbers of Wikidata are dense (Q1 to some Q140000000), so a file of 8-byte places, one for each number, is a table that
needs no index; the file has holes where nothing is written. Both files are mapped: what memory they take, the system
takes back when it needs it. For all of Wikidata that is about 1 GB of places and 2.5 GB of labels.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from rewarm.storage import replaced, stored

_PLACE = 8
_FIRST_PLACES = 1 << 16
_LAST_NUMBER = 10**10  # a mistyped number beyond it would make a file of that many places
_KEPT = 1 << 16


class LabelWriter:
    """Writes labels to `folder`, from where it stopped last time: a context, alone in the folder.

    `done` is the number of lines that are in the store; `key` says what it is made of, and another key begins anew.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        self.done = 0
        self.named: dict[str, str] = {}

    @contextmanager
    def opened(self) -> Iterator[LabelWriter]:
        """The files, open; StorageError when they cannot be written."""
        with stored(f"labels to '{self.folder}'"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                state = read_state(self.folder)
                if state.get("key") != self.key:
                    state = {}
                self.done, self.named = state.get("done", 0), state.get("named", {})
                mode = "r+b" if state else "w+b"
                with (
                    (self.folder / "labels.txt").open(mode) as self._texts,
                    (self.folder / "places").open(mode) as file,
                ):
                    self._texts.truncate(state.get("bytes", 0))
                    self._end = self._texts.seek(0, os.SEEK_END)
                    self._file = file
                    self._grow(max(_FIRST_PLACES, os.fstat(file.fileno()).st_size // _PLACE))
                    yield self

    def add(self, number: int, label: str) -> None:
        """Keeps a label; a number that has one gets the new one."""
        if number >= self._room:
            if number > _LAST_NUMBER:
                return
            self._grow(max(2 * self._room, number + 1))
        text = label.encode("utf-8", "replace") + b"\n"
        self._texts.write(text)
        # 1 more than the place, since a hole in the file reads as 0.
        self._places[number * _PLACE : (number + 1) * _PLACE] = (self._end + 1).to_bytes(_PLACE, "little")
        self._end += len(text)

    def save(self, done: int, complete: bool = False) -> None:
        """Makes everything up to line `done` survive a stop."""
        self._texts.flush()
        self._places.flush()
        state = {"key": self.key, "done": done, "bytes": self._end, "named": self.named, "complete": complete}
        with replaced(self.folder / "state.json") as file:
            file.write(json.dumps(state).encode())

    def _grow(self, room: int) -> None:
        self._file.truncate(room * _PLACE)
        self._places = mmap.mmap(self._file.fileno(), room * _PLACE)
        self._room = room


def read_state(folder: Path) -> dict[str, Any]:
    """What a store says of itself; empty where there is none."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


class Labels:
    """A finished store, open for reading."""

    def __init__(self, folder: Path) -> None:
        self.named: dict[str, str] = read_state(folder).get("named", {})
        self._places = _mapped(folder / "places")
        self._texts = _mapped(folder / "labels.txt")
        self.label = lru_cache(_KEPT)(self._label)

    def _label(self, number: int) -> str:
        """The label of a number; "" where there is none."""
        place = int.from_bytes(self._places[number * _PLACE : (number + 1) * _PLACE], "little") - 1
        return "" if place < 0 else self._texts[place : self._texts.find(b"\n", place)].decode()


def _mapped(file: Path) -> mmap.mmap | bytes:
    with file.open("rb") as opened:
        # An empty file cannot be mapped.
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) if file.stat().st_size else b""
