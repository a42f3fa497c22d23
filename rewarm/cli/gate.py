"""`rewarm gate`: exit code 2 unless a run forgot and gained as asked."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from rewarm.cli.console import AsJson, Debug, RunFolder, say, say_json, share


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(gate)


def gate(
    run: RunFolder,
    max_forget: Annotated[str | None, typer.Option(help="Largest rise of loss allowed on any old corpus: 1%.")] = None,
    min_gain: Annotated[str | None, typer.Option(help="Smallest fall of loss wanted on every new corpus: 3%.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Hold the interval's bound to it, not the estimate.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Hold a finished run to limits; exit code 0 when met, 2 when not."""
    from rewarm.report.gate import check
    from rewarm.report.result import read

    outcome = check(
        read(run),
        max_forget=None if max_forget is None else share(max_forget),
        min_gain=None if min_gain is None else share(min_gain),
        strict=strict,
    )
    if as_json:
        say_json(dataclasses.asdict(outcome))
    else:
        for sentence in outcome.sentences:
            say(sentence)
        say("gate met" if outcome.passed else "gate not met")
    raise typer.Exit(0 if outcome.passed else 2)
