"""`rewarm merge`: models of a run merged after training, each merge scored, one chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, RunFolder, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.table import Table

    from rewarm.report.frontier import Merge
    from rewarm.river.merge_order import MergeOrder, MergeWork

POINTS = 11
_COST = "one scoring of the watch-list for each point; no training"
METHODS = {
    name: {"summary": summary, "options": options, "paper": paper, "cost": _COST}
    for name, summary, options, paper in (
        ("wise-ft", "(1 - w) base + w stage, for w from 0 to 1.", {"points": POINTS}, "arXiv 2109.01903"),
        ("soup", "The mean of models: of all, and greedily from the best on.", {}, "arXiv 2203.05482"),
        ("ties", "base + w (differences trimmed, one sign elected, averaged).", {"density": 0.5}, "arXiv 2306.01708"),
        ("dare", "base + w (differences with a random part dropped, summed).", {"density": 0.5}, "arXiv 2311.03099"),
        ("chat-vector", "stage + w (chat model - base).", {"chat": "required"}, "arXiv 2310.04799"),
    )
}
"""What `rewarm methods` says of them. They work on finished runs, so a plan does not name them."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, merge, writes=True, works=True, options=Options)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the verb."""

    run: RunFolder
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "wise-ft"
    stage: Annotated[str | None, typer.Option(help="The stage to merge; the run's last model without it.")] = None
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", help="Another model: a stage, a run, a stage's folder or a model. May be repeated."),
    ] = None
    chat: Annotated[str | None, typer.Option(help="A chat model made from the run's base, for chat-vector.")] = None
    points: Annotated[
        int | None, typer.Option(help=f"Points of the sweep from 0 to 1, {POINTS} without it.", show_default=False)
    ] = None
    weights: Annotated[str | None, typer.Option(help="The weights of the sweep instead, such as 0,0.25,1.")] = None
    density: Annotated[
        float | None, typer.Option(help="Share of a task vector kept by ties and dare, 0.5 without it.")
    ] = None
    prefer: Annotated[str | None, typer.Option(help="What is chosen: balanced (the default), old or new.")] = None
    max_forgetting: Annotated[
        str | None, typer.Option(help="Choose the best on new text whose old loss rises by at most this, such as 1%.")
    ] = None
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to write; RUN/merges/METHOD-STAGE without it.")
    ] = None


def merge(manner: Manner, options: Options) -> Answer:
    """Merge models of a run, score every merge, choose one.

    Each point is scored on the run's held-out documents against its base. What was scored is kept.
    """
    from rewarm.river.merge import merge as merge_models
    from rewarm.river.merge_order import plan_merge

    work = plan_merge(options.run, order(options), options.output)
    if manner.dry_run:
        return _forecast(work)
    with Watcher(manner) as watcher:
        found = merge_models(work, watcher.hooks())
    page = work.output / "merge.html"
    values = {"page": str(page), "merge": json.loads(found.model_dump_json())}
    return Answer(values, [_shown(found), found.reason, f"Model: {found.model}", f"Page: {page}"])


def order(options: Options) -> MergeOrder:
    """The order that options give; UserError for a number that is none, and for options that do nothing."""
    from rewarm.quantities import parse_share
    from rewarm.river.merge_order import MergeOrder
    from rewarm.types import UserError

    if options.density is not None and options.method not in ("ties", "dare"):
        raise UserError(f"--density is for ties and dare, not for {options.method}: leave it out")
    if options.prefer not in (None, "balanced", "old", "new"):
        raise UserError(f"--prefer {options.prefer!r}: give balanced, old or new")
    try:
        most = parse_share(options.max_forgetting) if options.max_forgetting is not None else None
    except ValueError as error:
        raise UserError(f"--max-forgetting {options.max_forgetting!r}: {error}") from None
    method: Any = options.method
    prefer: Any = options.prefer or "balanced"
    return MergeOrder(
        method,
        options.stage,
        tuple(options.with_ or ()),
        options.chat,
        _weights(options),
        0.5 if options.density is None else options.density,
        prefer,
        most,
    )


def _weights(options: Options) -> tuple[float, ...]:
    from rewarm.types import UserError

    if options.points is not None and options.weights is not None:
        raise UserError("give --points or --weights, not both")
    if options.weights is not None:
        try:
            return tuple(float(part) for part in options.weights.split(","))
        except ValueError:
            raise UserError(f"--weights {options.weights!r}: give numbers with commas, such as 0,0.25,1") from None
    if options.method == "soup" and options.points is None:
        return ()
    count = POINTS if options.points is None else options.points
    if count < 2:
        raise UserError(f"--points {count} must be 2 or more: the sweep has both its ends")
    return tuple(place / (count - 1) for place in range(count))


def _forecast(work: MergeWork) -> Answer:
    from rewarm.quantities import short

    held = {
        name: int(work.inputs.stores[name].lengths[found].sum()) for name, found in work.inputs.watch_documents.items()
    }
    parts = [part.name for part in work.parts]
    count = len(work.between()) or len(parts)
    values = {
        "method": work.order.method, "parts": parts, "points": count, "tokens_per_point": held,
        "would_write": str(work.output),
    }  # fmt: skip
    told = f"would score at most {count} merges of {', '.join(parts)} on {short(sum(held.values()))} tokens each"
    return Answer(values, [told, f"would write {work.output}"])


def _shown(found: Merge) -> Table:
    from rewarm.report.merge_page import as_change
    from rewarm.report.wording import interval, percent, point

    shown = table("model", *(f"{column.name} ({column.role})" for column in found.columns), "mean", "frontier")
    for one in found.points:
        changes = [as_change(one.cells[column.name]) for column in found.columns]
        cells = [f"{point(change)}\n{interval(change)}" for change in changes]
        name = f"{one.name} *" if one.name == found.choice else one.name
        shown.add_row(name, *cells, percent(one.mean), "yes" if one.frontier else "")
    return shown
