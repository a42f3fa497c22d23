"""`rewarm add-tokens`: a base with tokens for a language or code that its tokenizer cuts into small pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from rewarm.cli.given import TEXT, corpus
from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm add-tokens`."""

    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="A folder or a hub name.")]
    text: Annotated[str, typer.Argument(metavar="TEXT", show_default=False, help=f"New text: {TEXT}")]
    out: Annotated[Path, typer.Option(metavar="FOLDER", show_default=False, help="Where the grown model goes.")]
    tokens: Annotated[str, typer.Option(metavar="COUNT", help="How many tokens to add, such as 2000 or 2k.")] = "2k"
    init: Annotated[
        str, typer.Option(metavar="WAY", help="Rows of the embedding: mean, multivariate, subword-mean, first-piece.")
    ] = "mean"
    init_head: Annotated[
        str | None, typer.Option(metavar="WAY", help="Rows of an untied head; as --init if left out.")
    ] = None
    revision: Annotated[str | None, typer.Option(metavar="REVISION", help="Of a model on the hub.")] = None
    seed: Annotated[int, typer.Option(help="For rows that are drawn.")] = 0


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, add_tokens, writes=True, works=True, options=Options)


def add_tokens(manner: Manner, options: Options) -> Answer:
    """Append tokens learned from new text to a model's vocabulary.

    Old tokens keep their ids and rows. The gain is measured on documents that no token was learned from. What was done
    is also written to FOLDER/extension.json. A plan then names FOLDER as its base.
    """
    from rewarm.methods import nearest
    from rewarm.models.new_rows import INITS
    from rewarm.quantities import parse_count
    from rewarm.river.extending import Extend
    from rewarm.types import UserError

    try:
        count = parse_count(options.tokens)
    except ValueError as error:
        raise UserError(f"--tokens {options.tokens}: {error}") from None
    if count < 1:
        raise UserError(f"--tokens {options.tokens}: give at least 1")
    ways = options.init, options.init_head or options.init
    for name, way in zip(("--init", "--init-head"), ways, strict=True):
        if way not in INITS:
            raise UserError(f"{name} {way}: {nearest(way, INITS)}")
    job = Extend(
        options.model, corpus("TEXT", options.text), count, ways, options.out,  # type: ignore[arg-type]
        options.seed, options.revision,
    )  # fmt: skip
    with Watcher(manner) as watcher:
        found = job.run(watcher.tell_or_stop, manner.dry_run)
    return Answer(found | {"model": None if manner.dry_run else str(options.out)}, _parts(found, manner, options.out))


def _parts(found: Mapping[str, Any], manner: Manner, out: Path) -> list[Any]:
    shown = table("vocabulary", "")
    shown.add_row("tokens added", f"{found['added']:,} of {found['asked']:,}")
    rows, size = found["rows"], found["parameters"]
    shown.add_row(
        "rows initialised", f"{rows['initialised']:,} in the embedding, {rows['head']:,} in a head of its own"
    )
    shown.add_row("rows that the matrices grew by", f"{rows['grown']:,}")
    shown.add_row("parameters", f"{size['before']:,} to {size['after']:,}")
    per = found["bytes_per_token"]
    shown.add_row("bytes per token of new text", f"{per['before']:.3f} to {per['after']:.3f}")
    shown.add_row("tokens saved", f"{found['tokens_saved']:.1%} (on {found['measured_on']})")
    shown.add_row("cost of a byte of it, before = 1", f"{found['cost_per_byte']:.3f}")
    note = (
        "Losses of the grown model are per byte, in its own tokens. Below some ten billion tokens of new text more "
        "tokens have been found to save time rather than to make a better model (arXiv 2401.01055)."
    )
    return [shown, note, "Nothing was written." if manner.dry_run else f"Model: {out}"]
