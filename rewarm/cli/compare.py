"""`rewarm compare`: the final models of several runs of one base, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, table, verb

if TYPE_CHECKING:
    from rich.table import Table

    from rewarm.report.result import Result

SAME_LOSS = 1e-5
"""Relative difference that other hardware or another order of sums makes in the loss of the same weights."""

_Runs = Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories.", show_default=False)]
_Output = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write the table and a figure as a page.")]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, compare, writes=True)


def compare(manner: Manner, runs: _Runs, output: _Output = None) -> Answer:
    """Put the final models of several runs side by side.

    Shows the change on old and new text with intervals, tokens and seconds. The runs must share their base and their
    held-out documents.
    """
    from rewarm.report.result import read
    from rewarm.types import UserError

    if len({run.resolve() for run in runs}) < max(2, len(runs)):
        raise UserError(f"give at least two run directories, each once; got {', '.join(map(str, runs))}")
    results = _named({folder: read(folder) for folder in runs})
    check_same_base(results)
    page = None
    if output is not None and not manner.dry_run:
        from rewarm.report.comparison import write

        write(results, output)
        page = str(output)
    legend = "Change of loss per byte against the base in percent, with 95% intervals; below 0 is better."
    lines = [] if output is None else [f"would write {output}" if manner.dry_run else f"Page: {output}"]
    rows = {name: _row(result) for name, result in results.items()}
    return Answer({"runs": rows, "page": page}, [_shown(results), legend, *lines])


def _named(results: Mapping[Path, Result]) -> dict[str, Result]:
    """Runs under the last part of their path where that tells them apart, otherwise under their path."""
    last = [folder.name for folder in results]
    return {
        folder.name if folder.name and last.count(folder.name) == 1 else str(folder): result
        for folder, result in results.items()
    }


def check_same_base(results: Mapping[str, Result]) -> None:
    """UserError unless every run scored the same base on the same documents."""
    from rewarm.types import UserError

    (first, reference), *others = results.items()
    for name, result in others:
        own, base = result.rows[0].cells, reference.rows[0].cells
        documents = sorted(
            corpus
            for corpus in own.keys() | base.keys()
            if corpus not in own
            or corpus not in base
            or (own[corpus].documents, own[corpus].bytes) != (base[corpus].documents, base[corpus].bytes)
        )
        if documents:
            raise UserError(
                f"'{name}' and '{first}' cannot be compared: they watch other documents of {', '.join(documents)}. "
                "Give runs with the same watch-list, held-out share and eval_tokens"
            )
        weights = [found.hashes.get("weights base") for found in (result, reference)]
        other = [corpus for corpus in own if not math.isclose(own[corpus].loss, base[corpus].loss, rel_tol=SAME_LOSS)]
        if other or (None not in weights and weights[0] != weights[1]):
            raise UserError(f"'{name}' and '{first}' cannot be compared: they do not start from the same base weights")


def _shown(results: Mapping[str, Result]) -> Table:
    from rewarm.quantities import clock, short
    from rewarm.report.wording import change, columns, interval, point

    watched = columns(next(iter(results.values())))
    shown = table("run", *(f"{column.name} ({column.role})" for column in watched), "tokens", "training")
    for name, result in results.items():
        changes = [change(result, result.final(), column.name) for column in watched]
        cells = [f"{point(found)}\n{interval(found)}" if found else "not scored" for found in changes]
        note = "" if result.complete else "\nnot complete"
        shown.add_row(name + note, *cells, short(result.final().tokens), clock(_seconds(result)))
    return shown


def _seconds(result: Result) -> float:
    """Seconds of training of the main run."""
    return sum(cost.seconds for cost in result.costs if cost.run == "")


def _row(result: Result) -> dict[str, Any]:
    from rewarm.report.wording import change, columns

    final = result.final()
    cells = {}
    for column in columns(result):
        found = change(result, final, column.name)
        if found is not None:
            cell = final.cells[column.name]
            cells[column.name] = {
                "role": column.role, "loss": cell.loss, "relative": found.point, "low": found.low, "high": found.high,
                "verdict": cell.verdict,
            }  # fmt: skip
    return {
        "model": final.name,
        "complete": result.complete,
        "cells": cells,
        "tokens": final.tokens,
        "seconds": _seconds(result),
    }
