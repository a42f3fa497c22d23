"""Checkpoints: a folder of safetensors and JSON that exists only when it is whole.

Written beside its place, every file and the folder flushed to disk, then renamed; `complete.json` holds the digest of
every file and its own. Nothing is pickled. `checkpoint-N` is the state after N optimizer steps of a leg. Tensors are
whole, one file for each kind, or lie in parts (parts.py), one file for each kind and process.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from rewarm.storage import sha256, sync_folder
from rewarm.training import parts
from rewarm.training.guard import Guard
from rewarm.training.keepers import Keepers
from rewarm.training.optimizer import Optimizer, Policy
from rewarm.types import StorageError, UserError

MARKER = "complete.json"
State = dict[str, dict[str, Tensor]]
"""File (without its ending) -> name -> tensor."""


def state_of(model: nn.Module, optimizer: Optimizer, keepers: Keepers, guard: Guard | None = None) -> State:
    """What a checkpoint holds, by file: trainable weights, optimizer, random state, what retention methods hold, and
    what was skipped.

    All but the random state are the live tensors. Weights that do not train are those the leg starts from.
    """
    found = {"weights": _trainable(model), "optimizer": optimizer.state(), "random": random_state()}
    more = {"retention": keepers.state(), "guard": guard.state() if guard is not None else {}}
    return found | {name: held for name, held in more.items() if held}


def _trainable(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def write(
    folder: Path, step: int, state: State, key: str, pending: Sequence[float] = (), following: str | None = None
) -> Path:
    """Saves `checkpoint-<step>` in `folder`; StorageError (with everything saved before whole) when it cannot.

    `pending` are the losses of the steps not yet in the journal, so that a resumed journal equals an unbroken one, and
    `following` is the fingerprint of the batch to come.
    """
    with explained(folder, step):
        partial = begin(folder, step)
        digests = {f"{name}.safetensors": parts.save(partial / f"{name}.safetensors", state[name]) for name in state}
        told = {"step": step, "key": key, "pending": list(pending), "following": following}
        return finish(folder, told, digests)


@contextmanager
def explained(folder: Path, step: int, clear: bool = True) -> Iterator[None]:
    """Makes the disk's refusal a StorageError, and takes away what was written of the checkpoint, if it is to."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if clear:
            shutil.rmtree(partial_of(folder, step), ignore_errors=True)
        raise StorageError(
            f"checkpoint at step {step} could not be written to '{folder}': {error}. The checkpoints before it are "
            "whole: make room and run the same command again"
        ) from error


def partial_of(folder: Path, step: int) -> Path:
    """Where a checkpoint lies while it is written."""
    return folder / f"partial-checkpoint-{step}"


