"""Whether a plan's first stage, stopped in the middle and gone on with, ends as if it had not been stopped.

On a CPU bit for bit. On a GPU sums are not made in one order, so that two unbroken runs already differ: there weights,
optimizer and losses must agree to `ON_DEVICE`, relative, and data, rates and steps exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from rewarm.river.checks import Check
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import last_rates
from rewarm.river.selftest import Bench
from rewarm.river.train import ready
from rewarm.training import checkpoint, journal
from rewarm.training.loop import Outcome, train

ON_DEVICE = 1e-3
SPEED = "tokens_per_second"


def resume(bench: Bench, steps: int) -> list[Check]:
    """Trains so many steps of the first leg (fewer, if it is shorter) unbroken, and again with a stop in the middle."""
    leg = bench.planned[0]
    last = min(steps, leg.steps)
    if last < 2:
        return [Check.skipped(leg.name, "resume", f"{last} step has no middle: give --steps 2 or more")]
    unbroken, broken = bench.another("unbroken"), bench.another("resumed")
    _train(bench, unbroken, last)
    _train(bench, broken, last // 2)
    outcome = _train(bench, broken, last - last // 2)
    folders = [run.training(leg.name) for run in (unbroken, broken)]
    subject = f"{leg.name}, {last} steps, stopped at {last // 2}"
    return [
        Check.of(subject, "went on from step", last // 2, outcome.resumed),
        Check.of(subject, "first batch is the one to come", True, outcome.same_batch),
        *_states(subject, *(folder / f"checkpoint-{last}" for folder in folders)),
        *_journals(subject, *(journal.read(folder / "journal.jsonl") for folder in folders)),
    ]


def _train(bench: Bench, run: RunDirectory, steps: int) -> Outcome:
    """So many more steps of the first leg, in a run of its own."""
    leg = bench.planned[0]
    made = ready(bench.inputs, run, bench.planned, leg, last_rates(bench.planned)[leg.start], bench.hooks)

    def tell(step: int, entry: dict[str, Any]) -> None:
        bench.hooks.tell_or_stop(f"train {run.root.name}", step, None, "steps")

    return train(made.model, made.optimizer, made.leg, [], _after(steps), tell, made.keepers)


def _after(steps: int) -> Callable[[], bool]:
    """Asks to stop when it is asked for the `steps`-th time, which the loop does after each step."""
    asked = iter(range(1, steps + 1))
    return lambda: next(asked) == steps


def _states(subject: str, first: Path, second: Path) -> Iterator[Check]:
    """Every file of two checkpoints: weights, optimizer, random numbers, what retention holds."""
    for file in sorted(file.name for file in first.glob("*.safetensors")):
        what = file.removesuffix(".safetensors")
        held, found = load_file(first / file), load_file(second / file)
        distance = max((_distance(held[name], found[name]) for name in held), default=0.0)
        if torch.cuda.is_available() and what != "random":
            yield Check.within(subject, f"{what}, relative distance", distance, ON_DEVICE)
            continue
        same = held.keys() == found.keys() and all(_same_bits(held[name], found[name]) for name in held)
        told = "bit-equal" if same else f"differs by {distance:.3g} (relative)"
        yield Check(subject, f"{what} ({len(held)} tensors)", "bit-equal", told, same)
    pending = [checkpoint.pending(folder) for folder in (first, second)]
    yield _losses(subject, "losses not yet logged", *pending)


def _same_bits(held: Tensor, found: Tensor) -> bool:
    return held.dtype == found.dtype and torch.equal(
        held.contiguous().flatten().view(torch.uint8), found.contiguous().flatten().view(torch.uint8)
    )


def _distance(held: Tensor, found: Tensor) -> float:
    length = float(held.double().norm())
    return float((held.double() - found.double()).norm()) / (length or 1.0)


def _journals(subject: str, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Iterator[Check]:
    """Two journals, but for speed: exactly, or on a GPU losses and norms nearly."""
    if not torch.cuda.is_available():
        plain = [[{key: one[key] for key in one if key != SPEED} for one in held] for held in (first, second)]
        same = plain[0] == plain[1]
        found = "equal" if same else "differs"
        yield Check(subject, f"journal ({len(first)} entries)", "equal but for speed", found, same)
        return
    exact = [[(one["step"], one["rate"], one["batch"]) for one in held] for held in (first, second)]
    yield Check(subject, "steps, rates and batches", "equal", str(exact[0] == exact[1]), exact[0] == exact[1])
    yield _losses(subject, "losses of the journal", *([one["loss"] for one in held] for held in (first, second)))


def _losses(subject: str, what: str, first: list[float], second: list[float]) -> Check:
    if not torch.cuda.is_available():
        return Check(subject, what, "equal", "equal" if first == second else "differ", first == second)
    close = len(first) == len(second) and all(
        math.isclose(old, new, rel_tol=ON_DEVICE) for old, new in zip(first, second, strict=True)
    )
    return Check(subject, what, f"within {ON_DEVICE:g}", "so they are" if close else "they are not", close)
