"""One way with one seed: its learner goes from task to task along an order, is scored after each, and can go on.

Orders that begin with the same tasks share what was learned of them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rewarm.evaluation.learners import Learner
from rewarm.evaluation.tuning import tune
from rewarm.hashing import seed_of
from rewarm.report.tasks import Stage
from rewarm.storage import read_json, write_json
from rewarm.tasks import Arrived, Beginning
from rewarm.tasks.material import Material
from rewarm.tasks.plan import NamedWay
from rewarm.types import Tell

LEARNER = "learner.safetensors"
START = "_start"
"""The folder of the learner before any task; no task can have that name."""


class Arm:
    """A named way with a seed. `tell` may raise to stop: what was finished is kept."""

    def __init__(self, material: Material, named: NamedWay, seed: int, tell: Tell) -> None:
        self.material, self.plan, self.way, self.seed = material, material.plan, named.way, seed
        self.folder = material.work.output / "arms" / named.name / f"seed-{seed}"
        self._name, self._tell = named.name, tell
        self._learner: Learner | None = None
        self._at: tuple[str, ...] = ()
        self._marks: dict[str, str] = {}

    def stages(self, order: Sequence[str]) -> tuple[Stage, ...]:
        """The learner before the first task and after each of the order: kept results, or made now."""
        found = [self._stage(tuple(order[:count])) for count in range(len(order) + 1)]
        self._learner = None
        return tuple(found)

    def forget(self) -> None:
        """Gives back the disk that learners between tasks take, once every order is done."""
        for file in self.folder.glob(f"*/{LEARNER}"):
            file.unlink()

    def _stage(self, learned: tuple[str, ...]) -> Stage:
        kept = read_json(self._at_stage(learned) / "stage.json")
        if kept is not None:
            return Stage.model_validate(kept)
        values: dict[str, Any] = {"after": learned[-1] if learned else ""}
        learner = self._before(learned)
        if learned:
            values |= self._learn(learner, learned)
        values["scores"] = self.material.scores(learner, self.plan.precision, self._say)
        stage = Stage.model_validate(values)
        folder = self._at_stage(learned)
        if learned:
            self._keep(learner, learned)
        write_json(folder / "stage.json", stage.model_dump(mode="json"))
        shutil.rmtree(folder / "kept", ignore_errors=True)
        self._learner, self._at = learner, learned
        return stage

    def _at_stage(self, learned: tuple[str, ...]) -> Path:
        """The folder of a stage; a way that learns a task alone does so once, whatever the order."""
        names = learned[-1:] if self._is_alone else learned
        return self.folder / ("+".join(names) or START)

    @property
    def _is_alone(self) -> bool:
        return self.way.starts_afresh and not self.way.reads_old_labels

    def _before(self, learned: tuple[str, ...]) -> Learner:
        """The learner as it is before the last of these tasks."""
        earlier = learned[:-1]
        afresh = self.way.starts_afresh or not earlier
        if not afresh and self._learner is not None and self._at == earlier:
            return self._learner
        self._say("load", 0, None, "")
        learner = self.material.learner(self.way, seed_of(self.seed, "tasks", "start") % (1 << 31))
        self._marks = _marks(learner)
        for count in range(1, 1 if afresh else len(earlier) + 1):
            file = self._at_stage(earlier[:count]) / LEARNER
            if file.is_file():
                self.way.arrive(learner, self._beginning(earlier[:count]))
                _load(learner, file)
            else:  # it was given back, and an order was added since
                self._learn(learner, earlier[:count])
                self._keep(learner, earlier[:count])
        return learner

    def _keep(self, learner: Learner, learned: tuple[str, ...]) -> None:
        file = self._at_stage(learned) / LEARNER
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.partial")
        save_file(_changed(learner, self._marks), partial)
        partial.replace(file)

    def _learn(self, learner: Learner, learned: tuple[str, ...]) -> dict[str, Any]:
        beginning, way = self._beginning(learned), self.way
        way.arrive(learner, beginning)
        rows, dev, term = way.rows(beginning), way.dev(beginning), way.term(learner, beginning)
        course = tune(learner, rows, dev, beginning.tuning, tell=self._say, term=term)
        return {
            "steps": course.readings[-1].step, "best_step": course.best.step, "tokens": course.tokens,
            "rows": len(rows.lengths), "dev_loss": course.best.loss,
        }  # fmt: skip

    def _beginning(self, learned: tuple[str, ...]) -> Beginning:
        tasks = self.material.tasks
        afresh = self.way.starts_afresh
        earlier = () if self._is_alone else learned[:-1]
        labelled = self.way.reads_old_labels
        coming = [name for name in tasks if name not in learned] if self.way.peeks_ahead else []
        seed = seed_of(self.seed, "tasks", learned[-1]) % (1 << 31)
        return Beginning(
            task=tasks[learned[-1]].arrived(True),
            earlier=[tasks[name].arrived(labelled) for name in earlier],
            to_come=[self._unlabelled(name) for name in coming],
            tuning=self.plan.tuning.at(0 if afresh else len(earlier), seed, self.plan.precision),
            seed=seed,
            kept=self._at_stage(learned) / "kept",
            stream_seed=self.seed,
            tell=self._say,
            new_tokens=self.plan.new_tokens,
            ends=self.material.ends,
        )

    def _unlabelled(self, name: str) -> Arrived:
        return self.material.tasks[name].arrived(False)

    def _say(self, label: str, done: float, total: float | None, unit: str) -> None:
        self._tell(f"{self._name}, seed {self.seed}: {label}", done, total, unit)


def _marks(learner: Learner) -> dict[str, str]:
    """A hash of every tensor of a learner's state."""
    return {name: _mark(tensor) for name, tensor in learner.state_dict().items()}


def _mark(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(plain.numpy().tobytes()).hexdigest()


def _changed(learner: Learner, marks: dict[str, str]) -> dict[str, Tensor]:
    """The tensors that are not what they were when they were marked, or are new."""
    return {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in learner.state_dict().items()
        if marks.get(name) != _mark(tensor)
    }


def _load(learner: Learner, file: Path) -> None:
    found = learner.load_state_dict(load_file(file), strict=False)
    assert not found.unexpected_keys, f"a way lost {found.unexpected_keys} on the way"
