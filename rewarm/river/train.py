"""Trains the legs of a plan in order: start from the right weights, resume where it stopped, save, score, record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from rewarm.hashing import seed_of
from rewarm.models.load import (
    save_model,
    weights_hash,
)
from rewarm.objectives import Rows
from rewarm.plan import Plan
from rewarm.river import chat, holding, leg_checks, sharing, stage_selection, stale
from rewarm.river.beside import attended, share_of_room
from rewarm.river.directory import RunDirectory
from rewarm.river.facts import ask
from rewarm.river.inputs import Inputs
from rewarm.river.leg_rows import leg_rows, objective_of
from rewarm.river.legs import LegPlan, goes_on, last_rates, past
from rewarm.river.own_text import add_samples
from rewarm.river.pairs import judge
from rewarm.river.room import Room
from rewarm.river.scores import clear_during, during, score, totals
from rewarm.river.starts import merge, start_model
from rewarm.river.suites import ask_suites
from rewarm.schedules import Schedule
from rewarm.training import activations, checkpoint
from rewarm.training.activations import Passes
from rewarm.training.divided import spread
from rewarm.training.journal import Journal
from rewarm.training.keepers import Keepers
from rewarm.training.leg import Leg
from rewarm.training.loop import Due, train
from rewarm.training.machine import check_compiler, choose_precision, seconds_of
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.training.world import current
from rewarm.types import Stopped, Tell, silent


@dataclass(slots=True)
class Hooks:
    """How a run talks to its caller: progress, and whether it should stop."""

    tell: Tell = silent
    stop: Callable[[], bool] = field(default=lambda: False)

    def tell_or_stop(self, label: str, done: float, total: float | None, unit: str) -> None:
        """Progress of work that can be broken off at any point without a loss; Stopped when the run is to stop.

        Not for what happens inside the training loop, which saves before it stops.
        """
        if self.stop():
            raise Stopped(f"stopped at '{label}'. The same command goes on from there")
        self.tell(label, done, total, unit)


def train_legs(
    inputs: Inputs, run: RunDirectory, planned: list[LegPlan], hooks: Hooks, finished_stay: bool = False
) -> None:
    """Trains, saves and scores every leg that the ledger does not call finished; raises Stopped when asked to stop.

    A finished leg whose model folder is gone is trained again, unless `finished_stay`.
    """
    if inputs.plan.compile is True:
        check_compiler()
    rates = last_rates(planned)
    for leg in planned:
        if not _is_done(run, leg) and not (finished_stay and leg.name in run.finished()):
            if hooks.stop():
                raise Stopped(f"stopped before {leg.name}. The same command goes on from there")
            _train_leg(inputs, run, planned, leg, rates[leg.start], hooks)
        _clear_checkpoints(inputs.plan, run, planned)


def _is_done(run: RunDirectory, leg: LegPlan) -> bool:
    """Whether a leg has finished and its model is still there; one whose folder was deleted is trained again."""
    return leg.name in run.finished() and run.model(leg.name).is_dir()


@dataclass(slots=True)
class Ready:
    """A leg about to train: everything `rewarm.training.loop.train` takes, and the leg's rows and place."""

    model: PreTrainedModel
    optimizer: Optimizer
    leg: Leg
    keepers: Keepers
    place: holding.Place


def ready(
    inputs: Inputs, run: RunDirectory, planned: list[LegPlan], leg: LegPlan, last_rate: float, hooks: Hooks
) -> Ready:
    """Loads and makes what a leg trains with; the same in every process, so that a leg may go on in another."""
    plan = inputs.plan
    model = start_model(inputs, run, planned, leg)
    passes = _passes(plan, run, leg, model)
    add_samples(inputs, run, leg, model, hooks.tell_or_stop)
    stale.find(inputs, run, [leg], hooks.tell_or_stop)
    stale.record(inputs, run, leg)
    stage_selection.select(inputs, run, leg, model, hooks.tell_or_stop)
    for method in holding.methods(leg).values():
        method.select(model)
    optimizer = Optimizer(
        model, AdamWOptions(plan.weight_decay, plan.adam_betas, plan.adam_epsilon, plan.max_grad_norm)
    )
    _inherit(run, planned, leg, optimizer)
    place = holding.Place.of(inputs, run, planned, leg)
    keepers = holding.begin(place, model, hooks.tell_or_stop)
    rows = leg_rows(inputs, run, planned, leg, passes, model, hooks.tell_or_stop)
    _tell_of(run, leg, rows)
    return Ready(model, optimizer, _loop_leg(inputs, run, leg, rows, last_rate, passes), keepers, place)


