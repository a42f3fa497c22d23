"""`rewarm selftest`: what rewarm promises of training, checked on the user's own plan."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rewarm.cli.verb import Answer, Manner, PlanFile, verb
from rewarm.cli.watcher import Watcher


class What(StrEnum):
    """What is checked."""

    resume = "resume"
    data = "data"
    loss = "loss"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, selftest, works=True)


def selftest(
    manner: Manner,
    what: Annotated[What, typer.Argument(help="resume, data or loss (docs/reliability.md).", show_default=False)],
    plan: PlanFile,
    steps: Annotated[int, typer.Option(min=2, help="Steps that are trained (resume) or read one by one (data).")] = 20,
) -> Answer:
    """Check resume, data or loss on your own plan.

    In a temporary folder; the plan's run is not touched. resume: steps trained with a stop in the middle end as without
    one. data: shares, passes and batches are those asked for. loss: documents in a row do not see each other. Exit code
    2 when something is not right.
    """
    from rewarm.cli.verify import told
    from rewarm.launch import tune
    from rewarm.plan import load

    loaded = load(plan)
    tune()
    with Watcher(manner) as watcher:
        from rewarm.river.selftest import bench
        from rewarm.river.selftest_data import data
        from rewarm.river.selftest_loss import loss
        from rewarm.river.selftest_resume import resume

        with bench(loaded, watcher.hooks()) as made:
            found = {What.resume: resume, What.data: data, What.loss: loss}[what](made, steps)
    return told(found, f"rewarm selftest {what.value} {plan}")
