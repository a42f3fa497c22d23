"""`rewarm init`: writes a plan with safe defaults from a base, new text and old text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarm.cli.console import AsJson, Debug, DryRun, say, say_json


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(init)


def init(
    base: Annotated[str, typer.Option(help="The model to update: a folder or a hub name.")],
    new: Annotated[list[str], typer.Option(help="New text: a file, folder or pattern. Once per stage, in order.")],
    old: Annotated[
        list[str] | None, typer.Option(help="Old text, to be kept: a sample of what the base knows.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The plan to write.")] = Path("plan.yaml"),
    output_dir: Annotated[str | None, typer.Option(help="The run directory the plan names.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing plan.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Look at a base and at text, and write a commented plan: one stage per --new, 5 % replay, everything watched."""
    from rewarm.recipes.first_plan import first_plan
    from rewarm.types import UserError

    if output.exists() and not force and not dry_run:
        raise UserError(f"'{output}' exists: give another --output, or --force to overwrite it")
    text = first_plan(base, new, old or [], output_dir or f"runs/{output.stem}")
    if not dry_run:
        output.write_text(text, encoding="utf-8")
    if as_json:
        say_json({"plan": str(output), "written": not dry_run, "text": text})
    elif dry_run:
        say(text)
    else:
        say(f"wrote {output}. Next: rewarm check {output}")
