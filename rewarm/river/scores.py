"""Scores of the run's models on the watch-list, kept per document so that any interval can be computed again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from rewarm.adapters.beside import load_with_adapters
from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.kept import kept_file, read_kept
from rewarm.evaluation.loss import load, save
from rewarm.models.load import weights_hash
from rewarm.river.beside import shared_losses
from rewarm.river.directory import RunDirectory
from rewarm.river.facts import ask, is_asked
from rewarm.river.heads import measure_of
from rewarm.river.inputs import Inputs
from rewarm.river.pairs import has_judged, judge
from rewarm.training.machine import on_device
from rewarm.training.world import current
from rewarm.types import Tell, silent


def score(
    model: PreTrainedModel,
    inputs: Inputs,
    folder: Path,
    tell: Tell = silent,
    weights: str | None = None,
) -> dict[str, DocumentLosses]:
    """Losses on every watch corpus, computed unless `folder` already holds them.

    With `weights`, the hash of the model's weights, what another run over the same prepared tokens computed is taken
    over, and what is computed is kept for the next.
    """
    found: dict[str, DocumentLosses] = {}
    for corpus, documents in inputs.watch_documents.items():
        file = folder / f"{corpus}.npz"
        if not file.is_file():
            store = inputs.stores[corpus]
            measure = measure_of(inputs.plan)
            kept = kept_file(model, weights, store, documents, inputs.plan.seq_len, measure) if weights else None
            losses = _kept(kept, inputs, corpus) if kept is not None and kept.is_file() else None
            if losses is None:
                losses = _computed(model, inputs, corpus, f"score {folder.name} on {corpus}", tell)
                if kept is not None:
                    save(losses, kept)
            save(losses, file)
        found[corpus] = load(file)
    return found


def score_finished(inputs: Inputs, run: RunDirectory, legs: Sequence[str], tell: Tell = silent) -> None:
    """Scores the models of finished legs on watched corpora and probes that came after them; nothing is scored twice.

    A model that is gone or no longer what its leg ended with is noted in the ledger and left out.
    """
    finished = run.finished()
    for leg in (leg for leg in legs if leg in finished):
        folder = run.evaluations / leg
        missing = [corpus for corpus in inputs.watch_documents if not (folder / f"{corpus}.npz").is_file()]
        missing += [corpus for corpus in inputs.watch_pairs if not has_judged(run, leg, [corpus])]
        missing += [f"probes {name}" for name in inputs.probes if not is_asked(run, leg, [name])]
        if missing:
            fault = "its folder is gone"
            if run.model(leg).is_dir():
                model = on_device(load_with_adapters(str(run.model(leg)), head=inputs.plan.head))
                if weights_hash(model) == finished[leg]["weights_sha256"]:
                    score(model, inputs, folder, tell, finished[leg]["weights_sha256"])
                    ask(model, inputs, run, leg, tell, finished[leg]["weights_sha256"])
                    judge(model, inputs, run, leg, tell)
                    continue
                fault = "its weights are not those that the stage ended with"
            text = f"{leg} could not be scored on {', '.join(missing)}: {fault}"
            if all(entry.get("text") != text for entry in run.ledger()):
                run.record("note", leg=leg, text=text)


def during(run: RunDirectory, leg: str, step: int) -> Path:
    """Where the scores of a leg that still trains are kept, so that a resumed run does not pay for them twice."""
    return run.evaluations / "during" / f"{leg}-{step}"


def clear_during(run: RunDirectory, leg: str) -> None:
    """Deletes what was scored while a finished leg trained: its means are in `scores.jsonl`, and nothing resumes it."""
    for folder in (run.evaluations / "during").glob(f"{leg}-*"):
        if folder.name.removeprefix(f"{leg}-").isdigit():
            shutil.rmtree(folder, ignore_errors=True)


def _kept(file: Path, inputs: Inputs, corpus: str) -> DocumentLosses | None:
    losses = read_kept(file, inputs.stores[corpus], inputs.watch_documents[corpus])
    if losses is None:
        inputs.notes.append(f"the losses kept in '{file}' were damaged: '{corpus}' was scored again")
    return losses


def _computed(model: PreTrainedModel, inputs: Inputs, corpus: str, label: str, tell: Tell) -> DocumentLosses:
    total = float(inputs.stores[corpus].lengths[inputs.watch_documents[corpus]].sum())
    done = 0.0

    def count(tokens: int) -> None:
        nonlocal done
        done += tokens
        tell(label, min(done, total), total, "tokens")

    losses = shared_losses(model, inputs, corpus, current(), count)
    tell(label, total, total, "tokens")
    return losses


def totals(losses: dict[str, DocumentLosses]) -> dict[str, float]:
    """Nats per byte of each watch corpus."""
    return {corpus: held.per_byte for corpus, held in losses.items()}
