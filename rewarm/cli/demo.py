"""`rewarm demo`: the main job on a base that we ship and text that every installation has."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from rewarm.cli.verb import Answer, Manner, verb
from rewarm.cli.watcher import Watcher


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, demo, writes=True, works=True)


def demo(
    manner: Manner,
    output: Annotated[Path, typer.Option(help="Where the demo's text and run go.")] = Path("runs/demo"),
    train_base: Annotated[bool, typer.Option("--train-base", help="Train the shipped base anew instead.")] = False,
) -> Answer:
    """Run the main job on a tiny model and text that come along.

    The model learns invented facts, then Python code, with and without replay of what it knew.
    """
    from rewarm.recipes.demo import base_plan, plan
    from rewarm.recipes.demo_text import write

    if manner.dry_run:
        from rewarm.cli.check import told
        from rewarm.river.forecast import forecast

        with tempfile.TemporaryDirectory() as folder:
            text = write(Path(folder))
            made = base_plan(text, output / "base") if train_base else plan(text, output / "run")
            return told(forecast(made, timed=True))
    from rewarm.launch import tune

    tune()
    with Watcher(manner) as watcher:
        from rewarm.cli.report import told as told_result
        from rewarm.river.forecast import forecast
        from rewarm.river.run import run

        text = write(output / "text")
        made = base_plan(text, output / "base") if train_base else plan(text, output / "run")
        forecast(made).refuse()
        result = run(made, watcher.hooks(), command="rewarm demo --train-base" if train_base else "rewarm demo")
    return told_result(result, made.directory)
