"""`rewarm recipe`: writes the plan of a published system, in full or in small."""

from __future__ import annotations

import shlex
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

    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of those that are listed without it.")] = (
        None
    )
    base: Annotated[str | None, typer.Option(metavar="MODEL", help="The model to update: a folder or a hub name.")] = (
        None
    )
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="New text: a pattern of files, dated where updates are; repeated for a stream, in order.",
        ),
    ] = None
    old: Annotated[str | None, typer.Option(metavar="TEXT", help="Old text, to be kept: what the base knows.")] = None
    probes: Annotated[
        list[str] | None, typer.Option(metavar="FILES", help="What the update changes: a pattern of files of probes.")
    ] = None
    task: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Text of a task, or its rows: what the update is to be good for.")
    ] = None
    chat: Annotated[
        str | None, typer.Option(metavar="FILE", help="Conversations, which are learned after the text.")
    ] = None
    preferences: Annotated[
        str | None, typer.Option(metavar="FILE", help="Pairs of answers, which are learned last.")
    ] = None
    tuned: Annotated[str | None, typer.Option(metavar="MODEL", help="What the base became when tuned on the task.")] = (
        None
    )
    suite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=FILE",
            help="Tasks to ask: general, domain, instruction, safety, control, stream or similarity; may be repeated.",
        ),
    ] = None
    method: Annotated[str | None, typer.Option(metavar="METHOD", help="One of the recipe's methods.")] = None
    first: Annotated[int | None, typer.Option(metavar="N", help="Only the first N dates, on which to tune.", min=1)] = (
        None
    )
    small: Annotated[bool, typer.Option("--small", help="A small one that runs here, on text it writes beside.")] = (
        False
    )
    output: Annotated[
        Path, typer.Option(metavar="PATH", help="The plan to write; with --small, the folder of texts and plan.")
    ] = Path("plan.yaml")
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing plan.")] = False


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, recipe, writes=True, works=True, options=Options)


def recipe(manner: Manner, options: Options) -> Answer:
    """Write the plan of a published system.

    It has the settings of its paper and the source of each, for your model and text; or it is in small, with everything
    that it reads. Lists all recipes and their methods without a name.
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
    from rewarm.recipes.inputs import Asked, suite
    from rewarm.recipes.published import compare_command, full_lines, full_plan, recipe
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
        task=options.task,
        chat=options.chat,
        preferences=options.preferences,
        tuned=options.tuned,
        suites=tuple(suite(text) for text in options.suite or ()),
        output_dir=f"runs/{options.output.stem}",
        first=options.first,
    )
    text, plan = full_plan(name, options.method, asked), str(options.output)
    lines, compare = full_lines(name, options.method, asked, plan), compare_command(name, asked, plan)
    if compare is None:
        shown = ["In this order:", *(f"  {line}" for line in lines)]
    else:
        lines = [f"rewarm check {shlex.quote(plan)}", f"rewarm run {shlex.quote(plan)}"]
        shown = [f"Next: {', then '.join(lines)}"]
        shown += [f"Beside each other, with a plan of method {found.default}: {compare}"]
    return _written(manner, options.output, text, shown, {"commands": _commands(lines), "compare": compare})


def _commands(lines: list[str]) -> list[str]:
    """Lines without notes."""
    return [line for line in lines if not line.startswith("#")]


def _small(manner: Manner, options: Options, name: str) -> Answer:
    from rewarm.recipes import small_texts
    from rewarm.recipes.demo_text import write_bytes
    from rewarm.recipes.inputs import OPTIONAL
    from rewarm.recipes.published import compare_small, recipe, small_lines, small_plans
    from rewarm.types import UserError

    given = [key for key in ("base", "corpus", *OPTIONAL, "suite") if getattr(options, key) is not None]
    if given:
        wrong = " and ".join(f"--{key}" for key in given)
        raise UserError(f"{wrong}: a small recipe writes its own text for the demo's base. Leave it out")
    if options.output == Path("plan.yaml"):
        raise UserError("--small writes several files: give their folder with --output FOLDER")
    plan, method = options.output / "plan.yaml", recipe(name, small=True).chosen(options.method)
    _check_output(plan, options, manner)
    if manner.dry_run:
        lines = [f"would write everything it reads and plan.yaml (method {method}) to {options.output}"]
        return Answer({"plan": str(plan), "method": method, "written": False}, lines)
    with Watcher(manner) as watcher:
        small_texts.write(name, options.output, watcher.tell, lambda: watcher.stopping)
    folder = str(options.output)
    for file, text in small_plans(name, method, folder).items():
        write_bytes(options.output / file, text.encode())
    lines, compare = small_lines(name, method, folder), compare_small(name, folder)
    commands = [*_commands(lines), *([] if compare is None else [compare])]
    shown = [f"wrote texts and plans to {folder}. Next, a minute or two each:", *(f"  {line}" for line in lines)]
    if compare is not None:
        shown.append(f"Methods beside each other, which takes hours: {compare}")
    values = {"plan": str(plan), "method": method, "written": True, "commands": commands}
    return Answer(values, shown)


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
    return Answer(values, [f"wrote {plan}.", *lines])
