"""What holds the old in a leg: its retention methods, with the text they read and what they keep on disk.

`training/<leg>/kept/` holds what each method measured at the leg's start and what it left at its end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from transformers import PreTrainedModel

from rewarm.hashing import seed_of
from rewarm.mixtures.draw import draw
from rewarm.mixtures.fixed import Fixed
from rewarm.plan import Plan
from rewarm.retention import Retention, Scene
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import LegPlan, trained_before
from rewarm.river.replaying import SELF_CORPUS
from rewarm.river.starts import base_model
from rewarm.stages import NEW, OLD, SELF
from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.order import DocumentStream
from rewarm.training import checkpoint
from rewarm.training.keepers import Keepers
from rewarm.training.machine import choose_precision
from rewarm.types import Batch, Tell, UserError


def methods(leg: LegPlan) -> dict[str, Retention]:
    """The leg's retention methods by name, in the plan's order."""
    found = {}
    for method in leg.retention:
        assert isinstance(method, Retention)  # the plan built it from the retention folder
        found[method.method_name()] = method
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """A leg of a run; `past` names the legs whose parameters it goes on training, the last one first."""

    inputs: Inputs
    run: RunDirectory
    leg: LegPlan
    past: tuple[str, ...]

    @classmethod
    def of(cls, inputs: Inputs, run: RunDirectory, planned: Sequence[LegPlan], leg: LegPlan) -> Place:
        """The place of one of the planned legs."""
        past = tuple(before.name for before in reversed(trained_before(planned, leg)))
        return cls(inputs, run, leg, past)


def begin(place: Place, model: PreTrainedModel, tell: Tell) -> Keepers:
    """The keepers of a leg, with `model` as the leg starts from it. What was measured before is read, not done again.

    UserError when a method that acts on parameters reaches none of them: it would do nothing without a word.
    """
    held, run, leg = {}, place.run, place.leg
    for name, method in methods(leg).items():
        scene = _scene(place, model, name, tell)
        file = _kept(run, leg.name, name, "measured")
        started = time.perf_counter()
        if not file.is_file():
            checkpoint.write_tensors(file, method.measure(scene))
        measured = load_file(file)
        on_device = {key: value.to(model.device) for key, value in measured.items()}
        keeper = held[name] = method.keeper(scene, on_device)
        if keeper.reached == 0:
            raise UserError(
                f"{leg.name}: retention '{name}' reaches no parameter of {type(model).__name__}, so it would do "
                "nothing. Choose another method, or options that name parameters this model trains"
            )
        seconds = round(time.perf_counter() - started, 3)
        run.record("retention", leg=leg.name, method=name, reached=keeper.reached, seconds=seconds)
    return Keepers(held)


def end(place: Place, model: PreTrainedModel, tell: Tell) -> None:
    """Keeps on disk what each method leaves to a next stage; `model` is the stage's final one."""
    run, leg = place.run, place.leg
    for name, method in methods(leg).items():
        scene = _scene(place, model, name, tell)
        measured = load_file(_kept(run, leg.name, name, "measured"))
        checkpoint.write_tensors(_kept(run, leg.name, name, "left"), method.leave(scene, measured))


def _kept(run: RunDirectory, leg: str, method: str, what: str) -> Path:
    return run.training(leg) / "kept" / f"{method}-{what}.safetensors"


def _scene(place: Place, model: PreTrainedModel, method: str, tell: Tell) -> Scene:
    inputs, run, leg = place.inputs, place.run, place.leg
    plan = inputs.plan
    # A stage between may have done without the method. What another adapter trained is no past: names would deceive.
    left = next((file for past in place.past if (file := _kept(run, past, method, "left")).is_file()), None)

    def base() -> PreTrainedModel:
        loaded: PreTrainedModel = base_model(plan, inputs, run).eval().requires_grad_(False)
        return loaded

    def rows(text: str, count: int) -> Iterator[Batch]:
        return _rows(inputs, leg, text, count)

    return Scene(
        model=model,
        rows=rows,
        base=base,
        cache=run.prepared / "teachers",
        seed=seed_of(plan.seed, leg.name, method),
        precision=choose_precision(plan.precision),
        steps=leg.steps,
        rows_per_step=plan.batch_tokens // plan.seq_len,
        replayed=frozenset(number for number, name in enumerate(leg.shares) if name in leg.replayed),
        before=load_file(left) if left is not None else {},
        tell=tell,
    )


def _rows(inputs: Inputs, leg: LegPlan, text: str, count: int) -> Iterator[Batch]:
    """`count` rows of a text, one by one: not those the stage trains on next, and the same ones in every run."""
    plan = inputs.plan
    shares = _shares(plan, leg, text)
    seed = seed_of(plan.seed, "retention")
    sources = [
        Source(name, DocumentStream(inputs.stores[name], inputs.documents(name, leg.stage), seed, name))
        for name in shares
    ]
    drawn = draw(Fixed(), shares, count, 1, seed)
    for batches in StageRows(sources, drawn, plan.seq_len, 1).iterate(0):
        yield from batches


def _shares(plan: Plan, leg: LegPlan, text: str) -> dict[str, float]:
    """The corpora of a text and their shares."""
    if text == NEW:
        new = {name: share for name, share in leg.shares.items() if name not in leg.replayed} or dict(leg.shares)
        return {name: share / sum(new.values()) for name, share in new.items()}
    if text == SELF:
        return {f"{SELF_CORPUS}{leg.stage}": 1.0}
    if text == OLD:
        name = plan.old_corpus or next(iter(leg.replayed), None)
        assert name is not None  # the plan has checked it
        return {name: 1.0}
    return {text: 1.0}
