"""`rewarm corpus probes`: what became of each fact from one snapshot to the next, asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rewarm.facts import Snapshot
    from rewarm.probes.building import Building
    from rewarm.types import Tell

_SNAPSHOT = "a path, or options in braces: '{type: terms, path: terms.csv, at: 2021-01-03}'."
STOPPED = "stopped; what is sorted is kept, and the same command goes on from there"
PUBLISHED = {"subject": "1%", "relation": "5%", "object": "5%"}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus probes`."""

    old: Annotated[str, typer.Argument(metavar="OLD", help=f"The earlier facts: {_SNAPSHOT}", show_default=False)]
    new: Annotated[str, typer.Argument(metavar="NEW", help=f"The later facts: {_SNAPSHOT}", show_default=False)]
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the probes go (.jsonl or .jsonl.zst).", show_default=False)
    ]
    diff: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep changed and new facts that what changed in their article states."),
    ] = None
    unchanged_text: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Keep unchanged facts that the unchanged text of their article states."),
    ] = None
    templates: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Sentences of relations, YAML: capital: The capital of [X] is [Y]."),
    ] = None
    paraphrases: Annotated[int, typer.Option(metavar="N", help="Sentences for each fact, at most.")] = 1
    max_words: Annotated[int, typer.Option(metavar="N", help="Longest object in words; 0 for any.")] = 5
    keep_overlap: Annotated[
        bool, typer.Option("--keep-overlap", help="Keep objects that contain their subject, or it them.")
    ] = False
    sample: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=SHARE", help="Share of a kind that is kept: unchanged=0.1%. May be repeated."),
    ] = None
    subject_cap: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Largest share of a kind about one subject.")
    ] = None
    relation_cap: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Largest share of a kind about one relation.")
    ] = None
    object_cap: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Largest share of a kind with one object.")
    ] = None
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="As TWiki-Probes: all that came is changed, a probe for each object, caps of 1%, 5% and 5%.",
        ),
    ] = False
    date_old: Annotated[str | None, typer.Option(metavar="DATE", help="When the earlier facts held.")] = None
    date_new: Annotated[str | None, typer.Option(metavar="DATE", help="When the later facts held.")] = None
    bad_rows: Annotated[str, typer.Option(metavar="SHARE", help="The share of rows that may be bad.")] = "0.1%"
    seed: Annotated[int, typer.Option(metavar="N", help="Of the order in which samples and caps take facts.")] = 0


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, probes, writes=True, works=True, options=Options)


def probes(manner: Manner, options: Options) -> Answer:
    """Make probes of what became of facts.

    A fact is unchanged, changed, new or deleted. Prints how many facts of each kind there are, what every filter
    dropped, and how many probes were written; all of it is in NAME.summary.json beside them. The same command goes on
    after a stop.
    """
    from rewarm.facts.naming import snapshot_of

    old, new = snapshot_of(options.old), snapshot_of(options.new)
    how = _building(options, old, new)
    if manner.dry_run:
        return _foreseen(old, new, options.output, how.bad_limit)
    from rewarm.probes.building import build

    with Watcher(manner) as watcher:
        summary = build(old, new, options.output, how, _stopping(watcher))
    return Answer({**summary, "output": str(options.output)}, _parts(summary, options.output))


def _stopping(watcher: Watcher) -> Tell:
    from rewarm.types import Stopped

    def tell(label: str, done: float, total: float | None, unit: str) -> None:
        watcher.tell(label, done, total, unit)
        if watcher.stopping:
            raise Stopped(STOPPED)

    return tell


def _building(options: Options, old: Snapshot, new: Snapshot) -> Building:
    from rewarm.facts.naming import name_of
    from rewarm.probes.alignment import diff_pages, unchanged_pages
    from rewarm.probes.asking import Templates
    from rewarm.probes.building import Building
    from rewarm.types import UserError

    if not options.output.name.removesuffix(".zst").endswith(".jsonl"):
        raise UserError(f"--output {options.output}: give a name that ends with .jsonl or .jsonl.zst")
    if options.paraphrases < 1 or options.max_words < 0:
        raise UserError("--paraphrases takes 1 or more, and --max-words 1 or more, or 0 for any number")
    pages = [diff_pages(options.diff)] if options.diff else []
    pages += [unchanged_pages(options.unchanged_text)] if options.unchanged_text else []
    dates = (options.date_old or old.held(), options.date_new or new.held())
    _check_order(dates)
    read = [*old.files(), *new.files(), *(file for one in pages for file in one.files)]
    if options.output.exists() and any(options.output.samefile(file) for file in read):
        raise UserError(f"--output {options.output} is a file that is read: give another name")
    return Building(
        templates=Templates(options.templates),
        paraphrases=options.paraphrases,
        as_published=options.as_published,
        dates=dates,
        source=f"{name_of(options.old)} -> {name_of(options.new)}",
        overlap=options.keep_overlap,
        max_words=options.max_words or None,
        sample=_sample(options.sample or []),
        caps=_caps(options),
        seed=options.seed,
        pages=tuple(pages),
        bad_limit=_share("--bad-rows", options.bad_rows),
    )


