"""What the ledger says of a leg beyond its result: which rows of the embedding moved, and with what it went on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rewarm.models.moved_rows import moved_rows
from rewarm.objectives import Rows
from rewarm.plan import Plan, Scratch
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import BASE, LegPlan
from rewarm.training.loop import Outcome

RESUMED = "resumed"
"""The ledger's event for a leg that went on from a checkpoint."""
SKIPPED = "skipped"
"""The ledger's event for an update that was left out."""


def record(run: RunDirectory, leg: LegPlan, outcome: Outcome, rows: Rows) -> None:
    """Notes where a leg went on, whether its first batch was the one to come (None: nothing told of that), and every
    update that was left out, once."""
    known = {entry["step"] for entry in run.ledger() if entry["event"] == SKIPPED and entry["leg"] == leg.name}
    for step, loss, norm in outcome.skipped:
        if step not in known:
            run.record(
                SKIPPED, leg=leg.name, step=step, loss=f"{loss:.6g}", norm=f"{norm:.6g}", read=rows.documents(step)
            )
    if outcome.resumed is not None:
        run.record(RESUMED, leg=leg.name, step=outcome.resumed, same_batch=outcome.same_batch)


def resumed(run: RunDirectory, leg: LegPlan) -> list[list[Any]]:
    """Every step at which the leg went on and came to a stop or its end, and whether its first batch was the right one.

    A process that was killed leaves no entry here; what it went on with was checked all the same.
    """
    entries = [entry for entry in run.ledger() if entry["event"] == RESUMED and entry["leg"] == leg.name]
    return [[entry["step"], entry["same_batch"]] for entry in entries]


def moved(plan: Plan, run: RunDirectory, leg: LegPlan, model: PreTrainedModel) -> dict[str, list[int]] | None:
    """Rows of the embedding, and of an untied head, that the leg has moved, and all of them; None, with a note, where
    the weights it started from are not on the disk."""
    base = run.base if isinstance(plan.base, Scratch) else Path(plan.base)
    start = base if leg.start == BASE else run.model(leg.start)
    found = moved_rows(model, start)
    if found is None:
        text = f"{leg.name}: which rows of the embedding moved is not known: '{start}' holds no weights to compare with"
        run.record("note", leg=leg.name, text=text)
        return None
    embedding: Any = model.get_input_embeddings()
    if leg.adapter is None and embedding.weight.requires_grad and not found["embedding"][0]:
        run.record("note", leg=leg.name, text=f"{leg.name}: its embedding trains, and none of its rows has moved")
    return {word: list(counts) for word, counts in found.items()}


def notes(run: RunDirectory) -> list[str]:
    """A sentence for each finished leg that left rows of the embedding, or of an untied head, as they were, and one for
    each update that was skipped."""
    found = []
    for leg, entry in run.finished().items():
        counts = entry.get("moved_rows") or {}  # legs that finished before they were counted tell nothing
        parts = [f"{moved:,} of {rows:,} rows of the {word}" for word, (moved, rows) in counts.items()]
        if any(moved < rows for moved, rows in counts.values()):
            found.append(f"{leg}: {' and '.join(parts)} moved")
    return found + [
        f"{entry['leg']}: the update of step {entry['step']} was skipped (loss {entry['loss']}, gradient norm "
        f"{entry['norm']}; it was to learn from {entry['read']})"
        for entry in run.ledger()
        if entry["event"] == SKIPPED
    ]
