"""`rewarm corpus split`: dated rows as one file for each period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.corpora.splitting import Outlook, Split

_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus split`."""

    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", show_default=False, help="The rows: a file, folder or pattern, or options as in a plan: "
            "'{path: a.parquet, text_field: body}'.",
        ),
    ]  # fmt: skip
    by: Annotated[str, typer.Option(help="day, month, quarter (named by its first month) or year.")]
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the files go.")]
    date_field: Annotated[str, typer.Option(metavar="FIELD", help="The field of rows that holds the date.")] = "date"
    prefix: Annotated[str | None, typer.Option(help="What stands before the date in the names of files.")] = None
    bad_rows: Annotated[str, typer.Option(metavar="SHARE", help="The share of rows that may have no date.")] = "0.1%"


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, split, writes=True, works=True, options=Options)


def split(manner: Manner, options: Options) -> Answer:
    """Write dated rows as one file for each period.

    Files are named by date (2021-09.jsonl.zst), as a stream of stages reads them; rows keep their order and all their
    fields. Rows without a readable date are counted and left out. The same command goes on after a stop.
    """
    job = _job(options)
    if manner.dry_run:
        job.finished()
        return _foreseen(job.outlook())
    from rewarm.difference.progress import Pace

    with Watcher(manner) as watcher:
        reading = job.reading()
        pace = Pace("split", sum(reading.sizes), watcher.tell, lambda: watcher.stopping)
        summary = job.run(reading, lambda: pace.look(reading.bytes_read))
    shown = {key: value for key, value in summary.items() if key != "job"}
    return Answer({**shown, "output": str(options.output)}, _parts(summary, options))


def _job(options: Options) -> Split:
    import re

    from rewarm.corpora import Corpus
    from rewarm.corpora.dates import PERIODS
    from rewarm.corpora.splitting import Split
    from rewarm.kinds import corpus_options
    from rewarm.methods import build, nearest
    from rewarm.plan_file import yaml_value
    from rewarm.quantities import parse_share
    from rewarm.types import UserError

    if options.by not in PERIODS:
        raise UserError(f"--by {options.by}: {nearest(options.by, PERIODS)} Allowed: {', '.join(PERIODS)}")
    if options.prefix is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", options.prefix):
        raise UserError(f"--prefix {options.prefix!r}: give letters, digits, '.', '_' and '-', a letter first")
    try:
        value: Any = yaml_value(options.path) if options.path.lstrip().startswith("{") else options.path
        bad_rows = parse_share(options.bad_rows)
    except ValueError as error:
        raise UserError(f"{options.path!r}, --bad-rows {options.bad_rows}: {error}") from None
    corpus = build("corpora", corpus_options(value), "")
    assert isinstance(corpus, Corpus)
    by: Any = options.by
    return Split(corpus, by, options.output, options.date_field, options.prefix, bad_rows)


def _foreseen(found: Outlook) -> Answer:
    from rewarm.quantities import clock, size

    dates = f"{len(found.periods):,} dates, {found.periods[0]} to {found.periods[-1]}" if found.periods else "no date"
    lines = [
        f"{size(found.bytes)} to read, about {clock(found.seconds)} and {size(found.output)} of output.",
        f"Measured on the first {found.rows:,} rows ({found.share:.2%} of the input): {dates}. Nothing was written.",
        *(f"without a place: {count:,} rows, {reason}" for reason, count in found.bad_rows.items()),
    ]
    return Answer({"outlook": found}, lines)


def _parts(summary: Mapping[str, Any], options: Options) -> list[Any]:
    from rewarm.quantities import size

    files = summary["files"]
    shown = table("file", "rows", "bytes")
    names = list(files) if len(files) <= _SHOWN else [*list(files)[: _SHOWN // 2], "", *list(files)[-_SHOWN // 2 :]]
    for name in names:
        shown.add_row(*([name, f"{files[name]['rows']:,}", size(files[name]["bytes"])] if name else ["...", "", ""]))
    lines = [
        f"left out: {count:,} rows, {reason}, first at {', '.join(summary['bad_examples'][reason])}"
        for reason, count in summary["bad_rows"].items()
    ]
    written = sum(held["rows"] for held in files.values())
    return [
        shown,
        f"{written:,} of {summary['rows']:,} rows in {len(files):,} files.",
        *lines,
        f"Folder: {options.output}",
    ]
