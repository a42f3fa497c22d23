"""`rewarm init`: writes a plan with safe defaults, or one from the configuration of another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, verb

if TYPE_CHECKING:
    from rewarm.recipes.migration import Migration

_Base = Annotated[str | None, typer.Option(metavar="MODEL", help="The model to update: a folder or a hub name.")]
_New = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="New text: file, folder or pattern. One stage for each.")
]
_Old = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="Old text, to be kept: a sample of what the base knows.")
]
_From = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="FILE", help="Translate this YAML of LLaMA-Factory or axolotl, instead of --base and --new."
    ),
]
_Devices = Annotated[
    int | None, typer.Option(metavar="N", help="With --from: the devices that configuration was for. [default: 1]")
]
_Output = Annotated[Path, typer.Option(metavar="FILE", help="The plan to write.")]
_OutputDir = Annotated[str | None, typer.Option(metavar="FOLDER", help="The run directory. [default: runs/<plan>]")]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing plan.")]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm init`."""

    base: _Base = None
    new: _New = None
    old: _Old = None
    from_: _From = None
    devices: _Devices = None
    output: _Output = Path("plan.yaml")
    output_dir: _OutputDir = None
    force: _Force = False


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, init, writes=True, options=Options)


def init(manner: Manner, options: Options) -> Answer:
    """Write a plan for a base and some text.

    Looks at the texts and at the base, and writes a commented plan with safe defaults: one stage for each --new, 5 %
    replay of the first --old, everything watched, a control without replay.

    With --from, translates a configuration of LLaMA-Factory or axolotl, and says of every key what became of it.
    """
    from rewarm.types import UserError

    output = options.output
    if output.is_dir():
        raise UserError(f"--output '{output}' is a folder: name a file in it, such as {output / 'plan.yaml'}")
    if output.exists() and not options.force and not manner.dry_run:
        raise UserError(f"'{output}' exists: give another --output, or --force to overwrite it")
    if options.from_ is not None:
        return _translated(manner, options, options.from_)
    missing = [name for name, value in (("--base", options.base), ("--new", options.new)) if not value]
    if missing or options.base is None or options.new is None:
        raise UserError(f"{' and '.join(missing)} missing: give --base MODEL --new TEXT, or --from FILE")
    if options.devices is not None:
        raise UserError("--devices belongs to --from")
    from rewarm.recipes.first_plan import first_plan

    text = first_plan(options.base, options.new, options.old or [], options.output_dir or f"runs/{output.stem}")
    return _written(manner, output, text, {})


def _translated(manner: Manner, options: Options, config: Path) -> Answer:
    from rewarm.recipes.migration import migrated
    from rewarm.types import UserError

    if options.base is not None or options.new:
        raise UserError("--from takes the model and the new text from the file: leave out --base and --new")
    found = migrated(config, options.old or [], options.output_dir, options.devices or 1)
    return _written(manner, options.output, found.text, found.described(), _told(found))


def _told(found: Migration) -> list[Any]:
    """Every key of the configuration and what became of it, for people."""
    from rewarm.cli.verb import table

    given = found.given
    shown = table("key", "", "what became of it", title=f"Configuration of {given.program}")
    for words, items in (("translated", given.translated), ("no meaning here", given.idle), ("differs", given.differs)):
        for key, why in sorted(items.items()):
            shown.add_row(key, words, why)
    for key in sorted(given.unknown):
        shown.add_row(key, "unknown", "nothing was made of it")
    for key, why in sorted(given.defaults.items()):
        shown.add_row(key, "not said", why)
    counts = f"{len(given.translated)} translated, {len(given.idle)} without meaning here, "
    counts += f"{len(given.differs)} that differ, {len(given.unknown)} unknown"
    return [shown, f"keys: {counts}", *(f"note: {note}" for note in given.notes)]


def _written(manner: Manner, output: Path, text: str, more: dict[str, Any], parts: list[Any] | None = None) -> Answer:
    from rewarm.types import StorageError

    values = {"plan": str(output), "written": not manner.dry_run, "text": text, **more}
    if manner.dry_run:
        return Answer(values, [*(parts or []), text.rstrip("\n")])
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"'{output}' was not written: {error}") from error
    return Answer(values, [*(parts or []), f"wrote {output}. Next: rewarm check {output}"])
