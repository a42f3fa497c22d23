"""`rewarm learn`: a stream of labelled tasks, one after another, in several ways to keep the earlier ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from rewarm.cli.verb import Answer, Manner, PlanFile, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.table import Table

    from rewarm.report.tasks import Learned
    from rewarm.tasks.work import Work


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, learn, writes=True, works=True)


def learn(manner: Manner, plan: PlanFile) -> Answer:
    """Learn labelled tasks one after another.

    In several ways to keep the earlier ones, each scored on all tasks after every task, with every seed and order.
    What is finished is kept; the same command goes on.
    """
    from rewarm.launch import tune
    from rewarm.tasks.plan import load

    loaded = load(plan)
    if not manner.dry_run:
        tune()
    from rewarm.tasks.work import plan_work

    work = plan_work(loaded)
    if manner.dry_run:
        return _forecast(work)
    from rewarm.tasks.run import learn as learn_tasks

    with Watcher(manner) as watcher:
        found = learn_tasks(work, watcher.hooks())
    page = work.output / "tasks.html"
    values = {"page": str(page), "learned": json.loads(found.model_dump_json())}
    return Answer(values, [_shown(found), found.verdict, f"Page: {page}"])


def _forecast(work: Work) -> Answer:
    plan, rows = work.plan, {name: one.counts() for name, one in work.found.items()}
    steps = work.steps()
    left = {name: dict(one.tally.left_out) for name, one in work.found.items()}
    bad = {name: dict(one.tally.counts) for name, one in work.found.items()}
    arms = len(plan.ways) * len(plan.seeds) * len(plan.all_orders)
    values: dict[str, Any] = {
        "kind": plan.kind, "labels": list(work.classes), "measure": work.measure, "rows": rows, "left_out": left,
        "bad_rows": bad, "steps": steps, "ways": [one.name for one in plan.ways], "orders": plan.all_orders,
        "seeds": plan.seeds, "arms": arms, "would_write": str(work.output),
    }  # fmt: skip
    told = [
        f"{name}: {', '.join(f'{count:,} {part}' for part, count in found.items())}" for name, found in rows.items()
    ]
    told += [f"{name}, left out: {count:,} {why}" for name, one in left.items() for why, count in one.items()]
    told += [f"{name}, bad: {count:,} {why}" for name, one in bad.items() for why, count in one.items()]
    if work.classes:
        told.append(f"labels: {', '.join(work.classes)}")
    told += [f"{name}: at most {count:,} steps in a way that learns its rows alone" for name, count in steps.items()]
    told.append(f"{len(plan.ways)} ways x {len(plan.seeds)} seeds x {len(plan.all_orders)} orders = {arms} arms")
    return Answer(values, [*told, f"would write {work.output}"])


def _shown(found: Learned) -> Table:
    from rewarm.report.tasks import HEADS, NAMED, PEEKS, cells
    from rewarm.report.wording import counted

    marks = {way.name: way.marks for way in found.ways}
    shown = table(
        "way", "order", *HEADS, title=f"{NAMED[found.measure]} in hundredths, {counted(len(found.seeds), 'seed')}"
    )
    for line in found.lines:
        name = f"{line.way} (peeks ahead)" if PEEKS in marks[line.way] else line.way
        shown.add_row(name, " > ".join(line.order), *cells(found, line))
    return shown
