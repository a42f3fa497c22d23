"""`rewarm run`: trains a plan, or goes on with it."""

from __future__ import annotations

import typer

from rewarm.cli.console import AsJson, Debug, DryRun, PlanFile, Quiet, Watcher, say, say_json


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(run)


def run(
    plan: PlanFile, dry_run: DryRun = False, as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False
) -> None:
    """Train a plan's stages, score every model, and write the report. The same command goes on after a stop."""
    from rewarm.cli.check import show
    from rewarm.launch import tune
    from rewarm.plan import load
    from rewarm.river.forecast import forecast

    loaded = load(plan)
    if not dry_run:
        tune()
    expected = forecast(loaded, timed=dry_run)
    if dry_run:
        show(expected, as_json)
        expected.refuse()
        return
    expected.refuse()
    from rewarm.report.terminal import path_line, table
    from rewarm.river.run import run as run_plan

    with Watcher(quiet or as_json) as watcher:
        result = run_plan(loaded, watcher.hooks(), command=f"rewarm run {plan}")
    page = loaded.directory / "report.html"
    if as_json:
        say_json({"report": str(page), "complete": result.complete, "result": result.model_dump(mode="json")})
        return
    say(table(result))
    say(path_line(page))
