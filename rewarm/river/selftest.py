"""A user's own plan on trial, in a folder of its own that is gone afterwards: nothing of the user's run is touched.

What is checked is in `selftest_resume.py`, `selftest_data.py` and `selftest_loss.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rewarm.plan import Plan, from_values
from rewarm.river.directory import PLAN, RunDirectory
from rewarm.river.inputs import Inputs, make_inputs
from rewarm.river.legs import LegPlan, legs
from rewarm.river.train import Hooks


@dataclass(frozen=True, slots=True)
class Bench:
    """A plan with its text prepared and its legs planned, as a run would begin with them."""

    plan: Plan
    run: RunDirectory
    inputs: Inputs
    planned: list[LegPlan]
    hooks: Hooks

    def another(self, name: str) -> RunDirectory:
        """A run directory beside this one, which shares what is prepared, the tokenizer and the base."""
        run = RunDirectory(self.run.root.parent / name, self.run.prepared)
        run.tokenizer, run.base = self.run.tokenizer, self.run.base
        return run


@contextmanager
def bench(plan: Plan, hooks: Hooks) -> Iterator[Bench]:
    """The bench of a plan, in a temporary folder (`TMPDIR` says where). Text that the plan's run has prepared is read
    where it lies. UserError when the plan or its input is wrong, Stopped when the hooks ask to stop."""
    with tempfile.TemporaryDirectory(prefix="rewarm-selftest-") as folder:
        root = Path(folder) / "run"
        values = {**plan.resolved(), "output_dir": str(root), "prepared_dir": None, "controls": []}
        own = from_values(values)
        run = RunDirectory.of(own)
        run.prepared.mkdir(parents=True)
        for store in RunDirectory.of(plan).prepared.glob("*/manifest.json"):
            (run.prepared / store.parent.name).symlink_to(store.parent.absolute())
        run.write_json(PLAN, own.resolved())
        inputs = make_inputs(own, run, hooks.tell_or_stop)
        yield Bench(own, run, inputs, legs(own, inputs.trainable_tokens), hooks)
