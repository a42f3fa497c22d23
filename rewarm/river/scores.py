"""Scores of the run's models on the watch-list, kept per document so that any interval can be computed again."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.kept import kept_file, read_kept
from rewarm.evaluation.loss import document_losses, load, save
from rewarm.river.inputs import Inputs
from rewarm.tokens.prepare import Tell, silent


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
            kept = kept_file(model, weights, store, documents, inputs.plan.seq_len) if weights else None
            losses = _kept(kept, inputs, corpus) if kept is not None and kept.is_file() else None
            if losses is None:
                losses = _computed(model, inputs, corpus, f"score {folder.name} on {corpus}", tell)
                if kept is not None:
                    save(losses, kept)
            save(losses, file)
        found[corpus] = load(file)
    return found


def _kept(file: Path, inputs: Inputs, corpus: str) -> DocumentLosses | None:
    losses = read_kept(file, inputs.stores[corpus], inputs.watch_documents[corpus])
    if losses is None:
        inputs.notes.append(f"the losses kept in '{file}' were damaged: '{corpus}' was scored again")
    return losses


def _computed(model: PreTrainedModel, inputs: Inputs, corpus: str, label: str, tell: Tell) -> DocumentLosses:
    store, documents = inputs.stores[corpus], inputs.watch_documents[corpus]
    total = float(store.lengths[documents].sum())
    done = 0.0

    def count(tokens: int) -> None:
        nonlocal done
        done += tokens
        tell(label, min(done, total), total, "tokens")

    losses = document_losses(model, store, documents, inputs.plan.seq_len, done=count)
    tell(label, total, total, "tokens")
    return losses


def totals(losses: dict[str, DocumentLosses]) -> dict[str, float]:
    """Nats per byte of each watch corpus."""
    return {corpus: held.per_byte for corpus, held in losses.items()}
