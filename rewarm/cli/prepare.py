"""`rewarm prepare`: tokenises everything a plan reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from rewarm.cli.console import AsJson, Debug, DryRun, PlanFile, Quiet, Watcher, say, say_json
from rewarm.quantities import short


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(prepare)


def prepare(
    plan: PlanFile, dry_run: DryRun = False, as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False
) -> None:
    """Tokenise every corpus of a plan once; later runs share the result. Prints what was found in each."""
    from rewarm.plan import load

    loaded = load(plan)
    if dry_run:
        from rewarm.cli.check import show
        from rewarm.river.forecast import forecast

        show(forecast(loaded), as_json)
        return
    from rewarm.river.directory import RunDirectory
    from rewarm.river.inputs import make_inputs

    run = RunDirectory(loaded.directory, Path(loaded.prepared_dir) if loaded.prepared_dir else None)
    with run.locked(), Watcher(quiet or as_json) as watcher:
        inputs = make_inputs(loaded, run, watcher.tell)
    found: list[dict[str, Any]] = [
        {
            "corpus": name,
            "documents": store.documents,
            "tokens": store.tokens,
            "bytes": store.manifest["bytes"],
            "trained": inputs.trainable_tokens(name) if loaded.trained(name) else 0,
            "held_out_documents": inputs.held_out[name],
            "dropped_because_watched": inputs.copies.get(name, 0),
            "rows": store.manifest["rows"],
            "bad_rows": store.manifest["bad_rows"],
            "folder": str(store.folder),
        }
        for name, store in inputs.stores.items()
    ]
    if as_json:
        say_json({"corpora": found, "notes": inputs.notes})
        return
    from rich.table import Table

    table = Table("corpus", "documents", "tokens", "bytes/token", "held out", "dropped", "bad rows")
    for row in found:
        bad = ", ".join(f"{reason}: {count}" for reason, count in row["bad_rows"].items()) or "0"
        table.add_row(
            row["corpus"], f"{row['documents']:,}", short(row["tokens"]), f"{row['bytes'] / row['tokens']:.2f}",
            f"{row['held_out_documents']:,}", f"{row['dropped_because_watched']:,}", bad,
        )  # fmt: skip
    say(table)
    for note in inputs.notes:
        say(f"note: {note}")
