"""`rewarm recycle`: what a model learned of a task on an old base, put to use on the updated one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.table import Table

    from rewarm.report.recycling import Recycled
    from rewarm.river.recycle_order import RecycleOrder, RecycleWork

_WAYS = "direct (add, no training), init (tune from there), teacher, both, fresh (the control)"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, recycle, writes=True, works=True, options=Options)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the verb."""

    old: Annotated[str, typer.Argument(metavar="OLD_BASE", help="The base that was tuned.", show_default=False)]
    tuned: Annotated[
        str,
        typer.Argument(
            metavar="TUNED", help="What it became: a whole model, or a folder with a LoRA adapter.", show_default=False
        ),
    ]
    new: Annotated[str, typer.Argument(metavar="NEW_BASE", help="The updated base.", show_default=False)]
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where models and page go.", show_default=False)]
    task: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Lines of JSON: text and label, or prompt and response; split if they say."),
    ] = None
    way: Annotated[str, typer.Option(help=f"One or more of {_WAYS}; with commas.")] = "direct"
    scale: Annotated[float, typer.Option(help="What the difference is multiplied by before it is added.")] = 1.0
    sweep: Annotated[bool, typer.Option("--sweep", help="Score the scales 0, 0.25, ... 1.5 as well.")] = False
    curve: Annotated[
        bool, typer.Option("--curve", help="Score the straight line from the old task model to the new ones.")
    ] = False
    preset: Annotated[
        str | None, typer.Option(help="published: the settings of the paper's code, in place of the ones below.")
    ] = None
    steps: Annotated[int | None, typer.Option(help="Steps of each tuning; 10 epochs without it.")] = None
    learning_rate: Annotated[float, typer.Option(help="The peak rate; about ten times that for an adapter.")] = 2e-5
    batch_size: Annotated[int, typer.Option(help="Rows of a step.")] = 16
    eval_every: Annotated[int | None, typer.Option(help="Steps between evaluations; an epoch without it.")] = None
    patience: Annotated[int | None, typer.Option(help="Stop after so many evaluations without a better one.")] = None
    alpha: Annotated[float, typer.Option(help="Weight of the teacher against the labels, 0 to 1.")] = 0.9
    temperature: Annotated[float, typer.Option(help="Temperature of teacher and student.")] = 5.0
    beta: Annotated[float, typer.Option(help="Weight of the distance of hidden states; 0: they do not matter.")] = 0.0
    shots: Annotated[int | None, typer.Option(help="Rows of each label to train on; all without it.")] = None
    max_length: Annotated[int, typer.Option(help="Tokens of a row.")] = 256
    target: Annotated[
        float | None, typer.Option(help="Accuracy (loss of answers) to reach; the best of fresh without it.")
    ] = None
    merge: Annotated[bool, typer.Option("--merge", help="Write whole models where an adapter was given.")] = False
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto"
    seed: Annotated[int, typer.Option(help="Of heads, orders, dropout and shots.")] = 0


def recycle(manner: Manner, options: Options) -> Answer:
    """Put task weights of an old base to use on a new one.

    Without a task the difference is added and nothing is trained: a chat vector. With one, every way is tuned alike
    and scored on rows of its own. What is finished is kept; the same command goes on.
    """
    from rewarm.river.recycle import recycle as recycle_models
    from rewarm.river.recycle_order import plan_recycle

    work = plan_recycle(order(options), options.out)
    if manner.dry_run:
        return _forecast(work)
    with Watcher(manner) as watcher:
        found = recycle_models(work, watcher.hooks())
    page = options.out / "recycle.html"
    values = {"page": str(page), "recycled": json.loads(found.model_dump_json())}
    models = [f"Model of {arm.way}: {arm.model}" for arm in found.arms]
    return Answer(values, [_shown(found), found.verdict, *models, f"Page: {page}"])


def order(options: Options) -> RecycleOrder:
    """The order that options give; UserError for options that make no sense."""
    from rewarm.evaluation.tuning import Distil, Tuning
    from rewarm.river.recycle_order import RecycleOrder, published
    from rewarm.types import UserError

    if options.precision not in ("auto", "bf16", "fp32"):
        raise UserError(f"--precision {options.precision}: give auto, bf16 or fp32")
    if options.preset not in (None, "published"):
        raise UserError(f"there is no preset '{options.preset}': give published, or leave it out")
    tuning = Tuning(
        options.learning_rate,
        max_steps=options.steps,
        batch_size=options.batch_size,
        patience=options.patience,
        eval_every=options.eval_every,
        seed=options.seed,
        precision=options.precision,
    )
    ways: Any = tuple(way.strip() for way in options.way.split(",") if way.strip())
    made = RecycleOrder(
        options.old,
        options.tuned,
        options.new,
        options.task,
        ways,
        options.scale,
        options.sweep,
        options.curve,
        tuning,
        tuning,
        Distil(options.alpha, options.temperature, options.beta),
        options.shots,
        options.max_length,
        options.target,
        options.merge,
    )
    return published(made) if options.preset else made


def _forecast(work: RecycleWork) -> Answer:
    order, task = work.order, work.task
    rows = task.counts() if task is not None else {}
    steps = {
        way: 0
        if way == "direct"
        else (order.taught if way in ("teacher", "both") else order.tuning).steps(rows["train"])
        for way in order.ways
    }
    values = {
        "ways": list(order.ways), "rows": rows, "bad_rows": dict(task.bad.counts) if task is not None else {},
        "steps": steps, "adapter": work.adapter is not None, "would_write": str(work.output),
    }  # fmt: skip
    told = [f"{way}: at most {count:,} steps" for way, count in steps.items()]
    if task is not None:
        told.append(", ".join(f"{count:,} {split} rows" for split, count in rows.items()))
        told += [f"left out: {count:,} {reason}" for reason, count in task.bad.counts.items()]
    return Answer(values, [*told, f"would write {work.output}"])


def _shown(found: Recycled) -> Table:
    from rewarm.report.recycle_page import cells

    shown = table("way", "before", "steps to target", "best on dev", "test", "against fresh")
    for arm in found.arms:
        shown.add_row(arm.way, *cells(found, arm))
    return shown
