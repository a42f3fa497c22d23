"""`rewarm run`: trains a plan, or goes on with it."""

from __future__ import annotations

import typer

from rewarm.cli.together import Processes, Restarts, launch, together
from rewarm.cli.verb import Answer, Execute, Manner, PlanFile, verb
from rewarm.cli.watcher import Watcher


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, run, writes=True, works=True)


def run(
    manner: Manner, plan: PlanFile, execute: Execute = False, processes: Processes = None, restarts: Restarts = 0
) -> Answer:
    """Train a plan's stages and controls, score every model, report.

    The same command goes on after a stop. SIGTERM or Ctrl-C saves and stops; a second one quits at once. With
    --processes, or under torchrun, several processes train it together.
    """
    from rewarm.launch import tune
    from rewarm.plan import load
    from rewarm.sandbox.permission import executing

    loaded = load(plan)
    if manner.dry_run:
        from rewarm.cli.check import told
        from rewarm.river.forecast import forecast

        return told(forecast(loaded, timed=True))
    tune()
    launch(processes, restarts)
    with together() as world, executing(execute), Watcher(manner if world.is_first else Manner(quiet=True)) as watcher:
        from rewarm.cli.report import told as told_result
        from rewarm.river.following import follow
        from rewarm.river.forecast import forecast
        from rewarm.river.run import run as run_plan
        from rewarm.river.suite_sets import check_execution

        if not world.is_first:
            follow(loaded, world, lambda: watcher.stopping)
        hooks = watcher.hooks()
        hooks.stop = lambda: watcher.stopping or world.asked_to_stop()
        check_execution(loaded)
        forecast(loaded).refuse()
        result = run_plan(loaded, hooks, command=f"rewarm run {plan}{' --execute' if execute else ''}")
    return told_result(result, loaded.directory)
