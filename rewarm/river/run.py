"""The main job: plan in; stages, controls, matrix and report out. Running it again goes on where it stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rewarm.models.load import weights_hash
from rewarm.plan import Plan, Scratch
from rewarm.report.page import write
from rewarm.report.result import Result
from rewarm.river.controls import control_plan
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs, make_inputs, read_inputs, record_inputs
from rewarm.river.legs import BASE, LegPlan, legs
from rewarm.river.outcome import collect
from rewarm.river.own_text import read_samples
from rewarm.river.replaying import SELF_CORPUS
from rewarm.river.scores import score
from rewarm.river.starts import base_model
from rewarm.river.train import Hooks, train_legs
from rewarm.training.machine import (
    choose_precision,
    describe,
    flops_per_token,
    matmul_rate,
    micro_batch_tokens,
)
from rewarm.types import UserError

Controls = list[tuple[str, RunDirectory, list[LegPlan]]]


def run(plan: Plan, hooks: Hooks | None = None, command: str | None = None) -> Result:
    """Runs a plan, or goes on with it, and returns its result; report.html, .md and .json lie in its output_dir.

    UserError when the plan or its input is wrong, Stopped when the hooks ask to stop, StorageError when a write fails.
    """
    hooks = hooks or Hooks()
    command = command or " ".join(sys.argv)
    directory = RunDirectory.of(plan)
    control_plans = _control_plans(plan)
    with directory.locked():
        directory.claim(plan)
        inputs = make_inputs(plan, directory, hooks.tell_or_stop)
        planned = legs(plan, inputs.trainable_tokens)
        controls = _controls(control_plans, directory, inputs)
        _measure_base(plan, directory, inputs, hooks)
        _measure_machine(plan, directory)
        _record_steps(directory, planned, controls)
        train_legs(inputs, directory, planned, hooks)
        read_samples(inputs, directory, planned, hooks.tell)
        _report(plan, directory, inputs, planned, controls, command)
        for word, control, control_legs in controls:
            _run_control(control_plans[word], control, directory, inputs, control_legs, hooks)
        return _report(plan, directory, inputs, planned, controls, command)


def report(root: Path, hooks: Hooks | None = None) -> Result:
    """Writes the report of a run directory again, from what it holds, finished or not.

    Neither the corpora's own files nor the base are needed. UserError when the run has not scored its base yet.
    """
    plan = RunDirectory(root).resolved()
    directory = RunDirectory.of(plan, root)
    inputs = read_inputs(plan, directory)
    planned = legs(plan, inputs.trainable_tokens)
    read_samples(inputs, directory, planned, (hooks or Hooks()).tell)
    controls = _controls(_control_plans(plan), directory, inputs)
    return _report(plan, directory, inputs, planned, controls, " ".join(sys.argv))


def _control_plans(plan: Plan) -> dict[str, Plan]:
    """The plan of each control that is a run of its own; UserError when one makes no sense for this plan."""
    plans = {word: control_plan(plan, word) for word in plan.controls}
    return {word: other for word, other in plans.items() if other is not None}


def _controls(plans: dict[str, Plan], directory: RunDirectory, inputs: Inputs) -> Controls:
    return [(word, directory.control(word), legs(other, inputs.trainable_tokens)) for word, other in plans.items()]


def _record_steps(directory: RunDirectory, planned: list[LegPlan], controls: Controls) -> None:
    """Notes the steps of every leg to come, so that a status need not plan them again."""
    steps = {word: {leg.name: leg.steps for leg in found} for word, _, found in [("", directory, planned), *controls]}
    before = directory.recorded("started")
    if before is None or before["steps"] != steps:
        directory.record("started", steps=steps)


def _run_control(
    plan: Plan,
    control: RunDirectory,
    main: RunDirectory,
    inputs: Inputs,
    planned: list[LegPlan],
    hooks: Hooks,
) -> None:
    """A control reads the same prepared inputs; only its stages differ, so the base row is the main run's.

    Samples are its own: they come from the model that its stage starts from.
    """
    control.claim(plan)
    control.tokenizer, control.base = main.tokenizer, main.base
    names = [name for name in inputs.stores if not name.startswith(SELF_CORPUS)]
    own = Inputs(
        plan,
        inputs.tokenizer,
        {name: inputs.stores[name] for name in names},
        {name: inputs.train_documents[name] for name in names},
        inputs.watch_documents,
        inputs.watched_hashes,
    )
    train_legs(own, control, planned, hooks)


def _measure_base(plan: Plan, directory: RunDirectory, inputs: Inputs, hooks: Hooks) -> None:
    """Scores the base and records what the run begins with, once.

    UserError when the base is no longer the one the run began with. It is loaded again only when its files changed, or
    lie on the hub.
    """
    folder = directory.base if isinstance(plan.base, Scratch) else Path(plan.base)
    before = directory.recorded(BASE)
    if before and before["files"] and before["files"] == _stamps(folder) and _base_is_scored(directory, inputs):
        return
    model = base_model(plan, inputs, directory)
    found = weights_hash(model)
    if before is not None and before["weights_sha256"] != found:
        raise UserError(
            f"the base of '{directory.root}' has changed: its weights are not those the run began with. Restore it, or "
            "give another output_dir"
        )
    record_inputs(inputs, directory)
    if before is None or before["files"] != _stamps(folder):
        directory.record(
            BASE,
            files=_stamps(folder),
            weights_sha256=found,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            flops_per_token=flops_per_token(model, plan.seq_len),
            width=int(getattr(model.config, "hidden_size", 256)),
        )
    score(model, inputs, directory.evaluations / BASE, hooks.tell_or_stop, found)


def _base_is_scored(directory: RunDirectory, inputs: Inputs) -> bool:
    return all((directory.evaluations / BASE / f"{corpus}.npz").is_file() for corpus in inputs.watch_documents)


def _stamps(folder: Path) -> list[list[Any]]:
    """Name, size and time of change of the files of a model folder; none when it is no folder."""
    if not folder.is_dir():
        return []
    kept = [file for file in sorted(folder.iterdir()) if file.suffix in (".safetensors", ".json")]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in kept]


def _measure_machine(plan: Plan, directory: RunDirectory) -> None:
    """Records this machine and its matmul rate, once, so that every report holds the run's speed against one limit."""
    precision = choose_precision(plan.precision)
    machine = {**describe(), "precision": str(precision).removeprefix("torch.")}
    before, base = directory.recorded("machine"), directory.recorded(BASE)
    assert base is not None  # recorded by _measure_base
    if before is None or before["machine"] != machine:
        rate = matmul_rate(micro_batch_tokens(plan), base["width"], precision)
        directory.record("machine", machine=machine, matmul_rate=rate)


def _report(
    plan: Plan,
    directory: RunDirectory,
    inputs: Inputs,
    planned: list[LegPlan],
    controls: Controls,
    command: str,
) -> Result:
    base, machine = directory.recorded(BASE), directory.recorded("machine")
    if base is None or machine is None or not _base_is_scored(directory, inputs):
        raise UserError(f"'{directory.root}' has not scored its base yet, so there is nothing to report: run its plan")
    facts = {
        "command": command,
        "base_sha256": base["weights_sha256"],
        **{name: base[name] for name in ("parameters", "flops_per_token")},
        **{name: machine[name] for name in ("machine", "matmul_rate")},
    }
    result = collect(plan, directory, inputs, planned, controls, facts)
    write(result, directory.root)
    return result
