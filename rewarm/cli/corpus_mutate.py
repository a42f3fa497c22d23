"""`rewarm corpus mutate`: functions of Python sources with a bug, to learn repairs from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.given import TEXT, corpus
from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.sketches.mutants import MutateJob

_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus mutate`."""

    sources: Annotated[str, typer.Argument(metavar="SOURCES", show_default=False, help=f"The Python sources: {TEXT}")]
    out: Annotated[Path, typer.Option(metavar="FILE", show_default=False, help="Where the rows go (FILE.jsonl.zst).")]
    seed: Annotated[int, typer.Option(min=0, help="What draws the place of each bug.")] = 0
    longest: Annotated[int, typer.Option(min=1, help="Leave out functions of more characters.")] = 2000


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, mutate, writes=True, works=True, options=Options)


def mutate(manner: Manner, options: Options) -> Answer:
    """Put a bug into each function, to learn repairs from.

    Of the Python of SOURCES. Rows of FILE.jsonl.zst have the function with its bug (prompt), the function itself
    (answer), the operator that changed it and its path; FILE.json has the counts. Nothing is run or imported. --dry-run
    reads 200 sources and shows a row.
    """
    job = _job(options, _LOOKED_AT if manner.dry_run else None)
    with Watcher(manner) as watcher:
        found = job.foreseen(watcher.tell_or_stop) if manner.dry_run else job.run(watcher.tell_or_stop)
    files = {} if manner.dry_run else {"rows": str(job.out), "summary": str(job.summary)}
    return Answer({**found, "files": files}, _parts(found, files))


def _job(options: Options, limit: int | None) -> MutateJob:
    from rewarm.sketches.mutants import MutateJob
    from rewarm.types import UserError

    if not options.out.name.endswith(".jsonl.zst"):
        raise UserError(f"--out {options.out}: give a name that ends in .jsonl.zst")
    if options.out.is_dir():
        raise UserError(
            f"--out {options.out} is a folder: give a file in it, such as {options.out / 'repairs.jsonl.zst'}"
        )
    return MutateJob(corpus("SOURCES", options.sources), options.out.expanduser(), options.seed, options.longest, limit)


def _parts(found: Mapping[str, Any], files: Mapping[str, str]) -> list[Any]:
    shown = table("sources and functions", "")
    shown.add_row("sources read", f"{found['read']:,}")
    shown.add_row("functions", f"{found['functions']:,}")
    for reason, count in found["dropped"].items():
        shown.add_row(f"left out: {reason}", f"{count:,}")
    shown.add_row("written", f"{found['written']:,}")
    for operator, count in found["operators"].items():
        shown.add_row(f"changed: {operator}", f"{count:,}")
    lines = [f"left out: {reason}: {places[0]}" for reason, places in found["dropped_examples"].items()]
    lines += [
        f"bad rows left out: {count:,}, {reason} ({found['bad_examples'][reason][0]})"
        for reason, count in found["bad_rows"].items()
    ]
    if not files:
        example = found["example"]
        lines += ["", f"Example ({example['operator']}):", "", example["prompt"]] if example else []
        lines += [f"\nFrom the first {_LOOKED_AT} sources. Nothing was written."]
    return [shown, *lines, *(f"{name}: {file}" for name, file in files.items())]