def _check_order(dates: tuple[str, str]) -> None:
    from rewarm.types import UserError

    # What one of them leaves open, such as the day, tells nothing.
    old, new = (date[: min(map(len, dates))] for date in dates)
    if all(date[:4].isdecimal() for date in dates) and old > new:
        raise UserError(f"OLD is of {dates[0]} and NEW of {dates[1]}: give the earlier snapshot first")


def _caps(options: Options) -> dict[str, float]:
    given = {"subject": options.subject_cap, "relation": options.relation_cap, "object": options.object_cap}
    published = PUBLISHED if options.as_published else {}
    found = {}
    for name, value in given.items():
        text = value if value is not None else published.get(name)
        if text is not None:
            found[name] = _share(f"--{name}-cap", text)
    return found


def _sample(given: list[str]) -> dict[Any, float]:
    from rewarm.methods import nearest
    from rewarm.probes import KINDS
    from rewarm.types import UserError

    found: dict[Any, float] = {}
    for text in given:
        kind, equals, share = text.partition("=")
        if not equals or kind not in KINDS:
            raise UserError(f"--sample {text}: give a kind and its share, as unchanged=0.1%. {nearest(kind, KINDS)}")
        found[kind] = _share("--sample", share)
    return found


def _share(option: str, text: str) -> float:
    from rewarm.quantities import parse_share
    from rewarm.types import UserError

    try:
        share = parse_share(text)
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None
    if not 0 <= share <= 1:
        raise UserError(f"{option} {text}: give a share from 0 to 1, such as 5%")
    return share


def _foreseen(old: Snapshot, new: Snapshot, output: Path, bad_limit: float) -> Answer:
    from rewarm.facts import Tally
    from rewarm.probes.building import check_held
    from rewarm.probes.outlook import outlook
    from rewarm.quantities import clock, short, size
    from rewarm.storage import free_at

    found = {}
    for name, snapshot in (("old", old), ("new", new)):
        tally = Tally()
        found[name] = outlook(snapshot, tally)
        check_held(name, snapshot, tally, bad_limit)
    free = free_at(output.parent)
    shown = table("snapshot", "bytes", "facts", "time", "disk on the way")
    for name, one in found.items():
        facts = f"{one.facts:,}" if one.whole else f"about {short(one.facts)}"
        shown.add_row(name, size(one.bytes), facts, clock(one.seconds), size(one.disk))
    seconds, disk = sum(one.seconds for one in found.values()), sum(one.disk for one in found.values())
    lines = [
        f"would write {output}",
        f"In all {clock(seconds)}; {size(disk)} of disk on the way, {size(free)} are free.",
    ]
    if disk > free:
        lines.append("That is too little room: choose another disk with --output.")
    values = {**found, "seconds": seconds, "disk": disk, "free": free, "output": str(output)}
    return Answer(values, [shown, *lines])


def _parts(summary: dict[str, Any], output: Path) -> list[RenderableType]:
    shown = table("kind", "facts", "dropped", "kept", "probes")
    for kind, count in summary["changes"].items():
        dropped = "\n".join(f"{number:,} {reason}" for reason, number in summary["dropped"][kind].items()) or "0"
        shown.add_row(kind, f"{count:,}", dropped, f"{summary['facts'][kind]:,}", f"{summary['probes'][kind]:,}")
    lines = []
    for name in ("old", "new"):
        read = summary[name]
        bad = sum(read["bad_rows"].values())
        left = ", ".join(f"{number:,} {reason}" for reason, number in read["left_out"].items()) or "none"
        lines.append(f"{name}: {read['rows']:,} rows, {read['facts']:,} facts, {bad:,} bad rows; left out: {left}")
    if summary["object_not_last"]:
        lines.append(f"{summary['object_not_last']:,} probes have an object that does not end its sentence.")
    if summary["without_template"]:
        lines.append(
            f"{summary['without_template']:,} probes are of relations without a sentence (give some with --templates)."
        )
    return [shown, *lines, *(f"note: {note}" for note in summary["notes"]), f"Probes: {output}"]
