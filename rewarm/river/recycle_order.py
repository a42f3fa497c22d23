"""What a recycling is asked to do, checked whole before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from peft import PeftConfig
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from rewarm.evaluation.tuning import Distil, Tuning
from rewarm.hub import fetched
from rewarm.methods import nearest
from rewarm.models.merging import check_mergeable, vocabulary_rows
from rewarm.models.recycling import Kind, adapter_config, base_class
from rewarm.report.recycling import WAYS, Way
from rewarm.river import merge_parts
from rewarm.river.merge_parts import ModelPart
from rewarm.river.recycle_task import Task, read_task
from rewarm.river.shapes import base_shape
from rewarm.storage import sha256_of
from rewarm.types import UserError

TAUGHT: tuple[Way, ...] = ("teacher", "both")
SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
PLACES = 26
"""Points of a path, both ends with it, as published."""
PUBLISHED_GRID: Mapping[str, tuple[float, ...]] = {
    "alpha": (0.9, 0.7), "beta": (0, 5, 10, 50, 100), "temperature": (5, 10, 20), "seed": (20, 30, 40),
}  # fmt: skip
"""What the released code searches; the preset `published` takes the first of each."""


@dataclass(frozen=True, slots=True)
class RecycleOrder:
    """What is to be recycled: `tuned`, a whole model or an adapter, was made from `old` and goes to `new`.

    `tuning` is for init and fresh, `taught` for the arms with a teacher. `target` is an accuracy (loss, for answers) on
    the development rows; without one it is what the fresh arm reached at best. `merge` folds an adapter into what is
    written.
    """

    old: str
    tuned: str
    new: str
    task: Path | None = None
    ways: tuple[Way, ...] = ("direct",)
    scale: float = 1.0
    sweep: bool = False
    curve: bool = False
    tuning: Tuning = field(default_factory=Tuning)
    taught: Tuning = field(default_factory=Tuning)
    distil: Distil = field(default_factory=Distil)
    shots: int | None = None
    max_length: int = 256
    target: float | None = None
    merge: bool = False


def published(order: RecycleOrder) -> RecycleOrder:
    """The order with the settings of the released code: plain tuning of 10 epochs at 2e-5 in batches of 16 (25 epochs
    for an adapter); with a teacher at most 100k steps of batch 2 at 1e-5, scored each 1,000, warmed up over 2,000; 32
    rows of each class; 128 tokens."""
    epochs = 25 if adapter_config(order.tuned) is not None else 10
    seed = order.tuning.seed
    return replace(
        order,
        tuning=Tuning(2e-5, epochs, batch_size=16, seed=seed, precision=order.tuning.precision),
        taught=Tuning(
            1e-5, max_steps=100_000, batch_size=2, warmup=2000, eval_every=1000, seed=seed,
            precision=order.tuning.precision,
        ),
        distil=Distil(
            PUBLISHED_GRID["alpha"][0], PUBLISHED_GRID["temperature"][0], PUBLISHED_GRID["beta"][0]
        ),
        shots=32,
        max_length=128,
    )  # fmt: skip


@dataclass(slots=True)
class RecycleWork:
    """A recycling that may begin."""

    order: RecycleOrder
    output: Path
    task: Task | None
    classes: list[str]
    pad: int
    adapter: PeftConfig | None
    special_rows: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """What the task asks for; without one, the tuned model is taken for a language model."""
        return self.task.kind if self.task is not None else "answers"


def plan_recycle(order: RecycleOrder, output: Path) -> RecycleWork:
    """The work that an order asks for; nothing is written and no weight is read.

    UserError for options that do not go together, and for models that do not: architecture, shapes, tokens.
    """
    _check_order(order)
    old, tuned, new = (fetched(place).folder for place in (order.old, order.tuned, order.new))
    order = replace(order, old=old, tuned=tuned, new=new)
    adapter = adapter_config(order.tuned)
    task = read_task(order.task, order.shots, order.tuning.seed) if order.task is not None else None
    kind: Kind = task.kind if task is not None else "answers"
    classes, pad = _classes(order, task, adapter) if task is not None and kind == "labels" else ([], 0)
    rows = _check_models(order, kind, adapter)
    return RecycleWork(order, output, task, classes, pad, adapter, rows)


def settings(work: RecycleWork) -> dict[str, Any]:
    """What must stay the same for an output folder to go on; the weights' hashes are in it, so they are read."""
    order = work.order
    places = {"old": order.old, "tuned": order.tuned, "new": order.new}
    plain: dict[str, Any] = {name: asdict(getattr(order, name)) for name in ("tuning", "taught", "distil")}
    plain |= {name: getattr(order, name) for name in ("scale", "max_length", "merge")}
    task = work.task.sha256 if work.task is not None else None
    return {"models": {name: _identity(place) for name, place in places.items()}, "task": task, **plain}


