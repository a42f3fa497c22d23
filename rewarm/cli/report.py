"""`rewarm report`: writes the report of a run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rewarm.cli.verb import Answer, Manner, RunFolder, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.report.result import Result


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, report, writes=True, works=True)


def report(manner: Manner, run: RunFolder) -> Answer:
    """Write the report of a run again, finished or not."""
    if manner.dry_run:
        from rewarm.river.directory import RunDirectory

        RunDirectory(run).resolved()
        files = [str(run / f"report.{suffix}") for suffix in ("html", "md", "json")]
        return Answer({"would_write": files}, [f"would write {', '.join(files)}"])
    from rewarm.river.run import report as write_report

    with Watcher(manner) as watcher:
        result = write_report(run, watcher.hooks())
    return told(result, run)


def told(result: Result, directory: Path) -> Answer:
    """A result as an answer: the matrix and where the report is; as JSON all of it but the curves."""
    from rewarm.report.terminal import path_line, table
    from rewarm.report.wording import verdict_sentence

    page = directory / "report.html"
    values = {
        "run": str(directory),
        "report": str(page),
        "complete": result.complete,
        "verdict": verdict_sentence(result),
        # Through JSON: it writes an unbounded interval as a word.
        "result": json.loads(result.model_dump_json(exclude={"curves", "probes"})),
    }
    return Answer(values, [table(result), path_line(page)])
