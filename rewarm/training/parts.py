"""Files of a checkpoint, with tensors whole or some rows of them: a process writes what it has, and any reads any.

A file in parts says in its header where its rows begin, as `torch.distributed.checkpoint` does when it writes
safetensors (`HuggingFaceStorageWriter`, `save_distributed`), so that its `HuggingFaceStorageReader` reads these, too.
That writer itself is not used: it builds a whole file in memory first, and the processes would send each other pickles.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rewarm.storage import sha256

Wanted = Callable[[str, tuple[int, ...]], tuple[int, int] | None]
"""Name and whole shape of a tensor -> the first row to read and the one after the last; None for all of it."""
OFFSETS, _EACH = "DCP_SHARDING_INFO", "saved_offsets"
_NAME = re.compile(r"(.+?)(?:-\d{5}-of-\d{5})?\.safetensors")


def name_of(kind: str, rank: int, size: int) -> str:
    """The file of what one of several processes holds of a kind."""
    return f"{kind}-{rank + 1:05d}-of-{size:05d}.safetensors"


def kind_of(name: str) -> str:
    """What a file holds: `weights` for `weights.safetensors` and for `weights-00001-of-00002.safetensors`."""
    found = _NAME.fullmatch(name)
    return found[1] if found is not None else name


def save(file: Path, tensors: Mapping[str, Tensor], rows: Mapping[str, int] | None = None) -> str:
    """Writes tensors and flushes them to disk; the SHA-256 of the file.

    `rows` says of each tensor with which row of the whole it begins; without it all of them are whole.
    """
    held = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    about = None
    if rows is not None:
        first = {name: [rows.get(name, 0), *[0] * tensor.ndim][: tensor.ndim] for name, tensor in held.items()}
        offsets = json.dumps({name: {_EACH: each} for name, each in first.items()})
        about = {OFFSETS: offsets, "DCP_VERSION": "1.0", "format": "pt"}
    save_file(held, file, about)
    # Read again while it lies in memory: a tenth more than hashing alone. SHA-256 is twice as fast as BLAKE2b here.
    digest = sha256(file)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    return digest


def read(files: Iterable[Path], wanted: Wanted = lambda name, shape: None) -> dict[str, Tensor]:
    """The tensors of files by name, put together from their parts; of each the rows that are wanted."""
    with ExitStack() as stack:
        pieces: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        for file in files:
            opened = stack.enter_context(safe_open(file, "pt"))
            offsets = json.loads((opened.metadata() or {}).get(OFFSETS, "{}"))
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                first = [*offsets.get(name, {}).get(_EACH, []), 0][0]
                pieces[name].append((first, opened.get_slice(name)))
        return {name: _rows(name, sorted(found, key=lambda piece: piece[0]), wanted) for name, found in pieces.items()}


def _rows(name: str, pieces: list[tuple[int, Any]], wanted: Wanted) -> Tensor:
    shape = pieces[0][1].get_shape()
    if not shape:
        whole: Tensor = pieces[0][1][...]
        return whole
    there = 0
    for first, piece in pieces:
        if first != there:
            raise ValueError(f"rows {there} to {first} of '{name}' lie in no file of the checkpoint")
        there += piece.get_shape()[0]
    begin, end = wanted(name, (there, *shape[1:])) or (0, there)
    cut = [
        piece[max(begin - first, 0) : min(end - first, piece.get_shape()[0])]
        for first, piece in pieces
        if first < end and begin < first + piece.get_shape()[0]
    ]
    return torch.cat(cut) if len(cut) > 1 else cut[0] if cut else pieces[0][1][:0]
