"""The (re)warm paper in miniature: how to re-warm, what it costs, and what replay, streams and annealing do to it.

    python studies/rewarm/study.py OUTPUT [--data DATA] [--small] [--seeds 3] [--only T1 T2 ...]

After Gupta et al. (arXiv 2308.04014), Ibrahim et al. (2403.08763) and what followed them. DATA (or REWARM_DATA) is a
folder with the files of `arms.py`. A base of 231,744 parameters learns 512,000 tokens of old English books with a
cosine to a tenth of its peak, one base for each seed; then every arm updates it with 153,600 tokens. Claims come one
after the other, each with all its seeds, before the next begins. Every finished run adds a line to OUTPUT/rows.jsonl,
and its directory is deleted; stopped, the same command goes on where it was. `summary.py OUTPUT` makes `results.json`
beside this file and the pages in docs of what is there. `--small` goes once through every arm with a few steps.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arms
import laws
from arms import Arm, Size
from rows import Rows
from safetensors.torch import load_file

from rewarm.launch import tune
from rewarm.models.load import load_model, save_model
from rewarm.plan import Plan
from rewarm.report.result import Cell, Result
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import make_tokenizer
from rewarm.river.legs import LegPlan, last_rates, legs, past
from rewarm.river.run import collected, run
from rewarm.river.train import Hooks
from rewarm.types import Stopped

BASE_LEG = "stage-1-books"
COMMAND = "studies/rewarm/study.py"


@dataclass(frozen=True, slots=True)
class Study:
    """Where the study lies and how large it is."""

    data: Path
    output: Path
    size: Size

    @property
    def rows(self) -> Rows:
        """What has been found."""
        return Rows(self.output / "rows.jsonl")

    def plan(self, arm: Arm, seed: int, base: str | Mapping[str, Any]) -> Plan:
        """The plan of an arm."""
        return arms.plan(self.data, self.output, self.size, seed, arm, base)

    def scratch(self) -> dict[str, Any]:
        """A model that knows nothing. All seeds and arms share one tokenizer, trained on the books."""
        folder = self.output / "tokenizer"
        if not folder.is_dir():
            options = {"vocab_size": 2048, "sample_bytes": "8M"}
            base = {"from": "scratch", "config": arms.CONFIG, "tokenizer": options}
            directory = RunDirectory(self.output / "tokenizer-run")
            make_tokenizer(self.plan(arms.constant_base(self.size), 1, base), directory)
            directory.tokenizer.rename(folder)
            shutil.rmtree(directory.root)
        return {"from": "scratch", "config": arms.CONFIG, "tokenizer": str(folder)}

    def kept(self, seed: int, name: str) -> Path:
        """The folder of a base that arms start from."""
        return self.output / "bases" / str(seed) / name


def train_base(study: Study, seed: int) -> None:
    """The decayed base of a seed, and what it was half-way, as folders; the base's run waits there for its branches."""
    if study.kept(seed, "base").is_dir():
        return
    arm = arms.base_arm(study.size)
    plan = study.plan(arm, seed, study.scratch())
    directory = RunDirectory.of(plan)
    half = study.size.base // arms.BATCH_TOKENS // 2
    if not study.kept(seed, "half-base").is_dir():
        stopped(plan, half)
        weights = sorted(directory.training(BASE_LEG).glob("checkpoint-*/weights.safetensors"))[-1]
        keep(directory, directory.base, study.kept(seed, "half-base"), load_file(weights))
    stopped(plan, None)
    study.rows.add(row_of(study, plan, arm, seed, collected(directory.root), "base"))
    shutil.copytree(directory.model(BASE_LEG), study.kept(seed, "base"))


def stopped(plan: Plan, step: int | None) -> None:
    """Runs a base's plan until that step of its first leg (as soon as it is told of it), or until that leg is over."""
    directory, seen = RunDirectory.of(plan), [0]

    def tell(label: str, done: float, total: float | None, unit: str) -> None:
        if label == f"train {BASE_LEG}":
            seen[0] = int(done)

    def done() -> bool:
        return seen[0] >= step if step is not None else BASE_LEG in directory.finished()

    try:
        run(plan, Hooks(tell=tell, stop=done), command=COMMAND)
    except Stopped:
        return
    raise RuntimeError(f"the run in {plan.directory} was to be stopped and came to its end")


def keep(directory: RunDirectory, like: Path, folder: Path, weights: Mapping[str, Any]) -> None:
    """Saves weights of a checkpoint as a model folder."""
    model = load_model(str(like))
    model.load_state_dict(dict(weights), strict=False)
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, directory.tokenizer, folder)


def train_constant_base(study: Study, seed: int) -> None:
    """The base that was never annealed."""
    if study.kept(seed, "constant-base").is_dir():
        return
    arm = arms.constant_base(study.size)
    plan = study.plan(arm, seed, study.scratch())
    result = run(plan, command=COMMAND)
    study.rows.add(row_of(study, plan, arm, seed, result, "T11"))
    shutil.copytree(plan.directory / BASE_LEG, study.kept(seed, "constant-base"))
    shutil.rmtree(plan.directory)


