"""`rewarm status`: how far a run is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rewarm.cli.verb import Answer, Manner, RunFolder, table, verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rewarm.river.status import LegStatus, Status


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, status)


def status(manner: Manner, run: RunFolder) -> Answer:
    """Say what of a run is done and how long is left.

    Reads files only, so it works beside a running run.
    """
    from rewarm.river.status import status as read_status

    found = read_status(run)
    return Answer(found.described(), _parts(found))


def _parts(found: Status) -> list[RenderableType]:
    from rewarm.quantities import clock

    legs = table("run", "leg", "state", "step", "saved", "loss", "tokens/s", "time left")
    for leg in found.legs:
        saved = "" if leg.saved is None else f"{leg.saved:,}"
        legs.add_row(leg.run or "main", leg.name, leg.state, _step(leg), saved, *_speed(leg))
    lines = [f"{found.state}: {found.sentence}"]
    if found.seconds_left:
        lines.append(f"time left: about {clock(found.seconds_left)} of training, scoring not counted")
    if not found.base_scores:
        return [legs, "", *lines]
    scores = table("run", "leg", *found.base_scores, title="Last scores, nats per byte")
    rows = [("", "base", found.base_scores), *((leg.run or "main", leg.name, leg.scores) for leg in found.legs)]
    for word, name, losses in rows:
        if losses:
            scores.add_row(word, name, *(_nats(losses.get(corpus)) for corpus in found.base_scores))
    return [legs, "", scores, "", *lines]


def _nats(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.4f}"


def _step(leg: LegStatus) -> str:
    return f"{leg.step:,}" if leg.steps is None else f"{leg.step:,}/{leg.steps:,}"


def _speed(leg: LegStatus) -> tuple[str, str, str]:
    from rewarm.quantities import clock, short

    loss = "" if leg.loss is None else f"{leg.loss:.3f}"
    speed = "" if leg.tokens_per_second is None else short(leg.tokens_per_second)
    return loss, speed, "" if leg.seconds_left is None else clock(leg.seconds_left)
