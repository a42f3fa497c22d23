"""The little of a run that a site shows; a run that cannot be read says why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rewarm.report import wording
from rewarm.report.gate import check
from rewarm.report.result import Result, Row
from rewarm.report.site_parts import Gate, Model, Role, RunFacts, Score, State, TextKey, Watched
from rewarm.river.directory import PLAN, RunDirectory
from rewarm.river.site_find import REPORT, Found
from rewarm.river.status import is_held
from rewarm.types import UserError

MOST_BYTES = 1 << 28
"""A report of a hundred months has some megabytes."""
LINE_POINTS = 60
UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading or drawing somebody else's report may end with; the run is then listed with it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What every run of a site is held to, as `rewarm gate` does; None for no such limit."""

    max_forget: float | None = None
    min_gain: float | None = None
    strict: bool = False

    def words(self) -> str:
        """The limits in a sentence's words; empty without any."""
        forget, gain = self.max_forget, self.min_gain
        said = [f"at most {100 * forget:g}% forgotten on any old text"] if forget is not None else []
        said += [f"at least {100 * gain:g}% gained on every new one"] if gain is not None else []
        return ", ".join([*said, *(["judged by the harder bound"] if said and self.strict else [])])


def read_run(found: Found, limits: Limits) -> tuple[RunFacts, Result | None]:
    """What the site shows of a run, and its result; none with a fault in it for a run that has none or a broken one."""
    try:
        read = _result(found.folder / REPORT) if (found.folder / REPORT).is_file() else None
        state, about, days = _state(found.folder, read[0] if read else None)
        if read is not None:
            return _facts(found, read, limits, (state, about), days), read[0]
    except UNREADABLE as error:
        return _broken(found, _said(error)), None
    fault = f"it has no report yet; rewarm report {found.folder} writes one once its base is scored"
    return RunFacts(found.slug, found.name, found.folder, state, about, fault, base=_base_of(found.folder)), None


def _broken(found: Found, reason: str) -> RunFacts:
    return RunFacts(found.slug, found.name, found.folder, "unreadable", "it cannot be read", reason)


def broken(facts: RunFacts, error: BaseException) -> RunFacts:
    """The same run as one whose page could not be made."""
    return _broken(Found(facts.folder, facts.name, facts.slug), f"its page could not be made: {_said(error)}")


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{text[:300]}{'…' if len(text) > 300 else ''}" or type(error).__name__


def _result(file: Path) -> tuple[Result, str]:
    """The result in a report.json and the file's SHA-256; UserError, with the version that wrote it, otherwise."""
    with file.open("rb") as opened:
        text = opened.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise UserError(f"its {REPORT} has more than {MOST_BYTES:,} bytes")
    try:
        result = Result.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"its {REPORT} {_writer(text)} is not as this version reads it: {_first(error)}") from None
    if not result.rows:
        raise UserError(f"its {REPORT} has no model in it, not even the base")
    return result, hashlib.sha256(text).hexdigest()


def _writer(text: bytes) -> str:
    """Which version a report says it was written by."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return "is no JSON, and"
    known = isinstance(values, dict)
    version, format_ = (values.get("rewarm"), values.get("version")) if known else (None, None)
    return f"of rewarm {version!s:.20}, format {format_!s:.20}," if version is not None else "of no known version"


def _first(error: ValidationError) -> str:
    first, *more = error.errors(include_url=False, include_input=False)
    place = ".".join(map(str, first["loc"][:6]))
    return f"{place + ': ' if place else ''}{first['msg']}{f' ({len(more)} faults more)' if more else ''}"


def _state(folder: Path, result: Result | None) -> tuple[State, str, dict[str, str]]:
    """How far a run is, in a word and a sentence, and the day each of its legs was finished."""
    run = RunDirectory(folder)
    events = run.ledger()
    days = {entry["leg"]: str(entry["at"])[:10] for entry in events if entry["event"] == "leg finished"}
    if is_held(folder / ".lock"):
        return "running", "a process works on it", days
    if result is not None and result.complete and _stages(folder) in (None, len(result.plan.get("stages") or ())):
        return "finished", "every leg and control is done", days
    last = events[-1] if events else None
    if last is not None and last["event"] == "stopped":
        return "stopped", f"stopped at step {last.get('step')} of {last.get('leg')}; the same command goes on", days
    if last is None:
        return "stopped", "it has recorded nothing", days
    return "failed", f"it ended without recording a stop; its last record is '{last['event']}'", days


def _stages(folder: Path) -> int | None:
    """How many stages the run's plan has by now; None where no plan is kept. A stage may be added after a report."""
    file = folder / PLAN
    return len(json.loads(file.read_text(encoding="utf-8"))["stages"]) if file.is_file() else None


