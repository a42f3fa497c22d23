"""`rewarm status`: how far a run is."""

from __future__ import annotations

import typer

from rewarm.cli.console import AsJson, Debug, RunFolder, say, say_json
from rewarm.quantities import clock, short


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(status)


def status(run: RunFolder, as_json: AsJson = False, debug: Debug = False) -> None:
    """Say what of a run is done, where it stands, and how long is left. Reads files only; works beside a running run."""
    from rewarm.river.status import status as read_status

    found = read_status(run)
    if as_json:
        say_json(found.described())
        return
    from rich.table import Table

    table = Table("run", "leg", "state", "step", "loss", "tokens/s", "left", "last scores (nats/byte)")
    for leg in found.legs:
        scores = ", ".join(f"{corpus} {loss:.4f}" for corpus, loss in leg.scores.items())
        table.add_row(
            leg.run or "main", leg.name, leg.state, f"{leg.step}/{leg.steps}" if leg.steps else str(leg.step),
            "" if leg.loss is None else f"{leg.loss:.3f}", short(leg.tokens_per_second or 0),
            "" if leg.seconds_left is None else clock(leg.seconds_left), scores,
        )  # fmt: skip
    say(table)
    say("running" if found.running else "not running: the command that started it goes on, or it is done")
