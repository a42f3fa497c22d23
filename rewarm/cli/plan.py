"""`rewarm plan`: what an update will do, learned from short pilots; writes the plan, or says not to train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import NOT_MET, Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rewarm.planner.asked import Asked
    from rewarm.planner.job import Outlook, Planned


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the verb."""

    base: Annotated[
        str, typer.Argument(metavar="BASE", help="The model to update: a folder or a hub name.", show_default=False)
    ]
    new: Annotated[
        list[str],
        typer.Option(metavar="TEXT", help="New text: file, folder or pattern. A stage for each, in order."),
    ]
    old: Annotated[
        list[str], typer.Option(metavar="TEXT", help="Old text, to be kept. The first is replayed, others watched.")
    ]
    max_forget: Annotated[str, typer.Option(help="Largest rise of loss allowed on any old corpus, such as 1%.")] = "1%"
    min_gain: Annotated[str, typer.Option(help="Smallest fall of loss wanted on every new corpus, such as 3%.")] = "0%"
    budget: Annotated[
        str | None, typer.Option(metavar="TOKENS", help="Most tokens of the update. [default: one pass]")
    ] = None
    out: Annotated[Path, typer.Option(metavar="FILE", help="The plan to write.")] = Path("plan.yaml")
    output_dir: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The plan's run directory. [default: runs/<plan>]")
    ] = None
    pilots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where pilots go. [default: <run directory>-pilots]")
    ] = None
    max_pilots: Annotated[int, typer.Option(metavar="N", help="Most pilots.")] = 15
    pilot_tokens: Annotated[
        str | None, typer.Option(metavar="TOKENS", help="Tokens of all pilots. [default: as many as the budget]")
    ] = None
    min_tokens: Annotated[
        str | None,
        typer.Option(
            metavar="TOKENS",
            help="New text below this is not worth an update. [default: 10M, or a token for each 100 parameters]",
        ),
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing plan.")] = False


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, plan, writes=True, works=True, options=Options)


def plan(manner: Manner, options: Options) -> Answer:
    """Learn from short pilots what an update will do.

    Fits published laws to pilots of several peaks, replay shares and lengths, and writes the plan that gains most while
    old text is sure to lose no more than --max-forget, with its forecast. Exit code 2, with the reason, when the advice
    is not to train. The same command goes on after a stop.
    """
    from rewarm.launch import tune
    from rewarm.types import UserError

    if options.out.exists() and not options.force and not manner.dry_run:
        raise UserError(f"'{options.out}' exists: give another --out, or --force to overwrite it")
    if not manner.dry_run:
        tune()
    wanted = _asked(options)
    from rewarm.planner.job import outlook, plan_update

    if manner.dry_run:
        return _foreseen(outlook(wanted), wanted)
    with Watcher(manner) as watcher:
        found = outlook(wanted)
        watcher.tell(_sentence(found), 0, None, "")
        return _told(plan_update(wanted, watcher.hooks(), found.base))


def _asked(options: Options) -> Asked:
    from rewarm.plan_file import yaml_value
    from rewarm.planner.asked import Limits, asked
    from rewarm.quantities import parse_count, parse_share
    from rewarm.recipes.first_plan import first_plan

    def read(name: str, given: str | None, parse: Any) -> Any:
        from rewarm.types import UserError

        try:
            return None if given is None else parse(given)
        except ValueError as error:
            raise UserError(f"{name} '{given}': {error}") from None

    limits = Limits(
        read("--max-forget", options.max_forget, parse_share), read("--min-gain", options.min_gain, parse_share),
        read("--budget", options.budget, parse_count), options.max_pilots,
        read("--pilot-tokens", options.pilot_tokens, parse_count),
        read("--min-tokens", options.min_tokens, parse_count),
    )  # fmt: skip
    folder = options.output_dir or f"runs/{options.out.stem}"
    work = options.pilots or Path(f"{folder}-pilots")
    values = yaml_value(first_plan(options.base, options.new, options.old, folder))
    return asked(values, limits, options.out, work)


def _sentence(found: Outlook) -> str:
    from rewarm.quantities import clock, short

    time = (
        f": about {clock(sum(found.seconds.values()))} here; the update itself, up to {clock(found.update_seconds)}"
        if found.seconds
        else ""
    )
    return (
        f"{found.pilots} pilots of {short(found.pilot_tokens)} tokens in all, {100 * found.share:.0f}% of the budget "
        f"of {short(found.budget)}{time}"
    )


def _foreseen(found: Outlook, wanted: Asked) -> Answer:
    import dataclasses

    from rewarm.planner.saying import replayed

    values = {
        "pilots": found.pilots, "pilot_tokens": found.pilot_tokens, "budget": found.budget, "share": found.share,
        "seconds": found.seconds, "update_seconds": found.update_seconds, "how": found.how,
        "base": dataclasses.asdict(wanted.ending), "text": replayed(wanted.plan),
        "would_write": [str(wanted.work), str(wanted.out)],
    }  # fmt: skip
    lines = [
        _sentence(found),
        f"text: {replayed(wanted.plan)}",
        f"peaks: {wanted.ending.how}",
        f"would write {wanted.work} and {wanted.out}",
    ]
    return Answer(values, [*lines, *(f"note: {warning}" for warning in found.base.warnings)])


def _told(found: Planned) -> Answer:
    from rewarm.planner.job import described, reasons

    values, parts = described(found), _tables(found)
    if found.refusal is not None:
        error = f"do not CPT: {found.refusal.text}. {found.refusal.advice.rstrip('.')}."
        return Answer(values, [*parts, *found.notes], NOT_MET, error)
    out = found.asked.out
    return Answer(values, [*parts, *reasons(found), f"wrote {out}. Next: rewarm check {out}, rewarm run {out}"])


def _tables(found: Planned) -> list[RenderableType]:
    """The pilots with what came of them, and the laws with their errors."""
    from rewarm.quantities import short

    if not found.corpora:
        return []
    names = [one.name for one in found.corpora]
    pilots = table(
        "pilot",
        "peak",
        "replay",
        "tokens",
        *(f"{name}, %" for name in names),
        title="Pilots: changes of loss, % of the base's",
    )
    for one in found.pilots:
        cells = [f"{100 * one.changes[name]:+.2f}" for name in names]
        point = one.point
        pilots.add_row(point.why, f"{point.peak:.2g}", f"{100 * point.share:.1f}%", short(one.tokens), *cells)
    laws = table("law", *names, title="Errors on pilots not seen, in points")
    for place, law in enumerate(found.corpora[0].laws):
        cells = []
        for corpus in found.corpora:
            one_law = corpus.laws[place]
            cells.append(f"{100 * one_law.points:.2f}{' *' if one_law is corpus.best else ''}")
        laws.add_row(law.name + (" (baseline)" if law.fitted.law.baseline else ""), *cells)
    return [pilots, "", laws, "* believed", ""]
