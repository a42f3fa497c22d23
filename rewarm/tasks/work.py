"""What `rewarm learn` is asked to do, checked whole before any weight is read: rows, labels, measure, and the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarm.evaluation.text_scores import check_bleu
from rewarm.evaluation.word_labels import is_iob2
from rewarm.models.encoder import longest_text
from rewarm.models.recycling import base_class, is_masked
from rewarm.river.shapes import base_shape
from rewarm.tasks.plan import MEASURES, LearnPlan
from rewarm.tasks.reading import Found, read_tasks
from rewarm.types import UserError


@dataclass(frozen=True, slots=True)
class Work:
    """A stream that may be learned. `classes` are the labels in the order of the head's outputs."""

    plan: LearnPlan
    found: Mapping[str, Found]
    classes: Sequence[str]
    measure: str

    @property
    def output(self) -> Path:
        """Where everything goes."""
        return Path(self.plan.output_dir)

    @property
    def number(self) -> dict[str, int]:
        """The number of each task: its place in the plan."""
        return {name: place for place, name in enumerate(self.plan.tasks)}

    def settings(self) -> dict[str, Any]:
        """What must stay the same for the folder to go on; ways, orders and seeds may be added."""
        values = self.plan.resolved()
        free = ("ways", "orders", "seeds", "output_dir", "keep_models", "measure", "bad_rows")
        kept = {key: value for key, value in values.items() if key not in free}
        kept["tasks"] = {
            name: {**{key: value for key, value in task.items() if key != "path"}, "rows": self.found[name].sha256()}
            for name, task in kept["tasks"].items()
        }
        return kept | {"classes": list(self.classes)}

    def steps(self) -> dict[str, int]:
        """Steps of a tuning on each task alone, at most."""
        tuning = self.plan.tuning.at(0, 0, "fp32")
        return {name: tuning.steps(len(one.rows["train"])) for name, one in self.found.items()}


def plan_work(plan: LearnPlan) -> Work:
    """The work of a plan: files are read, nothing is written. UserError for what cannot be learned."""
    found, classes = read_tasks(plan.tasks, plan.classes, plan.bad_rows)
    measure = plan.measure or MEASURES[plan.kind][0]
    if plan.kind == "labelling" and not is_iob2(classes):
        if plan.measure == "entity_f1":
            raise UserError("measure: entity_f1 needs IOB2 tags (O, B-..., I-...), and these labels are none")
        measure = plan.measure or "macro_f1"
    if plan.kind == "answers":
        check_bleu()
    _check_base(plan)
    return Work(plan, found, classes, measure)


def _check_base(plan: LearnPlan) -> None:
    if plan.kind == "answers" and is_masked(plan.base, plan.revision):
        raise UserError(f"base '{plan.base}' is a masked model, which writes no answers: give a causal one")
    held = longest_text(base_shape(plan.base, plan.revision, *base_class(plan.base, plan.revision)))
    needed = plan.max_length + (plan.new_tokens + 1 if plan.kind == "answers" else 0)
    more = f" with {plan.new_tokens} new tokens" if plan.kind == "answers" else ""
    for named in plan.ways:
        before = named.way.prefix
        if held is not None and needed + before > held:
            after = f", after the {before} prompt vectors of way '{named.name}'," if before else ""
            raise UserError(
                f"max_length {plan.max_length}{more}{after} is more than the base's {held} positions: lower it"
                + (", or the number of prompts" if before else "")
            )
