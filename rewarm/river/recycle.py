"""Task weights of an old base put to use on a new one: by adding them, starting from them, or learning from them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from rewarm import __version__
from rewarm.evaluation.intervals import Interval, ratio_interval
from rewarm.evaluation.learners import Learner, Outcome, Rows, score
from rewarm.evaluation.tuning import Course, Teaching, tune
from rewarm.report import recycle_page
from rewarm.report.recycling import WAYS, Against, Arm, Point, Recycled, Way, verdict
from rewarm.river.recycle_models import Models
from rewarm.river.recycle_order import TAUGHT, RecycleWork, settings
from rewarm.river.recycle_paths import paths, sweep
from rewarm.river.recycle_task import SPLITS
from rewarm.river.train import Hooks
from rewarm.storage import held, read_json, write_json
from rewarm.types import UserError

SETTINGS = "settings.json"


def recycle(work: RecycleWork, hooks: Hooks | None = None) -> Recycled:
    """Makes, tunes and scores every arm; writes a model folder for each, recycle.json and recycle.html.

    What is finished is kept, arm by arm: the same call goes on, and a call with more ways adds them. Stopped when the
    hooks ask to stop. UserError when the folder was begun with other settings.
    """
    hooks = hooks or Hooks()
    with held(work.output, "Every arm that was finished"):
        _claim(work)
        job = _Job(work, hooks)
        arms = [job.arm(way) for way in WAYS if way in work.order.ways]
        found = job.found(arms)
        write_json(work.output / "recycle.json", found.model_dump(mode="json"))
        recycle_page.write(found, work.output / "recycle.html")
        return found


def _claim(work: RecycleWork) -> None:
    now, file = settings(work), work.output / SETTINGS
    before = read_json(file)
    if before is not None and before != now:
        changed = sorted(key for key in now if before.get(key) != now[key])
        raise UserError(
            f"'{work.output}' was begun with other settings ({', '.join(changed)}). Give another --out, or delete it"
        )
    write_json(file, now)


class _Job:
    """The arms of one recycling."""

    def __init__(self, work: RecycleWork, hooks: Hooks) -> None:
        self.work, self.hooks = work, hooks
        self.models = Models(work)
        self.rows: dict[str, Rows] = {}
        if work.task is not None:
            folder = self.models.tokenizer()
            for split in SPLITS:
                self.rows[split] = work.task.rows(split, folder, work.classes, work.order.max_length)

    def arm(self, way: Way) -> Arm:
        """An arm: as it was kept, or made now."""
        file = self.work.output / "arms" / f"{way}.json"
        model = self.work.output / way
        kept = read_json(file)
        if kept is not None and model.is_dir():
            return Arm.model_validate(kept["arm"])
        self.hooks.tell_or_stop(f"{way}: load", 0, None, "")
        made = self.models.start(way)
        arm, outcome = Arm(way=way, model=str(model)), None
        if self.rows:
            learner = self.models.learner(made.model)
            arm = self._tuned(arm, learner, self._course(way, learner))
            outcome = score(learner, self.rows["test"], self._precision)
            arm = arm.model_copy(update={"test": _point(outcome, 0)})
        self.models.save(made, model, {"way": way, "scale": self.work.order.scale})
        values: dict[str, Any] = {"arm": arm.model_dump(mode="json")}
        if outcome is not None:
            values["test"] = {"right": outcome.right_B.tolist(), "nats": outcome.nats_B.tolist(),
                              "targets": outcome.targets_B.tolist()}  # fmt: skip
        write_json(file, values)
        return arm

    @property
    def _precision(self) -> str:
        return self.work.order.tuning.precision

    def _course(self, way: Way, learner: Learner) -> Course:
        order = self.work.order
        taught = way in TAUGHT
        tuning = order.taught if taught else order.tuning
        if way == "direct":
            tuning = replace(tuning, max_steps=0)
        teaching = Teaching(self.models.teacher(), order.distil) if taught else None

        def tell(label: str, done: float, total: float | None, unit: str) -> None:
            self.hooks.tell_or_stop(f"{way}: {label}", done, total, unit)

        return tune(learner, self.rows["train"], self.rows["dev"], tuning, teaching, tell)

    def _tuned(self, arm: Arm, learner: Learner, course: Course) -> Arm:
        readings = tuple(
            Point(step=one.step, loss=one.loss, accuracy=one.accuracy, macro_f1=one.macro_f1) for one in course.readings
        )
        best = readings[course.readings.index(course.best)]
        return arm.model_copy(update={"readings": readings, "best": best, "tokens": course.tokens})

    def found(self, arms: list[Arm]) -> Recycled:
        """The whole result, with what only shows once every arm is there."""
        work, order = self.work, self.work.order
        found = Recycled(
            rewarm=__version__,
            old=order.old,
            tuned=order.tuned,
            new=order.new,
            adapter=work.adapter is not None,
            scale=order.scale,
            kind=None if work.task is None else work.task.kind,
            classes=tuple(work.classes),
            rows={} if work.task is None else work.task.counts(),
            bad_rows={} if work.task is None else dict(work.task.bad.counts),
            settings=read_json(work.output / SETTINGS),
            judged="accuracy" if work.kind == "labels" else "loss",
            arms=tuple(arms),
        )
        if work.task is None:
            return found.model_copy(update={"verdict": verdict(found)})
        target = order.target if order.target is not None else _target(found)
        found = found.model_copy(
            update={
                "target": target,
                "arms": tuple(self._compared(found, arm, target) for arm in arms),
                "teacher": self._teacher(),
                "sweep": sweep(self.models, self.rows["dev"], self.hooks) if order.sweep else (),
                "paths": paths(self.models, arms, self.rows["dev"], self.hooks) if order.curve else (),
            }
        )
        return found.model_copy(update={"verdict": verdict(found)})

    def _teacher(self) -> Point:
        file = self.work.output / "arms" / "old.json"
        kept = read_json(file)
        if kept is None:
            self.hooks.tell_or_stop("score the old task model", 0, None, "")
            kept = _point(score(self.models.teacher(), self.rows["test"], self._precision), 0).model_dump(mode="json")
            write_json(file, kept)
        return Point.model_validate(kept)

    def _compared(self, found: Recycled, arm: Arm, target: float | None) -> Arm:
        steps = None
        if target is not None:
            steps = next((one.step for one in arm.readings if _reaches(found, one, target)), None)
        return arm.model_copy(update={"steps_to_target": steps, "against_fresh": self._against(found, arm)})

    def _against(self, found: Recycled, arm: Arm) -> Against | None:
        if arm.way == "fresh" or "fresh" not in self.work.order.ways:
            return None
        mine, fresh = (read_json(self.work.output / "arms" / f"{way}.json")["test"] for way in (arm.way, "fresh"))
        one = compared(mine, fresh, found.judged)
        return Against(delta=one.delta, low=one.low, high=one.high, verdict=one.verdict)


def compared(mine: dict[str, list[float]], other: dict[str, list[float]], judged: str) -> Interval:
    """Two arms on the same rows, by the paired bootstrap: of accuracy, or of nats a target."""
    import numpy as np

    key = "right" if judged == "accuracy" else "nats"
    difference_D = np.asarray(mine[key], np.float64) - np.asarray(other[key], np.float64)
    weights_D = np.ones_like(difference_D) if judged == "accuracy" else np.asarray(mine["targets"], np.float64)
    return ratio_interval(difference_D, weights_D, lower_is_better=judged == "loss")


def _point(outcome: Outcome, step: int) -> Point:
    return Point(step=step, loss=outcome.loss, accuracy=outcome.accuracy, macro_f1=outcome.macro_f1)


def _reaches(found: Recycled, point: Point, target: float) -> bool:
    return point.accuracy >= target if found.judged == "accuracy" else point.loss <= target


def _target(found: Recycled) -> float | None:
    """What the fresh arm reached at best."""
    best = next((arm.best for arm in found.arms if arm.way == "fresh"), None)
    if best is None:
        return None
    value = best.accuracy if found.judged == "accuracy" else best.loss
    return value if math.isfinite(value) else None
