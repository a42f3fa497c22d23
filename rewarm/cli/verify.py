"""`rewarm verify`: whether a run is still what was recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.verb import DONE, NOT_MET, Answer, Manner, RunFolder, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rewarm.river.checks import Check


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, verify, works=True)


def verify(
    manner: Manner,
    run: RunFolder,
    documents: Annotated[
        int, typer.Option(min=0, help="How many documents are scored again, of each model and watched corpus.")
    ] = 4,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
) -> Answer:
    """Check a run's files and numbers against its records.

    Models, checkpoints, prepared text and the ledger by their hashes, some kept losses by scoring again, the report's
    numbers from what is kept. Writes nothing. Exit code 2 when something is not right.
    """
    from rewarm.river.verify import verify as check

    with Watcher(manner) as watcher:
        found = check(run, documents, seed, watcher.tell_or_stop)
    return told(found, f"rewarm verify {run}")


def told(checks: Sequence[Check], what: str) -> Answer:
    """Checks as an answer: those that are wrong first; exit code 2 where one is."""
    from rewarm.river.checks import summary, wrong

    bad = wrong(checks)
    values = {"right": not bad, "checks": list(checks)}
    shown: list[RenderableType] = [_table(checks), "", summary(checks)]
    if not bad:
        return Answer(values, shown, DONE)
    names = "; ".join(f"{check.subject} ({check.what}): {check.found}" for check in bad[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return Answer(values, shown, NOT_MET, f"{what}: {len(bad)} checks are not right: {names}{more}")


def _table(checks: Sequence[Check]) -> RenderableType:
    shown = table("", "checked", "of", "expected", "found")
    for column in shown.columns:
        column.overflow = "fold"  # a path that was cut short would name no file
    words = {False: "WRONG", None: "-", True: "right"}
    for check in sorted(checks, key=lambda check: list(words).index(check.right)):
        shown.add_row(words[check.right], check.what, check.subject, check.expected, check.found)
    return shown
