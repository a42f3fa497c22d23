"""`rewarm corpus diff`: what is new between two snapshots of a corpus."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.engine import Address, EngineName, chosen
from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.difference.forecast import Forecast
    from rewarm.difference.run import Job

_MOST_WORKERS = 8
"""One process reads; more than so many wait for it even where every article changed."""
_SNAPSHOT = "a path, or options as in a plan: '{path: a.jsonl, id_field: page}'."


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus diff`."""

    old: Annotated[str, typer.Argument(metavar="OLD", help=f"The earlier snapshot: {_SNAPSHOT}", show_default=False)]
    new: Annotated[str, typer.Argument(metavar="NEW", help=f"The later snapshot: {_SNAPSHOT}", show_default=False)]
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the difference goes.", show_default=False)]
    context: Annotated[
        str, typer.Option(help="What stands around a changed sentence: sentence (nothing) or paragraph.")
    ] = "sentence"
    paragraphs: Annotated[
        str, typer.Option(help="What a paragraph is: lines, or blocks between blank lines (text wrapped by hand).")
    ] = "lines"
    id_field: Annotated[
        str | None, typer.Option(metavar="FIELD", help="The field of rows that says which article it is; id if unset.")
    ] = None
    id_pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Its group is the part of an id that both snapshots share: '^[0-9]+:(.+)'."),
    ] = None
    unchanged: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the text that stayed, too (FILE.jsonl.zst).")
    ] = None
    bad_rows: Annotated[str, typer.Option(metavar="SHARE", help="The share of rows that may be bad.")] = "0.1%"
    memory: Annotated[
        str, typer.Option(metavar="BYTES", help="What snapshots that do not ascend by id may take while sorted.")
    ] = "256M"
    workers: Annotated[
        int,
        typer.Option(metavar="N", help="Processes that compare; 0: one for every core but the reader's, 8 at most."),
    ] = 0
    engine: EngineName = "local"
    address: Address = None


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, diff, writes=True, works=True, options=Options)


def diff(manner: Manner, options: Options) -> Answer:
    """Write what is new between two snapshots.

    New articles, new paragraphs and changed sentences go to diff.jsonl.zst, one row for each article that changed, and
    each piece with what stood in its place to pieces.jsonl.zst; what is gone to deleted.jsonl.zst, all counts to
    summary.json. The same command goes on after a stop.
    """
    from rewarm.difference.forecast import forecast

    job = _job(options)
    if manner.dry_run:
        job.folder.finished(job.described())
        return _told(forecast(job))
    with Watcher(manner) as watcher, chosen(options.engine, options.address) as engine:
        summary = job.run(watcher.tell, lambda: watcher.stopping, engine)
    shown = {key: value for key, value in summary.items() if key != "job"}
    return Answer({**shown, "output": str(options.output)}, _parts(summary, options.output))


def _job(options: Options) -> Job:
    from rewarm.difference.articles import CONTEXTS
    from rewarm.difference.editions import editions
    from rewarm.difference.folder import OutputFolder
    from rewarm.difference.run import Job, Settings
    from rewarm.difference.sentences import PARAGRAPHS
    from rewarm.quantities import parse_count, parse_share
    from rewarm.types import UserError

    if options.unchanged is not None and not options.unchanged.name.endswith(".jsonl.zst"):
        raise UserError(f"--unchanged {options.unchanged}: the file is packed; give a name that ends with .jsonl.zst")
    if options.workers < 0:
        raise UserError(f"--workers {options.workers}: give 1 or more processes, or 0 to let the cores decide")
    settings = Settings(
        context=_one_of("--context", options.context, CONTEXTS),
        paragraphs=_one_of("--paragraphs", options.paragraphs, PARAGRAPHS),
        workers=options.workers or min(_MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) - 1)),
    )
    try:
        settings = replace(settings, memory=parse_count(options.memory), bad_rows=parse_share(options.bad_rows))
    except ValueError as error:
        raise UserError(f"--memory {options.memory}, --bad-rows {options.bad_rows}: {error}") from None
    if settings.memory < 1_000_000 or not 0 <= settings.bad_rows <= 1:
        raise UserError(
            f"--memory {options.memory}, --bad-rows {options.bad_rows}: give at least 1M bytes, and a share from 0 to 1"
        )
    old, new = editions(options.old, options.new, options.id_field, options.id_pattern)
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"--output {options.output} is a file: give a folder")
    root = options.output.resolve()
    for edition in (old, new):
        if any(root in file.resolve().parents for file in edition.files):
            raise UserError(f"--output {options.output} holds files of {edition.name}: give a folder of its own")
    return Job(old, new, OutputFolder(options.output, options.unchanged), settings)


def _one_of(name: str, given: str, allowed: tuple[Any, ...]) -> Any:
    from rewarm.methods import nearest
    from rewarm.types import UserError

    if given not in allowed:
        raise UserError(f"{name} {given}: {nearest(given, allowed)} Allowed: {', '.join(allowed)}")
    return given


def _told(found: Forecast) -> Answer:
    from rewarm.quantities import clock, size

    way = "merged as they are read" if found.in_order else "sorted into buckets on disk first (ids do not ascend)"
    shown = table("of the whole job", "forecast")
    for name, value in (
        ("time", clock(found.seconds)), ("memory", size(found.memory)), ("disk, at most", size(found.disk)),
        ("output", size(found.output)),
    ):  # fmt: skip
        shown.add_row(name, value)
    lines = [
        f"{size(found.bytes)} to read at {size(found.read_bytes_per_second)}/s; {clock(found.compare_seconds)} of "
        f"comparing in one process. The snapshots are {way}.",
        f"Measured on the first {found.articles:,} articles ({found.share:.2%} of the input), {found.compared:,} of "
        "them compared. Nothing was written.",
    ]
    return Answer({"forecast": found}, [shown, *lines])


def _parts(summary: Mapping[str, Any], output: Path) -> list[Any]:
    from rewarm.quantities import short

    shown = table("", "same", "changed", "new", "gone")
    articles, paragraphs, sentences = (summary[name] for name in ("articles", "paragraphs", "sentences"))
    rows = (
        ("articles", articles["same"], articles["changed"], articles["added"], articles["removed"]),
        ("paragraphs of changed articles", "", paragraphs["changed"], paragraphs["new"], ""),
        ("sentences of changed articles", sentences["same"], "", sentences["new"], sentences["deleted"]),
    )
    for name, *counts in rows:
        shown.add_row(name, *(f"{count:,}" if isinstance(count, int) else count for count in counts))
    characters = summary["characters"]
    lines = [f"{short(characters['new'])} characters to train on, of {short(characters['all'])} read of NEW."]
    for name in ("old", "new"):
        if summary[name]["bad_rows"]:
            bad = ", ".join(f"{count:,} {reason}" for reason, count in summary[name]["bad_rows"].items())
            lines.append(f"{name.upper()}: bad rows left out: {bad}")
        if summary[name]["left_out"]:
            left = ", ".join(f"{count:,} {reason}" for reason, count in summary[name]["left_out"].items())
            lines.append(f"{name.upper()}: not taken, or not whole: {left}")
    if summary["backdated"]:
        lines.append(
            f"note: {summary['backdated']:,} of {articles['changed']:,} changed articles have an earlier date in NEW "
            "than in OLD. Is the earlier snapshot first?"
        )
    return [shown, *lines, f"Folder: {output}"]
