"""`rewarm add-stage`: next month's update of a finished run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Execute, Manner, RunFolder, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.river.adding import Addition


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the verb."""

    run: RunFolder
    corpus: Annotated[str, typer.Option(metavar="PATH", help="The new text: a file, folder or pattern.")]
    name: Annotated[
        str | None, typer.Option(help="The stage's name; without it in the style of the run's, by the date in PATH.")
    ] = None
    after: Annotated[
        str | None, typer.Option(metavar="STAGE", help="The stage it starts from: a branch, if it is an earlier one.")
    ] = None
    probes: Annotated[str | None, typer.Option(metavar="FILE", help="Probes of what the new text changes.")] = None
    tokens: Annotated[
        str | None, typer.Option(help="The stage's budget, such as 20M; that of the last stage without it.")
    ] = None
    epochs: Annotated[str | None, typer.Option(help="The budget as passes through the new text instead.")] = None
    learning_rate: Annotated[str | None, typer.Option(help="The peak learning rate.")] = None
    execute: Execute = False
    set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=YAML", help="Another key of the stage (replay.share=1/t) or corpus (corpus.holdout=5%). May "
            "be repeated.",
        ),
    ] = None  # fmt: skip


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, add_stage, writes=True, works=True, options=Options)


def add_stage(manner: Manner, options: Options) -> Answer:
    """Update a finished run with new text.

    The new stage is the last one again with other text. Earlier models are scored on the new text, too, and nothing is
    scored twice. The same command goes on after a stop.
    """
    from rewarm.launch import tune
    from rewarm.river.adding import update
    from rewarm.sandbox.permission import executing

    addition = _addition(options)
    found = update(options.run, addition)
    if manner.dry_run:
        from rewarm.cli.check import told
        from rewarm.river.forecast import forecast

        return told(forecast(found.plan, timed=True, added=True))
    tune()
    with executing(options.execute), Watcher(manner) as watcher:
        from rewarm.cli.report import told as told_result
        from rewarm.river.adding import add_stage as add
        from rewarm.river.forecast import forecast
        from rewarm.river.suite_sets import check_execution

        check_execution(found.plan)
        forecast(found.plan, added=True).refuse()
        result = add(options.run, addition, watcher.hooks(), _command(options))
    return told_result(result, options.run)


def _addition(options: Options) -> Addition:
    from rewarm.river.adding import Addition
    from rewarm.types import UserError

    given = {
        "tokens": options.tokens, "epochs": options.epochs, "learning_rate": options.learning_rate,
        "from": options.after,
    }  # fmt: skip
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if len(changes.keys() & {"tokens", "epochs"}) == 2:
        raise UserError("give the stage's budget as either --tokens or --epochs")
    for text in options.set or ():
        key, value = _set(text)
        if key in changes:
            raise UserError(f"--set {text}: '{key}' is given twice")
        changes[key] = value
    return Addition(options.corpus, options.name, options.probes, changes)


def _set(text: str) -> tuple[str, Any]:
    from rewarm.plan_file import yaml_value
    from rewarm.types import UserError

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set '{text}': give KEY=YAML, as in --set replay.share=10%")
    try:
        return key.strip(), yaml_value(value)
    except UserError as error:
        raise UserError(f"--set {key}: '{value}' cannot be read as YAML: {error}") from None


def _command(options: Options) -> str:
    """The command that goes on with this addition."""
    words = ["rewarm", "add-stage", str(options.run), "--corpus", options.corpus]
    for name in ("name", "after", "probes", "tokens", "epochs", "learning_rate"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", value]
    words += ["--execute"] if options.execute else []
    words += [word for text in options.set or () for word in ("--set", text)]
    return shlex.join(words)
