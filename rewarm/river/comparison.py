"""The arms of a comparison, each with several seeds -> one result. Running it again goes on where it stopped.

Every run is an ordinary run directory, `arms/<arm>/seed-<number>`, over one set of prepared tokens and one base. Seeds
are counted from 1 and added to the plan's; seed 0 is kept for tuning, and never reported.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rewarm import __version__
from rewarm.evaluation.frontier import Point, distance, shortfall
from rewarm.plan import Plan, Scratch
from rewarm.report.arms import Comparison, Tried
from rewarm.report.arms_page import write
from rewarm.report.result import Result, read
from rewarm.river.arm_rows import Finished, arm_rows, check_alike, seed_run
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs, make_tokenizer
from rewarm.river.jobs import side_by_side
from rewarm.river.pinning import pinned
from rewarm.river.run import run
from rewarm.river.starts import base_model
from rewarm.river.train import Hooks
from rewarm.river.variants import Arm, tunings, with_controls
from rewarm.types import UserError

TUNING_SEED = 0
Runs = dict[str, list[Finished]]


def default_output(plan: Plan) -> Path:
    """Where a comparison goes unless its caller says otherwise."""
    return Path(f"{plan.output_dir}-compare")


def run_plan(plan: Plan, arm: Arm, seed: int, output: Path, base: str | None = None) -> Plan:
    """The plan of one run of an arm. It scores in the end only, unless the plan says how often; `base` is the folder of
    a base that was made from scratch, which must be the same whatever the seed."""
    changes = {
        "output_dir": str(output / "arms" / arm.folder / f"seed-{seed}"),
        "prepared_dir": plan.prepared_dir or str(output / "prepared"),
        # Transfer forward is against the control; nothing else that a comparison shows needs one.
        "controls": tuple(word for word in plan.controls if word == "alone" and arm.plan.languages),
        "seed": plan.seed + seed,
        "eval_every": plan.eval_every or 0,
    }
    if arm.plan.base == plan.base:
        changes["revision"] = plan.revision  # pinned: every run is of one commit
    return arm.plan.model_copy(update=changes if base is None else {**changes, "base": base})


def check(plan: Plan, arms: Sequence[Arm], seeds: int) -> None:
    """UserError when a comparison could come to no verdict, or two runs would share a folder."""
    if seeds < 1:
        raise UserError(f"seeds {seeds} must be 1 or more; 3 is usual, and one decides nothing")
    roles = {plan.role(watch.corpus) for watch in plan.watch}
    if roles != {"old", "new"}:
        raise UserError(
            f"the plan watches {' and '.join(sorted(roles)) or 'no'} text only: a comparison holds old text against "
            "new, so watch a corpus of each"
        )
    if not arms or arms[0].kind != "sweep":
        raise UserError("the first arm must be plain training: make the arms with rewarm.river.variants.arms")
    folders = [arm.folder for arm in arms]
    twice = sorted(arm.name for arm in arms if folders.count(arm.folder) > 1)
    plans: dict[str, Plan] = {}
    for one in [*arms, *(tried for arm in arms for tried in tunings(arm))]:
        # The same plan twice is one run. Another plan would be found out when its turn comes, after all before it.
        if plans.setdefault(one.folder, one.plan).resolved() != one.plan.resolved():
            twice.append(one.name)
    if twice:
        raise UserError(f"{' and '.join(twice)} would share a folder: leave one out, or compare it on its own")


def compare(
    plan: Plan,
    arms: Sequence[Arm],
    seeds: int = 3,
    hooks: Hooks | None = None,
    output: Path | None = None,
    tune: bool = False,
    jobs: int = 1,
) -> Comparison:
    """Trains and scores what is not yet there, and returns the comparison; its JSON and page lie in `output`.

    `arms` are those of `variants.arms`; random controls are added. With `tune`, each method first tries the values of
    its `sweep` on a seed of its own, and the best goes on. `jobs` runs at a time share the machine. UserError when the
    plan or the input is wrong or `output` holds another comparison, Stopped when the hooks ask to stop, StorageError
    when a write fails, RuntimeError when one of several runs at a time does.
    """
    hooks, root = hooks or Hooks(), output or default_output(plan)
    check(plan, arms, seeds)
    with (directory := RunDirectory(root)).locked():
        directory.claim(plan)
        plan = pinned(plan, directory)  # once for all runs: between two of them a name may become another model
        base = _shared_base(plan, directory, hooks)
        if directory.recorded("started") is None:
            directory.record("started", seeds=seeds)
        work = _Work(plan, root, base, hooks, count(arms, seeds, tune), jobs)
        tried: list[Tried] = []
        chosen = _tuned(work, arms, tried) if tune else list(arms)
        every = with_controls(chosen)
        check(plan, every, seeds)
        runs: Runs = {arm.name: [] for arm in every}
        work.ahead([(arm, seed) for seed in range(1, seeds + 1) for arm in every])
        # A seed of every arm before the next seed: what slows the machine for a while then slows all of them.
        for seed in range(1, seeds + 1):
            for arm in every:
                runs[arm.name].append(work.run(arm, seed))
        check_alike(runs)
        rows, notes = arm_rows(every, runs)
        comparison = Comparison(
            rewarm=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            plan=plan.resolved(),
            seeds=[plan.seed + seed for seed in range(1, seeds + 1)],
            plain=every[0].name,
            arms=rows,
            tried=tuple(tried),
            columns=runs[every[0].name][0].result.columns,
            notes=tuple(notes),
        )
        write(comparison, root)
        return comparison


def count(arms: Sequence[Arm], seeds: int, tune: bool) -> int:
    """How many runs a comparison takes, controls and tuning included."""
    candidates = [len(tunings(arm)) for arm in arms] if tune else []
    swept = sum(arm.kind == "sweep" for arm in arms) if any(candidates) else 0
    return seeds * len(with_controls(arms)) + sum(candidates) + swept


def finished(plan: Plan) -> Result | None:
    """The result of a run that has finished with this very plan; None when there is something to do."""
    file = plan.directory / "report.json"
    if not file.is_file():
        return None
    result, asked = read(file), pinned(plan, RunDirectory.of(plan))
    return result if result.complete and result.plan == json.loads(json.dumps(asked.resolved())) else None


@dataclass(slots=True)
class _Work:
    """The runs of a comparison, numbered as they come."""

    plan: Plan
    root: Path
    base: str | None
    hooks: Hooks
    total: int
    jobs: int = 1
    number: int = 0

    def ahead(self, runs: Sequence[tuple[Arm, int]]) -> None:
        """Makes all of these runs side by side, so that `run` finds them finished; nothing for one job."""
        if self.jobs > 1:
            plans = [run_plan(self.plan, arm, seed, self.root, self.base) for arm, seed in runs]
            left = [plan for plan in plans if finished(plan) is None]
            side_by_side(left, self.jobs, self.hooks.tell, self.hooks.stop)

    def run(self, arm: Arm, seed: int) -> Finished:
        """One run: read where it has finished, otherwise made or gone on with."""
        self.number += 1
        plan = run_plan(self.plan, arm, seed, self.root, self.base)
        word = f"run {self.number} of {max(self.number, self.total)}: {arm.name}, seed {seed}"

        def tell(label: str, done: float, total: float | None, unit: str) -> None:
            self.hooks.tell(f"{word}: {label}", done, total, unit)

        result = finished(plan) or run(plan, Hooks(tell, self.hooks.stop))
        return Finished(seed, RunDirectory.of(plan), result)


def _shared_base(plan: Plan, directory: RunDirectory, hooks: Hooks) -> str | None:
    """The folder of a base from scratch, made once; None where the plan names a base that exists."""
    if not isinstance(plan.base, Scratch):
        return None
    if not directory.base.is_dir():
        base_model(plan, Inputs(plan, make_tokenizer(plan, directory, hooks.tell_or_stop)), directory)
    return str(directory.base)


def _tuned(work: _Work, arms: Sequence[Arm], tried: list[Tried]) -> list[Arm]:
    """The arms, each method at the best of its values; what was tried is added to `tried`."""
    candidates = {arm.name: tunings(arm) for arm in arms}
    if not any(candidates.values()):
        return list(arms)

    def measured(arm: Arm) -> Point:
        found = seed_run(work.run(arm, TUNING_SEED))
        return Point(found.old, found.new)

    every = [arm for arm in arms if arm.kind == "sweep"] + [one for found in candidates.values() for one in found]
    work.ahead([(arm, TUNING_SEED) for arm in every])
    sweep = [measured(arm) for arm in arms if arm.kind == "sweep"]
    chosen: dict[str, Arm] = {}
    for arm in arms:
        points = {one.name: measured(one) for one in candidates[arm.name]}
        best = min(candidates[arm.name], key=lambda one: shortfall(points[one.name], sweep), default=arm)
        chosen.setdefault(best.name, best)
        tried += [
            Tried(
                tuned=arm.name,
                name=one.name,
                change=one.change(),
                old=points[one.name].old,
                new=points[one.name].new,
                distance=distance(points[one.name], sweep),
                chosen=one is best,
            )
            for one in candidates[arm.name]
        ]
    return list(chosen.values())
