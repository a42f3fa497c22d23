"""One more stage for a run that has finished: next month's text, learned as the last stage learned its own.

The plan in the run directory grows by the stage, the matrix by a row and by a column. What was trained or scored before
is neither trained nor scored again, and of earlier corpora only the prepared tokens are needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rewarm.plan import Plan, from_values
from rewarm.report.result import Result
from rewarm.river.controls import control_plans
from rewarm.river.directory import ADDED, PLAN, RunDirectory, changes
from rewarm.river.inputs import Inputs, add_inputs, record_inputs, stores_begun_with
from rewarm.river.legs import LegPlan, goes_on, legs
from rewarm.river.run import carry_out
from rewarm.river.status import is_reported, leg_names
from rewarm.river.suite_sets import check_execution, check_suites
from rewarm.river.train import Hooks
from rewarm.stream import grown, without_last_stage
from rewarm.training.checkpoint import steps_saved
from rewarm.types import UserError


@dataclass(frozen=True, slots=True)
class Addition:
    """What is added: a corpus (a path or pattern), the stage's name if not by the path, probes, and changed values.

    `changes` are values of the last stage by dotted key, or of its corpus after `corpus.` (`rewarm.stream.grown`).
    """

    corpus: str
    name: str | None = None
    probes: str | None = None
    changes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Update:
    """An addition to one run: the run's plan with the stage, those of its controls, and whether it was begun before."""

    plan: Plan
    run: RunDirectory
    controls: Mapping[str, Plan]
    begun: bool

    @property
    def stage(self) -> str:
        """The name of the new stage."""
        return self.plan.stages[-1].name


def update(root: Path, addition: Addition) -> Update:
    """What an addition to a run would be. Nothing is written.

    UserError when the run has not finished, has learned this text, or the plan would be wrong.
    """
    plan = RunDirectory(root).resolved()
    run = RunDirectory.of(plan, root)
    stores_begun_with(run)
    values = plan.resolved()
    if plan.directory.absolute() != root.absolute():
        values["output_dir"] = str(root)
    learned = _learned_by(plan, addition.corpus)
    added = run.recorded(ADDED)
    own = added is not None and learned == added["stage"] == plan.stages[-1].name
    left = _unfinished(plan, run)
    if left and not own:
        how = added["command"] if added else f"rewarm run {root / PLAN}"
        raise UserError(f"'{root}' has not finished ({', '.join(left)}). Finish it first: {how}")
    if learned is not None and not (left and own):
        raise UserError(
            f"'{addition.corpus}' is what stage '{learned}' of '{root}' learned: nothing is added twice. Give new text"
        )
    before = without_last_stage(values) if own else values
    new = from_values(grown(before, addition.corpus, addition.name, addition.changes, addition.probes))
    if own and (other := sorted(changes(values, new.resolved()))):
        raise UserError(
            f"stage '{learned}' was added otherwise and is not finished; changed: {'; '.join(other[:6])}. Go on with: "
            f"{added['command'] if added else ''}"
        )
    _refuse_other_documents(from_values(before), new)
    return Update(new, run, control_plans(new, run), own)


def add_stage(root: Path, addition: Addition, hooks: Hooks | None = None, command: str = "rewarm add-stage") -> Result:
    """Adds a stage to a finished run, or goes on with it where it was stopped; the whole run's result.

    UserError before anything is recorded when the addition cannot be made; Stopped and StorageError as from a run.
    """
    hooks = hooks or Hooks()
    RunDirectory(root).resolved()  # a lock would make the folder
    with RunDirectory(root).locked():
        found = update(root, addition)
        plan, run = found.plan, found.run
        check_execution(plan)
        check_suites(plan, run)
        inputs = add_inputs(plan, run, hooks.tell_or_stop)
        _refuse_same_text(inputs, plan)
        for own, where in [(plan, run), *((other, run.control(word)) for word, other in found.controls.items())]:
            _refuse_lost_state(where, legs(own, inputs.trainable_tokens, where.steps_made()))
        return carry_out(inputs, run, found.controls, hooks, command, lambda: _record(found, inputs, command))


def _record(found: Update, inputs: Inputs, command: str) -> None:
    """Records an addition, once. The plan comes last: until it holds the stage, nothing has been added, and the same
    command adds it whole."""
    if found.begun:
        return
    plan, run = found.plan, found.run
    run.record(ADDED, stage=found.stage, corpus=plan.corpora[found.stage].described(), command=command)
    record_inputs(inputs, run)
    run.write_json(PLAN, plan.resolved())


def _learned_by(plan: Plan, path: str) -> str | None:
    """The stage whose corpus is read from this path, if one is."""
    for stage in plan.stages:
        for portion in stage.data:
            given = plan.corpora[portion.corpus].described().get("path")
            paths = [given] if isinstance(given, str) else given or []
            if [_whole(one) for one in paths] == [_whole(path)]:
                return stage.name
    return None


def _whole(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _unfinished(plan: Plan, run: RunDirectory) -> list[str]:
    """The legs, of the run and of its controls, that have not finished, or that the last report does not tell of."""
    runs = [("", plan, run), *((word, own, run.control(word)) for word, own in control_plans(plan, run).items())]
    left = [
        f"{word} {name}".strip()
        for word, own, directory in runs
        for name in leg_names(own)
        if name not in directory.finished()
    ]
    return left or ([] if is_reported(run, plan) else ["its report"])


def _refuse_other_documents(before: Plan, after: Plan) -> None:
    """UserError where the new stage would train on a corpus that was watched whole: all its documents were scored."""
    for watch in before.watch:
        if after.trained(watch.corpus) and not before.trained(watch.corpus):
            raise UserError(
                f"corpus '{watch.corpus}' was watched whole, since no stage read it; the new stage does. Its scores so "
                "far would be of documents that are trained on: leave it out, or start another run"
            )


def _refuse_lost_state(run: RunDirectory, planned: Sequence[LegPlan]) -> None:
    """UserError where a leg to come takes over optimizer state that the finished run did not keep."""
    finished = run.finished()
    for leg in (leg for leg in planned if leg.name not in finished and leg.policy != "reset"):
        before = goes_on(planned, leg)
        if before is not None and before.name in finished and not steps_saved(run.training(before.name)):
            raise UserError(
                f"stage '{leg.stage}' has optimizer_state '{leg.policy}', and the state that {before.name} of "
                f"'{run.root}' ended with is not kept (that of a stage with a date is). Add the stage with "
                "--set optimizer_state=reset"
            )


def _refuse_same_text(inputs: Inputs, plan: Plan) -> None:
    """UserError when the new text is an earlier one under another name."""
    for portion in plan.stages[-1].data:
        own = inputs.stores[portion.corpus].hash
        for stage in plan.stages[:-1]:
            for other in stage.data:
                if other.corpus != portion.corpus and inputs.stores[other.corpus].hash == own:
                    raise UserError(
                        f"'{portion.corpus}' holds the very text that stage '{stage.name}' learned ('{other.corpus}'): "
                        "nothing is added twice"
                    )
