"""Takes back the stage that was added to a run last: the ledger says so, and no plan, score or report has it any more.

Only added stages are taken back, the last one first, so that nothing builds on what goes. Its files are set aside in
`undone/<stage>` of the run directory, at their places there, or deleted. Prepared text stays: it is of the corpus.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rewarm.plan import Plan, from_values
from rewarm.report.result import Result
from rewarm.river.controls import control_plans
from rewarm.river.directory import ADDED, BEGUN, PLAN, UNDONE, RunDirectory
from rewarm.river.run import report
from rewarm.river.status import leg_names
from rewarm.river.train import Hooks
from rewarm.stream import without_last_stage
from rewarm.types import UserError


@dataclass(frozen=True, slots=True)
class Undoing:
    """What taking a stage back would be: the plan without it, the corpora and probe sets that go with it, and the legs
    that go, of the run ("") and of its controls."""

    run: RunDirectory
    plan: Plan
    stage: str
    corpora: tuple[str, ...]
    probes: tuple[str, ...]
    legs: Mapping[str, list[str]]

    def directories(self) -> dict[str, RunDirectory]:
        """The run and its controls, by the control's word."""
        return {word: self.run.control(word) if word else self.run for word in self.legs}

    def files(self) -> list[Path]:
        """Everything in the run directory that only the stage has need of."""
        found = [file for word, run in self.directories().items() for file in self._files(run, self.legs[word])]
        found += [self.run.root / "probes" / f"{name}.json" for name in self.probes]
        there = {file for file in found if file.exists()}
        return sorted(file for file in there if not there & set(file.parents))

    def _files(self, run: RunDirectory, legs: list[str]) -> Iterator[Path]:
        for leg in legs:
            yield from (run.model(leg), run.training(leg), run.evaluations / leg)
            yield from run.evaluations.glob(f"during/{leg}-*")
        for corpus in self.corpora:
            for depth in ("*", "during/*", "*/pairs"):
                yield from run.evaluations.glob(f"{depth}/{corpus}.npz")
        for name in self.probes:
            yield from run.evaluations.glob(f"*/facts/{name}.npz")
        yield from run.root.glob(f"samples/{self.stage}.jsonl*")
        yield from run.root.glob(f"samples/self-{self.stage}-*")
        yield from run.root.glob(f"selected/{self.stage}-*.npz")


def undoing(root: Path) -> Undoing:
    """What taking back the last added stage of a run would be. Nothing is written.

    UserError when the run's last stage is not one that was added.
    """
    plan = RunDirectory(root).resolved()
    run = RunDirectory.of(plan, root)
    last = plan.stages[-1].name
    newest = run.recorded(ADDED) or run.recorded(UNDONE)  # the latter where a process was killed while it took it back
    if newest is None or newest["stage"] != last:
        raise UserError(
            f"no stage of '{root}' can be taken back: it was begun with its last one, '{last}'. Stages that rewarm "
            "add-stage added can, the last one first; for another plan give another output_dir"
        )
    after = from_values(without_last_stage(plan.resolved()))
    gone = tuple(name for name in plan.corpora if name not in after.corpora)
    plans = {"": after, **control_plans(after, run)}
    runs = {word: run.control(word) if word else run for word in plans}
    held = {word: one for word, one in runs.items() if not word or one.ledger_file.is_file()}
    legs = {word: _legs(one, plans[word], last, gone) for word, one in held.items()}
    probes = tuple(name for name in plan.probes if name not in after.probes)
    return Undoing(run, after, last, gone, probes, legs)


def undo(root: Path, delete: bool = False, hooks: Hooks | None = None) -> Result:
    """Takes back the last added stage, writes the report again, and returns the run's result without it.

    The plan comes last, so that the same call takes back the rest where a process was killed. UserError as `undoing`.
    """
    RunDirectory(root).resolved()  # a lock would make the folder
    with RunDirectory(root).locked():
        found = undoing(root)
        files = found.files()
        _record(found)
        aside = _aside(found)
        for file in files:
            if delete:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            else:
                target = aside / file.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
        found.run.write_json(PLAN, found.plan.resolved())
        return report(root, hooks)


def _legs(run: RunDirectory, plan: Plan, stage: str, gone: tuple[str, ...]) -> list[str]:
    """The legs of a run that a plan without the stage does not have, or that have read text that goes with it."""
    before = run.recorded(UNDONE)
    known = list(before["legs"]) if before is not None and before["stage"] == stage else []
    known += [entry["leg"] for entry in run.ledger() if "leg" in entry]
    read = {leg for leg, entry in run.finished().items() if any(name in entry["rows"] for name in gone)}
    kept = set(leg_names(plan)) - read
    return [leg for leg in dict.fromkeys(known) if leg not in kept]


def _record(found: Undoing) -> None:
    """Writes down what goes, and what the run has from now on begun with and planned."""
    for word, run in found.directories().items():
        if word == "" or found.legs[word]:
            run.record(UNDONE, stage=found.stage, legs=found.legs[word])
    begun, started = found.run.recorded(BEGUN), found.run.recorded("started")
    assert begun is not None  # a stage is added to a run that has begun
    kept = {name: one for name, one in begun["corpora"].items() if name not in found.corpora}
    probes = {name: one for name, one in begun.get("probes", {}).items() if name not in found.probes}
    found.run.record(BEGUN, tokenizer=begun["tokenizer"], corpora=kept, probes=probes)
    if started is not None:
        steps = {
            word: {leg: count for leg, count in counts.items() if leg not in found.legs.get(word, [])}
            for word, counts in started["steps"].items()
        }
        found.run.record("started", steps=steps)


def _aside(found: Undoing) -> Path:
    """A folder for the stage's files that is not there yet."""
    folder = found.run.root / "undone"
    number = 1
    while (folder / f"{found.stage}-{number}").exists():
        number += 1
    return folder / f"{found.stage}-{number}"