def carry_out(study: Study, arm: Arm, seed: int, claim: str) -> None:
    """Runs one arm and adds its row; the arms of the base's own run come all at once."""
    train_base(study, seed)
    if arm.start == "branch":
        return carry_out_branches(study, seed)
    if arm.start == "constant-base":
        train_constant_base(study, seed)
    base = study.scratch() if arm.start == "scratch" else str(study.kept(seed, arm.start))
    plan = study.plan(arm, seed, base)
    result = early(plan) if arm.early else run(plan, command=COMMAND)
    study.rows.add(row_of(study, plan, arm, seed, result, claim))
    shutil.rmtree(plan.directory)


def early(plan: Plan) -> Result:
    """The first 4 % of an update (at least four steps), scored every other step."""
    steps = legs(plan, lambda _: 1 << 60)[0].steps
    most, seen = max(4, round(0.04 * steps)), [0]

    def tell(label: str, done: float, total: float | None, unit: str) -> None:
        if label.startswith("train "):
            seen[0] = int(done)

    try:
        run(plan, Hooks(tell=tell, stop=lambda: seen[0] >= most), command=COMMAND)
    except Stopped:
        return collected(plan.directory)
    raise RuntimeError(f"the run in {plan.directory} was to be stopped early and came to its end")


def carry_out_branches(study: Study, seed: int) -> None:
    """Goes on with the base's own run to its end: a row for each branch."""
    arm = arms.base_arm(study.size)
    plan = study.plan(arm, seed, study.scratch())
    result = run(plan, command=COMMAND)
    for name, stage in arms.branches(study.size).items():
        branch = Arm(f"german/{name}", "branch", (stage,), arm.watch)
        study.rows.add(row_of(study, plan, branch, seed, result, "optimizer"))
    shutil.rmtree(plan.directory)


def row_of(study: Study, plan: Plan, arm: Arm, seed: int, result: Result, claim: str) -> dict[str, Any]:
    """All that is kept of a run. Losses are [nats per token, bits per byte] of held-out text."""
    own = {stage["name"] for stage in arm.stages} if arm.name != "base" else {"books"}
    planned = legs(plan, lambda _: 1 << 60)
    rates = last_rates(planned)
    chosen = [leg for leg in planned if leg.stage in own]
    # What branches of the base's run start from is its first leg, not the model that knows nothing.
    base = next(row for row in result.rows if row.name == chosen[0].start).cells
    names = {leg.name for leg in chosen}
    ratio = {name: cell.bytes / cell.tokens for name, cell in base.items()}
    return {
        "claim": claim,
        "arm": arm.name,
        "seed": seed,
        "start": arm.start,
        "tokens": {leg.name: leg.tokens(arms.BATCH_TOKENS) for leg in chosen},
        "base": {name: losses(cell) for name, cell in base.items()},
        "after": {
            row.name: {name: losses(cell) for name, cell in row.cells.items()}
            for row in result.rows
            if row.name in names
        },
        "curve": [
            [probe.leg, probe.tokens, {name: round(loss * ratio[name], 5) for name, loss in probe.losses.items()}]
            for probe in result.probes
            if probe.leg in names
        ],
        "areas": {leg.name: areas(leg, rates[leg.start]) for leg in chosen},
        "train": [pair for curve in result.curves if curve.leg in names for pair in thinned(curve.tokens, curve.loss)],
        "shares": {share.corpus: round(share.realised, 5) for share in result.shares if share.stage in names},
        "parameters": result.parameters,
        "seconds": round(sum(cost.seconds for cost in result.costs if cost.leg in names), 1),
    }


def losses(cell: Cell) -> list[float]:
    """Nats per token and bits per byte."""
    return [round(cell.loss * cell.bytes / cell.tokens, 5), round(cell.loss / math.log(2), 5)]


def thinned(tokens: list[int], loss: list[float], most: int = 12) -> list[list[float]]:
    """A few points of a training curve."""
    return [[at, round(one, 4)] for at, one in list(zip(tokens, loss, strict=True))[:: max(1, len(tokens) // most)]]


def areas(leg: LegPlan, before: float) -> list[float]:
    """The rate areas S1 and S2 of a leg, after a last rate of `before`."""
    schedule: Any = leg.schedule
    rates = [schedule.rate(step, leg.steps, leg.peak, past(leg, before)) for step in range(leg.steps)]
    first, second = laws.areas(rates)
    return [round(float(first[-1]), 6), round(float(second[-1]), 6)]


def main() -> None:
    """Runs what is missing, claim by claim and seed by seed."""
    tune()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get("REWARM_DATA"))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--only", nargs="*", default=None, help="Claims, by name.")
    given = parser.parse_args()
    if given.data is None:
        parser.error("give --data, or name the folder in REWARM_DATA")
    size = arms.SMALL if given.small else Size()
    study = Study(Path(given.data), given.output, size)
    study.output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    for claim, wanted in arms.claims(size).items():
        if given.only is not None and claim not in given.only:
            continue
        for seed in range(1, (given.seeds or size.seeds) + 1):
            for arm in wanted:
                if all((row["arm"], row["seed"]) != (arm.name, seed) for row in study.rows.read()):
                    carry_out(study, arm, seed, claim)
                    print(f"{time.perf_counter() - start:7.0f} s  {claim}, seed {seed}: {arm.name}", flush=True)
    print("every claim that was asked for is complete", flush=True)


if __name__ == "__main__":
    main()
