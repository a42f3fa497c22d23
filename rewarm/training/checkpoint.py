"""Checkpoints: a folder of safetensors and JSON that exists only when it is whole.

Written beside its place, every file and the folder flushed to disk, then renamed; `complete.json` holds the digest of
every file. Nothing is pickled. `checkpoint-N` is the state after N optimizer steps of a leg.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rewarm.training.optimizer import Optimizer, Policy
from rewarm.types import StorageError, UserError

MARKER = "complete.json"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a leg stands: optimizer steps done, and a key that must not change for the leg to go on."""

    step: int
    key: str


def write(folder: Path, step: int, model: nn.Module, optimizer: Optimizer, key: str) -> Path:
    """Saves `checkpoint-<step>` in `folder`; StorageError (with everything saved before whole) when it cannot."""
    target = folder / f"checkpoint-{step}"
    partial = folder / f"partial-checkpoint-{step}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _save(partial / "weights.safetensors", dict(model.named_parameters()))
        _save(partial / "optimizer.safetensors", optimizer.state())
        _save(partial / "random.safetensors", _random_state())
        files = sorted(file.name for file in partial.iterdir())
        marker = {"step": step, "key": key, "sha256": {name: _digest(partial / name) for name in files}}
        with (partial / MARKER).open("w", encoding="utf-8") as file:
            json.dump(marker, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        _sync_folder(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StorageError(
            f"checkpoint at step {step} could not be written to '{folder}': {error}. The checkpoints before it are "
            "whole: make room and run the same command again"
        ) from error
    return target


def _save(file: Path, tensors: dict[str, Tensor]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _random_state() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def steps_saved(folder: Path) -> list[int]:
    """Steps of the checkpoints that are complete, oldest first; half-written ones are not among them."""
    return sorted(
        int(entry.name.removeprefix("checkpoint-"))
        for entry in (folder.iterdir() if folder.is_dir() else ())
        if entry.name.startswith("checkpoint-") and (entry / MARKER).is_file()
    )


def latest(folder: Path, key: str, notes: list[str]) -> Path | None:
    """The newest checkpoint whose files still have their digests; damaged ones are named in `notes` and passed over.

    UserError when the newest good one was written under another `key` (other data, lengths or tokenizer).
    """
    for step in reversed(steps_saved(folder)):
        candidate = folder / f"checkpoint-{step}"
        marker: dict[str, Any] = json.loads((candidate / MARKER).read_text(encoding="utf-8"))
        damaged = [
            name
            for name, digest in marker["sha256"].items()
            if not (candidate / name).is_file() or _digest(candidate / name) != digest
        ]
        if damaged:
            notes.append(f"{candidate}: {', '.join(damaged)} damaged; passed over")
            continue
        if marker["key"] != key:
            raise UserError(
                f"'{candidate}' was written by another plan or from other data (key {marker['key'][:12]}, now "
                f"{key[:12]}): going on would train on something else. Restore the plan and its data, or give another "
                "output_dir"
            )
        return candidate
    return None


def restore(folder: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Loads weights, optimizer and random state of a checkpoint in place; the step it was written at."""
    load_weights(folder, model)
    optimizer.load(load_file(folder / "optimizer.safetensors"))
    states = load_file(folder / "random.safetensors")
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
    return int(json.loads((folder / MARKER).read_text(encoding="utf-8"))["step"])


def load_weights(folder: Path, model: nn.Module) -> None:
    """Copies a checkpoint's weights into the model; UserError when names or shapes differ."""
    saved = load_file(folder / "weights.safetensors")
    own = dict(model.named_parameters())
    if saved.keys() != own.keys():
        raise UserError(f"'{folder}' holds another model: {sorted(saved.keys() ^ own.keys())[:4]} differ")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(saved[name])


def inherit(folder: Path, optimizer: Optimizer, policy: Policy) -> None:
    """Hands the optimizer state of an earlier leg's last checkpoint to this leg, as the stage's policy says."""
    if policy != "reset":
        optimizer.load(load_file(folder / "optimizer.safetensors"), policy)


def prune(folder: Path, keep: int, protect: Iterable[int] = ()) -> None:
    """Deletes all but the newest `keep` complete checkpoints and half-written remains; never the last good one."""
    for leftover in folder.glob("partial-checkpoint-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for step in steps_saved(folder)[: -max(1, keep)]:
        if step not in set(protect):
            shutil.rmtree(folder / f"checkpoint-{step}", ignore_errors=True)


def latest_any(folder: Path) -> Path | None:
    """The newest complete checkpoint whatever its key: the end of an earlier leg."""
    steps = steps_saved(folder)
    return folder / f"checkpoint-{steps[-1]}" if steps else None


def clear(folder: Path) -> None:
    """Deletes every checkpoint of a finished leg whose model is saved and whose state no later leg takes over."""
    for step in steps_saved(folder):
        shutil.rmtree(folder / f"checkpoint-{step}", ignore_errors=True)
