"""`rewarm compare`: several runs of one base in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.console import AsJson, Debug, say, say_json
from rewarm.quantities import clock, short

if TYPE_CHECKING:
    from rewarm.report.result import Result


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(compare)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories of the same base.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Put the final models of several runs side by side: change on each watch corpus with its interval, tokens, time."""
    from rewarm.report.result import read
    from rewarm.types import UserError

    if len(runs) < 2:
        raise UserError("give at least two run directories to compare")
    results = {str(folder): read(folder) for folder in runs}
    check_same_base(results)
    rows = {name: _row(result) for name, result in results.items()}
    if as_json:
        say_json(rows)
        return
    from rich.table import Table

    corpora = [column.name for column in next(iter(results.values())).columns]
    table = Table("run", *corpora, "tokens", "time")
    for name, found in rows.items():
        cells = [
            f"{cell['relative']:+.2%}\n[{cell['low']:+.2%}, {cell['high']:+.2%}]" if cell else "not scored"
            for cell in (found["cells"].get(corpus) for corpus in corpora)
        ]
        table.add_row(name, *cells, short(found["tokens"]), clock(found["seconds"]))
    say(table)
    say("Change of loss per byte against the base, on the same documents; below 0 is better.")


def check_same_base(results: dict[str, Result]) -> None:
    """UserError unless every run scored the same base on the same documents."""
    from rewarm.types import UserError

    (first, reference), *others = results.items()
    for name, result in others:
        own, base = result.rows[0].cells, reference.rows[0].cells
        different = [
            corpus
            for corpus in own.keys() | base.keys()
            if corpus not in own
            or corpus not in base
            or (own[corpus].documents, own[corpus].bytes) != (base[corpus].documents, base[corpus].bytes)
            or abs(own[corpus].loss - base[corpus].loss) > 1e-6 * base[corpus].loss
        ]
        if different:
            raise UserError(
                f"'{name}' and '{first}' cannot be compared: their bases differ on {', '.join(sorted(different))} "
                "(other weights, or other held-out documents)"
            )


def _row(result: Result) -> dict[str, Any]:
    final = result.final()
    cells = {
        corpus: {
            "loss": cell.loss,
            "relative": cell.relative,
            "low": cell.low / (cell.loss - cell.delta),
            "high": cell.high / (cell.loss - cell.delta),
            "verdict": cell.verdict,
        }
        for corpus, cell in final.cells.items()
    }
    own = [cost for cost in result.costs if cost.run == ""]
    return {"model": final.name, "cells": cells, "tokens": final.tokens, "seconds": sum(cost.seconds for cost in own)}
