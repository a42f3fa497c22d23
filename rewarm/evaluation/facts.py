"""Probes asked of a model: the likelihood of the answer, its rank among others of its relation, what the model itself
writes, and the old answer against the new.

The log-probability of an answer is summed over its tokens: that is the model's probability of the text, the same
whatever the tokenizer, and what odds are made of. Sums favour short answers, so the rank by log-probability per byte
is kept beside.

Shapes: N probes.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from rewarm.evaluation.candidates import right_answer, wrong_answers
from rewarm.evaluation.fact_scores import FactScores, Values, load, save
from rewarm.evaluation.kept import scoring_key
from rewarm.evaluation.normalisation import f1, is_exact
from rewarm.evaluation.spans import Blank, Span, SpanScorer, SpanScores
from rewarm.probes import Probe
from rewarm.types import Tell, UserError, counted, silent

SCORING_VERSION = 1
"""To be raised whenever the same model would get other scores."""
BLOCK = 1000
"""Probes scored at a time: requests of a set with many candidates would take more memory than the model."""
_MEASURED = 40
"""Probes a forecast asks; few of them have prompts of one length, so generation is forecast too slow."""
_NUMBERS = [field.name for field in fields(FactScores) if field.name.endswith("_N")]


@dataclass(frozen=True, slots=True)
class FactOptions:
    """`candidates` an answer is ranked among, itself included, drawn by `seed`; `longest` answer in tokens that a
    model is given room to write."""

    candidates: int = 50
    seed: int = 0
    longest: int = 60

    def __post_init__(self) -> None:
        if self.candidates < 2 or self.longest < 1:
            raise UserError(
                f"candidates {self.candidates} and longest {self.longest}: an answer is ranked among at least 2 "
                "candidates (50 is usual), and at least 1 token is generated (60 is usual)"
            )


class _Asked:
    """The spans of one probe among those of its block; each answer stands there once."""

    def __init__(self, probe: Probe, wrong: Sequence[str], spans: list[Span]) -> None:
        self.probe, self.wrong = probe, wrong
        self.places: dict[str, int] = {}
        for answer in (*probe.answers, *probe.old_answers, *wrong):
            if answer not in self.places:
                self.places[answer] = len(spans)
                spans.append(Span(probe.prompt, answer, probe.suffix))

    def figures(self, found: SpanScores) -> dict[str, float]:
        """The figures of the probe that follow from likelihoods, by the names of FactScores."""
        # A diverged model's log-probabilities are no numbers, which no comparison would hold against it.
        logprob_N = np.where(np.isnan(found.logprob_N), -np.inf, found.logprob_N)
        at = {answer: float(logprob_N[place]) for answer, place in self.places.items()}
        tokens = {answer: int(found.tokens_N[place]) for answer, place in self.places.items()}
        values: dict[str, float] = {}
        if self.probe.answers:
            first = self.probe.answers[0]
            values |= {"nats_N": -at[first], "tokens_N": tokens[first], "bytes_N": _bytes(first)}
            values["best_nats_N"] = -max(at[answer] for answer in self.probe.answers)
        if self.probe.old_answers:
            old = max(self.probe.old_answers, key=at.__getitem__)
            values |= {"old_nats_N": -at[old], "old_tokens_N": tokens[old], "old_bytes_N": _bytes(old)}
        right = right_answer(self.probe)
        if right is not None and self.wrong:
            above = sum(at[answer] >= at[right] for answer in self.wrong)
            per_byte = at[right] / _bytes(right)
            values |= {"rank_N": 1 + above, "candidates_N": 1 + len(self.wrong)}
            values["byte_rank_N"] = 1 + sum(at[answer] / _bytes(answer) >= per_byte for answer in self.wrong)
            if self.probe.choices:
                values["chosen_N"] = above == 0
        return values


def _bytes(answer: str) -> int:
    return len(f" {answer}".encode())


def score_facts(
    scorer: SpanScorer, probes: Sequence[Probe], options: FactOptions | None = None, tell: Tell = silent
) -> FactScores:
    """Everything FactScores holds, for every probe. UserError when there is none, or one cannot be asked."""
    _check(probes)
    options = options or FactOptions()
    numbers: dict[str, Values] = {name: np.full(len(probes), np.nan) for name in _NUMBERS}
    truncated = _by_likelihood(scorer, probes, options, numbers, tell)
    generated = _by_generation(scorer, probes, options.longest, tell)
    for place, (probe, text) in enumerate(zip(probes, generated, strict=True)):
        for name, value in _said(probe, text).items():
            numbers[name][place] = value
    return FactScores(
        ids=tuple(probe.id for probe in probes),
        kinds=tuple(probe.kind for probe in probes),
        relations=tuple(probe.relation for probe in probes),
        subjects=tuple(probe.subject for probe in probes),
        generated=tuple(generated),
        truncated=truncated,
        **numbers,
    )


def _check(probes: Sequence[Probe]) -> None:
    if not probes:
        raise UserError("there is no probe to ask: give a set with at least one")
    for probe in probes:
        if not probe.answers and not probe.old_answers:
            raise UserError(f"{probe.place or probe.id}: a probe needs an answer or an old answer, this one has none")


def _by_likelihood(
    scorer: SpanScorer, probes: Sequence[Probe], options: FactOptions, numbers: Mapping[str, Values], tell: Tell
) -> int:
    """Fills in what follows from likelihoods; the number of spans whose surroundings were cut."""
    wrong = wrong_answers(probes, options.candidates, options.seed)
    done = counted(tell, "score answers", _spans(probes, wrong), "answers")
    truncated = 0
    for start in range(0, len(probes), BLOCK):
        spans: list[Span] = []
        asked = [_Asked(probes[at], wrong[at], spans) for at in range(start, min(start + BLOCK, len(probes)))]
        found = scorer.score(spans, done)
        truncated += found.truncated
        for place, one in enumerate(asked, start):
            for name, value in one.figures(found).items():
                numbers[name][place] = value
    return truncated


def _spans(probes: Sequence[Probe], wrong: Sequence[Sequence[str]]) -> int:
    """How many answers are scored."""
    return sum(len({*probe.answers, *probe.old_answers, *held}) for probe, held in zip(probes, wrong, strict=True))


def _by_generation(scorer: SpanScorer, probes: Sequence[Probe], longest: int, tell: Tell) -> list[str]:
    """The model's own answers. Room is left for the longest answer of the probe's relation, never for its own alone."""
    answers: dict[str, dict[str, None]] = defaultdict(dict)
    for probe in probes:
        answers[probe.relation].update(dict.fromkeys([*probe.answers, *probe.old_answers, *probe.choices]))
    room = {relation: min(longest, max(scorer.count(list(held)))) for relation, held in answers.items()}
    blanks = [Blank(probe.prompt, probe.suffix, room[probe.relation]) for probe in probes]
    return scorer.generate(blanks, counted(tell, "write answers", len(blanks), "answers"))


def _said(probe: Probe, text: str) -> dict[str, float]:
    """The figures of a probe that follow from what the model wrote."""
    values: dict[str, float] = {}
    is_right = is_exact(text, probe.answers, probe.suffix)
    if probe.answers:
        values |= {"exact_N": is_right, "f1_N": f1(text, probe.answers, probe.suffix)}
    if probe.old_answers:
        values["stale_N"] = not is_right and is_exact(text, probe.old_answers, probe.suffix)
    return values


@dataclass(frozen=True, slots=True)
class Forecast:
    """`answers` would be scored and one generated for each of `probes`, in about `seconds`."""

    probes: int
    answers: int
    seconds: float


def forecast(scorer: SpanScorer, probes: Sequence[Probe], options: FactOptions | None = None) -> Forecast:
    """What `score_facts` would cost, by the rate measured on a few probes from all over the set (1 to 10 s)."""
    _check(probes)
    options = options or FactOptions()
    wrong = wrong_answers(probes, options.candidates, options.seed)
    answers = _spans(probes, wrong)
    spans: list[Span] = []
    chosen = range(0, len(probes), max(1, len(probes) // _MEASURED))
    for at in chosen:
        _Asked(probes[at], wrong[at], spans)
    start = time.perf_counter()
    scorer.score(spans)
    scored = time.perf_counter()
    _by_generation(scorer, [probes[at] for at in chosen], options.longest, silent)
    written = time.perf_counter()
    seconds = (scored - start) / len(spans) * answers + (written - scored) / len(chosen) * len(probes)
    return Forecast(len(probes), answers, seconds)


def kept_facts(
    folder: Path,
    scorer: SpanScorer,
    weights: str,
    probes: Sequence[Probe],
    options: FactOptions | None = None,
    tell: Tell = silent,
) -> FactScores:
    """As `score_facts`, or what `folder` holds for the same weights (their `weights_hash`), probes and options.

    A damaged entry is scored again. StorageError when the disk refuses the scores.
    """
    options = options or FactOptions()
    asked = [{name: value for name, value in asdict(probe).items() if name != "place"} for probe in probes]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    what = [digest, asdict(options), *scorer.settings]
    file = folder / f"facts-{scoring_key(SCORING_VERSION, scorer.model, weights, what)}.npz"
    try:
        return load(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        scores = score_facts(scorer, probes, options, tell)
        save(scores, file)
        return scores
