"""Scores of the run's models on the watch-list, kept per document so that any interval can be computed again."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.loss import document_losses, load, save
from rewarm.river.inputs import Inputs
from rewarm.tokens.prepare import Tell, silent


def score(
    model: PreTrainedModel,
    inputs: Inputs,
    folder: Path,
    tell: Tell = silent,
) -> dict[str, DocumentLosses]:
    """Losses on every watch corpus, computed unless `folder` already holds them."""
    found: dict[str, DocumentLosses] = {}
    for corpus, documents in inputs.watch_documents.items():
        file = folder / f"{corpus}.npz"
        if not file.is_file():
            store = inputs.stores[corpus]
            total = float(store.lengths[documents].sum())
            done = 0.0

            def count(tokens: int, corpus: str = corpus, total: float = total) -> None:
                nonlocal done
                done += tokens
                tell(f"score {folder.name} on {corpus}", min(done, total), total, "tokens")

            losses = document_losses(model, store, documents, inputs.plan.seq_len, done=count)
            tell(f"score {folder.name} on {corpus}", total, total, "tokens")
            save(losses, file)
        found[corpus] = load(file)
    return found


def totals(losses: dict[str, DocumentLosses]) -> dict[str, float]:
    """Nats per byte of each watch corpus."""
    return {corpus: held.per_byte for corpus, held in losses.items()}
