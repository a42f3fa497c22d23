"""What a stage's replay leaves out: documents that state a fact which has changed by then.

Nothing but replay is filtered: a corpus that the stage learns as well is replayed whole.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rewarm.corpora import Corpus
from rewarm.plan import Plan, Stage
from rewarm.probes.outdated import Claim, claims
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import LegPlan, check_epochs
from rewarm.river.replaying import path_before
from rewarm.river.stale_documents import Found, LeftOut, Search, Text
from rewarm.tokens.order import numbers
from rewarm.types import Tell, UserError, silent

EVENT = "stale"
"""The ledger's event for what a leg does not replay of a corpus."""
FOLDER = "stale"


@dataclass(frozen=True, slots=True)
class _View:
    """What is out of date for a stage. `ignored` facts cannot be looked for, by reason."""

    stage: Stage
    claims: list[Claim]
    ignored: Counter[str]


def probe_sets(plan: Plan, stage: Stage) -> list[str]:
    """The probe sets that say what is out of date for a stage's replay, the oldest stage's first.

    With `stale: true` those of the stage and of stages on its path, and those of no stage.
    """
    stale = stage.replay.stale if stage.replay is not None else False
    if isinstance(stale, bool):
        here = [None, *(one.name for one in path_before(plan, stage)), stage.name]
        stale = tuple(name for name, held in plan.probes.items() if stale and held.stage in here)
    stages = [None, *(one.name for one in plan.stages)]
    return sorted(stale, key=lambda name: stages.index(plan.probes[name].stage))


def filtered(plan: Plan, leg: LegPlan) -> list[str]:
    """The corpora of which a leg replays only what is not out of date."""
    stage = _stage(plan, leg)
    if not probe_sets(plan, stage):
        return []
    learned = {portion.corpus for portion in stage.data}
    return [corpus for corpus in leg.replayed if corpus not in learned]


def find_all(
    inputs: Inputs, every: Iterable[tuple[Plan, RunDirectory, Sequence[LegPlan]]], tell: Tell = silent
) -> None:
    """`find` for what has not finished of a run and of its controls, each with its plan.

    It takes long and may be refused, so it comes before anything is trained or recorded. What controls leave out is
    kept on disk only, for when their turn comes.
    """
    for plan, run, planned in every:
        own = inputs if plan is inputs.plan else dataclasses.replace(inputs, plan=plan, left_out={})
        finished = run.finished()
        find(own, run, [leg for leg in planned if leg.name not in finished], tell)


def find(inputs: Inputs, run: RunDirectory, planned: Sequence[LegPlan], tell: Tell = silent) -> None:
    """Takes what is out of date out of what legs replay; `inputs.left_out` tells of it.

    Samples that a leg has yet to make are not there to be looked at: call this again for the leg once they are. Each
    corpus is read once for all stages. UserError when nothing is left of a corpus, or too little for `max_epochs`.
    """
    waiting: dict[str, list[str]] = {}
    for leg in planned:
        for corpus in filtered(inputs.plan, leg):
            if corpus in inputs.stores and (leg.stage, corpus) not in inputs.left_out:
                waiting.setdefault(corpus, []).append(leg.stage)
    stages = dict.fromkeys(name for names in waiting.values() for name in names)
    views = {stage.name: _view(inputs, stage) for stage in inputs.plan.stages if stage.name in stages}
    for corpus, names in waiting.items():
        held = [views[name] for name in dict.fromkeys(names)]
        source = inputs.plan.corpora.get(corpus)
        assert source is None or isinstance(source, Corpus)  # the plan built it from the corpora folder
        text = Text.of(corpus, inputs.stores[corpus], source, inputs.tokenizer)
        found = Search(text, [view.claims for view in held], run.prepared / FOLDER).run(tell)
        for view, one in zip(held, found, strict=True):
            inputs.left_out[view.stage.name, corpus] = _left_out(inputs, view, corpus, one)
    for leg in planned:
        if leg.stage in stages and leg.kind == "stage":
            _check_epochs(inputs, leg)


def _check_epochs(inputs: Inputs, leg: LegPlan) -> None:
    """Once more, with what is left of each corpus."""

    def left(corpus: str) -> int:
        return inputs.stores[corpus].tokens_of(inputs.documents(corpus, leg.stage))

    check_epochs(inputs.plan, _stage(inputs.plan, leg), leg, left)


def _stage(plan: Plan, leg: LegPlan) -> Stage:
    return next(stage for stage in plan.stages if stage.name == leg.stage)


