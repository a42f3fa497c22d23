"""Scores of probes on disk -> what a result says of facts: each model on each set, and FUAR along its path.

Shapes: N probes, C subjects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rewarm.evaluation.contamination import LEARNABLE, contamination, known
from rewarm.evaluation.fact_scores import FactScores, pooled
from rewarm.evaluation.fact_summary import Change, changes, clusters, figures
from rewarm.evaluation.fuar import Fuar, Gap, fuar, gap, phase_fuar
from rewarm.evaluation.intervals import ratio_interval
from rewarm.plan import Plan
from rewarm.probes import KINDS
from rewarm.report.fact_parts import FactCell, FactMeasure, FactRatio, FactRow, Facts, FactSet, FactShare, FactTotal
from rewarm.report.part import RowKind
from rewarm.river.directory import BEGUN, RunDirectory
from rewarm.river.facts import answered
from rewarm.river.inputs import probes_begun_with
from rewarm.river.legs import BASE, LegPlan
from rewarm.river.replaying import path_before

SHOWN = ("nats_per_byte", "rank_1", "exact", "prefers_new", "stale", "chosen", "old_nats_per_byte")
RATIO_METRICS = ("exact", "rank_1")
"""FUAR by what a model writes, as published, and by rank, for models too small to write an answer."""
TAIL = 0.025
"""What either bound of a 95 % interval leaves out."""
Mask = NDArray[np.bool_]
Scores = Mapping[str, FactScores]
Controls = Sequence[tuple[str, RunDirectory, Sequence[LegPlan]]]


@dataclass(frozen=True, slots=True)
class _Model:
    """A model with its scores by set, and the names of the stages from the base to it."""

    name: str
    row: RowKind
    path: tuple[str, ...]
    scores: Scores


@dataclass(frozen=True, slots=True)
class Stream:
    """The base's scores by set, and the stage that each set belongs to (None: the stages as a whole)."""

    base: Scores
    stage_of: Mapping[str, str | None]

    def reached(self, path: Sequence[str]) -> list[str]:
        """The sets whose new answers have been seen at the end of a path of stages."""
        return [name for name in self.base if self.stage_of[name] in (None, *path)]

    def still(self, name: str, path: Sequence[str]) -> Mask:
        """Which facts of a set no later stage of the path has changed again, by what the sets of those stages say.

        A fact is found again by the names of its subject and its relation.
        """
        scores, stage = self.base[name], self.stage_of[name]
        later = path[path.index(stage) + 1 :] if stage is not None and stage in path else ()
        gone: set[tuple[str, str]] = set()
        for other in (self.base[other] for other in self.base if self.stage_of[other] in later):
            facts = zip(other.subjects, other.relations, other.kinds, strict=True)
            gone |= {(subject, relation) for subject, relation, kind in facts if kind in ("changed", "deleted")}
        facts_N = zip(scores.subjects, scores.relations, strict=True)
        return np.array([not (all(fact) and fact in gone) for fact in facts_N], bool)

    def pooled(self, scores: Scores, names: Sequence[str], path: Sequence[str]) -> FactScores | None:
        """A model's scores on several sets, without what the path has changed again; None where it has not been asked
        about one of them, or nothing is left."""
        if not names or any(name not in scores for name in names):
            return None
        found = pooled([only(scores[name], self.still(name, path)) for name in names])
        return found if found.ids else None


def only(scores: FactScores, chosen_N: Mask) -> FactScores:
    """The scores of the chosen probes."""
    values = {field.name: getattr(scores, field.name) for field in fields(FactScores)}
    for name, value in values.items():
        if isinstance(value, tuple):
            values[name] = tuple(one for one, chosen in zip(value, chosen_N, strict=True) if chosen)
        elif isinstance(value, np.ndarray):
            values[name] = value[chosen_N]
    return FactScores(**values)


