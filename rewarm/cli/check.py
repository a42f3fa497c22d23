"""`rewarm check`: every mistake before any work, and a forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rewarm.cli.console import AsJson, Debug, PlanFile, say, say_json
from rewarm.quantities import clock, short, size

if TYPE_CHECKING:
    from rewarm.river.forecast import Forecast


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(check)


def check(plan: PlanFile, as_json: AsJson = False, debug: Debug = False) -> None:
    """Validate a plan whole and forecast its tokens, steps, disk, memory and time. Writes nothing."""
    from rewarm.plan import load
    from rewarm.river.forecast import forecast

    found = forecast(load(plan), timed=True)
    show(found, as_json)
    found.refuse()


def show(found: Forecast, as_json: bool) -> None:
    """Prints a forecast."""
    if as_json:
        say_json(found.described())
        return
    from rich.table import Table

    corpora = Table("corpus", "tokens", "bytes", "bad rows in sample", title="Text", title_justify="left")
    for corpus in found.corpora:
        corpora.add_row(
            corpus.name,
            ("" if corpus.exact else "~") + short(corpus.tokens),
            ("" if corpus.exact else "~") + size(corpus.bytes),
            f"{corpus.bad_rows} of {corpus.rows}" if corpus.rows else "",
        )
    legs = Table("run", "leg", "steps", "tokens", "shares", "rates", title="Work", title_justify="left")
    for leg in found.legs:
        shares = ", ".join(f"{name} {part:.1%}" for name, part in leg.shares.items())
        rates = " -> ".join(f"{rate:.2g}" for rate in leg.rates)
        legs.add_row(leg.run or "main", leg.name, str(leg.steps), short(leg.tokens), shares, rates)
    say(corpora)
    say(legs)
    say(f"parameters  {short(found.parameters)}")
    say(f"disk        {size(found.disk_bytes)} of {size(found.disk_free)} free")
    say(f"memory      about {size(found.memory_bytes)} of {size(found.memory_available)} available")
    if found.seconds is not None:
        say(f"time        about {clock(found.seconds)} ({found.how})")
    for warning in found.warnings:
        say(f"note        {warning}")
