"""Text that legs sample from their own starting model, for replay and for retention when the old corpus is closed."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from rewarm.corpora.jsonl import Jsonl
from rewarm.hashing import seed_of
from rewarm.models.samples import Sampling, sample_corpus
from rewarm.plan import SELF, Replay
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import Inputs
from rewarm.river.legs import LegPlan
from rewarm.river.replaying import SELF_CORPUS
from rewarm.tokens.prepare import prepare
from rewarm.types import Tell, silent


def add_samples(inputs: Inputs, run: RunDirectory, leg: LegPlan, model: PreTrainedModel, tell: Tell = silent) -> None:
    """Samples the model's own text where the leg reads it (once, before the leg) and adds it as a corpus."""
    if not _reads_samples(leg):
        return
    replay = next(stage.replay for stage in inputs.plan.stages if stage.name == leg.stage)
    asked = replay if replay is not None and SELF in replay.sources else Replay.model_validate({"from": SELF})
    sampling = Sampling(
        tokens=asked.tokens,
        seq_len=inputs.plan.seq_len,
        temperature=asked.temperature,
        seed=seed_of(inputs.plan.seed, leg.stage),
    )
    sample_corpus(model, inputs.tokenizer, _samples_file(run, leg), sampling, tell)
    read_samples(inputs, run, [leg], tell)


def read_samples(inputs: Inputs, run: RunDirectory, planned: list[LegPlan], tell: Tell = silent) -> None:
    """Takes in, as corpora, the samples that legs have made so far."""
    for leg in planned:
        name, file = f"{SELF_CORPUS}{leg.stage}", _samples_file(run, leg)
        if _reads_samples(leg) and name not in inputs.stores and file.is_file():
            corpus = Jsonl(path=str(file))
            inputs.add(name, prepare(f"self-{leg.stage}", corpus, inputs.tokenizer, file.parent, 0.0, tell))


def _reads_samples(leg: LegPlan) -> bool:
    replays = any(corpus.startswith(SELF_CORPUS) for corpus in leg.replayed)
    return replays or any(SELF in method.texts() for method in leg.retention)


def _samples_file(run: RunDirectory, leg: LegPlan) -> Path:
    return run.root / "samples" / f"{leg.stage}.jsonl"
