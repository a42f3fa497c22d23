"""`rewarm corpus select`: the documents of a pool that are worth training on."""

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
    from rewarm.river.selecting import Outlook, Select

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus select`."""

    pool: Annotated[str, typer.Argument(metavar="POOL", show_default=False, help=f"The text to choose from: {TEXT}")]
    by: Annotated[
        str,
        typer.Option(
            metavar="METHOD", show_default=False, help="How documents are scored: a name (see rewarm methods "
            "selection), or '{type: perplexity, guard: none}'.",
        ),
    ]  # fmt: skip
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL", show_default=False, help="A model folder or hub name: it scores, and its tokenizer counts "
            "tokens.",
        ),
    ]  # fmt: skip
    budget: Annotated[
        str,
        typer.Option(
            metavar="TOKENS", show_default=False, help="Tokens to choose (20M), or a share of the pool's tokens (10%)."
        ),
    ]
    out: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Where the documents go (FILE.jsonl.zst).")
    ]
    task: Annotated[
        str | None, typer.Option(metavar="TEXT", help=f"Text like what the model is to become good at: {TEXT}")
    ] = None
    soft: Annotated[
        bool, typer.Option("--soft", help="Draw documents with weights from their ranks.", show_default=False)
    ] = False
    gamma: Annotated[float, typer.Option(help="How much ranks count with --soft; the larger, the more.")] = 1.0
    seed: Annotated[int, typer.Option(help="Decides draws, ties and the control.")] = 0
    seq_len: Annotated[int, typer.Option(metavar="TOKENS", help="Rows that the model reads documents in.")] = 512
    source_field: Annotated[str, typer.Option(metavar="FIELD", help="The field of rows whose values are counted.")] = (
        "source"
    )
    work: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where tokens and scores are kept; FILE.selection if unset."),
    ] = None
    bad_rows: Annotated[str, typer.Option(metavar="SHARE", help="The share of rows that may be bad.")] = "0.1%"
    engine: EngineName = "local"
    address: Address = None


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, select, writes=True, works=True, options=Options)


def select(manner: Manner, options: Options) -> Answer:
    """Choose the documents that are worth training on.

    The chosen documents go to FILE.jsonl.zst with all their fields, as many tokens chosen by chance to
    FILE-random.jsonl.zst, a row on every document to FILE.provenance.parquet, and the summary to FILE.json. The same
    command goes on after a stop.
    """
    job = _job(options)
    if manner.dry_run:
        job.finished()
        return _foreseen(job.outlook())
    with Watcher(manner) as watcher, chosen(options.engine, options.address) as engine:
        summary = job.run(watcher.hooks().tell_or_stop, engine)
    shown = {key: value for key, value in summary.items() if key != "job"}
    return Answer(shown, _parts(summary))


def _job(options: Options) -> Select:
    from rewarm.methods import build
    from rewarm.river.selecting import Select
    from rewarm.selection import Selection
    from rewarm.types import UserError

    method = build("selection", value("--by", options.by), "--by")
    if not isinstance(method, Selection):
        raise UserError(f"--by {options.by}: this gives no scores. Name a way to score documents")
    if options.seq_len < 8:
        raise UserError(f"--seq-len {options.seq_len}: give at least 8 tokens")
    budget, bad_rows = _amounts(options)
    stem = options.out.name.removesuffix(".jsonl.zst")
    return Select(
        pool=corpus("POOL", options.pool),
        method=method,
        budget=budget,
        model=options.model,
        out=options.out,
        work=options.work or options.out.with_name(f"{stem}.selection"),
        task=None if options.task is None else corpus("--task", options.task),
        seed=options.seed,
        seq_len=options.seq_len,
        bad_rows=bad_rows,
        source_field=options.source_field,
    )


def _amounts(options: Options) -> tuple[Any, float]:
    """The budget, which is a share where it is written as one, and the share of bad rows."""
    from rewarm.methods import checked
    from rewarm.quantities import parse_share
    from rewarm.selection.budget import Budget
    from rewarm.types import UserError

    is_share = "%" in options.budget or "/" in options.budget or options.budget.strip().startswith(("0.", "."))
    kind = "share" if is_share else "tokens"
    budget = checked(Budget, {kind: options.budget, "soft": options.soft, "gamma": options.gamma}, "--budget")
    try:
        return budget, parse_share(options.bad_rows)
    except ValueError as error:
        raise UserError(f"--bad-rows {options.bad_rows}: {error}") from None


def _foreseen(found: Outlook) -> Answer:
    from rewarm.quantities import clock, short

    lines = [
        f"{found.documents:,} documents of {short(found.tokens)} tokens; {short(found.chosen_tokens)} tokens would be "
        f"chosen. About {clock(found.seconds)}, at {short(found.rate)} tokens/s measured on the first documents.",
        "Nothing was written.",
        *(f"bad rows in the sample: {count:,}, {reason}" for reason, count in found.bad_rows.items()),
    ]
    return Answer({"outlook": found}, lines)


def _parts(summary: Mapping[str, Any]) -> list[Any]:
    from rewarm.quantities import short

    places = ("pool", "chosen", "random")
    shown = table("", *places)
    for what in ("documents", "tokens"):
        shown.add_row(what, *(f"{summary[place][what]:,}" for place in places))
    for name in summary["pool"]["mean"]:
        means = [summary[place]["mean"][name] for place in places]
        shown.add_row(f"mean {name}", *("" if mean is None else f"{mean:.4g}" for mean in means))
    sources = table("tokens by source", *places)
    for held in summary["sources"][:_SHOWN]:
        sources.add_row(held["source"], *(short(held["tokens"][place]) for place in places))
    if len(summary["sources"]) > _SHOWN:
        sources.add_row(f"{len(summary['sources']) - _SHOWN:,} more", "", "", "")
    return [shown, *([sources] if len(summary["sources"]) > 1 else []), *_lines(summary)]


def _lines(summary: Mapping[str, Any]) -> list[str]:
    chosen, both = summary["chosen"], summary["in_random_too"]
    share = both["tokens"] / max(1, chosen["tokens"])
    lines = [
        f"{chosen['tokens']:,} of a budget of {summary['budget']:,} tokens. {both['documents']:,} of the documents "
        f"({share:.1%} of the tokens) would chance have chosen, too.",
        *(f"note: {note}" for note in summary["notes"]),
        *(f"set aside: {count:,} documents, {reason}" for reason, count in summary["aside"].items()),
        *(f"bad rows left out: {count:,}, {reason}" for reason, count in summary["bad_rows"].items()),
    ]
    if summary["aside_chosen"]:
        lines.append(f"note: {summary['aside_chosen']:,} documents that were set aside fill the budget's rest")
    why = [(word, count) for word, count in summary["why"].items() if word != "chosen" and count]
    lines += [f"not chosen: {count:,} documents, {word}" for word, count in why]
    return [*lines, *(f"{name}: {file}" for name, file in summary["files"].items())]