def facts_of(
    plan: Plan,
    run: RunDirectory,
    planned: Sequence[LegPlan],
    controls: Controls,
    names: Mapping[str, str],
) -> Facts | None:
    """What a run has found about facts so far; None when it asks about none, or its base has not been asked.

    `names` has the name that each finished control goes by.
    """
    base = answered(run, BASE, plan.probes)
    if not base:
        return None
    stream = Stream(base, {name: plan.probes[name].stage for name in base})
    named = [(names[word], directory, legs) for word, directory, legs in controls if word in names]
    models = _models(plan, run, planned, named, stream)
    end = models[0].path
    counts = probes_begun_with(run.recorded(BEGUN))
    return Facts(
        sets=[_set(name, stream, models, end, counts.get(name, {})) for name in base],
        totals=[total for model in models if (total := _total(stream, models, model)) is not None],
    )


def facts_of_another(plan: Plan, base: Scores, name: str, scores: Scores) -> list[FactSet]:
    """The sets with two rows: the run's base, and a model that is none of the run's."""
    stream = Stream(base, {one: plan.probes[one].stage for one in base})
    last = plan.stages[-1]
    end = tuple(stage.name for stage in (*path_before(plan, last), last))
    models = [_Model(BASE, "base", end, base), _Model(name, "stage", end, scores)]
    return [_set(one, stream, models, end, {}) for one in base]


def _models(
    plan: Plan, run: RunDirectory, planned: Sequence[LegPlan], controls: Controls, stream: Stream
) -> list[_Model]:
    """The base, every finished leg, and each control's last stage. The base and the controls are held against
    everything that the main run comes to see."""
    paths = {stage.name: tuple(one.name for one in (*path_before(plan, stage), stage)) for stage in plan.stages}
    end = paths[plan.stages[-1].name]
    found = [_Model(BASE, "base", end, stream.base)]
    finished = run.finished()
    for leg in (leg for leg in planned if leg.name in finished):
        row: RowKind = "stage" if leg.kind == "stage" else "release"
        found.append(_Model(leg.name, row, paths[leg.stage], answered(run, leg.name, stream.base)))
    for name, directory, legs in controls:
        last = [leg for leg in legs if leg.kind == "stage"][-1]
        found.append(_Model(name, "control", end, answered(directory, last.name, stream.base)))
    return [model for model in found if model.scores]


def _set(
    name: str, stream: Stream, models: Sequence[_Model], end: Sequence[str], counts: Mapping[str, Mapping[str, int]]
) -> FactSet:
    still_N = stream.still(name, end)
    base = only(stream.base[name], still_N)
    return FactSet(
        name=name,
        stage=stream.stage_of[name],
        base_knows=contamination(base).known,
        again=int((~still_N).sum()),
        left_out=dict(counts.get("left_out", {})),
        bad_rows=dict(counts.get("bad_rows", {})),
        rows=[
            FactRow(name=model.name, row=model.row, cells=_cells(base, only(model.scores[name], still_N), model.row))
            for model in models
            if name in model.scores
        ],
    )


def _cells(base: FactScores, after: FactScores, row: RowKind) -> dict[str, FactCell]:
    knows_N = known(after)
    cells: dict[str, FactCell] = {}
    for kind in KINDS:
        of_kind_N = base.of_kind(kind)
        if of_kind_N.any():
            measuring_N = _measuring(base, kind)
            apart = figures(after, measuring_N, SHOWN)
            cells[kind] = FactCell(
                facts=int(of_kind_N.sum()),
                known=None if kind == "deleted" else float(knows_N[of_kind_N].mean()),
                held=_share(after, measuring_N),
                measures=_measures(base, after, of_kind_N, row),
                apart={metric: figure.value for metric, figure in apart.items()},
            )
    return cells


def _measuring(base: FactScores, kind: str) -> Mask:
    """The facts of a kind that tell something of a model: unchanged ones can be forgotten only if the base knows them,
    changed and new ones learned only if it does not; of deleted ones there is no answer to know."""
    of_kind_N, known_N = base.of_kind(kind), known(base)
    if kind == "unchanged":
        return of_kind_N & known_N
    return of_kind_N & ~known_N if kind in LEARNABLE else np.zeros_like(of_kind_N)


def _measures(base: FactScores, after: FactScores, chosen_N: Mask, row: RowKind) -> dict[str, FactMeasure]:
    if row == "base":
        return {
            name: FactMeasure(value=one.value, probes=one.probes)
            for name, one in figures(after, chosen_N, SHOWN).items()
        }
    return {name: _measure(one) for name, one in changes(base, after, chosen_N, SHOWN).items()}


