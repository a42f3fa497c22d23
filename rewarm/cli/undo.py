"""`rewarm undo`: takes back the stage that was added last."""

from __future__ import annotations

from typing import Annotated

import typer

from rewarm.cli.verb import Answer, Manner, RunFolder, table, verb
from rewarm.cli.watcher import Watcher


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, undo, writes=True, works=True)


def undo(
    manner: Manner,
    run: RunFolder,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete its files instead of setting them aside.", show_default=False)
    ] = False,
) -> Answer:
    """Take back the stage that was added to a run last.

    The ledger says so, and the report is written without it. Its files go to undone/ in the run directory.
    """
    from rewarm.cli.report import told
    from rewarm.river.undoing import undo as take_back
    from rewarm.river.undoing import undoing

    found = undoing(run)
    files = [str(file.relative_to(run)) for file in found.files()]
    shown = table("deleted" if delete else "set aside")
    for file in files:
        shown.add_row(file)
    if manner.dry_run:
        return Answer({"stage": found.stage, "files": files}, [shown, f"would take back stage '{found.stage}'"])
    with Watcher(manner) as watcher:
        result = take_back(run, delete, watcher.hooks())
    answer = told(result, run)
    values = {**answer.values, "undone": found.stage, "files": files}
    return Answer(values, [shown, f"stage '{found.stage}' was taken back", "", *answer.parts])
