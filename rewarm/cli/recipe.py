"""`rewarm recipe`: writes the plan of a published system, in full or in small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm recipe`."""

    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="temporalwiki, ckl or tic; all are listed without one.")
    ] = None
    base: Annotated[str | None, typer.Option(metavar="MODEL", help="The model to update: a folder or a hub name.")] = (
        None
    )
    corpus: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="New text: a pattern of files, with dates in their names.")
    ] = None
    old: Annotated[str | None, typer.Option(metavar="TEXT", help="Old text, to be kept: what the base knows.")] = None
    probes: Annotated[
        list[str] | None, typer.Option(metavar="FILES", help="What the update changes: a pattern of files of probes.")
    ] = None
    method: Annotated[str | None, typer.Option(metavar="METHOD", help="One of the recipe's methods.")] = None
    first: Annotated[int | None, typer.Option(metavar="N", help="Only the first N dates, on which to tune.", min=1)] = (
        None
    )
    small: Annotated[
        bool, typer.Option("--small", help="A small one that runs here, on an invented world it writes beside.")
    ] = False
    output: Annotated[
        Path, typer.Option(metavar="PATH", help="The plan to write; with --small, the folder of texts and plan.")
    ] = Path("plan.yaml")
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing plan.")] = False


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, recipe, writes=True, works=True, options=Options)


def recipe(manner: Manner, options: Options) -> Answer:
    """Write the plan of a published system.

    TemporalWiki, CKL or TiC-LM with the settings of its paper and the source of each, for your model and text; or in
    small, with everything that it reads. Lists them all without a name.
    """
    if options.name is None:
        return _listed()
    return _small(manner, options, options.name) if options.small else _full(manner, options, options.name)


def _listed() -> Answer:
    from rewarm.recipes.published import NAMES, recipe

    found = {name: recipe(name) for name in NAMES}
    shown = table("recipe", "method", "what it does")
    for name, one in found.items():
        shown.add_row(name, "", f"{one.title[0].upper()}{one.title[1:]} ({one.source}).")
        for method, about in one.methods.items():
            shown.add_row("", method, about["about"])
    values = {
        name: {"title": one.title, "source": one.source, "default": one.default, "methods": one.methods}
        for name, one in found.items()
    }
    return Answer(values, [shown, "Next: rewarm recipe NAME --small --output FOLDER"])


def _full(manner: Manner, options: Options, name: str) -> Answer:
    from rewarm.recipes.published import Asked, compare_command, full_plan, recipe
    from rewarm.types import UserError

    found = recipe(name)
    _check_output(options.output, options, manner)
    if options.base is None:
        raise UserError(f"recipe '{name}' needs --base: the model to update, such as openai-community/gpt2-large")
    asked = Asked(
        base=options.base,
        corpus=tuple(options.corpus or ()),
        old=options.old,
        probes=tuple(options.probes or ()),
        output_dir=f"runs/{options.output.stem}",
        first=options.first,
    )
    text = full_plan(name, options.method, asked)
    command = compare_command(name, asked, str(options.output))
    line = f"Beside each other, with a plan of method {found.default}: {command}"
    return _written(manner, options.output, text, [line], {"compare": command})


def _small(manner: Manner, options: Options, name: str) -> Answer:
    from rewarm.recipes import small_texts
    from rewarm.recipes.demo_text import write_bytes
    from rewarm.recipes.published import compare_small, first_plan, recipe, small_plan
    from rewarm.types import UserError

    given = {"base": options.base, "corpus": options.corpus, "old": options.old, "probes": options.probes}
    if wrong := [f"--{key}" for key in (*given, "first") if {**given, "first": options.first}[key] is not None]:
        raise UserError(f"{' and '.join(wrong)}: a small recipe writes its own text for the demo's base. Leave it out")
    if options.output == Path("plan.yaml"):
        raise UserError("--small writes several files: give their folder with --output FOLDER")
    plan, method = options.output / "plan.yaml", recipe(name, small=True).chosen(options.method)
    _check_output(plan, options, manner)
    if manner.dry_run:
        lines = [f"would write texts, facts, probes and plan.yaml (method {method}) to {options.output}"]
        return Answer({"plan": str(plan), "method": method, "written": False}, lines)
    with Watcher(manner) as watcher:
        small_texts.write(name, options.output, watcher.tell, lambda: watcher.stopping)
    folder = str(options.output)
    write_bytes(options.output / "first.yaml", first_plan(folder).encode())
    write_bytes(plan, small_plan(name, method, folder).encode())
    commands = [f"rewarm run {options.output / 'first.yaml'}", f"rewarm run {plan}", compare_small(name, folder)]
    lines = [
        f"wrote texts and plans to {folder}. Next, a minute or two each:",
        *(f"  {command}" for command in commands[:2]),
        f"Methods beside each other, which takes hours: {commands[2]}",
    ]
    values = {"plan": str(plan), "method": method, "written": True, "commands": commands}
    return Answer(values, lines)


def _check_output(plan: Path, options: Options, manner: Manner) -> None:
    from rewarm.types import UserError

    if plan.is_dir():
        raise UserError(f"--output '{plan}' is a folder: name a file in it, such as {plan / 'plan.yaml'}")
    if plan.exists() and not options.force and not manner.dry_run:
        raise UserError(f"'{plan}' exists: give another --output, or --force to overwrite it")


def _written(manner: Manner, plan: Path, text: str, lines: list[str], more: dict[str, Any]) -> Answer:
    from rewarm.types import StorageError

    values = {"plan": str(plan), "written": not manner.dry_run, "text": text, **more}
    parts: list[RenderableType] = [text.rstrip("\n"), *lines]
    if manner.dry_run:
        return Answer(values, parts)
    try:
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"'{plan}' was not written: {error}") from error
    return Answer(values, [f"wrote {plan}. Next: rewarm check {plan}, then rewarm run {plan}", *lines])
