"""What the run's models answer to its suites, kept per item so that any summary can be made again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedModel

from rewarm.evaluation.kept import scoring_key
from rewarm.plan import Plan
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.starts import base_model
from rewarm.river.suite_sets import suites_of
from rewarm.storage import stored, write_json
from rewarm.suites import Answers, Asked, Suite
from rewarm.training.machine import choose_precision
from rewarm.types import Tell, silent

SCORING_VERSION = 1
"""To be raised whenever the same model would get other answers."""


def ask_suites(
    model: PreTrainedModel, inputs: Inputs, run: RunDirectory, name: str, tell: Tell = silent, weights: str = ""
) -> None:
    """Asks a model of the run, called `name`, every suite that it has not been asked.

    `weights` is the hash of its weights: what another run over the same prepared tokens found for them is taken over,
    and what is computed is kept for the next. StorageError when the disk refuses the answers.
    """
    asked = None
    for called, suite in suites_of(inputs.plan).items():
        if not is_suite_asked(run, name, [called]):
            asked = asked or _asked(model, inputs, run, f"ask {name}", tell)
            kept = run.prepared / "scores" / f"suite-{_key(suite, asked, inputs.plan, weights)}.json"
            answers = _read(kept) if weights else None
            if answers is None:
                answers = suite.answer(_of(asked, called))
                if weights:
                    _write(answers, kept)
            _write(answers, _file(run, name, called))


def ask_suites_of_another(
    model: PreTrainedModel, inputs: Inputs, run: RunDirectory, tell: Tell = silent
) -> dict[str, Answers]:
    """The answers of a model that is none of the run's, to every suite; nothing is stored."""
    asked = _asked(model, inputs, run, "ask the model", tell)
    return {name: suite.answer(_of(asked, name)) for name, suite in suites_of(inputs.plan).items()}


def suite_answers(run: RunDirectory, name: str, suites: Iterable[str]) -> dict[str, Answers]:
    """The answers on disk of the model `name`, to the suites that it has been asked."""
    found = {called: _read(_file(run, name, called)) for called in suites}
    return {called: answers for called, answers in found.items() if answers is not None}


def is_suite_asked(run: RunDirectory, name: str, suites: Iterable[str]) -> bool:
    """Whether the model `name` has been asked all these suites."""
    return all(_file(run, name, called).is_file() for called in suites)


def suite_tokens(plan: Plan, bytes_per_token: float) -> float:
    """About how many tokens a model reads to be asked every suite once."""
    return sum(suite.cost(bytes_per_token) for suite in suites_of(plan).values())


def _asked(model: PreTrainedModel, inputs: Inputs, run: RunDirectory, label: str, tell: Tell) -> Asked:
    plan = inputs.plan
    return Asked(
        model=model,
        tokenizer=inputs.tokenizer,
        base=lambda: base_model(plan, inputs, run),
        seq_len=plan.seq_len,
        seed=plan.seed,
        precision=choose_precision(plan.precision),
        tell=lambda what, done, total, unit: tell(f"{label} {what}", done, total, unit),
    )


def _of(asked: Asked, suite: str) -> Asked:
    told = asked.tell
    return Asked(
        asked.model, asked.tokenizer, asked.base, asked.seq_len, asked.seed, asked.precision,
        lambda what, done, total, unit: told(f"{suite}: {what}", done, total, unit),
    )  # fmt: skip


def _key(suite: Suite, asked: Asked, plan: Plan, weights: str) -> str:
    """Names everything the answers depend on; the base, because a suite may hold the model against it."""
    base = plan.resolved()["base"]
    what = [suite.method_name(), suite.fingerprint(), asked.tokenizer.hash, asked.seq_len, asked.seed, base]
    return scoring_key(SCORING_VERSION, asked.model, weights, [*what, str(asked.precision), plan.revision])


def _file(run: RunDirectory, name: str, suite: str) -> Path:
    return run.evaluations / name / "suites" / f"{suite}.json"


def _read(file: Path) -> Answers | None:
    """The answers a file holds; None when there is none, or it is damaged, so that the model is asked again."""
    try:
        return Answers.from_json(json.loads(file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(answers: Answers, file: Path) -> None:
    with stored(f"'{file}'"):
        write_json(file, answers.as_json())
