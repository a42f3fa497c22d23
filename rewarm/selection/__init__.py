"""Documents -> fewer documents: a score for each, higher is kept first; `budget` turns scores into a choice.

A file is a way to score, the class is its options. Scoring has two passes, so that memory stays flat in the size of a
corpus: `measure` sees a few documents at a time and gives one number for each; `judge` sees these numbers of all
documents. What costs (a model, a tagger) is in `measure`, whose numbers are kept and serve every way to judge them.

Laws: what is chosen is a subset in the corpus's order; chosen and dropped documents add up; the seed decides.

Shapes: D documents, E width of a vector.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rewarm.methods import Method

Column = NDArray[np.float64]
"""One number for each document, NaN where there is none."""
Need = Literal["text", "losses", "states", "task"]
UNSCORED = "cannot be scored"


@dataclass(frozen=True, slots=True)
class Scene:
    """Some documents and what is known of them; what a method has not asked for is empty.

    `losses_D` are nats per predicted token (NaN without one), `states_DE` mean-pooled states of the model. `fields`
    holds, for each field of the rows that the method names, one value for each document (None where a row has none).
    """

    texts: Sequence[str]
    tokens_D: NDArray[np.int64]
    losses_D: Column | None = None
    states_DE: NDArray[np.float32] | None = None
    fields: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores (D,), and which documents (D,) are set aside: 0 for none, otherwise one more than a place in `reasons`.

    What is set aside comes after all others, whatever its score.
    """

    score_D: Column
    aside_D: NDArray[np.uint8]
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, score_D: Column, aside: Mapping[str, NDArray[np.bool_]] | None = None) -> Judged:
        """Scores with some documents set aside by reason, and those that have no score."""
        given = {**(aside or {}), UNSCORED: np.isnan(score_D)}
        kept = {reason: mask for reason, mask in given.items() if mask.any()}
        aside_D = np.zeros(len(score_D), np.uint8)
        for number, mask in enumerate(kept.values(), start=1):
            aside_D[mask & (aside_D == 0)] = number
        return cls(score_D, aside_D, tuple(kept))

    def counts(self) -> dict[str, int]:
        """Documents set aside, by reason."""
        return {reason: int((self.aside_D == number).sum()) for number, reason in enumerate(self.reasons, start=1)}


class Selection(Method):
    """Slot: a score for each document.

    `needs` says what a scene must hold: "text", the model's "losses" or "states", and "task" for a text that stands for
    what the model is to become good at. A method with several `parts` judges what these measure.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    def reads(self) -> frozenset[Need]:
        """What the method needs with its options."""
        return self.needs

    def fields(self) -> tuple[str, ...]:
        """Fields of the rows that it reads."""
        return ()

    def parts(self) -> tuple[Selection, ...]:
        """The methods whose numbers `judge` is given, in order: this one alone, unless it says otherwise."""
        return (self,)

    def measured(self) -> dict[str, Any]:
        """What decides about the numbers of `measure`: they are kept for every method of which this is the same."""
        return self.described()

    def note(self) -> str | None:
        """A sentence for people about how it measures on this machine; None when there is nothing to say."""
        return None

    def learn(self, task: Scene | None, pool: Iterable[str]) -> Any:
        """What `measure` needs to know of the task's text, and of the texts of the whole pool, which are read if they
        are iterated; UserError when the task is of no use."""
        return None

    def measure(self, scene: Scene, learned: Any) -> Column:
        """One number for each document (D,), independent of the other documents of the scene."""
        raise NotImplementedError(f"{self.method_name()} measures nothing")

    @abstractmethod
    def judge(self, values: Sequence[Column], draw_D: Column) -> Judged:
        """Scores of all documents from what `parts` measured; `draw_D` are numbers in [0, 1) that the seed decides."""


def quantiles(score_D: Column, aside_D: NDArray[np.uint8]) -> Column:
    """Scores as ranks from 0 to 1 (D,) among documents that are not set aside; these have 0. Ties share their mean.

    Ranks, since losses have heavy tails: one broken document would leave all others at nearly the same score.
    """
    found = np.zeros(len(score_D))
    here = np.flatnonzero(aside_D == 0)
    if len(here) < 2:
        found[here] = 1.0
        return found
    order = here[np.argsort(score_D[here], kind="stable")]
    ordered = score_D[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(order)) - 1
    found[order] = np.repeat((first + last) / 2, last - first + 1) / (len(order) - 1)
    return found


SLOT = Selection
