"""`rewarm demo`: the main job on a base that we ship and text that every installation has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarm.cli.console import AsJson, Debug, DryRun, Quiet, Watcher, say, say_json


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(demo)


def demo(
    output: Annotated[Path, typer.Option(help="Where the demo's text and run go.")] = Path("runs/demo"),
    train_base: Annotated[bool, typer.Option("--train-base", help="Train the shipped base anew instead.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Teach a tiny model invented facts, then Python code, with and without replay; print the table and the report."""
    from rewarm.cli.check import show
    from rewarm.launch import tune
    from rewarm.recipes.demo import base_plan, plan
    from rewarm.recipes.demo_text import write

    if not dry_run:
        tune()
    text = write(output / "text")
    made = base_plan(text, output / "base") if train_base else plan(text, output / "run")
    if dry_run:
        from rewarm.river.forecast import forecast

        show(forecast(made, timed=True), as_json)
        return
    from rewarm.report.terminal import path_line, table
    from rewarm.river.run import run

    with Watcher(quiet or as_json) as watcher:
        result = run(made, watcher.hooks(), command="rewarm demo --train-base" if train_base else "rewarm demo")
    page = made.directory / "report.html"
    if as_json:
        say_json({"report": str(page), "complete": result.complete})
        return
    say(table(result))
    say(path_line(page))