def _train_leg(
    inputs: Inputs, run: RunDirectory, planned: list[LegPlan], leg: LegPlan, last_rate: float, hooks: Hooks
) -> None:
    """A function of its own, so that a leg's model and optimizer are gone before the next ones are made."""
    made = ready(inputs, run, planned, leg, last_rate, hooks)
    sharded = sharing.is_sharded(inputs.plan, run.started(leg.name), made.model, current())
    current().order(do="train", run=run.root.name if run.is_control else "", leg=leg.name, sharded=sharded)
    shards = sharing.take_apart(made, current()) if sharded else None
    due, tell = _due(inputs, run, leg, hooks), _progress(run, leg, hooks)
    outcome = train(made.model, made.optimizer, made.leg, due, hooks.stop, tell, made.keepers)
    for note in outcome.notes:
        run.record("note", leg=leg.name, text=note)
    leg_checks.record(run, leg, outcome, made.leg.rows)
    if outcome.stopped:
        run.record("stopped", leg=leg.name, step=outcome.steps)
        raise Stopped(f"stopped at step {outcome.steps} of {leg.name}; saved. The same command goes on from there")
    made.keepers.finish()
    if shards is not None:
        sharing.put_together(made, shards, lambda: start_model(inputs, run, planned, leg))
    del made.keepers, made.optimizer  # what methods leave is measured in the memory that these took
    holding.end(made.place, made.model, hooks.tell)
    merge(run, leg, made.model)
    _finish(inputs, run, leg, made.leg.rows, made.model, hooks)


def _finish(inputs: Inputs, run: RunDirectory, leg: LegPlan, rows: Rows, model: PreTrainedModel, hooks: Hooks) -> None:
    tokens = leg.tokens(inputs.plan.batch_tokens)
    facts = {"leg": leg.name, "stage": leg.stage, "start": leg.start, "steps": leg.steps, "tokens": tokens}
    conversations = chat.taught(inputs.plan, run, leg, inputs.tokenizer)
    template = None if conversations is None else chat.make_ready(model, conversations)
    save_model(model, run.tokenizer, run.model(leg.name), json.dumps(facts), template)
    weights = weights_hash(model)
    with attended(current()):
        score(model, inputs, run.evaluations / leg.name, hooks.tell_or_stop, weights)
    ask(model, inputs, run, leg.name, hooks.tell_or_stop, weights)
    judge(model, inputs, run, leg.name, hooks.tell_or_stop)
    ask_suites(model, inputs, run, leg.name, hooks.tell_or_stop, weights)
    counts, learned = rows.counts_before(leg.steps), chat.learned(rows)
    run.record(
        "leg finished",
        **facts,
        seconds=seconds_of(run.training(leg.name)),
        rows={corpus: int(count) for corpus, count in zip(leg.shares, counts, strict=True)},
        trainable={source.name: source.stream.tokens for source in rows.sources},
        **({"learned": learned} if learned else {}),
        weights_sha256=weights,
        moved_rows=leg_checks.moved(inputs.plan, run, leg, model),
        resumed=leg_checks.resumed(run, leg),
    )


def _clear_checkpoints(plan: Plan, run: RunDirectory, planned: list[LegPlan]) -> None:
    """Deletes the checkpoints of finished legs, but for those whose optimizer state an unfinished leg takes over, and
    what was scored while they trained.

    The last one of a dated stream that hands on its state stays: next month's stage takes it over.
    """
    last = plan.stages[-1]
    handed_on = last.name if last.date is not None and last.optimizer_state != "reset" else None
    needed = {leg.start for leg in planned if not _is_done(run, leg) and leg.policy != "reset"}
    for leg in planned:
        if _is_done(run, leg):
            clear_during(run, leg.name)
        if leg.name in needed or not _is_done(run, leg):
            continue
        if leg.stage == handed_on and leg.kind == "stage":
            checkpoint.prune(run.training(leg.name), 1, leg.steps)
        else:
            checkpoint.clear(run.training(leg.name))


def _passes(plan: Plan, run: RunDirectory, leg: LegPlan, model: PreTrainedModel) -> Passes:
    """How the leg's passes are made, recorded in the ledger: a resumed leg goes on so where the plan leaves it open."""
    before, known = run.started(leg.name), {}
    if before is not None and plan.micro_batch_tokens is None:
        known["micro_batch_tokens"] = before.get("micro_batch_tokens")
    if before is not None and plan.gradient_checkpointing == "auto":
        known["gradient_checkpointing"] = before.get("checkpointed", "auto")
    room = share_of_room(activations.room_for(model), current())
    _, passes = spread(plan.model_copy(update=known), model, room, current().size)
    run.record(
        "leg started", leg=leg.name, steps=leg.steps, tokens=leg.tokens(plan.batch_tokens),
        **dataclasses.asdict(passes),
    )  # fmt: skip
    if before is None and (note := activations.described(passes, plan)):
        run.record("note", leg=leg.name, text=note)
    return passes


