"""The main job: plan in; stages, controls, matrix and report out. Running it again goes on where it stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from rewarm.plan import Plan
from rewarm.report.page import write
from rewarm.report.result import Result
from rewarm.river.controls import control_plan
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs, make_inputs
from rewarm.river.legs import BASE, LegPlan, legs
from rewarm.river.outcome import collect
from rewarm.river.scores import score
from rewarm.river.train import Hooks, base_model, train_legs
from rewarm.training.machine import (
    choose_precision,
    describe,
    flops_per_token,
    matmul_rate,
    micro_batch_tokens,
)

Controls = list[tuple[str, RunDirectory, list[LegPlan]]]


def run(plan: Plan, hooks: Hooks | None = None, command: str | None = None) -> Result:
    """Runs a plan, or goes on with it, and returns its result; report.html, .md and .json lie in its output_dir.

    UserError when the plan or its input is wrong, Stopped when the hooks ask to stop, StorageError when a write fails.
    """
    hooks = hooks or Hooks()
    directory = RunDirectory(plan.directory, _prepared(plan))
    control_plans = _control_plans(plan)
    with directory.locked():
        directory.claim(plan)
        inputs = make_inputs(plan, directory, hooks.tell)
        planned = legs(plan, inputs.trainable_tokens)
        controls = _controls(control_plans, directory, inputs)
        facts = _base_facts(plan, directory, inputs, hooks, command)
        train_legs(inputs, directory, planned, hooks)
        _report(plan, directory, inputs, planned, controls, facts)
        for word, control, control_legs in controls:
            _run_control(control_plans[word], control, directory, inputs, control_legs, hooks)
        return _report(plan, directory, inputs, planned, controls, facts)


def report(root: Path, hooks: Hooks | None = None) -> Result:
    """Writes the report of a run directory again, from what it holds, finished or not."""
    hooks = hooks or Hooks()
    plan = RunDirectory(root).resolved()
    directory = RunDirectory(root, _prepared(plan))
    inputs = make_inputs(plan, directory, hooks.tell)
    controls = _controls(_control_plans(plan), directory, inputs)
    facts = _base_facts(plan, directory, inputs, hooks, None)
    return _report(plan, directory, inputs, legs(plan, inputs.trainable_tokens), controls, facts)


def _prepared(plan: Plan) -> Path | None:
    return Path(plan.prepared_dir) if plan.prepared_dir else None


def _control_plans(plan: Plan) -> dict[str, Plan]:
    """The plan of each control that is a run of its own; UserError when one makes no sense for this plan."""
    plans = {word: control_plan(plan, word) for word in plan.controls}
    return {word: other for word, other in plans.items() if other is not None}


def _controls(plans: dict[str, Plan], directory: RunDirectory, inputs: Inputs) -> Controls:
    return [(word, directory.control(word), legs(other, inputs.trainable_tokens)) for word, other in plans.items()]


def _run_control(
    plan: Plan,
    control: RunDirectory,
    main: RunDirectory,
    inputs: Inputs,
    planned: list[LegPlan],
    hooks: Hooks,
) -> None:
    """A control reads the same prepared inputs; only its stages differ, so the base row is the main run's."""
    control.claim(plan)
    control.tokenizer, control.base = main.tokenizer, main.base
    own = Inputs(
        plan, inputs.tokenizer, dict(inputs.stores), dict(inputs.train_documents), inputs.watch_documents,
        inputs.watched_hashes, dict(inputs.held_out), dict(inputs.copies), [],
    )  # fmt: skip
    train_legs(own, control, planned, hooks)


def _base_facts(
    plan: Plan, directory: RunDirectory, inputs: Inputs, hooks: Hooks, command: str | None
) -> dict[str, Any]:
    """Scores the base (once) and measures what the report's costs are held against."""
    model = base_model(plan, inputs, directory)
    score(model, inputs, directory.evaluations / BASE, tell=hooks.tell)
    precision = choose_precision(plan.precision)
    width = int(getattr(model.config, "hidden_size", 256))
    machine = {**describe(), "precision": str(precision).removeprefix("torch.")}
    return {
        "command": command or " ".join(sys.argv),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "flops_per_token": flops_per_token(model, plan.seq_len),
        "matmul_rate": _matmul_limit(directory, micro_batch_tokens(plan), width, precision),
        "machine": machine,
        "trainable": {name: inputs.trainable_tokens(name) for name in inputs.stores},
        "notes": [],
    }


def _matmul_limit(directory: RunDirectory, rows: int, width: int, precision: torch.dtype) -> float:
    """Measured once per run, so that every report of it is held against the same limit."""
    measured = [entry for entry in directory.ledger() if entry["event"] == "matmul rate"]
    if measured:
        return float(measured[-1]["flops_per_second"])
    rate = matmul_rate(rows, width, precision)
    directory.record("matmul rate", flops_per_second=rate, rows=rows, width=width)
    return rate


def _report(
    plan: Plan,
    directory: RunDirectory,
    inputs: Inputs,
    planned: list[LegPlan],
    controls: Controls,
    facts: dict[str, Any],
) -> Result:
    facts["trainable"] = {name: inputs.trainable_tokens(name) for name in inputs.stores}
    result = collect(plan, directory, inputs, planned, controls, facts)
    write(result, directory.root)
    return result
