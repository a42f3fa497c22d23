"""The models of a merge: found by the names a user gives, and refused, before any work, where they cannot be merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel

from rewarm.hub import commit_of
from rewarm.methods import nearest
from rewarm.models.load import UNREADABLE, load_model, weights_hash
from rewarm.models.merging import check_mergeable, vocabulary_rows
from rewarm.plan import Plan, Scratch
from rewarm.river.directory import PLAN, RunDirectory
from rewarm.river.legs import BASE, LegPlan
from rewarm.river.outcome import scored
from rewarm.river.shapes import base_shape
from rewarm.types import UserError


@dataclass(frozen=True, slots=True)
class ModelPart:
    """One model of a merge. `place` is a folder or hub name.

    `weights_sha256` is what a run's ledger says of it (None for a model of no run), `scores` the folder in which the
    run of the merge keeps its losses, `start_sha256` the hash of the base that its run began with.
    """

    name: str
    place: str
    revision: str | None = None
    weights_sha256: str | None = None
    scores: Path | None = None
    start_sha256: str | None = None

    def load(self) -> PreTrainedModel:
        """The model, on the CPU; UserError when a run's model is no longer the one that the run ended with."""
        model = load_model(self.place, self.revision)
        if self.weights_sha256 is not None and weights_hash(model) != self.weights_sha256:
            raise UserError(
                f"the weights in '{self.place}' are not those that the run recorded. Restore the folder, or run the "
                "run's plan again"
            )
        return model


def base_part(plan: Plan, run: RunDirectory) -> ModelPart:
    """The run's base; UserError when the run has not scored it, or watches nothing, or the base has no finite loss."""
    begun, watched = run.recorded(BASE), [watch.corpus for watch in plan.watch]
    losses = scored(run, BASE, watched)
    if begun is None or not losses or set(losses) != set(watched):
        raise UserError(f"run '{run.root}' has not scored its base on every watched corpus: `rewarm run` it first")
    if broken := [corpus for corpus, held in losses.items() if not math.isfinite(held.per_byte)]:
        raise UserError(
            f"the base of '{run.root}' has no finite loss on {', '.join(broken)}: nothing can be held against it"
        )
    place = str(run.base) if isinstance(plan.base, Scratch) else plan.base
    digest = begun["weights_sha256"]
    return ModelPart(BASE, place, plan.revision, digest, run.evaluations / BASE, digest)


def stage_part(run: RunDirectory, planned: Sequence[LegPlan], name: str | None) -> ModelPart:
    """The model of a stage by its name in the plan or of its folder; the run's last model without one.

    UserError for a name that is no stage of the run, and for a stage that is not finished.
    """
    names = leg_names(planned)
    leg = planned[-1].name if name is None else names.get(name)
    if leg is None:
        raise UserError(f"'{run.root}' has no stage '{name}'. {nearest(str(name), names)}")
    finished = run.finished()
    if leg not in finished or not run.model(leg).is_dir():
        ready = [other for other in finished if run.model(other).is_dir()]
        raise UserError(
            f"'{leg}' of '{run.root}' is not finished, so there is no model to merge. "
            + (f"Finished: {', '.join(ready)}" if ready else "Run the plan first")
        )
    return _finished_part(run, leg, leg, run.evaluations / leg)


def leg_names(planned: Sequence[LegPlan]) -> dict[str, str]:
    """Every name a user may give to a leg, and the leg's own name."""
    found = {leg.name: leg.name for leg in planned}
    for leg in planned:
        found.setdefault(leg.stage if leg.kind == "stage" else f"{leg.stage}-release", leg.name)
    return found


def _finished_part(run: RunDirectory, leg: str, name: str, scores: Path | None = None) -> ModelPart:
    begun = run.recorded(BASE)
    return ModelPart(
        name,
        str(run.model(leg)),
        weights_sha256=run.finished()[leg]["weights_sha256"],
        scores=scores,
        start_sha256=begun["weights_sha256"] if begun else None,
    )


