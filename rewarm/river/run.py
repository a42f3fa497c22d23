"""The main job: plan in; stages, controls, matrix and report out. Running it again goes on where it stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rewarm.models.load import weights_hash
from rewarm.plan import Plan, Scratch
from rewarm.report.foretold import held_against
from rewarm.report.page import write
from rewarm.report.result import Result
from rewarm.river import beside, stale
from rewarm.river.controls import control_plans
from rewarm.river.directory import PLAN, RunDirectory
from rewarm.river.facts import ask, is_asked
from rewarm.river.inputs import Inputs, make_inputs, read_inputs, record_inputs
from rewarm.river.leg_rows import check_legs
from rewarm.river.legs import BASE, LegPlan, legs
from rewarm.river.outcome import collect
from rewarm.river.own_text import read_samples
from rewarm.river.pairs import has_judged, judge
from rewarm.river.pinning import pinned
from rewarm.river.replaying import SELF_CORPUS
from rewarm.river.scores import score, score_finished
from rewarm.river.starts import base_model
from rewarm.river.suite_sets import check_execution, check_suites, record_suites
from rewarm.river.suites import ask_suites, is_suite_asked
from rewarm.river.train import Hooks, train_legs
from rewarm.training.machine import (
    choose_precision,
    describe,
    flops_per_token,
    matmul_rate,
    micro_batch_tokens,
)
from rewarm.training.world import current
from rewarm.types import UserError

Controls = list[tuple[str, RunDirectory, list[LegPlan]]]


def run(plan: Plan, hooks: Hooks | None = None, command: str | None = None, pages: bool = True) -> Result:
    """Runs a plan, or goes on with it, and returns its result; report.html, .md and .json lie in its output_dir.

    Without `pages`, report.json alone. UserError when the plan or its input is wrong, Stopped when the hooks ask to
    stop, StorageError when a write fails.
    """
    check_execution(plan)
    hooks = hooks or Hooks()
    command = command or " ".join(sys.argv)
    directory = RunDirectory.of(plan)
    beside.check(plan, current())
    with directory.locked():
        plan = pinned(plan, directory)
        plans = control_plans(plan, directory)
        directory.claim(plan)
        check_suites(plan, directory)
        inputs = make_inputs(plan, directory, hooks.tell_or_stop)
        return carry_out(inputs, directory, plans, hooks, command, pages=pages)


def carry_out(
    inputs: Inputs,
    directory: RunDirectory,
    plans: Mapping[str, Plan],
    hooks: Hooks,
    command: str,
    add: Callable[[], None] | None = None,
    pages: bool = True,
) -> Result:
    """What is left of a run whose inputs are ready; `plans` are those of its controls.

    With `add`, the run had finished before its last stage: it records the stage once nothing is left that may be
    refused, models of earlier stages are scored on the text that came with it, and one whose folder is gone is not
    trained again.
    """
    plan = inputs.plan
    planned = legs(plan, inputs.trainable_tokens, directory.steps_made())
    controls = _controls(plans, directory, inputs)
    for run in [directory, *(run for _, run, _ in controls)]:
        run.clear_partials()
    for run, own in [(directory, planned), *((run, own) for _, run, own in controls)]:
        check_legs(inputs, run, own)
    every = [(plan, directory, planned), *((plans[word], run, own) for word, run, own in controls)]
    stale.find_all(inputs, every, hooks.tell_or_stop)
    added = add is not None
    if add is not None:
        add()
    _measure_base(plan, directory, inputs, hooks)
    _measure_machine(plan, directory)
    _record_steps(directory, planned, controls)
    if added:
        for run, own in [(directory, planned), *((run, own) for word, run, own in controls if word == "joint")]:
            score_finished(inputs, run, [leg.name for leg in own], hooks.tell_or_stop)
    train_legs(inputs, directory, planned, hooks, added)
    read_samples(inputs, directory, planned, hooks.tell)
    if controls:
        write(_result(plan, directory, inputs, planned, controls, command), directory.root, pages)
    for word, control, control_legs in controls:
        train_legs(of_control(plans[word], control, directory, inputs), control, control_legs, hooks, added)
    result = _result(plan, directory, inputs, planned, controls, command)
    write(result, directory.root, pages)
    return result


def report(root: Path, hooks: Hooks | None = None) -> Result:
    """Writes the report of a run directory again, from what it holds, finished or not.

    Neither the corpora's own files nor the base are needed. UserError when the run has not scored its base yet.
    """
    result = collected(root, hooks)
    write(result, root)
    return result


def collected(root: Path, hooks: Hooks | None = None) -> Result:
    """The result of a run directory, made again from what it holds; no report is written. UserError as `report`."""
    plan = RunDirectory(root).resolved()
    directory = RunDirectory.of(plan, root)
    inputs = read_inputs(plan, directory)
    planned = legs(plan, inputs.trainable_tokens, directory.steps_made())
    read_samples(inputs, directory, planned, (hooks or Hooks()).tell)
    controls = _controls(control_plans(plan, directory), directory, inputs)
    return _result(plan, directory, inputs, planned, controls, " ".join(sys.argv))


def _controls(plans: Mapping[str, Plan], directory: RunDirectory, inputs: Inputs) -> Controls:
    runs = {word: directory.control(word) for word in plans}
    return [
        (word, runs[word], legs(other, inputs.trainable_tokens, runs[word].steps_made()))
        for word, other in plans.items()
    ]


def _record_steps(directory: RunDirectory, planned: list[LegPlan], controls: Controls) -> None:
    """Notes the steps of every leg to come, so that a status need not plan them again."""
    steps = {word: {leg.name: leg.steps for leg in found} for word, _, found in [("", directory, planned), *controls]}
    before = directory.recorded("started")
    if before is None or before["steps"] != steps:
        directory.record("started", steps=steps)


def of_control(plan: Plan, control: RunDirectory, main: RunDirectory, inputs: Inputs) -> Inputs:
    """A control reads the same prepared inputs; only its stages differ, so the base row is the main run's.

    Samples are its own: they come from the model that its stage starts from.
    """
    # No claim: the plan of a control follows from that of the run, which was claimed, and grows with it.
    control.write_json(PLAN, plan.resolved())
    control.tokenizer, control.base = main.tokenizer, main.base
    names = [name for name in inputs.stores if not name.startswith(SELF_CORPUS)]
    return Inputs(
        plan,
        inputs.tokenizer,
        {name: inputs.stores[name] for name in names},
        {name: inputs.train_documents[name] for name in names},
        inputs.watch_documents,
        inputs.watch_pairs,
        inputs.watched_hashes,
        probes=inputs.probes,
    )


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
    record_suites(plan, directory)
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
    ask(model, inputs, directory, BASE, hooks.tell_or_stop, found)
    judge(model, inputs, directory, BASE, hooks.tell_or_stop)
    ask_suites(model, inputs, directory, BASE, hooks.tell_or_stop, found)


def _base_is_scored(directory: RunDirectory, inputs: Inputs) -> bool:
    watched = all((directory.evaluations / BASE / f"{corpus}.npz").is_file() for corpus in inputs.watch_documents)
    asked = is_asked(directory, BASE, inputs.probes) and is_suite_asked(directory, BASE, inputs.plan.suites)
    return watched and asked and has_judged(directory, BASE, inputs.watch_pairs)


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


def _result(
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
    return held_against(collect(plan, directory, inputs, planned, controls, facts))
