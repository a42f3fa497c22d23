"""How far a run is, from its files alone: no model library is loaded, and a running run is not disturbed."""

from __future__ import annotations

import dataclasses
import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rewarm.corpora import Corpus
from rewarm.plan import Plan
from rewarm.river.directory import BEGUN, RunDirectory
from rewarm.tokens.prepare import store_folder
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.training import journal
from rewarm.types import UserError

State = Literal["done", "running", "stopped", "waiting"]


@dataclass(frozen=True, slots=True)
class LegStatus:
    """One leg of a run ("" is the main one) or of a control.

    `step` of `steps` are made (`steps` is None before the run has planned its legs), `saved` is the newest checkpoint's
    step: where a stopped leg goes on. `loss` in nats per token is the last one logged; `scores` in nats per byte are
    the last ones on the watch-list.
    """

    run: str
    name: str
    state: State
    step: int
    steps: int | None
    saved: int | None
    loss: float | None
    tokens_per_second: float | None
    seconds_left: float | None
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Status:
    """A run as a whole: `done`, `running`, `stopped` (nobody works on it), and why in a sentence.

    `seconds_left` is training time at the last measured rate, None where no rate is known or nothing is left.
    """

    state: Literal["done", "running", "stopped"]
    sentence: str
    seconds_left: float | None
    base_scores: dict[str, float]
    legs: list[LegStatus]

    def described(self) -> dict[str, Any]:
        """The status as plain values."""
        return dataclasses.asdict(self)


def status(root: Path) -> Status:
    """The status of a run directory; UserError when it is none."""
    run = RunDirectory(root)
    plan = run.resolved()
    running = is_held(root / ".lock")
    started = run.recorded("started") or {"steps": {}}
    if "pilots" in started:
        raise UserError(_holds_pilots(root, started["pilots"]))
    steps: dict[str, dict[str, int]] = started["steps"]
    runs = [("", plan, run)]
    for word in plan.controls:
        control = run.control(word)
        if (control.root / "plan.resolved.json").is_file():
            runs.append((word, control.resolved(), control))
    legs = [
        _leg(directory, word, name, steps.get(word, {}).get(name), running)
        for word, own, directory in runs
        for name in steps.get(word) or leg_names(own)
    ]
    begun = {word for word, _, _ in runs}
    legs += [_waiting(word, name, count) for word in steps if word not in begun for name, count in steps[word].items()]
    legs = _timed(legs, plan.batch_tokens)
    state, sentence = _summary(run, plan, legs, running)
    lefts = [leg.seconds_left for leg in legs if leg.seconds_left is not None]
    left = sum(lefts) if lefts else None
    return Status(state, sentence, left, _scores(run.evaluations / "base"), legs)


def _holds_pilots(root: Path, planned: int) -> str:
    """What to look at where a folder is that of a planning, which is no run."""
    begun = len(list((root / "pilots").glob("*/plan.resolved.json")))
    whole = f"what was found is in '{root / 'planning.json'}'"
    goes_on = whole if (root / "planning.json").is_file() else "the same rewarm plan goes on"
    return (
        f"'{root}' holds pilots of rewarm plan, and is no run itself: {begun} begun of {planned}, and {goes_on}. "
        f"Each is a run of its own: rewarm status {root / 'pilots'}/NAME"
    )


def is_held(lock: Path) -> bool:
    """Whether a process works in the directory. Asking holds the lock for a moment, which runs wait for."""
    if not lock.is_file():
        return False
    with lock.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _summary(
    run: RunDirectory, plan: Plan, legs: list[LegStatus], running: bool
) -> tuple[Literal["done", "running", "stopped"], str]:
    done = sum(leg.state == "done" for leg in legs)
    begun = run.recorded("started") is not None
    count = f"{done} of {len(legs)} legs are done" if begun else _before_the_first_leg(run, plan)
    if running:
        return "running", count
    if begun and done == len(legs) and is_reported(run, plan):
        return "done", f"{count}; the report is {run.root / 'report.html'}"
    return "stopped", f"{count}; {'the command that started it' if begun else 'rewarm run with its plan'} goes on"


