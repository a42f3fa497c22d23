"""`rewarm evaluate`: scores any model on a run's watch-list."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from rewarm.cli.console import AsJson, Debug, Quiet, Watcher, say, say_json


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder or hub name with the run's tokenizer.")],
    on: Annotated[Path, typer.Option(metavar="RUN", help="The run whose held-out documents and base are used.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score a model on a run's watch-list, against the run's base on the same documents. Stores nothing."""
    from rewarm.models.load import check_length, check_vocabulary, load_model
    from rewarm.river.directory import RunDirectory
    from rewarm.river.inputs import make_inputs
    from rewarm.river.outcome import row, scored
    from rewarm.river.scores import score
    from rewarm.training.machine import on_device
    from rewarm.types import UserError

    plan = RunDirectory(on).resolved()
    run = RunDirectory(on, Path(plan.prepared_dir) if plan.prepared_dir else None)
    with Watcher(quiet or as_json) as watcher, tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(plan, run, watcher.tell)
        base = scored(run, "base", inputs.watch_documents)
        if set(base) != set(inputs.watch_documents):
            raise UserError(f"run '{on}' has not scored its base yet: `rewarm run` it first")
        loaded = on_device(load_model(model))
        check_vocabulary(loaded, inputs.tokenizer)
        check_length(loaded, plan.seq_len)
        losses = score(loaded, inputs, Path(folder) / "model", tell=watcher.tell)
    found = row(model, "control", losses, base, control="evaluated")
    if as_json:
        say_json(found.model_dump(mode="json"))
        return
    from rich.table import Table

    table = Table("corpus", "loss (nats/byte)", "change", "95 % interval", "verdict")
    for corpus, cell in found.cells.items():
        reference = cell.loss - cell.delta
        interval = f"[{cell.low / reference:+.2%}, {cell.high / reference:+.2%}]"
        table.add_row(corpus, f"{cell.loss:.4f}", f"{cell.relative:+.2%}", interval, cell.verdict)
    say(table)
