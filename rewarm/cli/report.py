"""`rewarm report`: writes the report of a run again."""

from __future__ import annotations

import typer

from rewarm.cli.console import AsJson, Debug, DryRun, Quiet, RunFolder, Watcher, say, say_json


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(report)


def report(
    run: RunFolder, dry_run: DryRun = False, as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False
) -> None:
    """Write report.html, report.md and report.json of a run again, from what it holds, finished or not."""
    from rewarm.river.directory import RunDirectory

    page = run / "report.html"
    if dry_run:
        RunDirectory(run).resolved()
        say_json({"would write": str(page)}) if as_json else say(f"would write {page}, report.md and report.json")
        return
    from rewarm.report.terminal import path_line, table
    from rewarm.river.run import report as write_report

    with Watcher(quiet or as_json) as watcher:
        result = write_report(run, watcher.hooks())
    if as_json:
        say_json({"report": str(page), "complete": result.complete})
        return
    say(table(result))
    say(path_line(page))
