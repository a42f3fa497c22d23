"""How far a run is, from its files alone: no model library is loaded and nothing is locked."""

from __future__ import annotations

import dataclasses
import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarm.plan import Plan
from rewarm.river.directory import RunDirectory
from rewarm.training import journal


@dataclass(frozen=True, slots=True)
class LegStatus:
    """One leg: `state` is done, begun or waiting; `loss` in nats per token; `scores` in nats per byte."""

    run: str
    name: str
    state: str
    step: int
    steps: int | None
    loss: float | None
    tokens_per_second: float | None
    seconds_left: float | None
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Status:
    """A run: whether a process holds it now, and each of its legs."""

    running: bool
    legs: list[LegStatus]

    def described(self) -> dict[str, Any]:
        """The status as plain values."""
        return dataclasses.asdict(self)


def status(root: Path) -> Status:
    """The status of a run directory; UserError when it is none."""
    run = RunDirectory(root)
    plan = run.resolved()
    legs = _legs(plan, run, "")
    for word in plan.controls:
        control = run.control(word)
        if (control.root / "plan.resolved.json").is_file():
            legs += _legs(control.resolved(), control, word)
    return Status(_held(root / ".lock"), legs)


def _held(lock: Path) -> bool:
    if not lock.is_file():
        return False
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _legs(plan: Plan, run: RunDirectory, word: str) -> list[LegStatus]:
    names: list[str] = []
    for number, stage in enumerate(plan.stages, start=1):
        names.append(f"stage-{number}-{stage.name}")
        names += [f"stage-{number}-{stage.name}-release"] if stage.release is not None else []
    return [_leg(plan, run, word, name) for name in names]


def _leg(plan: Plan, run: RunDirectory, word: str, name: str) -> LegStatus:
    finished = run.finished().get(name)
    entries = journal.read(run.training(name) / "journal.jsonl")
    scores = journal.read(run.training(name) / "scores.jsonl")
    last = entries[-1] if entries else None
    steps = next(
        (entry["steps"] for entry in reversed(run.ledger()) if entry.get("leg") == name and "steps" in entry), None
    )
    speed = last["tokens_per_second"] if last else None
    left = None
    if last and steps and speed and finished is None:
        left = (steps - last["step"]) * plan.batch_tokens / speed
    return LegStatus(
        run=word,
        name=name,
        state="done" if finished else "begun" if last else "waiting",
        step=last["step"] if last else 0,
        steps=steps,
        loss=last["loss"] if last else None,
        tokens_per_second=speed,
        seconds_left=left,
        scores=scores[-1]["losses"] if scores else {},
    )
