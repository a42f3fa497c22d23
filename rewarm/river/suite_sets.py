"""The suites of a plan before any model is asked: their files, their bad rows, and that they ask what they asked."""

from __future__ import annotations

from collections.abc import Iterator

from rewarm.plan import Plan
from rewarm.river.directory import RunDirectory
from rewarm.sandbox import permission
from rewarm.suites import Suite
from rewarm.types import UserError

BEGUN = "suites"
"""The ledger's event that says what a run asks its models."""


def suites_of(plan: Plan) -> dict[str, Suite]:
    """The suites of a plan by name."""
    return dict(_suites(plan))


def _suites(plan: Plan) -> Iterator[tuple[str, Suite]]:
    for name, suite in plan.suites.items():
        assert isinstance(suite, Suite)  # the plan built it from the suites folder
        yield name, suite


def missing_suites(plan: Plan) -> list[str]:
    """A sentence for each suite whose files are not there."""
    problems = []
    for name, suite in _suites(plan):
        try:
            suite.files()
        except UserError as error:
            problems.append(f"suites.{name}: {error}")
    return problems


def check_execution(plan: Plan) -> None:
    """UserError, before any work, when a suite runs programs and the user has not said that they may be run."""
    for name, suite in _suites(plan):
        if suite.executes:
            permission.require(f"suites.{name}")


def check_suites(plan: Plan, run: RunDirectory) -> None:
    """UserError, before any work, when a suite cannot be asked, or asks something else than when the run began: what
    earlier models answered could not be held against what later ones do."""
    if problems := missing_suites(plan):
        raise UserError("\n".join(problems))
    causal = [name for name, suite in _suites(plan) if suite.asks_causal_models]
    if causal and plan.head != "causal":
        raise UserError(
            f"suites {', '.join(causal)} ask causal language models what follows a text, and this plan trains a "
            f"{plan.head} one: leave them out of it"
        )
    for name, suite in _suites(plan):
        suite.check(name, plan.bad_rows)
    begun = run.recorded(BEGUN)
    known = {} if begun is None else begun["suites"]
    found = {name: suite.fingerprint() for name, suite in _suites(plan) if name in known}
    if changed := [f"suites.{name}" for name in found if found[name] != known[name]["hash"]]:
        raise UserError(
            f"{', '.join(changed)}: what is asked is not what '{run.root}' began with, so the answers of earlier "
            "models would not belong to those of later ones. Restore the files, or give another output_dir"
        )


def record_suites(plan: Plan, run: RunDirectory) -> None:
    """Notes what each suite asks, where the ledger does not say so yet."""
    begun = run.recorded(BEGUN)
    known = {} if begun is None else begun["suites"]
    came = {name: suite for name, suite in _suites(plan) if name not in known}
    if came:
        run.record(BEGUN, suites={**known, **{name: {"hash": suite.fingerprint()} for name, suite in came.items()}})