def _tell_of(run: RunDirectory, leg: LegPlan, rows: Rows) -> None:
    """Records what the objective has to say of the leg's rows, once."""
    told = {entry["text"] for entry in run.ledger() if entry["event"] == "note"}
    for note in objective_of(leg).notes(rows):
        text = f"{leg.name}: {note}"
        if text not in told:
            run.record("note", leg=leg.name, text=text)


def _inherit(run: RunDirectory, planned: list[LegPlan], leg: LegPlan, optimizer: Optimizer) -> None:
    """Takes over optimizer state where the plan says so; the base has none, and a new adapter has none to take over."""
    before = goes_on(planned, leg)
    if before is not None:
        last = run.finished()[before.name]["steps"]
        policy: Any = leg.policy
        checkpoint.inherit(run.training(before.name) / f"checkpoint-{last}", optimizer, policy)


def _loop_leg(inputs: Inputs, run: RunDirectory, leg: LegPlan, rows: Rows, last_rate: float, passes: Passes) -> Leg:
    plan = inputs.plan
    assert isinstance(leg.schedule, Schedule)
    state = past(leg, last_rate)
    key = {
        "stores": {source.name: source.stream.store.hash for source in rows.sources},
        "documents": {source.name: source.stream.tokens for source in rows.sources},
        "first_rows": [source.first_row for source in rows.sources],
        "tokenizer": inputs.tokenizer.hash,
        "leg": [leg.name, leg.start, leg.steps, dict(leg.shares), leg.peak, leg.policy],
        "methods": [leg.schedule.described(), leg.mixture.described(), dataclasses.asdict(state)],
        "held": [method.described() for method in (*leg.retention, leg.adapter) if method is not None],
        "plan": [plan.seed, plan.seq_len, plan.batch_tokens, plan.precision, plan.compile],
        "adamw": [plan.weight_decay, plan.adam_betas, plan.adam_epsilon, plan.max_grad_norm],
    }
    if plan.spikes is not None:
        key["spikes"] = plan.spikes.model_dump()
    if (objective := objective_of(leg)).method_name() != "causal":  # legs begun before there were others keep their key
        key["objective"] = objective.described()
    return Leg(
        name=leg.name,
        folder=run.training(leg.name),
        rows=rows,
        schedule=leg.schedule,
        peak=leg.peak,
        past=state,
        key=f"{seed_of(json.dumps(key, sort_keys=True)):016x}",
        precision=choose_precision(plan.precision),
        seed=seed_of(plan.seed, leg.name, "random state"),
        log_every=max(1, min(50, leg.steps // 100)),
        save_steps=plan.save_steps or max(1, leg.steps // 10),
        save_total_limit=plan.save_total_limit,
        compile=plan.compile if objective.compiles else False,
        checkpointed=passes.checkpointed,
        skips=plan.spikes,
        loss=objective.loss,
    )


def due_of(inputs: Inputs, leg: LegPlan, action: Callable[[PreTrainedModel, int], None]) -> list[Due]:
    """When a leg is scored while it trains, and by what."""
    plan = inputs.plan
    every = plan.eval_every if plan.eval_every is not None else leg.tokens(plan.batch_tokens) // 4
    if every == 0 or not plan.watch:
        return []
    return [Due(max(1, round(every / plan.batch_tokens)), action)]


def _due(inputs: Inputs, run: RunDirectory, leg: LegPlan, hooks: Hooks) -> list[Due]:
    """Scoring during the leg. Each score is kept, so that a resumed run does not pay for it twice."""
    plan = inputs.plan

    def action(model: PreTrainedModel, step: int) -> None:
        with attended(current()):
            losses = score(model, inputs, during(run, leg.name, step), tell=hooks.tell)
        journal = Journal(run.training(leg.name) / "scores.jsonl", step - 1)
        journal.write({"step": step, "tokens": step * plan.batch_tokens, "losses": totals(losses)})

    return due_of(inputs, leg, action)


def _progress(run: RunDirectory, leg: LegPlan, hooks: Hooks) -> Callable[[int, dict[str, Any]], None]:
    control = f"control {run.root.name}, " if run.is_control else ""
    room = Room(run, leg.name)

    def tell(step: int, entry: dict[str, Any]) -> None:
        unit = f"steps, loss {entry['loss']:.3f}, {entry['tokens_per_second']:,.0f} tokens/s"
        hooks.tell(f"train {control}{leg.name}", step, leg.steps, unit + room.look())

    return tell