def _before_the_first_leg(run: RunDirectory, plan: Plan) -> str:
    """What of a run is ready that has not planned its legs."""
    if run.recorded(BEGUN) is not None:
        return "the text is prepared, the base is to be scored"
    if not (run.tokenizer / "tokenizer.json").is_file():
        return "no text is prepared"
    tokenizer = TextTokenizer(run.tokenizer)
    prepared = RunDirectory.of(plan, run.root).prepared
    names = plan.used_corpora()
    count = sum(_is_prepared(plan, name, tokenizer, prepared) for name in names)
    return f"{count} of {len(names)} corpora are prepared, no leg has begun"


def _is_prepared(plan: Plan, name: str, tokenizer: TextTokenizer, prepared: Path) -> bool:
    corpus = plan.corpora[name]
    assert isinstance(corpus, Corpus)  # the plan built it from the corpora folder
    try:
        return (store_folder(name, corpus, tokenizer, prepared) / "manifest.json").is_file()
    except UserError:
        return False  # its files are gone


def is_reported(run: RunDirectory, plan: Plan) -> bool:
    """Whether the last report is of the whole run; one is written before the controls, too, and before a stage came."""
    file = run.root / "report.json"
    if not file.is_file():
        return False
    result = json.loads(file.read_text(encoding="utf-8"))
    return bool(result["complete"]) and len(result["plan"]["stages"]) == len(plan.stages)


def leg_names(plan: Plan) -> list[str]:
    """The legs of a plan as `river.legs` names them, for a run that has not got as far as planning them."""
    names: list[str] = []
    for number, stage in enumerate(plan.stages, start=1):
        names.append(f"stage-{number}-{stage.name}")
        names += [f"stage-{number}-{stage.name}-release"] if stage.release is not None else []
    return names


def _waiting(word: str, name: str, steps: int | None) -> LegStatus:
    return LegStatus(word, name, "waiting", 0, steps, None, None, None, None, {})


def _leg(run: RunDirectory, word: str, name: str, steps: int | None, running: bool) -> LegStatus:
    folder = run.training(name)
    finished = run.finished().get(name)
    entries = journal.read(folder / "journal.jsonl")
    if finished is None and not entries:
        return _waiting(word, name, steps)
    last = entries[-1] if entries else None
    probes = journal.read(folder / "scores.jsonl")
    return LegStatus(
        run=word,
        name=name,
        state="done" if finished else "running" if running else "stopped",
        step=int(finished["steps"]) if finished else int(last["step"]) if last else 0,
        steps=int(finished["steps"]) if finished else steps,
        saved=None if finished else _saved(folder),
        loss=last["loss"] if last else None,
        tokens_per_second=_rate(entries),
        seconds_left=None,
        scores=_scores(run.evaluations / name) or (probes[-1]["losses"] if probes else {}),
    )


def _rate(entries: list[dict[str, Any]]) -> float | None:
    """Tokens per second over the last logged intervals; single ones vary with what else the machine does."""
    recent = [entry for entry in entries[-10:] if entry["tokens_per_second"]]
    if not recent:
        return None
    seconds_a_token = [1 / float(entry["tokens_per_second"]) for entry in recent]
    return len(recent) / sum(seconds_a_token)


def _timed(legs: list[LegStatus], batch_tokens: int) -> list[LegStatus]:
    """Legs with the training time they have left, at their own rate or at the last one any leg had."""
    known = [leg.tokens_per_second for leg in legs if leg.tokens_per_second is not None]
    found = []
    for leg in legs:
        rate = leg.tokens_per_second or (known[-1] if known else None)
        if leg.state != "done" and rate is not None and leg.steps is not None:
            left = (leg.steps - leg.step) * batch_tokens / rate
            found.append(dataclasses.replace(leg, seconds_left=left))
        else:
            found.append(leg)
    return found


def _saved(folder: Path) -> int | None:
    """The step of the newest complete checkpoint; its marker is the last file written."""
    markers = folder.glob("checkpoint-*/complete.json")
    return max((int(file.parent.name.removeprefix("checkpoint-")) for file in markers), default=None)


def _scores(folder: Path) -> dict[str, float]:
    """Nats per byte of each corpus that a model has been scored on."""
    found: dict[str, float] = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as held:
            found[file.stem] = float(held["nats"].sum()) / int(held["bytes"].sum())
    return found
