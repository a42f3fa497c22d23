"""A stream of tasks learned in every order, with every seed, in every way: arms, summaries, JSON and page."""

from __future__ import annotations

from dataclasses import replace

from rewarm import __version__
from rewarm.evaluation.text_scores import bleu_signature
from rewarm.report import tasks_page
from rewarm.report.tasks import ArmResult, Learned, TaskFacts, WayFacts, summarised
from rewarm.river.pinning import locked_commit
from rewarm.river.train import Hooks
from rewarm.storage import held, read_json, write_json
from rewarm.tasks.arm import Arm
from rewarm.tasks.material import Material
from rewarm.tasks.work import Work
from rewarm.types import UserError

SETTINGS = "settings.json"


def learn(work: Work, hooks: Hooks | None = None) -> Learned:
    """Learns and scores every arm; writes tasks.json and tasks.html.

    What is finished is kept, task by task: the same call goes on, and a call with more ways, orders or seeds adds them.
    Stopped when the hooks ask to stop. UserError when the folder was begun with other settings.
    """
    hooks = hooks or Hooks()
    with held(work.output, "Every task that was finished"):
        work = _pinned(work)
        _claim(work)
        material = Material(work)
        arms = _arms(material, hooks)
        found = summarised(_facts(work, material, arms))
        write_json(work.output / "tasks.json", found.model_dump(mode="json"))
        tasks_page.write(found, work.output / "tasks.html")
        return found


def _pinned(work: Work) -> Work:
    """The work with the commit of a base on the hub, the one that its folder was begun with."""
    plan = work.plan
    commit = locked_commit(work.output, plan.base, plan.revision, begun=(work.output / SETTINGS).is_file())
    return work if commit is None else replace(work, plan=plan.model_copy(update={"revision": commit}))


def _claim(work: Work) -> None:
    now, file = work.settings(), work.output / SETTINGS
    ways = {one.name: one.way.described() for one in work.plan.ways}
    before = read_json(file)
    if before is not None:
        changed = sorted(key for key in {*now, *before["plan"]} if before["plan"].get(key) != now.get(key))
        changed += [f"ways.{name}" for name, way in ways.items() if before["ways"].get(name, way) != way]
        if changed:
            raise UserError(
                f"'{work.output}' was begun with other settings ({', '.join(changed)}). Give another output_dir, or "
                "delete it"
            )
        ways = before["ways"] | ways
    write_json(file, {"plan": now, "ways": ways})


def _arms(material: Material, hooks: Hooks) -> list[ArmResult]:
    plan, found = material.plan, list[ArmResult]()
    for named in plan.ways:
        for seed in plan.seeds:
            arm = Arm(material, named, seed, hooks.tell_or_stop)
            found += [
                ArmResult(way=named.name, order=order, seed=seed, stages=arm.stages(order)) for order in plan.all_orders
            ]
            if not plan.keep_models:
                arm.forget()
    return found


def _facts(work: Work, material: Material, arms: list[ArmResult]) -> Learned:
    plan = work.plan
    tasks = tuple(
        TaskFacts(
            name=name,
            rows=work.found[name].counts(),
            left_out=dict(work.found[name].tally.left_out),
            bad_rows=dict(work.found[name].tally.counts),
            cut=dict(one.cut),
            lost=dict(one.lost),
        )
        for name, one in material.tasks.items()
    )
    ways = tuple(
        WayFacts(
            name=one.name,
            type=one.way.method_name(),
            about=one.way.about,
            options={key: value for key, value in one.way.described().items() if key != "type"},
            reads_old_labels=one.way.reads_old_labels,
            starts_afresh=one.way.starts_afresh,
            knows_task=one.way.knows_task,
            peeks_ahead=one.way.peeks_ahead,
        )
        for one in plan.ways
    )
    return Learned(
        rewarm=__version__,
        base=plan.base,
        kind=plan.kind,
        classes=tuple(work.classes),
        measure=work.measure,
        tasks=tasks,
        ways=ways,
        orders=plan.all_orders,
        seeds=plan.seeds,
        bleu_made=bleu_signature() if plan.kind == "answers" else "",
        plan=plan.resolved(),
        arms=tuple(arms),
    )
