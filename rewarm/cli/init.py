"""`rewarm init`: writes a plan with safe defaults from a base, new text and old text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarm.cli.verb import Answer, Manner, verb

_Base = Annotated[str, typer.Option(metavar="MODEL", help="The model to update: a folder or a hub name.")]
_New = Annotated[list[str], typer.Option(metavar="TEXT", help="New text: file, folder or pattern. One stage for each.")]
_Old = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="Old text, to be kept: a sample of what the base knows.")
]
_Output = Annotated[Path, typer.Option(metavar="FILE", help="The plan to write.")]
_OutputDir = Annotated[str | None, typer.Option(metavar="FOLDER", help="The run directory. [default: runs/<plan>]")]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing plan.")]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, init, writes=True)


def init(
    manner: Manner, base: _Base, new: _New, old: _Old = None, output: _Output = Path("plan.yaml"),
    output_dir: _OutputDir = None, force: _Force = False,
) -> Answer:  # fmt: skip
    """Write a plan for a base and some text.

    Looks at the texts and at the base, and writes a commented plan with safe defaults: one stage for each --new, 5 %
    replay of the first --old, everything watched, a control without replay.
    """
    from rewarm.types import StorageError, UserError

    if output.is_dir():
        raise UserError(f"--output '{output}' is a folder: name a file in it, such as {output / 'plan.yaml'}")
    if output.exists() and not force and not manner.dry_run:
        raise UserError(f"'{output}' exists: give another --output, or --force to overwrite it")
    from rewarm.recipes.first_plan import first_plan

    text = first_plan(base, new, old or [], output_dir or f"runs/{output.stem}")
    values = {"plan": str(output), "written": not manner.dry_run, "text": text}
    if manner.dry_run:
        return Answer(values, [text.rstrip("\n")])
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"'{output}' was not written: {error}") from error
    return Answer(values, [f"wrote {output}. Next: rewarm check {output}"])
