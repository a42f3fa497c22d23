"""`rewarm prepare`: tokenises everything a plan reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rewarm.cli.engine import Address, EngineName, chosen
from rewarm.cli.verb import Answer, Manner, PlanFile, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rewarm.engines import Engine
    from rewarm.plan import Plan
    from rewarm.river.inputs import Inputs


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, prepare, writes=True, works=True)


def prepare(manner: Manner, plan: PlanFile, engine: EngineName = "local", address: Address = None) -> Answer:
    """Tokenise every corpus of a plan, once.

    Later runs share the result. Prints documents, tokens and bytes of each corpus, what is held out, what is dropped
    because its text is watched, and bad rows by reason.
    """
    from rewarm.plan import load

    loaded = load(plan)
    with Watcher(manner) as watcher:
        from rewarm.river.forecast import forecast

        found = forecast(loaded)
        if manner.dry_run:
            from rewarm.cli.check import told

            return told(found)
        found.refuse_preparing()
        with chosen(engine, address) as where:
            return _prepared(loaded, watcher, where)


def _prepared(plan: Plan, watcher: Watcher, engine: Engine | None) -> Answer:
    from rewarm.river.directory import RunDirectory
    from rewarm.river.inputs import make_inputs

    run = RunDirectory.of(plan)
    with run.locked():
        # Without it a run would take the tokenizer of the base that this plan may have had before.
        run.claim(plan)
        inputs = make_inputs(plan, run, watcher.hooks().tell_or_stop, engine)
    found = [_described(inputs, name) for name in inputs.stores]
    return Answer({"corpora": found, "notes": inputs.notes}, _parts(found, inputs.notes))


def _described(inputs: Inputs, name: str) -> dict[str, Any]:
    store = inputs.stores[name]
    return {
        "corpus": name,
        "documents": store.documents,
        "tokens": store.tokens,
        "bytes": store.manifest["bytes"],
        "bytes_per_token": store.manifest["bytes"] / store.tokens,
        "trainable_tokens": inputs.trainable_tokens(name) if inputs.plan.trained(name) else 0,
        "held_out_documents": inputs.held_out[name],
        "dropped_documents": {
            **({"its text is watched": inputs.copies[name]} if inputs.copies.get(name) else {}),
            **inputs.unclean.get(name, {}),
        },
        "left_out": store.manifest.get("left_out", {}),
        "rows": store.manifest["rows"],
        "bad_rows": store.manifest["bad_rows"],
        "bad_examples": store.manifest["bad_examples"],
        "folder": str(store.folder),
    }


def _parts(found: list[dict[str, Any]], notes: list[str]) -> list[RenderableType]:
    from rewarm.quantities import short, size

    shown = table("corpus", "documents", "tokens", "bytes", "bytes/\ntoken", "held\nout", "dropped", "bad rows")
    for row in found:
        bad = "\n".join(f"{count:,} {reason}" for reason, count in row["bad_rows"].items()) or "0"
        shown.add_row(
            row["corpus"], f"{row['documents']:,}", short(row["tokens"]), size(row["bytes"]),
            f"{row['bytes_per_token']:.2f}", f"{row['held_out_documents']:,}",
            f"{sum(row['dropped_documents'].values()):,}", bad,
        )  # fmt: skip
    left = [
        f"{row['corpus']} leaves out {', '.join(f'{count:,} {reason}' for reason, count in row['left_out'].items())}"
        for row in found
        if row["left_out"]
    ]
    return [shown, *(f"note: {note}" for note in (*left, *notes))]
