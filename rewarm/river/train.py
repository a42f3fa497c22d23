"""Trains the legs of a plan in order: start from the right weights, resume where it stopped, save, score, record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from rewarm.mixtures import Mixture
from rewarm.mixtures.draw import draw
from rewarm.models.load import (
    check_length,
    check_vocabulary,
    load_model,
    make_model,
    save_model,
    weights_hash,
)
from rewarm.models.samples import sample_corpus
from rewarm.plan import Plan, Scratch
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import BASE, SELF_CORPUS, LegPlan, last_rates, past
from rewarm.river.scores import score, totals
from rewarm.schedules import Schedule
from rewarm.tokens.hashing import seed_of
from rewarm.tokens.loader import Source, StageRows
from rewarm.tokens.prepare import Tell, prepare, silent
from rewarm.training import checkpoint
from rewarm.training.journal import Journal
from rewarm.training.loop import Due, Leg, Outcome, train
from rewarm.training.machine import choose_precision, micro_batch_tokens, on_device, seconds_of
from rewarm.training.optimizer import AdamWOptions, Optimizer
from rewarm.types import Stopped


@dataclass(slots=True)
class Hooks:
    """How a run talks to its caller: progress, and whether it should stop."""

    tell: Tell = silent
    stop: Callable[[], bool] = field(default=lambda: False)


def base_model(plan: Plan, inputs: Inputs, run: RunDirectory) -> PreTrainedModel:
    """The untouched base, checked against the tokenizer and the row length. A base from scratch is saved once."""
    if isinstance(plan.base, Scratch):
        if not run.base.is_dir():
            made = make_model(plan.base.config, inputs.tokenizer, plan.seed)
            save_model(made, run.tokenizer, run.base)
        model = load_model(str(run.base))
    else:
        model = load_model(plan.base, plan.revision)
    check_vocabulary(model, inputs.tokenizer)
    check_length(model, plan.seq_len)
    return on_device(model)


def train_legs(inputs: Inputs, run: RunDirectory, planned: list[LegPlan], hooks: Hooks) -> None:
    """Trains, saves and scores every leg that the ledger does not call finished; raises Stopped when asked to stop."""
    rates = last_rates(planned)
    for leg in planned:
        if leg.name in run.finished() and run.model(leg.name).is_dir():
            continue
        model = _start_model(inputs, run, leg)
        add_samples(inputs, run, leg, model, hooks)
        optimizer = Optimizer(model, _adamw(inputs.plan))
        folder = run.training(leg.name)
        if leg.start != BASE and not checkpoint.steps_saved(folder):
            source = checkpoint.latest_any(run.training(leg.start))
            if source is not None:
                checkpoint.inherit(source, optimizer, leg.policy)  # type: ignore[arg-type]
        outcome = train(
            model, optimizer, _loop_leg(inputs, run, planned, leg, rates[leg.start]),
            _due(inputs, run, leg, hooks), hooks.stop, _progress(leg, hooks),
        )  # fmt: skip
        for note in outcome.notes:
            run.record("note", leg=leg.name, text=note)
        if outcome.stopped:
            run.record("stopped", leg=leg.name, step=outcome.steps)
            raise Stopped(f"stopped at step {outcome.steps} of {leg.name}; saved. The same command goes on from there")
        _finish(inputs, run, leg, planned, model, outcome, hooks)


def _finish(
    inputs: Inputs, run: RunDirectory, leg: LegPlan, planned: list[LegPlan], model: PreTrainedModel,
    outcome: Outcome, hooks: Hooks,
) -> None:  # fmt: skip
    facts = {
        "leg": leg.name,
        "stage": leg.stage,
        "steps": leg.steps,
        "tokens": leg.tokens(inputs.plan.batch_tokens),
    }
    save_model(model, run.tokenizer, run.model(leg.name), json.dumps(facts))
    score(model, inputs, run.evaluations / leg.name, tell=hooks.tell)
    realised = _rows(inputs, planned, leg).counts_before(leg.steps)
    run.record(
        "leg finished",
        **facts,
        seconds=seconds_of(run.training(leg.name)),
        rows={corpus: int(count) for corpus, count in zip(leg.shares, realised, strict=True)},
        weights_sha256=weights_hash(model),
    )
    folder = run.training(leg.name)
    inherited = any(later.start == leg.name and later.policy != "reset" for later in planned)
    if not inherited:
        checkpoint.clear(folder)


def _start_model(inputs: Inputs, run: RunDirectory, leg: LegPlan) -> PreTrainedModel:
    if leg.start == BASE:
        return base_model(inputs.plan, inputs, run)
    return on_device(load_model(str(run.model(leg.start))))


def add_samples(inputs: Inputs, run: RunDirectory, leg: LegPlan, model: PreTrainedModel, hooks: Hooks) -> None:
    """Replay from the model itself: samples its text (once, before the leg) and adds it as a corpus."""
    name = leg.replayed
    if name is None or not name.startswith(SELF_CORPUS) or name in inputs.stores:
        return
    stage = next(stage for stage in inputs.plan.stages if stage.name == leg.stage)
    assert stage.replay is not None
    corpus = sample_corpus(
        model, inputs.tokenizer, run.root / "samples" / f"{leg.stage}.jsonl", stage.replay.tokens, inputs.plan.seq_len,
        stage.replay.temperature, seed_of(inputs.plan.seed, leg.stage), hooks.tell,
    )  # fmt: skip
    store = prepare(f"self-{leg.stage}", corpus, inputs.tokenizer, run.root / "samples", 0.0, hooks.tell)
    inputs.add(name, store)


def _rows(inputs: Inputs, planned: list[LegPlan], leg: LegPlan) -> StageRows:
    """The leg's rows. A corpus goes on where the legs on the path before this one left it."""
    plan = inputs.plan
    rows_per_step = plan.batch_tokens // plan.seq_len
    used = _rows_used(inputs, planned, leg)
    sources = [Source(name, inputs.stream(name), used.get(name, 0)) for name in leg.shares]
    return StageRows(
        sources, _draw(plan, leg), plan.seq_len, min(rows_per_step, micro_batch_tokens(plan) // plan.seq_len)
    )


def _draw(plan: Plan, leg: LegPlan) -> Any:
    assert isinstance(leg.mixture, Mixture)
    return draw(leg.mixture, leg.shares, leg.steps, plan.batch_tokens // plan.seq_len, seed_of(plan.seed, leg.name))


def _rows_used(inputs: Inputs, planned: list[LegPlan], leg: LegPlan) -> dict[str, int]:
    by_name = {other.name: other for other in planned}
    used: dict[str, int] = {}
    start = leg.start
    while start != BASE:
        before = by_name[start]
        drawn = _draw(inputs.plan, before)
        for index, corpus in enumerate(before.shares):
            used[corpus] = used.get(corpus, 0) + int((drawn == index).sum())
        start = before.start
    return used


def _loop_leg(inputs: Inputs, run: RunDirectory, planned: list[LegPlan], leg: LegPlan, last_rate: float) -> Leg:
    plan = inputs.plan
    assert isinstance(leg.schedule, Schedule)
    rows = _rows(inputs, planned, leg)
    key = {
        "stores": {source.name: source.stream.store.hash for source in rows.sources},
        "documents": {source.name: source.stream.tokens for source in rows.sources},
        "first_rows": [source.first_row for source in rows.sources],
        "tokenizer": inputs.tokenizer.hash,
        "leg": [
            leg.name,
            leg.start,
            leg.steps,
            dict(leg.shares),
            leg.schedule.described(),
            leg.peak,
            leg.policy,
        ],
        "plan": [
            plan.seed,
            plan.seq_len,
            plan.batch_tokens,
            plan.precision,
            plan.weight_decay,
            plan.adam_betas,
        ],
    }
    return Leg(
        name=leg.name,
        folder=run.training(leg.name),
        rows=rows,
        schedule=leg.schedule,
        peak=leg.peak,
        past=past(leg, last_rate),
        key=f"{seed_of(json.dumps(key, sort_keys=True)):016x}",
        precision=choose_precision(plan.precision),
        log_every=max(1, min(50, leg.steps // 100)),
        save_steps=plan.save_steps or max(1, leg.steps // 10),
        save_total_limit=plan.save_total_limit,
    )


def _due(inputs: Inputs, run: RunDirectory, leg: LegPlan, hooks: Hooks) -> list[Due]:
    """Scoring during the leg. Each score is kept, so that a resumed run does not pay for it twice."""
    plan = inputs.plan
    every = plan.eval_every if plan.eval_every is not None else leg.tokens(plan.batch_tokens) // 4
    if every == 0 or not plan.watch:
        return []

    def action(model: PreTrainedModel, step: int) -> None:
        losses = score(model, inputs, run.evaluations / "during" / f"{leg.name}-{step}", tell=hooks.tell)
        journal = Journal(run.training(leg.name) / "scores.jsonl", step - 1)
        journal.write({"step": step, "tokens": step * plan.batch_tokens, "losses": totals(losses)})

    return [Due(max(1, round(every / plan.batch_tokens)), action)]


def _progress(leg: LegPlan, hooks: Hooks) -> Callable[[int, dict[str, Any]], None]:
    def tell(step: int, entry: dict[str, Any]) -> None:
        unit = f"steps, loss {entry['loss']:.3f}, {entry['tokens_per_second']:,.0f} tokens/s"
        hooks.tell(f"train {leg.name}", step, leg.steps, unit)

    return tell


def _adamw(plan: Plan) -> AdamWOptions:
    return AdamWOptions(plan.weight_decay, plan.adam_betas, plan.adam_epsilon, plan.max_grad_norm)
