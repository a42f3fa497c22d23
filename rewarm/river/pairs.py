"""How the run's models take sides in watched pairs of answers, kept per pair so that any summary can be made again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from rewarm.evaluation.intervals import Interval
from rewarm.evaluation.pair_scores import PairScores, load, moved, pair_scores, save
from rewarm.report.pair_parts import PairMeasure, PairMove, PairRow, PairSet
from rewarm.report.part import RowKind
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import BASE, LegPlan
from rewarm.types import Tell, silent


def judge(model: PreTrainedModel, inputs: Inputs, run: RunDirectory, name: str, tell: Tell = silent) -> None:
    """Scores a model of the run, called `name`, on every watched corpus of pairs that it has not been scored on."""
    for corpus, documents in inputs.watch_pairs.items():
        if not has_judged(run, name, [corpus]):
            label, count = f"score {name} on {corpus}", len(documents) // 2

            def told(done: int, label: str = label, count: int = count) -> None:
                tell(label, done, count, "pairs")

            found = pair_scores(model, inputs.stores[corpus], documents, inputs.plan.seq_len, told)
            save(found, _file(run, name, corpus))


def has_judged(run: RunDirectory, name: str, corpora: Iterable[str]) -> bool:
    """Whether the model `name` has been scored on all these corpora of pairs."""
    return all(_file(run, name, corpus).is_file() for corpus in corpora)


def pair_sets(
    run: RunDirectory, inputs: Inputs, planned: Sequence[LegPlan],
    controls: Sequence[tuple[str, RunDirectory, Sequence[LegPlan]]],
) -> list[PairSet]:  # fmt: skip
    """Every watched corpus of pairs with a row for each model that was scored on it, the base first.

    A stage is held against the base and against the model it started from, a control against the base.
    """
    sets = []
    for corpus in inputs.watch_pairs:
        base = _scores(run, BASE, corpus)
        if base is None or not len(base.chosen_P):
            continue
        rows = [PairRow(name=BASE, row="base", prefers=base.prefers, moves=[])]
        rows += [_row(run, leg, corpus, base) for leg in planned if _scores(run, leg.name, corpus) is not None]
        for word, directory, legs in controls:
            last = [leg for leg in legs if leg.kind == "stage"][-1]
            found = _scores(directory, last.name, corpus)
            if found is not None:
                move = _move(BASE, base, found)
                rows.append(PairRow(name=word, row="control", prefers=found.prefers, moves=[move]))
        too_long = len(inputs.watch_pairs[corpus]) // 2 - len(base.chosen_P)
        sets.append(PairSet(name=corpus, pairs=len(base.chosen_P), too_long=too_long, rows=rows))
    return sets


def _row(run: RunDirectory, leg: LegPlan, corpus: str, base: PairScores) -> PairRow:
    found = _scores(run, leg.name, corpus)
    assert found is not None  # its caller has looked
    moves = [_move(BASE, base, found)]
    start = None if leg.start == BASE else _scores(run, leg.start, corpus)
    if start is not None:
        moves.append(_move(leg.start, start, found))
    kind: RowKind = "release" if leg.kind == "release" else "stage"
    return PairRow(name=leg.name, row=kind, prefers=found.prefers, moves=moves)


def _move(name: str, before: PairScores, after: PairScores) -> PairMove:
    found = moved(before, after)
    return PairMove(
        since=name,
        margin=_measure(found.margin),
        accuracy=_measure(found.accuracy, 0.5),
        chosen=_measure(found.chosen),
        rejected=_measure(found.rejected),
        verdict=found.margin.verdict,
    )


def _measure(one: Interval, more: float = 0.0) -> PairMeasure:
    return PairMeasure(value=one.delta + more, low=one.low + more, high=one.high + more)


def _scores(run: RunDirectory, name: str, corpus: str) -> PairScores | None:
    file = _file(run, name, corpus)
    return load(file) if file.is_file() else None


def _file(run: RunDirectory, name: str, corpus: str) -> Path:
    return run.evaluations / name / "pairs" / f"{corpus}.npz"
