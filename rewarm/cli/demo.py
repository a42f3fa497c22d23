"""`rewarm demo`: the main job on a base that we ship and text that every installation has."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
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

    The model learns an invented wiki first; then, with and without replay, what changed in it and Python code.
    """
    from rewarm.recipes.demo import BASE, base_plan, plan, write

    if manner.dry_run:
        from rewarm.cli.check import told
        from rewarm.river.forecast import forecast

        with tempfile.TemporaryDirectory() as folder:
            text = write(Path(folder))
            # The first run's model is not there yet: the shipped one has its shape.
            made = base_plan(text, output / "base") if train_base else plan(text, output / "run", BASE)
            return told(forecast(made, timed=True))
    from rewarm.launch import tune

    tune()
    with Watcher(manner) as watcher:
        text = write(output / "text", watcher.tell, lambda: watcher.stopping)
        return _run(text, output, watcher, train_base)


def _run(text: Mapping[str, Path], output: Path, watcher: Watcher, train_base: bool) -> Answer:
    from rewarm.cli.report import told as told_result
    from rewarm.recipes.demo import FIRST, base_plan, first_plan, plan
    from rewarm.river.directory import RunDirectory
    from rewarm.river.forecast import forecast
    from rewarm.river.run import run

    if train_base:
        plans = [base_plan(text, output / "base")]
    else:
        first = first_plan(text, output / "first")
        plans = [first, plan(text, output / "run", RunDirectory.of(first).model(f"stage-1-{FIRST}"))]
    for made in plans:
        forecast(made).refuse()
        result = run(made, watcher.hooks(), command="rewarm demo --train-base" if train_base else "rewarm demo")
    return told_result(result, plans[-1].directory)
