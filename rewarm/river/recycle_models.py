"""The models of a recycling: what each arm starts from, the old task model, and folders that can be loaded."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rewarm.evaluation.answering import Answerer
from rewarm.evaluation.labelling import Labeller
from rewarm.evaluation.learners import Learner
from rewarm.hashing import seed_of
from rewarm.models.load import save_model, save_tokenizer
from rewarm.models.recycling import (
    TaskModel,
    carried,
    classifier_of,
    load_base,
    load_whole,
    new_adapter,
    with_adapter,
)
from rewarm.report.recycling import Way
from rewarm.river import merge_parts
from rewarm.river.recycle_order import RecycleWork
from rewarm.training.machine import on_device
from rewarm.types import StorageError


class Models:
    """Loads what an arm needs when it needs it, so that no more than an arm, its teacher and their bases are held."""

    def __init__(self, work: RecycleWork) -> None:
        self.work = work
        self.kind = work.kind
        self._seed = seed_of(work.order.tuning.seed, "recycle", "start") % 2**31

    def start(self, way: Way, scale: float | None = None) -> TaskModel:
        """What an arm starts from, on the device."""
        recycled = way in ("direct", "init", "both")
        made = self._carried(self.work.order.scale if scale is None else scale) if recycled else self._fresh()
        on_device(made.model)
        return made

    def _carried(self, scale: float) -> TaskModel:
        order = self.work.order
        new = load_base(order.new)
        if self.work.adapter is not None:
            return with_adapter(self._headed(new), order.tuned, scale)
        old, tuned = load_base(order.old), load_whole(order.tuned, self.kind)
        return TaskModel(carried(new, old, tuned, scale, self.work.special_rows))

    def _fresh(self) -> TaskModel:
        model = self._headed(load_base(self.work.order.new))
        if self.work.adapter is None:
            return TaskModel(model)
        return new_adapter(model, self.work.adapter, self._seed)

    def _headed(self, base: PreTrainedModel) -> PreTrainedModel:
        """A base with a random head where the task needs one."""
        if self.kind == "answers":
            return base
        return classifier_of(base, self.work.classes, self.work.pad, self._seed)

    def old_task(self) -> PreTrainedModel:
        """The old base with its task weights, frozen, on the device."""
        order = self.work.order
        if self.work.adapter is None:
            model = load_whole(order.tuned, self.kind)
        else:
            model = with_adapter(self._headed(load_base(order.old)), order.tuned).merged()
        if self.kind == "labels":
            model.config.get_text_config().pad_token_id = self.work.pad
        return on_device(model.eval().requires_grad_(False))

    def teacher(self) -> Learner:
        """The old task model as a learner that is only asked."""
        return self.learner(self.old_task()).eval()

    def learner(self, model: PreTrainedModel) -> Learner:
        """A model as a learner of the task."""
        if self.kind == "labels":
            model.config.get_text_config().pad_token_id = self.work.pad
            return Labeller(model)
        return Answerer(model)

    def load(self, folder: Path) -> PreTrainedModel:
        """An arm's model as it was saved, on the device, its adapter merged."""
        if (folder / "adapter_config.json").is_file():
            model = with_adapter(self._headed(load_base(self.work.order.new)), str(folder)).merged()
        else:
            model = load_whole(str(folder), self.kind)
        return on_device(model.eval())

    def tokenizer(self) -> Path:
        """The folder of the tokenizer that models are saved with: the tuned model's where it knows every token of the
        new base's, else the new base's."""
        folder, order = self.work.output / "tokenizer", self.work.order
        if not folder.is_dir():
            takes = self.work.adapter is None and merge_parts.covers(Path(order.new), order.tuned)
            save_tokenizer(order.tuned if takes else order.new, folder)
        return folder

    def save(self, made: TaskModel, folder: Path, facts: dict[str, Any]) -> None:
        """Writes an arm's model: a folder that transformers loads, or an adapter's that peft does."""
        made.model.to("cpu")  # type: ignore[arg-type]
        if made.wrapped is None or self.work.order.merge:
            model = made.merged()
            if self.kind == "answers" and self.work.adapter is None:
                # What a chat model answers with ends by its own end token, which its generation settings name.
                model.generation_config = copy.deepcopy(load_whole(self.work.order.tuned, "answers").generation_config)
            save_model(model, self.tokenizer(), folder, json.dumps(facts))
            return
        config: Any = made.wrapped.peft_config["default"]
        config.base_model_name_or_path = self.work.order.new
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
            partial = Path(place) / folder.name
            try:
                made.wrapped.save_pretrained(str(partial))
                shutil.copytree(self.tokenizer(), partial, dirs_exist_ok=True)
                (partial / "rewarm.json").write_text(json.dumps(facts), encoding="utf-8")
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(partial, folder)
            except OSError as error:
                raise StorageError(f"could not save the adapter to '{folder}': {error}") from error
