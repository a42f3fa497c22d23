"""What one model says of each probe of a set, kept as arrays from which every summary follows.

Shapes: N probes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewarm.evaluation.arrays import write_arrays

Values = NDArray[np.float64]
_WORDS = ("ids", "kinds", "relations", "subjects", "generated")


@dataclass(frozen=True, slots=True)
class FactScores:
    """One model on N probes, in their order. NaN stands where a probe has no such figure.

    `nats_N` is minus the log-probability of the first answer (none for deleted facts), over `tokens_N` tokens and
    `bytes_N` bytes of the blank and the answer; `best_nats_N` that of the likeliest accepted answer; `old_nats_N`,
    `old_tokens_N` and `old_bytes_N` those of the likeliest old answer. `rank_N` is the place of the right answer among
    `candidates_N` candidates by log-probability, `byte_rank_N` by log-probability per byte; 1 is best, and a tie
    counts against the right answer. `chosen_N` is 1 where a question with choices is answered right by likelihood.
    `exact_N` is 1 where the generated answer is an accepted one, `f1_N` its word overlap, `stale_N` 1 where it is an
    old answer instead. `truncated` counts the answers whose surroundings were cut. A diverged model has infinite nats
    and the last rank.
    """

    ids: tuple[str, ...]
    kinds: tuple[str, ...]
    relations: tuple[str, ...]
    subjects: tuple[str, ...]
    generated: tuple[str, ...]
    nats_N: Values
    tokens_N: Values
    bytes_N: Values
    best_nats_N: Values
    old_nats_N: Values
    old_tokens_N: Values
    old_bytes_N: Values
    rank_N: Values
    byte_rank_N: Values
    candidates_N: Values
    chosen_N: Values
    exact_N: Values
    f1_N: Values
    stale_N: Values
    truncated: int = 0

    @property
    def log_odds_N(self) -> Values:
        """Log-probability of the first answer less that of the likeliest old one: above 0, the new is preferred.

        The likeliest of several old answers stands against one new one, so that nothing is flattered.
        """
        with np.errstate(invalid="ignore"):  # neither is preferred by a model that has diverged
            return self.old_nats_N - self.nats_N

    def columns(self) -> dict[str, Values]:
        """Every array of numbers, by its name without the suffix of its shape."""
        names = [field.name for field in fields(self) if field.name.endswith("_N")]
        return {name.removesuffix("_N"): getattr(self, name) for name in names}

    def of_kind(self, *kinds: str) -> NDArray[np.bool_]:
        """Which probes are of one of these kinds."""
        return np.array([kind in kinds for kind in self.kinds], bool)


def pooled(held: Sequence[FactScores]) -> FactScores:
    """Several sets as one; ranks stay those among each set's own candidates."""
    joined = {}
    for field in fields(FactScores):
        values = [getattr(scores, field.name) for scores in held]
        if field.name == "truncated":
            joined[field.name] = sum(values)
        elif field.name in _WORDS:
            joined[field.name] = tuple(word for words in values for word in words)
        else:
            joined[field.name] = np.concatenate(values)
    return FactScores(**joined)


def save(scores: FactScores, file: Path) -> None:
    """Writes the scores of a set; the file appears only when complete. StorageError when the disk refuses."""
    arrays = {}
    for field in fields(scores):
        value = getattr(scores, field.name)
        if field.name in _WORDS:  # as bytes: an array of texts would take the longest's room for each
            value = np.frombuffer(json.dumps(value).encode(), np.uint8)
        arrays[field.name] = np.asarray(value)
    write_arrays(file, arrays)


def load(file: Path) -> FactScores:
    """Reads what `save` wrote."""
    with np.load(file, allow_pickle=False) as held:
        values = {field.name: held[field.name] for field in fields(FactScores)}
    words = {name: tuple(json.loads(values[name].tobytes())) for name in _WORDS}
    return FactScores(**values | words | {"truncated": int(values["truncated"])})
