"""What the run's models say of its probes, kept per probe so that any summary can be made again."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from rewarm.evaluation.candidates import wrong_answers
from rewarm.evaluation.fact_scores import FactScores, load, save
from rewarm.evaluation.facts import FactOptions, kept_facts, score_facts
from rewarm.evaluation.generation import budget
from rewarm.probes import Probe
from rewarm.river.directory import RunDirectory
from rewarm.river.heads import scorer_of
from rewarm.river.inputs import Inputs
from rewarm.types import Tell, silent

WRITTEN_TOKEN = 2
"""What a token that a model writes costs, in tokens that it reads: measured on a 0.5 M model on a CPU."""


def ask(
    model: PreTrainedModel, inputs: Inputs, run: RunDirectory, name: str, tell: Tell = silent, weights: str = ""
) -> None:
    """Scores a model of the run, called `name`, on every set of probes that it has not been asked about.

    `weights` is the hash of its weights: what another run over the same prepared tokens found for them is taken over,
    and what is computed is kept for the next. StorageError when the disk refuses the scores.
    """
    missing = [asked for asked in inputs.probes if not is_asked(run, name, [asked])]
    if missing:
        scorer = scorer_of(inputs.plan, inputs.tokenizer, model)
        for asked in missing:
            told = _labelled(tell, f"ask {name} about {asked}")
            found = kept_facts(run.prepared / "scores", scorer, weights, inputs.probes[asked], tell=told)
            save(found, _file(run, name, asked))


def ask_another(model: PreTrainedModel, inputs: Inputs, tell: Tell = silent) -> dict[str, FactScores]:
    """The scores of a model that is none of the run's, on every set; nothing is stored."""
    scorer = scorer_of(inputs.plan, inputs.tokenizer, model)
    return {
        name: score_facts(scorer, probes, tell=_labelled(tell, f"ask the model about {name}"))
        for name, probes in inputs.probes.items()
    }


def answered(run: RunDirectory, name: str, sets: Iterable[str]) -> dict[str, FactScores]:
    """The scores on disk of the model `name`, for the sets that it has been asked about."""
    return {asked: load(_file(run, name, asked)) for asked in sets if is_asked(run, name, [asked])}


def is_asked(run: RunDirectory, name: str, sets: Iterable[str]) -> bool:
    """Whether the model `name` has been asked about all these sets."""
    return all(_file(run, name, asked).is_file() for asked in sets)


def tokens_asked(probes: Sequence[Probe], bytes_per_token: float) -> float:
    """About how many tokens a model reads to be asked about these probes once, by likelihood and in its own words."""
    options = FactOptions()
    longest: dict[str, int] = defaultdict(int)
    read = 0
    for probe, wrong in zip(probes, wrong_answers(probes, options.candidates, options.seed), strict=True):
        lengths = [1 + len(answer.encode()) for answer in {*probe.answers, *probe.old_answers, *wrong}]
        read += 2 * len(probe.prompt.encode()) + sum(lengths)
        longest[probe.relation] = max(longest[probe.relation], *lengths)
    rooms = (min(options.longest, math.ceil(longest[probe.relation] / bytes_per_token)) for probe in probes)
    return read / bytes_per_token + WRITTEN_TOKEN * sum(map(budget, rooms))


def _file(run: RunDirectory, name: str, asked: str) -> Path:
    """In a folder of its own: the arrays beside it are losses of corpora, whose names may be the same."""
    return run.evaluations / name / "facts" / f"{asked}.npz"


def _labelled(tell: Tell, label: str) -> Tell:
    return lambda what, done, total, unit: tell(f"{label}: {what}", done, total, unit)