def _view(inputs: Inputs, stage: Stage) -> _View:
    sets = {name: inputs.probes[name] for name in probe_sets(inputs.plan, stage)}
    return _View(stage, *claims(sets, stage.date or ""))


def _left_out(inputs: Inputs, view: _View, corpus: str, found: Found) -> LeftOut:
    """What is left of the documents that may be trained on."""
    store, trained = inputs.stores[corpus], inputs.train_documents[corpus]
    stale = np.zeros(store.documents, bool)
    stale[found.documents] = True
    left = trained[~stale[trained]]
    if not len(left):
        raise UserError(
            f"stage '{view.stage.name}' replay from '{corpus}': all {len(trained):,} documents state facts that "
            f"{', '.join(found.sets)} call changed, and nothing is left to replay. Replay another corpus, name fewer "
            "probe sets in stale, or split its text into smaller documents"
        )
    may_be = np.zeros(store.documents, bool)
    may_be[trained] = True
    here_N = may_be[found.documents]
    counts = found.stated_NS[here_N].sum(axis=0).tolist()
    return LeftOut(
        documents=left if len(left) < len(trained) else trained,
        left_out=len(trained) - len(left),
        tokens=store.tokens_of(numbers(stale & may_be)),
        sets=dict(zip(found.sets, counts, strict=True)),
        claims=len(view.claims),
        ignored=dict(view.ignored),
    )


def record(inputs: Inputs, run: RunDirectory, leg: LegPlan) -> None:
    """Notes in the ledger, once, what a leg does not replay."""
    known = {(entry["leg"], entry["corpus"]) for entry in run.ledger() if entry["event"] == EVENT}
    for corpus in filtered(inputs.plan, leg):
        if (leg.name, corpus) not in known:
            out = inputs.left_out[leg.stage, corpus]
            run.record(
                EVENT, leg=leg.name, stage=leg.stage, corpus=corpus, documents=out.left_out,
                of=len(inputs.train_documents[corpus]), tokens=out.tokens, of_tokens=inputs.trainable_tokens(corpus),
                sets=out.sets, claims=out.claims, ignored=out.ignored,
            )  # fmt: skip


def remarks(plan: Plan, planned: Sequence[LegPlan]) -> list[str]:
    """What a reader of the report should know: replay that was to be filtered, and is not."""
    found = []
    for leg in planned:
        replay = _stage(plan, leg).replay
        if leg.kind == "stage" and replay is not None and replay.stale:
            if not probe_sets(plan, _stage(plan, leg)):
                found.append(
                    f"stage {leg.stage}: replay leaves out nothing: no probes belong to this stage or to one before"
                )
            elif whole := sorted(set(leg.replayed) - set(filtered(plan, leg))):
                found.append(f"stage {leg.stage}: replay of {', '.join(whole)} is whole, since the stage learns it too")
    return found


def warnings(plan: Plan, planned: Sequence[LegPlan]) -> list[str]:
    """What is known of it before the run: what will be filtered by which probes, and what will not."""
    found = [
        f"stage {leg.stage}: replay of {', '.join(corpora)} will leave out documents that state facts changed in "
        f"{', '.join(probe_sets(plan, _stage(plan, leg)))}; that text is read once to find them, on top of the time"
        for leg in planned
        if leg.kind == "stage" and (corpora := filtered(plan, leg))
    ]
    return [*found, *remarks(plan, planned)]


def notes(plan: Plan, run: RunDirectory, planned: Sequence[LegPlan]) -> list[str]:
    """What each leg of a run did not replay, and `remarks`, for its report."""
    told = [_told(entry) for entry in run.ledger() if entry["event"] == EVENT and not _is_release(entry)]
    return [*remarks(plan, planned), *told]


def _is_release(entry: Mapping[str, Any]) -> bool:
    return str(entry["leg"]).endswith(f"-{entry['stage']}-release")


def _told(entry: Mapping[str, Any]) -> str:
    named = ", ".join(
        f"{name} ({count:,})" if len(entry["sets"]) > 1 else name for name, count in entry["sets"].items()
    )
    share = entry["tokens"] / entry["of_tokens"]
    out = f"{entry['documents']:,}" if entry["documents"] else "none"
    ignored = ", ".join(f"{count:,} {reason}" for reason, count in sorted(entry["ignored"].items()))
    return (
        f"stage {entry['stage']}: replay of {entry['corpus']} leaves out {out} of {entry['of']:,} documents "
        f"({share:.1%} of tokens) that state facts changed in {named or 'the probes'}"
        + (f"; facts not looked for: {ignored}" if ignored else "")
    )
