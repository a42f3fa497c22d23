"""Runs of a site put side by side, and one after another: what can be compared, with paired intervals from the losses
per document that the runs kept."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from rewarm.evaluation.intervals import DocumentLosses, paired_delta
from rewarm.report.result import SAME_LOSS
from rewarm.report.site_parts import (
    Column,
    Comparison,
    Difference,
    History,
    Line,
    Moment,
    RunFacts,
    Site,
    TextKey,
)
from rewarm.report.wording import Change
from rewarm.river.directory import RunDirectory
from rewarm.stages import parse_name
from rewarm.types import Tell, UserError, silent

_LOSSES = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, UserError)


def arranged(runs: Sequence[RunFacts], limits: str, tell: Tell = silent) -> Site:
    """Comparisons and histories of some runs; what is in none of them has a reason."""
    shown = [run for run in runs if not run.fault]
    groups: dict[str, list[RunFacts]] = {}
    for run in shown:
        groups.setdefault(run.base_weights, []).append(run)
    alone = [(run, "its report records no digest of the base's weights") for run in groups.pop("", [])]
    comparisons = []
    for done, (weights, group) in enumerate(groups.items()):
        tell("compare", done, len(groups), "bases")
        made = _comparison(weights, group) if len(group) > 1 else None
        if made is not None:
            comparisons.append(made)
        else:
            reason = "no other run starts from its base" if len(group) == 1 else "no other run watches the same text"
            alone += [(run, reason) for run in group]
    chains = _chains(shown)
    histories = []
    for done, chain in enumerate(chains):
        tell("put in order", done, len(chains), "histories")
        histories.append(_history(chain))
    return Site(runs, comparisons, sorted(alone, key=lambda one: one[0].slug), histories, limits)


def _comparison(weights: str, group: list[RunFacts]) -> Comparison | None:
    """The runs of one base; None where no text is watched by two of them."""
    seen = Counter(one.key for run in group for one in run.watched)

    def rank(run: RunFacts) -> tuple[bool, int, str, str]:
        shared = sum(seen[one.key] > 1 for one in run.watched)
        return run.state != "finished", -shared, run.created, run.slug

    reference = min(group, key=rank)
    ordered = [reference, *(run for run in group if run is not reference)]
    apart: list[tuple[RunFacts, str, str]] = []
    fits = {run.slug: _fitting(run, reference, apart) for run in ordered}
    count = Counter(key for keys in fits.values() for key in keys)
    columns: dict[TextKey, Column] = {}
    for run in ordered:
        for one in run.watched:
            if count[one.key] > 1 and one.key in fits[run.slug]:
                columns.setdefault(one.key, Column(one.name, one.role, one.key))
            elif one.key in fits[run.slug] and one.key.known:
                apart.append((run, one.name, _why_alone(run, one.name, one.key, ordered)))
    if not columns:
        return None
    shown = sorted(columns.values(), key=lambda column: column.role == "new")
    differences = {
        run.slug: [_difference(run, reference, column, fits[run.slug]) for column in shown]
        for run in ordered
        if run is not reference
    }
    return Comparison(weights[:12], reference.base, weights, ordered, shown, reference, differences, apart)


def _fitting(run: RunFacts, reference: RunFacts, apart: list[tuple[RunFacts, str, str]]) -> set[TextKey]:
    """The texts of a run that may be compared; the others go to `apart` with the reason."""
    found = set()
    for one in run.watched:
        same = reference.watches(one.key)
        if not one.key.known:
            apart.append((run, one.name, "no digest of the text is recorded"))
        elif same is not None and not math.isclose(
            _base_loss(run, one.name), _base_loss(reference, same.name), rel_tol=SAME_LOSS
        ):
            apart.append((run, one.name, f"the base has another loss on it than in {reference.name}"))
        else:
            found.add(one.key)
    return found


def _base_loss(run: RunFacts, corpus: str) -> float:
    return run.models[0].scores[corpus].loss


def _why_alone(run: RunFacts, name: str, key: TextKey, group: Sequence[RunFacts]) -> str:
    """Why no other run of the group watches this text: by what the nearest text of the same name differs."""
    for other in group:
        for one in other.watched:
            if other is not run and one.name == name and (said := key.differs(one.key)):
                return f"{said} than '{name}' of {other.name}" if said.startswith("other") else f"{said} ({other.name})"
    return "no other run of this base watches it"


def _difference(run: RunFacts, reference: RunFacts, column: Column, fits: set[TextKey]) -> Difference:
    key = column.key
    own, other = run.watches(key), reference.watches(key)
    if own is None:
        return Difference(None, reason=run.lacks(column.name, key))
    if key not in fits:
        return Difference(None, reason="the base has another loss on it")
    if other is None:
        said = reference.lacks(own.name, key)
        return Difference(None, reason=f"{reference.name}: {said}")
    base = _base_loss(reference, other.name)
    try:
        delta = paired_delta(losses(reference, reference.final.name, other.name), losses(run, run.final.name, own.name))
    except _LOSSES as error:
        return Difference(None, reason=_missing(error))
    if not base > 0:
        return Difference(None, reason="the base has no finite loss")
    return Difference(Change(delta.delta / base, delta.low / base, delta.high / base), delta.verdict)


def losses(run: RunFacts, model: str, corpus: str) -> DocumentLosses:
    """The losses per document that a run kept; OSError, ValueError or UserError where it did not."""
    import numpy as np

    file = Path(RunDirectory(run.folder).evaluations / parse_name(model) / f"{parse_name(corpus)}.npz")
    with np.load(file, allow_pickle=False) as held:
        return DocumentLosses(nats_D=held["nats"], bytes_D=held["bytes"], tokens_D=held["tokens"])


def _missing(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "its losses per document are gone"
    return f"its losses per document cannot be read: {' '.join(str(error).split())[:200]}"


def _chains(runs: Sequence[RunFacts]) -> list[list[tuple[RunFacts, int]]]:
    """Runs one after another, each with the place of its last model that counts: from a run no other came before, to
    one that none went on from. A chain is at least two models beside the base."""
    made: dict[str, tuple[RunFacts, int]] = {}
    for run in runs:
        for place, model in enumerate(run.models[1:], 1):
            if model.weights and model.weights != run.base_weights:
                made.setdefault(model.weights, (run, place))
    chains = []
    for run in runs:
        chain = [(run, len(run.models) - 1)]
        seen = {run.slug}
        while (before := made.get(chain[0][0].base_weights)) is not None and before[0].slug not in seen:
            chain.insert(0, before)
            seen.add(before[0].slug)
        chains.append(chain)
    # A run that another went on from after its last model is a part of the other's chain.
    inner = {(run.slug, place) for chain in chains for run, place in chain[:-1]}
    return [
        chain
        for chain in chains
        if (chain[-1][0].slug, chain[-1][1]) not in inner and sum(place for _, place in chain) > 1
    ]


def _history(chain: Sequence[tuple[RunFacts, int]]) -> History:
    first = chain[0][0]
    moments, before = [Moment(first, first.models[0], 0)], 0
    for run, last in chain:
        moments += [Moment(run, model, before + model.tokens) for model in run.models[1 : last + 1]]
        before += run.models[last].tokens
    columns: dict[TextKey, Column] = {}
    notes = []
    for run, _ in chain:
        for one in run.watched:
            if one.key.known:
                columns.setdefault(one.key, Column(one.name, one.role, one.key))
            else:
                notes.append(f"'{one.name}' of {run.name} is left out: no digest of the text is recorded")
    lines = [_line(column, moments, chain) for column in sorted(columns.values(), key=lambda one: one.role == "new")]
    for (run, _), (after, _) in pairwise(chain):
        for one in after.watched:
            same = next((other for other in run.watched if other.name == one.name), None)
            if same is not None and (said := one.key.differs(same.key)):
                notes.append(f"'{one.name}' of {after.name} is a line of its own: {said} than in {run.name}")
    return History(chain[-1][0].slug, [run for run, _ in chain], moments, lines, notes)


def _line(column: Column, moments: Sequence[Moment], chain: Sequence[tuple[RunFacts, int]]) -> Line:
    """A text under every model that was scored on it. The base of a later run is the last model of the one before it,
    so a text that first comes with a later run starts there."""
    first: tuple[RunFacts, str] | None = None
    found: list[float | None] = []
    changes: list[Change | None] = []
    paired: list[bool] = []
    starts = {run.slug: run.models[0] for run, _ in chain}
    lasts = {run.slug: run.models[place].name for run, place in chain}
    after = {run.slug: then for (run, _), (then, _) in pairwise(chain)}
    start = len(moments)
    for place, moment in enumerate(moments):
        run, model = moment.run, moment.model
        own = run.watches(column.key)
        then = after.get(run.slug)
        if own is None and then is not None and model.name == lasts[run.slug] and place:
            run, model, own = then, starts[then.slug], then.watches(column.key)
        score = model.scores.get(own.name) if own is not None else None
        if own is None or score is None:
            found, changes, paired = [*found, None], [*changes, None], [*paired, False]
            continue
        start = min(start, place)
        first = first or (run, model.name)
        change, sure = _since(first, run, model.name, own.name, column.key)
        found, changes, paired = [*found, score.loss], [*changes, change], [*paired, sure]
    return Line(column, start, found, changes, paired)


def _since(
    first: tuple[RunFacts, str], run: RunFacts, model: str, corpus: str, key: TextKey
) -> tuple[Change | None, bool]:
    """The change of loss since a text's first model, and whether its interval is known."""
    start, name = first
    own = start.watches(key)
    assert own is not None  # the first model was scored on it
    if (start.slug, name) == (run.slug, model):
        return Change(0.0, 0.0, 0.0), True
    scores = {one.name: one.scores for one in start.models}
    base = scores[name][own.name].loss
    if start is run and name == run.models[0].name:
        return {one.name: one.scores for one in run.models}[model][corpus].change, True
    if not base > 0:
        return None, False
    loss = {one.name: one.scores for one in run.models}[model][corpus].loss
    try:
        delta = paired_delta(losses(start, name, own.name), losses(run, model, corpus))
    except _LOSSES:
        return Change(loss / base - 1, math.nan, math.nan), False
    return Change(delta.delta / base, delta.low / base, delta.high / base), True


def summary(site: Site) -> Mapping[str, object]:
    """What a site holds, as plain values that are the same for the same runs."""
    return {
        "runs": [
            {
                "name": run.name, "state": run.state, "page": run.page or None, "fault": run.fault or None,
                "digest": run.digest, "base_weights": run.base_weights, "created": run.created,
                "old": _plain(run.old), "new": _plain(run.new),
                "gate": None if run.gate is None else [run.gate.passed, *run.gate.sentences],
            }
            for run in site.runs
        ],
        "comparisons": [
            {"page": one.page, "base_weights": one.weights, "runs": [run.name for run in one.runs],
             "reference": one.reference.name, "columns": [column.name for column in one.columns],
             "apart": [[run.name, corpus, reason] for run, corpus, reason in one.apart]}
            for one in site.comparisons
        ],
        "alone": [[run.name, reason] for run, reason in site.alone],
        "histories": [
            {"page": one.page, "runs": [run.name for run in one.runs],
             "models": [f"{moment.run.name}: {moment.model.name}" for moment in one.moments]}
            for one in site.histories
        ],
    }  # fmt: skip


def _plain(change: Change | None) -> list[float] | None:
    return None if change is None else [change.point, change.low, change.high]
