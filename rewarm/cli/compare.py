"""`rewarm compare`: the final models of several runs of one base side by side, or variants of one plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rewarm.cli.variants import Options, compare_variants
from rewarm.cli.verb import Answer, Manner, table, verb

if TYPE_CHECKING:
    from rich.table import Table

    from rewarm.report.result import Result


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, compare, writes=True, works=True, options=Options)


def compare(manner: Manner, options: Options) -> Answer:
    """Put runs of one base side by side, or variants of one plan.

    Runs: the change on old and new text with intervals, tokens and seconds. They must share their base and their
    held-out documents.

    A plan: trains it with one thing changed, for each value of --vary and several seeds, beside learning rates and
    random controls, and says which variants forget less than a lower learning rate would. The same command goes on
    after a stop.
    """
    runs = options.runs
    if len(runs) == 1 and (options.vary or runs[0].suffix in (".yaml", ".yml")):
        return compare_variants(manner, options)
    if options.vary:
        from rewarm.types import UserError

        raise UserError(
            f"--vary varies one plan; got {', '.join(map(str, runs))}. Give a plan alone, or leave out --vary"
        )
    return _compare_runs(manner, runs, options.output)


def _compare_runs(manner: Manner, runs: list[Path], output: Path | None) -> Answer:
    from rewarm.report.result import check_same_base, read
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


def _shown(results: Mapping[str, Result]) -> Table:
    from rewarm.quantities import clock, short
    from rewarm.report.wording import change, columns, interval, point

    watched = columns(next(iter(results.values())))
    shown = table("run", *(f"{column.name} ({column.words})" for column in watched), "tokens", "training")
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
