"""The models of a run against the ledger, and some of their kept losses scored again.

Shapes: D watched documents, N of them chosen.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from rewarm.adapters.beside import load_with_adapters
from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.loss import load
from rewarm.hashing import Indices, seed_of, shuffled
from rewarm.models.load import weights_hash
from rewarm.plan import Scratch
from rewarm.river.checks import Check
from rewarm.river.directory import RunDirectory
from rewarm.river.heads import losses_of
from rewarm.river.inputs import Inputs
from rewarm.river.legs import BASE
from rewarm.training.machine import on_device
from rewarm.types import Tell, UserError

SAME_LOSS = 1e-4
"""What a document's loss, scored again on this machine or another, may differ by: relative, and in nats below one."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many documents of a watched corpus are scored again, and the seed that draws them."""

    documents: int
    seed: int

    def drawn(self, corpus: str, count: int) -> Indices:
        """Places (N,), ascending, among `count` documents; the same for every model."""
        order = shuffled(np.arange(count, dtype=np.uint64), seed_of(self.seed, corpus))
        return np.sort(order[: self.documents])


def models(inputs: Inputs, run: RunDirectory, sample: Sample, tell: Tell) -> Iterator[Check]:
    """The base and every finished leg, of the run and of its controls."""
    recorded = run.recorded(BASE)
    if recorded is not None:
        plan = inputs.plan
        name = str(run.base) if isinstance(plan.base, Scratch) else plan.base
        yield from _model(inputs, run, (BASE, name), recorded["weights_sha256"], (sample, tell))
    for word in run.ledgers():
        own = run.control(word) if word else run
        for leg, entry in own.finished().items():
            if not own.model(leg).is_dir():
                yield Check.skipped(_called(own, leg), "weights", "its folder is gone")
                continue
            yield from _model(inputs, own, (leg, str(own.model(leg))), entry["weights_sha256"], (sample, tell))


def _called(run: RunDirectory, leg: str) -> str:
    return f"controls/{run.root.name}/{leg}" if run.is_control else leg


def _model(
    inputs: Inputs, run: RunDirectory, model: tuple[str, str], recorded: str, how: tuple[Sample, Tell]
) -> Iterator[Check]:
    """One model, by its name in the run and where it lies: its weights, and then its losses."""
    (leg, place), (sample, tell) = model, how
    called = _called(run, leg)
    tell(f"verify {called}", 0, None, "")
    try:
        loaded = load_with_adapters(place, inputs.plan.revision if leg == BASE else None, inputs.plan.head)
    except UserError as error:
        why = str(error).splitlines()[0]
        there = leg != BASE or Path(place).is_dir()  # a base may lie on the hub, or be deleted once it was scored
        yield (
            Check(called, "weights", "a model that loads", why, False)
            if there
            else Check.skipped(called, "weights", why)
        )
        return
    found = weights_hash(loaded)
    yield Check(called, "weights", recorded[:16], found[:16], found == recorded)
    if found == recorded:
        device = on_device(loaded)
        for corpus in inputs.watch_documents:
            yield from _losses(inputs, run, leg, corpus, (device, sample, tell))


def _losses(
    inputs: Inputs, run: RunDirectory, leg: str, corpus: str, how: tuple[PreTrainedModel, Sample, Tell]
) -> Iterator[Check]:
    """The kept losses of a model on one corpus: about its documents, and some of them scored again."""
    model, sample, tell = how
    file = run.evaluations / leg / f"{corpus}.npz"
    if not file.is_file():
        return
    name = str(file.relative_to(run.root))
    subject = f"controls/{run.root.name}/{name}" if run.is_control else name
    store, documents = inputs.stores[corpus], inputs.watch_documents[corpus]
    try:
        kept = load(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        yield Check(subject, "kept losses", "a file that can be read", str(error), False)
        return
    if not np.array_equal(kept.bytes_D, np.asarray(store.bytes[documents], np.int64)):
        yield Check(subject, "kept losses", f"of {len(documents)} documents", "of other documents", False)
        return
    places = sample.drawn(corpus, len(documents))
    if len(places):
        tell(f"score {_called(run, leg)} again", 0, None, f"documents of {corpus}")
        again = losses_of(inputs.plan, inputs.tokenizer, model, store, documents[places], lambda tokens: None)
        yield _compared(subject, kept, again, places)


def _compared(subject: str, kept: DocumentLosses, again: DocumentLosses, places: Indices) -> Check:
    """The largest distance of a document's loss, as a part of the loss or of one nat, and the document it is of."""
    held_N = kept.nats_D[places]
    off_N = np.abs(again.nats_D - held_N) / np.maximum(1.0, np.abs(again.nats_D))
    worst = int(np.argmax(np.where(np.isnan(off_N), math.inf, off_N)))
    within = bool((off_N <= SAME_LOSS).all()) and np.array_equal(again.tokens_D, kept.tokens_D[places])
    what = f"losses of {len(places)} documents, scored again"
    expected = f"within {SAME_LOSS:g}"
    found = f"at most {off_N[worst]:.2g} off"
    if not within:
        place = int(places[worst])
        found = f"document {place}: {held_N[worst]:.6g} nats are kept, and it has {again.nats_D[worst]:.6g}"
    return Check(subject, what, expected, found, within)
