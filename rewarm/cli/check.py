"""`rewarm check`: every mistake before any work, and a forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rewarm.cli.verb import WRONG, Answer, Manner, PlanFile, table, verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rewarm.river.forecast import Forecast, LegForecast
    from rewarm.river.loss_forecast import LossForecast
    from rewarm.river.sampling import CorpusForecast


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, check)


def check(manner: Manner, plan: PlanFile) -> Answer:
    """Find every mistake of a plan before any work.

    Reads its files in part, its base's configuration and tokenizer, and forecasts tokens, steps, learning rates, disk,
    memory and time; shows what rewarm plan forecast of losses. Writes nothing. Exit code 3 when something is wrong, or
    does not fit on this machine.
    """
    from rewarm.plan import load
    from rewarm.river.forecast import forecast

    return told(forecast(load(plan), timed=True))


def told(found: Forecast) -> Answer:
    """A forecast as an answer; with exit code 3 when the run cannot fit."""
    faults = found.faults()
    if faults:
        return Answer(found.described(), _parts(found), WRONG, " ".join(faults))
    return Answer(found.described(), _parts(found))


def _parts(found: Forecast) -> list[RenderableType]:
    from rewarm.quantities import clock, short, size

    corpora = table("corpus", "documents", "tokens", "text", "trained on", "bad rows", title="Text")
    for corpus in found.corpora:
        about = "" if corpus.counted else "~"
        numbers = [short(corpus.documents), short(corpus.tokens), size(corpus.bytes), short(corpus.trainable)]
        cells = [about + number for number in numbers] if corpus.known else ["?"] * 4
        corpora.add_row(corpus.name, *cells, _bad(corpus))
    work = table("run", "leg", "steps", "tokens", "of which (passes)", "rate: start, peak, end", title="Work")
    for leg in found.legs:
        rates = ", ".join(f"{rate:.2g}" for rate in leg.rates)
        parts = [_part(leg, name) for name in leg.shares]
        work.add_row(leg.run or "main", leg.name, f"{leg.steps:,}", short(leg.tokens), "\n".join(parts), rates)
    lines = [f"base: {short(found.parameters)} parameters"]
    for need in found.needs:
        parts = [f"{name} {size(count)}" for name, count in need.parts.items()]
        have = f"{size(need.available)} {need.word}"
        lines.append(f"{need.what}: about {size(need.needed)} of {have} ({', '.join(parts)})")
    if found.seconds:
        times = ", ".join(f"{name} {clock(part)}" for name, part in found.seconds.items())
        lines.append(f"time: about {clock(sum(found.seconds.values()))} ({times}); {found.how}")
    notes = [f"note: {warning}" for warning in found.warnings]
    return [corpora, "", work, "", *_losses(found.losses), *lines, *notes, *_examples(found)]


def _losses(told: LossForecast | None) -> list[RenderableType]:
    """What the plan says will become of losses, and what that was learned from."""
    from rewarm.quantities import short
    from rewarm.report.wording import Change, percent, percent_with_interval

    if told is None:
        return []
    sure = f"{100 * told.confidence:g}%"
    losses = table("corpus", "role", f"change of loss [{sure} interval]", "law", title="Forecast of losses")
    for one in told.corpora:
        change = percent_with_interval(Change(one.point, one.low, one.high))
        losses.add_row(one.corpus or "mean", one.role, change, one.law)
    number = f"{told.learned_from} pilots" if told.learned_from else "pilots"
    came = f"from {number} in '{told.pilots}'" if told.pilots else f"from {number}"
    if told.longest:
        times = told.tokens / told.longest
        beyond = f", {times:.2g} times as many: the forecast goes beyond what was seen" if times > 1.05 else ""
        came += f"; the longest has {short(told.longest)} tokens, the plan {short(told.tokens)}{beyond}"
    said = [f"of the last model against the base, in percent of the base's loss (nats per byte); {came}"]
    if told.max_forget is not None:
        said.append(f"old text was to lose no more than {percent(told.max_forget)} with its upper bound")
    if told.changed:
        said.append(f"note: the plan was changed, so this is no forecast of it: {'; '.join(told.changed)}")
    return [losses, *said, ""]


def _examples(found: Forecast) -> list[RenderableType]:
    """The first conversation of each corpus of them, with what is learned marked."""
    from rewarm.river.chat import shown

    return [
        f"\nThe first conversation of '{one.corpus}' (template {one.template}). Learned is what stands in ⟦⟧; an "
        f"answer ends with {' or '.join(one.ends)}:\n{shown(one)}"
        for one in found.examples
    ]


def _part(leg: LegForecast, name: str) -> str:
    from rewarm.quantities import short

    passes = f" ({leg.passes[name]:.2g})" if name in leg.passes else ""
    return f"{short(leg.tokens * leg.shares[name])} {name}{passes}"


def _bad(corpus: CorpusForecast) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in corpus.bad_rows.items())
    return f"{reasons} of {corpus.rows:,} read" if reasons else "0"
