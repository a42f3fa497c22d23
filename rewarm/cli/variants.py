"""What `rewarm compare` does with a plan: variants of it, beside learning rates and random controls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.verb import WRONG, Answer, Execute, Manner, table
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from rewarm.report.arms import Comparison
    from rewarm.river.outlook import Outlook


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm compare`, most of which are for a plan."""

    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...|PLAN", help="Run directories, or one plan.", show_default=False)
    ]
    output: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The page to write (FILE.html), or with a plan the folder of all its runs."),
    ] = None
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="With a plan: a key of its stages and values to compare, as in retention=none,ewc. May be repeated.",
        ),
    ] = None
    seeds: Annotated[int, typer.Option(metavar="N", help="With a plan: runs of each variant.")] = 3
    tune: Annotated[
        bool, typer.Option("--tune", help="With a plan: first try values of each method's main options.")
    ] = False
    learning_rates: Annotated[
        str, typer.Option(metavar="FACTORS", help="With a plan: the learning rates every method must beat.")
    ] = "0.25,0.5,1,2"
    jobs: Annotated[int, typer.Option(metavar="N", help="With a plan: runs at a time, which share the machine.")] = 1
    execute: Execute = False


def compare_variants(manner: Manner, options: Options) -> Answer:
    """Compares variants of a plan, or says with --dry-run what that would take."""
    from rewarm.launch import tune
    from rewarm.plan import load
    from rewarm.river.variants import arms, parse_vary
    from rewarm.types import UserError

    if options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: give 1 or more runs at a time")
    plan = load(options.runs[0])
    found = arms(plan, parse_vary(options.vary or []), _factors(options.learning_rates))
    if manner.dry_run:
        from rewarm.river.outlook import outlook

        return _foreseen(outlook(plan, found, options.seeds, options.output, options.tune, timed=True))
    tune()
    from rewarm.sandbox.permission import executing

    with executing(options.execute), Watcher(manner) as watcher:
        from rewarm.river.comparison import compare, default_output
        from rewarm.river.outlook import outlook
        from rewarm.river.suite_sets import check_execution

        check_execution(plan)
        outlook(plan, found, options.seeds, options.output, options.tune).refuse()
        comparison = compare(plan, found, options.seeds, watcher.hooks(), options.output, options.tune, options.jobs)
    return _told(comparison, options.output or default_output(plan))


def _factors(text: str) -> list[float]:
    from rewarm.types import UserError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--learning-rates '{text}': give factors of the plan's own, such as 0.25,0.5,1,2") from None


def _foreseen(found: Outlook) -> Answer:
    from rewarm.quantities import clock, short, size

    arms = table("arm", "is", "steps", "tokens", "runs", "finished", title="Arms")
    words = {"sweep": "learning rate", "variant": "variant", "control": "random control"}
    for arm in found.arms:
        arms.add_row(
            arm.name, words[arm.kind], f"{arm.steps:,}", short(arm.tokens), str(arm.runs), str(arm.finished)
        )  # fmt: skip
    lines = [f"{found.runs} runs, of which {found.finished} have finished, in {found.output}"]
    for need in found.needs:
        of = ", ".join(f"{name} {size(count)}" for name, count in need.parts.items())
        lines.append(f"{need.what}: about {size(need.needed)} of {size(need.available)} {need.word} ({of})")
    if found.seconds:
        times = ", ".join(f"{name} {clock(part)}" for name, part in found.seconds.items())
        lines.append(
            f"time: about {clock(sum(found.seconds.values()))} at the pace of plain training ({times}); {found.how}"
        )
    parts: list[RenderableType] = [arms, "", *lines, *(f"note: {warning}" for warning in found.warnings)]
    faults = found.faults()
    return Answer(found.described(), parts, WRONG, " ".join(faults)) if faults else Answer(found.described(), parts)


def _told(found: Comparison, output: Path) -> Answer:
    from rewarm.report.arms import AGAINST, LEGEND, reading

    page = output / "comparison.html"
    values = {
        "output": str(output),
        "report": str(page),
        "reading": reading(found),
        # Through JSON: it writes an unbounded interval as a word.
        "comparison": json.loads(found.model_dump_json()),
    }
    notes = [f"note: {note}" for note in found.notes]
    return Answer(values, [_table(found), reading(found), LEGEND, AGAINST, *_transfers(found), *notes, f"Page: {page}"])


def _transfers(found: Comparison) -> list[RenderableType]:
    """The forward and backward transfers of each arm, where the plan asks for languages."""
    from rewarm.report import arm_transfers

    held = found.transfers()
    if not held:
        return []
    summed = arm_transfers.table(held)
    shown = table(*summed.head)
    for line in summed.lines:
        shown.add_row(*("\n".join(filter(None, (entry.text, entry.note))) for entry in line))
    shown.columns[0].overflow = "fold"
    return [shown, arm_transfers.LEGEND]


def _table(found: Comparison) -> Table:
    from rewarm.quantities import short
    from rewarm.report.arms import against, measured

    # Right at 80 columns the names of arms need the room that equal budgets would take.
    tokens = [arm.runs[0].new_tokens for arm in found.arms]
    budgets = [short(count) for count in tokens] if len(set(tokens)) > 1 else None
    shown = table("arm", "old text", "new text", "against the rates", *(["new tokens"] if budgets else []), "cost")
    shown.columns[0].overflow = "fold"
    for column in shown.columns[1:3]:
        column.no_wrap = True
    for number, arm in enumerate(found.arms):
        cells = ["\n".join(cell) for cell in (measured(arm.old), measured(arm.new), against(arm))]
        shown.add_row(arm.name, *cells, *([budgets[number]] if budgets else []), f"{arm.cost:.2f}x")
    return shown