def _check_order(order: RecycleOrder) -> None:
    for way in order.ways:
        if way not in WAYS:
            raise UserError(f"there is no way '{way}'. {nearest(way, WAYS)} Allowed: {', '.join(WAYS)}")
    if not order.ways or len(set(order.ways)) < len(order.ways):
        raise UserError(f"--way {','.join(order.ways)}: give one or more of {', '.join(WAYS)}, each once")
    if order.task is None:
        needing = [*(way for way in order.ways if way != "direct"), *(["--sweep"] if order.sweep else [])]
        needing += ["--curve"] if order.curve else []
        if needing:
            raise UserError(f"{', '.join(needing)} need a task to train or score on: give --task FILE")
    if order.curve and order.ways == ("direct",):
        raise UserError("--curve is drawn to models that are trained on the new base: add init, fresh or another way")
    if not 0 <= order.scale <= 2:
        raise UserError(f"--scale {order.scale:g} must be from 0 to 2; 1 adds the whole difference")
    if order.max_length < 2:
        raise UserError(f"--max-length {order.max_length} must be 2 or more")
    if order.shots is not None and order.shots < 1:
        raise UserError(f"--shots {order.shots} must be 1 or more")


def _classes(order: RecycleOrder, task: Task, adapter: PeftConfig | None) -> tuple[list[str], int]:
    """The classes in the order of the head's rows, and the token that rows are filled up with."""
    own = AutoConfig.from_pretrained(order.old if adapter is not None else order.tuned, trust_remote_code=False)
    labels = task.labels()
    names = [str(own.id2label[number]) for number in range(own.num_labels)] if adapter is None else labels
    if set(labels) <= set(names):
        classes = names
    elif len(labels) <= len(names):  # names such as LABEL_0, or labels that are numbers: by their order
        classes = labels + names[len(labels) :]
    else:
        raise UserError(
            f"the task has {len(labels)} labels and '{order.tuned}' tells {len(names)} classes apart. Give the model "
            "that was tuned on this task"
        )
    pad = own.get_text_config().pad_token_id
    end = own.get_text_config().eos_token_id
    if pad is None:
        pad = end[0] if isinstance(end, list) else end
    return classes, int(pad or 0)


def _check_models(order: RecycleOrder, kind: Kind, adapter: PeftConfig | None) -> tuple[int, ...]:
    """Rows of the tuned model's special tokens; UserError naming what differs between the models."""
    old, new = (base_shape(place, None, *base_class(place)) for place in (order.old, order.new))
    check_mergeable(old, new, (order.old, order.new), free_rows=True)
    merge_parts.check_tokens(Path(order.old), ModelPart(order.new, order.new), f"'{order.old}'")
    rows = [vocabulary_rows(old), vocabulary_rows(new)]
    special: tuple[int, ...] = ()
    if adapter is None:
        tuned = _tuned_shape(order.tuned, kind)
        if kind == "answers":
            check_mergeable(old, tuned, (order.old, order.tuned), free_rows=True)
        else:
            bodies: list[Any] = [model.base_model for model in (old, tuned)]
            check_mergeable(bodies[0], bodies[1], (order.old, order.tuned), free_rows=True, own_head=True)
        merge_parts.check_tokens(Path(order.new), ModelPart(order.tuned, order.tuned), f"'{order.new}'")
        special = merge_parts.special_rows(Path(order.new), order.tuned)
        rows.append(vocabulary_rows(tuned))
        if rows[2] > rows[1] != rows[0]:
            raise UserError(
                f"'{order.tuned}' and '{order.new}' both have another number of rows than '{order.old}' ({rows[2]}, "
                f"{rows[1]}, {rows[0]}), so new tokens of the one would take rows of the other. Grow one of them only"
            )
    needing = [way for way in order.ways if way in TAUGHT] + (["--curve"] if order.curve else [])
    if needing and len(set(rows)) > 1:
        raise UserError(
            f"{', '.join(needing)} need vocabularies of one size, and these have {', '.join(map(str, rows))} rows. Use "
            "direct, init and fresh"
        )
    return special


def _tuned_shape(place: str, kind: Kind) -> PreTrainedModel:
    if kind == "answers":
        return base_shape(place)
    return base_shape(place, None, AutoModelForSequenceClassification, "sequence classifier")


def _identity(place: str) -> str:
    """SHA-256 over the weights of a folder; a model on the hub is known by its name."""
    files = sorted(Path(place).glob("*.safetensors"))
    return sha256_of(files) if files else place