def _base_of(folder: Path) -> str:
    try:
        values = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return str(values["base"]) if isinstance(values["base"], str) else "from scratch"
    except UNREADABLE:
        return ""


def _facts(
    found: Found, read: tuple[Result, str], limits: Limits, state: tuple[State, str], days: Mapping[str, str]
) -> RunFacts:
    result, digest = read
    final = result.final()
    models = _models(result, days)
    return RunFacts(
        slug=found.slug,
        name=found.name,
        folder=found.folder,
        state=state[0],
        about=state[1],
        digest=digest,
        rewarm=result.rewarm,
        created=result.created,
        base=result.base,
        base_weights=result.hashes.get("weights base", ""),
        stages=[row.stage or row.name for row in result.rows if row.kind == "stage"],
        planned=len(result.plan.get("stages") or ()),
        tokens=final.tokens,
        old=wording.mean_change(result, final, "old"),
        new=wording.mean_change(result, final, "new"),
        gate=_gate(result, limits),
        watched=_watched(result),
        models=models,
        lines={role: _line(result, role) for role in _ROLES},
    )


_ROLES: tuple[Role, Role] = ("old", "new")


def _gate(result: Result, limits: Limits) -> Gate | None:
    if limits.max_forget is None and limits.min_gain is None:
        return None
    try:
        outcome = check(result, limits.max_forget, limits.min_gain, limits.strict)
    except UserError as error:
        return Gate(None, [str(error)])
    return Gate(outcome.passed, outcome.sentences)


def _watched(result: Result) -> list[Watched]:
    digests = {facts.name: facts.hash for facts in result.corpora}
    cells = result.rows[0].cells
    seq_len = int(result.plan.get("seq_len") or 0)
    return [
        Watched(
            column.name,
            column.role,
            TextKey(
                result.hashes.get(f"corpus {column.name}", digests.get(column.name, "")),
                cells[column.name].documents,
                cells[column.name].bytes,
                column.measure,
                seq_len,
            ),
        )
        for column in wording.columns(result)
        if column.name in cells
    ]


def _models(result: Result, days: Mapping[str, str]) -> list[Model]:
    """The base and the models on the way to the one the run hands over, as far as it came."""
    stages = {stage.get("name"): stage for stage in result.plan.get("stages") or ()}
    final = result.final()
    own = {row.stage: row for row in result.rows if row.kind == "stage"}
    path = [own[name] for name in _path(list(own), stages)]
    rows = [result.rows[0], *path, *([final] if final.kind == "release" else [])]
    dates = {name: stage.get("date") for name, stage in stages.items()}
    return [_model(result, row, dates, days) for row in rows]


def _path(done: Sequence[str | None], stages: Mapping[Any, Mapping[str, Any]]) -> list[str | None]:
    """The stages from the base to the last one that is done: each starts after the one before it, unless it says."""
    path = list(done[-1:])
    while path and path[0] in done:
        start = stages.get(path[0], {}).get("from")
        place = done.index(path[0])
        before = done[place - 1] if start is None and place else start
        if before is None or before not in done or before in path:
            break
        path.insert(0, before)
    return path


def _model(result: Result, row: Row, named: Mapping[str | None, Any], days: Mapping[str, str]) -> Model:
    scores = {}
    for column in result.columns:
        change = wording.change(result, row, column.name)
        if change is not None:
            cell = row.cells[column.name]
            scores[column.name] = Score(cell.loss, change, cell.verdict)
    date = "" if row.kind == "base" else str(named.get(row.stage) or days.get(row.name, ""))
    return Model(row.name, result.hashes.get(f"weights {row.name}", ""), date, row.tokens, scores)


def _line(result: Result, role: Role) -> list[tuple[int, float]]:
    """Mean change of loss on the texts of a role while the run trained, thinned; from the stages' ends without probes
    of all of these texts."""
    base = result.rows[0].cells
    names = [column.name for column in result.columns if column.role == role and column.name in base]
    names = [name for name in names if base[name].loss > 0]
    if not names:
        return []
    points = [
        (probe.tokens, sum(probe.losses[name] / base[name].loss - 1 for name in names) / len(names))
        for probe in result.probes
        if probe.run == "" and all(name in probe.losses for name in names)
    ]
    ends = [(row.tokens, wording.mean_change(result, row, role)) for row in wording.own_rows(result)]
    points = points or [(tokens, change.point) for tokens, change in ends[1:] if change is not None]
    thin = points[:: max(1, -(-len(points) // LINE_POINTS))]
    return [(0, 0.0), *sorted({*thin, *points[-1:]})] if points else []
