"""Which documents of its own data a stage learns, chosen by the model it starts from.

The choice is made once, before the stage's first step, and kept with the run: a stopped stage goes on with it, and so
does its release. It is a subset of what the stage may train on; replay is not chosen from.

Shapes: N documents that may be trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from transformers import PreTrainedModel

from rewarm.corpora import Corpus
from rewarm.hashing import Indices, fraction, seed_of
from rewarm.plan import Plan, Stage
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import LegPlan
from rewarm.river.selection_scores import Reader, Scoring, Task
from rewarm.river.stale_documents import Text
from rewarm.selection import Selection
from rewarm.selection.budget import WHY, Budget, choose
from rewarm.storage import replaced
from rewarm.training.machine import choose_precision
from rewarm.types import Tell, UserError, silent

EVENT = "selected"
"""The ledger's event for what a stage learns of one corpus."""
FOLDER = "selection"


def select(inputs: Inputs, run: RunDirectory, leg: LegPlan, model: PreTrainedModel, tell: Tell = silent) -> None:
    """Chooses the documents of a leg's own data where its stage selects; `inputs.selected` tells of them.

    `model` is the one that the stage starts from. UserError when a choice is gone that a release goes on with, or when
    the share of a corpus holds no document.
    """
    stage = next(stage for stage in inputs.plan.stages if stage.name == leg.stage)
    if stage.select is None:
        return
    known = {(entry["stage"], entry["corpus"]) for entry in run.ledger() if entry["event"] == EVENT}
    for portion in stage.data:
        corpus = portion.corpus
        # No name has an @, so that stage a with corpus b-c is not taken for stage a-b with corpus c.
        file = run.root / "selected" / f"{stage.name}@{corpus}.npz"
        kept = _read(file)
        if kept is None:
            if leg.kind == "release":
                raise UserError(
                    f"'{file}' is gone, and {leg.name} learns what it lists. Restore it, or delete the model of its "
                    "stage to train that again"
                )
            kept = _choose(inputs, run, stage, corpus, model, tell)
            with replaced(file) as out:
                np.savez(out, documents=kept[0], facts=np.array(json.dumps(kept[1])))
        inputs.selected[stage.name, corpus], facts = kept
        if (stage.name, corpus) not in known:
            run.record(EVENT, leg=leg.name, stage=stage.name, corpus=corpus, **facts)


def _read(file: Path) -> tuple[Indices, dict[str, Any]] | None:
    try:
        with np.load(file, allow_pickle=False) as held:
            return held["documents"], json.loads(str(held["facts"]))
    except (FileNotFoundError, EOFError, ValueError, KeyError, BadZipFile):
        return None


def _choose(
    inputs: Inputs, run: RunDirectory, stage: Stage, corpus: str, model: PreTrainedModel, tell: Tell
) -> tuple[Indices, dict[str, Any]]:
    """The documents (N,), ascending, and what the ledger keeps of the choice."""
    plan, asked = inputs.plan, stage.select
    assert asked is not None  # its caller has looked
    method = asked.method
    assert isinstance(method, Selection)  # the plan built it from the selection folder
    task = None if asked.task is None else Task.of(_text(inputs, asked.task), inputs.train_documents[asked.task])
    reader = Reader(model, plan.seq_len, choose_precision(plan.precision))
    scoring = Scoring(_text(inputs, corpus), method, run.prepared / FOLDER, task, reader)
    store, trained = inputs.stores[corpus], inputs.train_documents[corpus]
    values = [column[trained] for column in scoring.run(tell)]
    hashes_N, lengths_N = store.hashes[trained], store.lengths_of(trained)
    seeds = [seed_of(plan.seed, stage.name, "selection", word) for word in ("draw", "scores")]
    draw_N, scores_N = (fraction(hashes_N, seed) for seed in seeds)
    judged = method.judge(values, scores_N)
    budget = Budget(share=asked.share, soft=asked.soft, gamma=asked.gamma)
    try:
        choice = choose(judged, hashes_N, lengths_N, draw_N, budget)
    except UserError as error:
        raise UserError(f"stage '{stage.name}' select from '{corpus}': {error}") from None
    facts = {
        "documents": len(choice.documents), "of": len(trained), "tokens": choice.tokens,
        "of_tokens": int(lengths_N.sum()), "why": choice.counts(), "aside": judged.counts(), "by": asked.described(),
        "note": method.note(),
    }  # fmt: skip
    return trained[choice.documents], facts


def _text(inputs: Inputs, corpus: str) -> Text:
    source = inputs.plan.corpora.get(corpus)
    assert source is None or isinstance(source, Corpus)  # the plan built it from the corpora folder
    return Text.of(corpus, inputs.stores[corpus], source, inputs.tokenizer)


def notes(run: RunDirectory) -> list[str]:
    """What each stage of a run has learned of its data, for its report."""
    return [_told(entry) for entry in run.ledger() if entry["event"] == EVENT]


def _told(entry: Mapping[str, Any]) -> str:
    why = [f"{count:,} {word}" for word, count in entry["why"].items() if count and word in WHY[2:]]
    aside = [f"{count:,} {reason}" for reason, count in entry["aside"].items()]
    said = [] if entry["note"] is None else [entry["note"]]
    return (
        f"stage {entry['stage']}: selection by {entry['by']['type']} keeps {entry['documents']:,} of {entry['of']:,} "
        f"documents of {entry['corpus']} ({entry['tokens'] / entry['of_tokens']:.1%} of tokens)"
        + "".join(f"; {text}" for text in (*why, *(f"set aside: {text}" for text in aside), *said))
    )


def warnings(plan: Plan) -> list[str]:
    """What is known of it before the run."""
    return [
        f"stage {stage.name}: {', '.join(portion.corpus for portion in stage.data)} will be scored by "
        f"{stage.select.method.method_name()} before the stage, and {stage.select.share:.3g} of the tokens selected: "
        "this comes on top of the time"
        for stage in plan.stages
        if stage.select is not None
    ]
