"""What a merge of a run's models is asked to do, checked whole before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rewarm.methods import nearest
from rewarm.models.merging import Method, Recipe
from rewarm.report.frontier import Prefer
from rewarm.report.result import Column
from rewarm.river import merge_parts
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs, read_inputs
from rewarm.river.legs import legs
from rewarm.river.merge_parts import ModelPart
from rewarm.types import UserError

METHODS: tuple[Method, ...] = get_args(Method)
MOST = {"wise-ft": 1.0, "ties": 2.0, "dare": 2.0, "chat-vector": 2.0}
"""The largest weight of each method that sweeps one."""
SEED = 0


@dataclass(frozen=True, slots=True)
class MergeOrder:
    """What is to be merged. `weights` is the sweep (empty for soup); `others` are as `--with` names them."""

    method: Method = "wise-ft"
    stage: str | None = None
    others: tuple[str, ...] = ()
    chat: str | None = None
    weights: tuple[float, ...] = ()
    density: float = 0.5
    prefer: Prefer = "balanced"
    max_forgetting: float | None = None


@dataclass(slots=True)
class MergeWork:
    """A merge that may begin: every model is found and fits the others; no weight was read yet.

    `parts` are the models in the order of the recipe. Every one of them but the chat model is scored as it is too.
    """

    order: MergeOrder
    run: RunDirectory
    output: Path
    inputs: Inputs
    base: ModelPart
    stage: ModelPart
    parts: list[ModelPart]
    columns: list[Column]
    special_rows: tuple[int, ...] = ()

    def untouched(self) -> list[ModelPart]:
        """The models that are scored as they are: the base, the stage, and what is merged with them."""
        others = [part for part in self.parts if part not in (self.base, self.stage) and part.name != self.order.chat]
        return [self.base, self.stage, *others]

    def ends(self) -> dict[str, float]:
        """Weights of the sweep at which the merge is a model as it is, by that model's name; none for a soup."""
        if self.order.method == "soup":
            return {}
        both = {self.base.name: 0.0, self.stage.name: 1.0}
        return both if self.order.method == "wise-ft" else {self.parts[0].name: 0.0}

    def between(self) -> list[Recipe]:
        """Recipes of the sweep, by weight and without its ends; none for a soup, whose next one hangs on scores."""
        order = self.order
        values: dict[str, Any] = {"special_rows": self.special_rows} if order.method == "chat-vector" else {}
        if order.method in ("ties", "dare"):
            values = {"density": order.density, "seed": SEED}
        weights = set(order.weights) - set(self.ends().values())
        return [Recipe(order.method, weight, **values) for weight in sorted(weights)]


def check_order(order: MergeOrder) -> None:
    """UserError when the options of an order do not go together, or a number is out of range."""
    if order.method not in METHODS:
        raise UserError(f"there is no merging method '{order.method}'. {nearest(order.method, METHODS)}")
    joins = order.method in ("soup", "ties", "dare")
    if joins != bool(order.others):
        raise UserError(
            f"{order.method} merges several models: name the others with --with, once for each"
            if joins
            else f"{order.method} takes no --with; soup, ties and dare do"
        )
    if (order.method == "chat-vector") != (order.chat is not None):
        raise UserError("--chat MODEL and --method chat-vector belong together: give both or neither")
    most = MOST.get(order.method)
    wrong = [weight for weight in order.weights if most is None or not 0 <= weight <= most]
    if wrong or (most is not None and not order.weights):
        raise UserError(
            "soup sweeps no weight: leave out --weights and --points"
            if most is None
            else f"{order.method} weighs from 0 to {most:g}, at least one point; got {list(wrong) or 'none'}"
        )
    if not 0 < order.density <= 1:
        raise UserError(f"--density {order.density:g} must be above 0 and at most 1; 0.5 keeps half of the entries")
    if order.max_forgetting is not None and (order.prefer != "balanced" or not 0 <= order.max_forgetting < 1):
        raise UserError("--max-forgetting takes a share from 0 to below 100%, such as 1%, and goes without --prefer")


def plan_merge(root: Path, order: MergeOrder, output: Path | None = None) -> MergeWork:
    """The work that an order asks for on the run in `root`; nothing is written and no weight is read.

    UserError for whatever would keep it from ending: options, a stage that is missing, a base that is not scored,
    models that are the same or cannot be merged.
    """
    check_order(order)
    plan = RunDirectory(root).resolved()
    if plan.head != "causal":
        raise UserError(f"'{root}' trained {plan.head} language models, and merging is made for causal ones")
    run = RunDirectory.of(plan, root)
    base = merge_parts.base_part(plan, run)
    inputs = read_inputs(plan, run)
    planned = legs(plan, inputs.trainable_tokens)
    stage = merge_parts.stage_part(run, planned, order.stage)
    others = [merge_parts.other_part(run, planned, given) for given in order.others]
    chat = [merge_parts.given_part(order.chat)] if order.chat is not None else []
    first = {"soup": [stage], "chat-vector": [stage, base]}.get(order.method, [base, stage])
    parts = [*first, *others, *chat]
    _check_parts(order, run, base, parts)
    columns = [Column(name=corpus, role=plan.role(corpus)) for corpus in inputs.watch_documents]
    columns.sort(key=lambda column: column.role == "new")
    _check_columns(order, {column.role for column in columns})
    rows = merge_parts.special_rows(run.tokenizer, chat[0].place, chat[0].revision) if chat else ()
    output = output or root / "merges" / f"{order.method}-{stage.name}"
    return MergeWork(order, run, output, inputs, base, stage, parts, columns, rows)


def _check_parts(order: MergeOrder, run: RunDirectory, base: ModelPart, parts: Sequence[ModelPart]) -> None:
    merge_parts.check_distinct(parts)
    for part in parts:
        if order.method in ("ties", "dare") and part.start_sha256 not in (None, base.weights_sha256):
            raise UserError(
                f"'{part.name}' started from another base than '{run.root}', so the difference between them is no task "
                f"vector. {order.method} merges runs of one base; soup takes any"
            )
    merge_parts.check_shapes(parts, free_rows=order.method == "chat-vector")
    for part in parts:
        if part.scores is None:
            merge_parts.check_tokens(run.tokenizer, part)


def _check_columns(order: MergeOrder, roles: set[str]) -> None:
    needed = {*(["old"] if order.max_forgetting is not None else []), order.prefer} - {"balanced"}
    if not needed <= roles:
        raise UserError(f"the run watches no {' and no '.join(needed - roles)} text, so no point can be chosen by it")