def _measure(one: Change) -> FactMeasure:
    bounds = one.interval
    return FactMeasure(
        value=one.after, probes=one.count, delta=bounds.delta, low=bounds.low, high=bounds.high, verdict=bounds.verdict
    )


def _share(scores: FactScores, chosen_N: Mask) -> FactShare | None:
    """The share of the chosen facts that a model knows; None when none is chosen."""
    if not chosen_N.any():
        return None
    _, cluster_N = np.unique(clusters(scores)[chosen_N], return_inverse=True)
    facts_C = np.asarray(np.bincount(cluster_N), np.float64)
    knows_C = np.asarray(np.bincount(cluster_N, known(scores)[chosen_N]), np.float64)
    found = ratio_interval(knows_C, facts_C)
    low, high = found.low, found.high
    if found.delta in (0, 1):
        # No draw differs from another, which is no certainty: the exact bound of so many independent subjects
        # (Clopper and Pearson 1934).
        least = TAIL ** (1 / len(facts_C))
        low, high = (least, 1.0) if found.delta else (0.0, 1 - least)
    return FactShare(value=found.delta, low=low, high=high, facts=int(chosen_N.sum()))


def _total(stream: Stream, models: Sequence[_Model], model: _Model) -> FactTotal | None:
    names = stream.reached(model.path)
    before, after = (stream.pooled(scores, names, model.path) for scores in (stream.base, model.scores))
    if before is None or after is None:
        return None
    shares = {kind: _share(after, _measuring(before, kind)) for kind in KINDS}
    is_stage = model.row == "stage"
    return FactTotal(
        name=model.name,
        row=model.row,
        held={kind: share for kind, share in shares.items() if share is not None},
        ratios={metric: _ratio(phase_fuar(before, after, metric)) for metric in RATIO_METRICS},
        along=_along(stream, models, model) if is_stage and len(model.path) > 1 else {},
    )


def _along(stream: Stream, models: Sequence[_Model], last: _Model) -> dict[str, FactRatio]:
    """FUAR of a stage against every model before it on its path.

    What was known before stage i + 1 is what a set of that stage or an earlier one calls unchanged: it held before, and
    holds since. Facts that a stage of the path changed later on are no task. Empty when a model before is missing, or
    no set asks what the stage itself changed.
    """
    by_path = {model.path: model.scores for model in models if model.row == "stage"}
    earlier = [stream.base, *(by_path.get(last.path[:count], {}) for count in range(1, len(last.path)))]
    updated = [name for name in stream.base if stream.stage_of[name] == last.path[-1]]
    if not updated:
        return {}
    learned = stream.pooled(last.scores, updated, last.path)
    tasks: dict[str, list[list[Gap | None]]] = {metric: [] for metric in RATIO_METRICS}
    for number, before in enumerate(earlier):
        held = stream.reached(last.path[: number + 1])
        if any(name not in before for name in (*held, *updated)):
            return {}
        known_before, known_now = (stream.pooled(scores, held, last.path) for scores in (before, last.scores))
        lacked = stream.pooled(before, updated, last.path)
        for metric, found in tasks.items():
            invariant = _gap(known_before, known_now, "unchanged", metric)
            found.append([invariant, *(_gap(lacked, learned, kind, metric) for kind in LEARNABLE)])
    columns = {metric: list(zip(*found, strict=True)) for metric, found in tasks.items()}
    return {metric: _ratio(fuar(kept, changed, new)) for metric, (kept, changed, new) in columns.items()}


def _gap(before: FactScores | None, after: FactScores | None, kind: str, metric: str) -> Gap | None:
    return None if before is None or after is None else gap(before, after, kind, metric)


def _ratio(found: Fuar) -> FactRatio:
    tasks = {"invariant": found.invariant, "updated": found.updated, "new": found.new}
    pairs = {name: [None if one is None else (one.before, one.after) for one in gaps] for name, gaps in tasks.items()}
    return FactRatio(value=found.value, vacuous=found.vacuous, lost=found.lost, gained=found.gained, **pairs)
