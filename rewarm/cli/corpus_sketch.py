"""`rewarm corpus sketch`: Python sources as sketches, with markers for constants or names."""

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
    from rewarm.sketches.job import Job

_LOOKED_AT = 200
_EXAMPLE_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus sketch`."""

    sources: Annotated[str, typer.Argument(metavar="CODE", show_default=False, help=f"The Python sources: {TEXT}")]
    out: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Where the documents go (FILE.jsonl.zst).")
    ]
    mode: Annotated[
        str, typer.Option(help="What markers replace: constants, names (the source's own), or both.")
    ] = "constants"  # fmt: skip
    write: Annotated[
        str,
        typer.Option(
            help="sketcher (each source as its sketch), generator (sketch and source in turns, by blocks), or sources "
            "(those that have a sketch, as they are: the control)."
        ),
    ] = "sketcher"
    library: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only sources that import this, or one of several; may be repeated."),
    ] = None
    keep_docstrings: Annotated[
        bool, typer.Option("--keep-docstrings/--replace-docstrings", help="Leave triple-quoted docstrings as they are.")
    ] = True
    strip_comments: Annotated[
        bool,
        typer.Option("--strip-comments", help="Sketches without comments; a generator's never have any.",
                     show_default=False),
    ] = False  # fmt: skip


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, sketch, writes=True, works=True, options=Options)


def sketch(manner: Manner, options: Options) -> Answer:
    """Write Python sources as sketches, for CERT.

    Documents go to FILE.jsonl.zst, a line on each source without a sketch (why) to FILE.dropped.jsonl.zst, and the
    counts to FILE.json. Nothing is run or imported. --dry-run sketches the first 200 sources and shows one.
    """
    job = _job(options, _LOOKED_AT if manner.dry_run else None)
    with Watcher(manner) as watcher:
        found = job.foreseen(watcher.tell_or_stop) if manner.dry_run else job.run(watcher.tell_or_stop)
    places = {"documents": str(job.out), "dropped": str(job.dropped), "summary": str(job.summary)}
    files = {} if manner.dry_run else places
    return Answer({**found, "files": files}, _parts(found, files))


def _job(options: Options, limit: int | None) -> Job:
    from rewarm.methods import nearest
    from rewarm.sketches.job import WRITES, Job
    from rewarm.sketches.libraries import checked_libraries
    from rewarm.sketches.sketching import MODES, Settings
    from rewarm.types import UserError

    for name, given, allowed in (("--mode", options.mode, MODES), ("--write", options.write, WRITES)):
        if given not in allowed:
            raise UserError(f"{name} {given}: {nearest(given, allowed)} Allowed: {', '.join(allowed)}")
    if not options.out.name.endswith(".jsonl.zst"):
        raise UserError(f"--out {options.out}: give a name that ends in .jsonl.zst")
    if options.out.is_dir():
        raise UserError(f"--out {options.out} is a folder: give a file in it, such as {options.out / 'code.jsonl.zst'}")
    mode: Any = options.mode
    write: Any = options.write
    return Job(
        corpus=corpus("CODE", options.sources),
        out=options.out.expanduser(),
        settings=Settings(mode, options.keep_docstrings, options.strip_comments),
        write=write,
        libraries=checked_libraries(options.library or ()),
        limit=limit,
    )


def _parts(found: Mapping[str, Any], files: Mapping[str, str]) -> list[Any]:
    shown = table("sources", "")
    shown.add_row("read", f"{found['read']:,}")
    for reason, count in found["dropped"].items():
        shown.add_row(f"left out: {reason}", f"{count:,}")
    shown.add_row("written", f"{found['written']:,}")
    lines = [f"{found['source_characters']:,} characters of source became {found['characters']:,}"]
    lines += [f"left out: {reason}: {places[0]}" for reason, places in found["dropped_examples"].items() if places]
    lines += [
        f"bad rows left out: {count:,}, {reason} ({found['bad_examples'][reason][0]})"
        for reason, count in found["bad_rows"].items()
    ]
    if not files:
        example = found["example"][:_EXAMPLE_CHARACTERS]
        lines += ["", "Example:", "", example, f"\nFrom the first {_LOOKED_AT} sources. Nothing was written."]
    return [shown, *lines, *(f"{name}: {file}" for name, file in files.items())]