def begin(folder: Path, step: int) -> Path:
    """An empty folder beside a checkpoint's place, for its files."""
    partial = partial_of(folder, step)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def finish(folder: Path, told: Mapping[str, Any], digests: Mapping[str, str]) -> Path:
    """Gives a checkpoint, all files of which are on disk, its marker and its name."""
    target, partial = folder / f"checkpoint-{told['step']}", partial_of(folder, told["step"])
    _write_marker(partial, {**told, "sha256": dict(sorted(digests.items()))})
    sync_folder(partial)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    sync_folder(folder)
    return target


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file beside the checkpoints that is never seen half-written.

    StorageError when the disk refuses.
    """
    partial = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, partial)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, file)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"'{file}' was not written: {error}. Make room and run the same command again") from error


def _write_marker(folder: Path, values: dict[str, Any]) -> None:
    with (folder / MARKER).open("w", encoding="utf-8") as file:
        json.dump({**values, "own": _digest_of(values)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _read_marker(folder: Path) -> dict[str, Any] | None:
    """What the marker holds; None when it is not what was written."""
    try:
        values = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except ValueError:
        return None
    own = values.pop("own", None) if isinstance(values, dict) else None
    return values if own is not None and own == _digest_of(values) else None


def _digest_of(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def random_state() -> dict[str, Tensor]:
    """The state of the random numbers of this process, by device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_state(states: dict[str, Tensor]) -> None:
    """Random numbers go on from what `random_state` gave."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def steps_saved(folder: Path) -> list[int]:
    """Steps of the checkpoints that are complete, oldest first; half-written ones are not among them."""
    names = [marker.parent.name for marker in folder.glob(f"checkpoint-*/{MARKER}")]
    return sorted(int(found[1]) for found in (re.fullmatch(r"checkpoint-(\d+)", name) for name in names) if found)


def damage(candidate: Path) -> list[str]:
    """Files of a complete checkpoint that are missing or no longer have their digests; none when it is good."""
    marker = _read_marker(candidate)
    if marker is None:
        return [MARKER]
    return [
        name
        for name, digest in marker["sha256"].items()
        if not (candidate / name).is_file() or sha256(candidate / name) != digest
    ]


def latest(folder: Path, key: str, notes: list[str]) -> Path | None:
    """The newest checkpoint whose files still have their digests; damaged ones are named in `notes` and passed over.

    UserError when the newest good one was written under another `key` (other data, lengths or tokenizer).
    """
    for step in reversed(steps_saved(folder)):
        candidate = folder / f"checkpoint-{step}"
        damaged = damage(candidate)
        if damaged:
            notes.append(f"{candidate}: {', '.join(damaged)} damaged; passed over")
            continue
        marker = _read_marker(candidate)
        if marker is not None and marker["key"] != key:
            raise UserError(
                f"'{candidate}' was written by another plan or from other data (key {marker['key'][:12]}, now "
                f"{key[:12]}): going on would train on something else. Restore the plan and its data, or give another "
                "output_dir"
            )
        return candidate
    return None


def restore(
    folder: Path, model: nn.Module, optimizer: Optimizer, keepers: Keepers, guard: Guard | None = None
) -> tuple[int, list[float]]:
    """Loads a checkpoint in place, into a model as its leg starts from it; its step, and the losses not yet logged."""
    load_weights(folder, model)
    optimizer.load(tensors(folder, "optimizer"))
    keepers.load(tensors(folder, "retention"))
    if guard is not None:
        guard.load(guard_of(folder))
    set_random_state(tensors(folder, "random"))
    return step_of(folder), pending(folder)


def tensors(folder: Path, kind: str, wanted: parts.Wanted = lambda name, shape: None) -> dict[str, Tensor]:
    """The tensors of a kind (`weights`, `optimizer`...), of each the wanted rows, whatever processes wrote them; none
    where it holds none of the kind."""
    files = sorted(name for name in _marked(folder)["sha256"] if parts.kind_of(name) == kind)
    return parts.read([folder / name for name in files], wanted)


def guard_of(folder: Path) -> dict[str, Tensor]:
    """What a checkpoint holds of the guard; nothing where no update may be skipped."""
    return tensors(folder, "guard")


def step_of(folder: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(_marked(folder)["step"])


def pending(folder: Path) -> list[float]:
    """The losses of a checkpoint's last steps that were not yet logged."""
    return list(_marked(folder)["pending"])


def following(folder: Path) -> str | None:
    """The fingerprint of the batch that was to come after a checkpoint; None where it tells of none."""
    found: str | None = _marked(folder).get("following")
    return found


def _marked(folder: Path) -> dict[str, Any]:
    """What the marker of a good checkpoint holds."""
    values: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    return values


def load_weights(folder: Path, model: nn.Module) -> None:
    """Copies a checkpoint's weights into the model; UserError when it trains others than these."""
    saved = tensors(folder, "weights")
    own = _trainable(model)
    if saved.keys() != own.keys():
        raise UserError(f"'{folder}' holds another model: {sorted(saved.keys() ^ own.keys())[:4]} differ")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(saved[name])


def inherit(candidate: Path, optimizer: Optimizer, policy: Policy) -> None:
    """Hands the optimizer state of an earlier leg's last checkpoint to this leg, as the stage's policy says.

    UserError when that checkpoint is not there whole: going on without it would silently be another policy.
    """
    if policy == "reset":
        return
    damaged = damage(candidate) if (candidate / MARKER).is_file() else ["all of it"]
    if damaged:
        raise UserError(
            f"optimizer_state: {policy} needs '{candidate}', which is damaged or gone ({', '.join(damaged)}). Delete "
            "the finished model folder of that leg to train it again, or start another run with optimizer_state: reset"
        )
    optimizer.load(tensors(candidate, "optimizer"), policy)


def prune(folder: Path, keep: int, newest: int) -> None:
    """Deletes half-written remains and all complete checkpoints but the last `keep` up to step `newest`.

    `newest` was written a moment ago, so one good checkpoint always stays. Any beyond it were damaged: the leg passed
    them over when it resumed, and keeping them could push out good ones.
    """
    clear_partials(folder)
    steps = steps_saved(folder)
    kept = [step for step in steps if step <= newest][-max(1, keep) :]
    for step in set(steps) - set(kept):
        shutil.rmtree(folder / f"checkpoint-{step}", ignore_errors=True)


def clear_partials(folder: Path) -> None:
    """Deletes half-written remains of saves that a killed process had begun; never while one is being written."""
    for leftover in folder.glob("partial-checkpoint-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def clear(folder: Path) -> None:
    """Deletes every checkpoint of a finished leg whose model is saved and whose state no later leg takes over."""
    for entry in folder.glob("*checkpoint-*"):
        shutil.rmtree(entry, ignore_errors=True)
