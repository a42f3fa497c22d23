"""`rewarm corpus deduplicate`: new text without near copies, and without what a model is scored on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.engine import Address, EngineName, chosen
from rewarm.cli.given import TEXT, corpus, value
from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.river.deduplicating import Deduplicate

_OFF = ("off", "none", "0")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus deduplicate`."""

    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False, help=f"The text to clean: {TEXT}")]
    out: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Where kept documents go (FILE.jsonl.zst).")
    ]
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Text that new documents may not nearly repeat; more than once if need be."),
    ] = None
    against_watch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="Text that a model is scored on: no near copies, and no run of its words either."
        ),
    ] = None
    against_probes: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Probes, whose questions with their answers are looked for."),
    ] = None
    threshold: Annotated[
        str, typer.Option(metavar="SHARE", help="Similarity from which documents are near copies, or off.")
    ] = "0.8"
    ngram: Annotated[str, typer.Option(metavar="WORDS", help="Words in a row that may not be shared, or off.")] = "13"
    cut: Annotated[
        bool,
        typer.Option(
            "--cut", help="Cut the sentences with shared words out of a document that goes otherwise.",
            show_default=False,
        ),
    ] = False  # fmt: skip
    bad_rows: Annotated[str, typer.Option(metavar="SHARE", help="The share of rows that may be bad.")] = "0.1%"
    engine: EngineName = "local"
    address: Address = None


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, deduplicate, writes=True, works=True, options=Options)


def deduplicate(manner: Manner, options: Options) -> Answer:
    """Leave out what repeats other text, or is scored on.

    Near copies are those of similar runs of five words (Jaccard), within NEW and against other text. Kept documents go
    to FILE.jsonl.zst with all their fields, a line on each other one (why, and what it repeats) to
    FILE.dropped.jsonl.zst, and the counts to FILE.json. The same command goes on after a stop.
    """
    job = _job(options)
    with Watcher(manner) as watcher, chosen(options.engine, options.address) as engine:
        found = job.run(watcher.tell_or_stop, manner.dry_run, engine)
    files = {} if manner.dry_run else {"kept": str(job.out), "dropped": str(job.dropped), "summary": str(job.summary)}
    return Answer({**found, "files": files}, _parts(found, files))


def _job(options: Options) -> Deduplicate:
    from rewarm.quantities import parse_share
    from rewarm.river.deduplicating import Deduplicate
    from rewarm.selection.cleaning import Settings
    from rewarm.types import UserError

    try:
        bad_rows = parse_share(options.bad_rows)
        near = None if options.threshold.lower() in _OFF else parse_share(options.threshold)
        ngram = None if options.ngram.lower() in _OFF else int(options.ngram)
    except ValueError as error:
        raise UserError(
            f"--threshold {options.threshold}, --ngram {options.ngram}, --bad-rows {options.bad_rows}: {error}"
        ) from None
    if near is not None and not 0.5 <= near <= 1:
        raise UserError(f"--threshold {options.threshold}: give a share from 0.5 to 1, or off")
    if ngram is not None and not 5 <= ngram <= 100:
        raise UserError(f"--ngram {options.ngram}: give 5 to 100 words, or off. 13 is usual; fewer find innocent text")
    return Deduplicate(
        new=corpus("NEW", options.new),
        old={name: corpus("--against", one) for name, one in _named(options.against)},
        watched={name: corpus("--against-watch", one) for name, one in _named(options.against_watch)},
        probes={name: _probes(one) for name, one in _named(options.against_probes)},
        settings=Settings(near, ngram, options.cut),
        out=options.out,
        bad_rows=bad_rows,
    )


def _named(every: list[str] | None) -> list[tuple[str, str]]:
    """What was given, each with a short name for tables: its file's, unless several have it."""
    values = [value("TEXT", given) for given in every or ()]
    paths = [str(one.get("path", "")) if isinstance(one, Mapping) else str(one) for one in values]
    names = [Path(path).name for path in paths]
    unique = [path if names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]
    return list(zip(unique, every or (), strict=True))


def _probes(given: str) -> Any:
    from rewarm.methods import build

    found = value("--against-probes", given)
    options = dict(found) if isinstance(found, Mapping) else {"path": found}
    return build("probes", {"type": "jsonl", **options}, "--against-probes")


def _parts(found: Mapping[str, Any], files: Mapping[str, str]) -> list[Any]:
    shown = table("documents", "")
    shown.add_row("read", f"{found['documents']:,}")
    for reason, count in found["dropped"].items():
        shown.add_row(f"left out: {reason}", f"{count:,}")
    for reason, count in found["cut"].items():
        shown.add_row(f"kept, a passage cut: {reason}", f"{count:,}")
    shown.add_row("kept", f"{found['kept']:,}")
    lines = [
        f"{name}: {count:,} items are shorter than 5 words and were not looked for"
        for name, count in found["too_short_to_look_for"].items()
        if count
    ]
    lines += [f"bad rows left out: {count:,}, {reason}" for reason, count in found["bad_rows"].items()]
    return [
        shown,
        *lines,
        *(f"{name}: {file}" for name, file in files.items()),
        *([] if files else ["Nothing was written."]),
    ]