def other_part(run: RunDirectory, planned: Sequence[LegPlan], given: str) -> ModelPart:
    """What `--with` names: a stage of this run, another run (its last finished stage), a stage's folder, or a model."""
    if given in leg_names(planned):
        return stage_part(run, planned, given)
    folder = Path(given)
    if (folder / PLAN).is_file():
        other = RunDirectory(folder)
        finished = [leg for leg in other.finished() if other.model(leg).is_dir()]
        if not finished:
            raise UserError(
                f"run '{given}' has no finished stage, so there is no model to merge: `rewarm run` it first"
            )
        return _finished_part(other, finished[-1], given)
    other = RunDirectory(folder.parent)
    if (other.root / PLAN).is_file() and folder.name in other.finished():
        if other.root.resolve() == run.root.resolve():
            return stage_part(run, planned, folder.name)
        return _finished_part(other, folder.name, given)
    return given_part(given)


def given_part(given: str) -> ModelPart:
    """A model that is no run's, at the commit that its name on the hub is now. UserError for no such model."""
    return ModelPart(given, given, commit_of(given))


def check_distinct(parts: Sequence[ModelPart]) -> None:
    """UserError when two of the models are the same, by their place or by what their runs recorded."""
    for place, part in enumerate(parts):
        for other in parts[:place]:
            same = Path(part.place).resolve() == Path(other.place).resolve() and part.revision == other.revision
            if same or (part.weights_sha256 is not None and part.weights_sha256 == other.weights_sha256):
                raise UserError(f"'{part.name}' and '{other.name}' are the same model: give models that differ")


def check_shapes(parts: Sequence[ModelPart], free_rows: bool) -> None:
    """UserError unless all models have one architecture; from their configurations, no weight is read.

    With `free_rows`, of a stage, its base and a chat model: their vocabularies may differ in size, but not where both
    the stage and the chat model have rows that the base has not.
    """
    first, *others = parts
    shapes = [base_shape(part.place, part.revision) for part in parts]
    for part, shape in zip(others, shapes[1:], strict=True):
        check_mergeable(shapes[0], shape, (first.name, part.name), free_rows)
    if free_rows:
        stage, base, chat = (vocabulary_rows(shape) for shape in shapes)
        if chat > stage != base:
            raise UserError(
                f"'{others[-1].name}' and '{first.name}' both have another number of rows than the base ({chat}, "
                f"{stage}, {base}), so new tokens of the one would take rows of the other. Grow one of the two only"
            )


def check_tokens(folder: Path, part: ModelPart, whose: str = "the run") -> None:
    """UserError when a model's tokenizer gives a token another id than that of `whose`, which is in `folder`."""
    own, other = _vocabulary(str(folder)), _vocabulary(part.place, part.revision)
    moved = sorted(token for token in own.keys() & other.keys() if own[token] != other[token])
    if moved or not own.keys() & other.keys():
        said = f"{len(moved):,} tokens have other ids there, such as {moved[0]!r}" if moved else "they share no token"
        raise UserError(
            f"'{part.name}' has another vocabulary than {whose} ({said}), so its rows cannot be merged by number. Give "
            "a model of the same family"
        )


def special_rows(folder: Path, chat: str, revision: str | None = None) -> tuple[int, ...]:
    """Rows of the chat model's special tokens, less those that the run's tokenizer, in `folder`, gives other tokens."""
    taken = {row: token for token, row in _vocabulary(str(folder)).items()}
    added = AutoTokenizer.from_pretrained(chat, revision=revision, trust_remote_code=False).added_tokens_decoder
    return tuple(
        sorted(row for row, token in added.items() if token.special and taken.get(row, str(token)) == str(token))
    )


def covers(folder: Path, chat: str, revision: str | None = None) -> bool:
    """Whether the chat model's tokenizer has every token of the run's, and so can stand in its place."""
    own, other = _vocabulary(str(folder)), _vocabulary(chat, revision)
    return own.items() <= other.items()


def _vocabulary(place: str, revision: str | None = None) -> dict[str, int]:
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
    except UNREADABLE as error:
        raise UserError(f"'{place}' has no tokenizer that could be loaded: {error}") from error
    found: dict[str, int] = tokenizer.get_vocab()
    return found


def tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """A model's parameters by name, without their gradients; they share its memory."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}
