"""What is minimised, over which rows, by which kind of model. One file each; the class is its options.

A file that is no method is a part of them: the loss of packed rows, its head, attention inside documents.

Laws (tests/objectives/test_objectives_laws.py): the gradient of a step does not depend on how it is cut into
micro-batches; a step's rows are found without those before them; the loss is a mean over what `num_targets` counts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from rewarm.methods import Method
from rewarm.types import Batch, Tell, silent

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel

    from rewarm.objectives.head_terms import HeadTerm
    from rewarm.tokens.loader import Source
    from rewarm.tokens.tokenizer import TextTokenizer

Head = Literal["causal", "masked", "seq2seq"]
"""Which of transformers' heads a model has."""


class Rows(Protocol):
    """Every micro-batch of a leg: a step's are found directly, so that the step is the whole state."""

    @property
    def sources(self) -> Sequence[Source]:
        """The corpora, in the order of `Batch.sources_B`."""

    @property
    def steps(self) -> int:
        """Optimizer steps of the leg."""

    @property
    def step_tokens(self) -> int:
        """Tokens of a step that budgets count."""

    @property
    def seq_len(self) -> int:
        """Tokens of the longest document that a row can hold whole."""

    def counts_before(self, step: int) -> NDArray[np.int64]:
        """Rows of `seq_len` tokens drawn from each source (C,) before `step`: where a later leg goes on."""

    def batches(self, step: int) -> list[Batch]:
        """The micro-batches of a step."""

    def documents(self, step: int) -> str:
        """What a step learns from, for a reader who has to look at it."""

    def iterate(self, start: int) -> Iterator[list[Batch]]:
        """The micro-batches of each step from `start` on."""


class Loss(Protocol):
    """The loss of a batch under a model, summed over what the batch's `num_targets` counts."""

    @property
    def model(self) -> PreTrainedModel:
        """The model that is trained."""

    def join(self, total: Callable[[Tensor], Tensor]) -> None:
        """From now on each of several processes makes some of the batches; `total` adds a tensor up over all."""

    def begin_step(self) -> None:
        """The batches to come are those of the next step: `readings` are theirs alone."""

    def loss_sum(self, batch: Batch, scale: float = 1.0, terms: Sequence[HeadTerm] = ()) -> Tensor:
        """`scale` x (the batch's loss, plus the values of `terms`), a scalar with its gradient."""

    def readings(self) -> dict[str, float]:
        """Numbers for the journal besides the loss, of the step made last; asked for at logged steps only."""

    def compile(self) -> None:
        """From now on passes go through torch.compile; only asked of an objective that `compiles`."""

    def run_eagerly(self) -> None:
        """From now on passes run as the model is written."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an objective finds when a leg begins.

    `source_SR[s, r]` names the source of row r of step s, a row being `seq_len` tokens of the budget; a micro-batch may
    have `micro_rows` of them. `before()` is the model as it was before the leg's stage; it must be left as it is.
    `kept` is a folder of the run for what is to be found again on resuming.
    """

    sources: Sequence[Source]
    source_SR: NDArray[np.uint8]
    seq_len: int
    micro_rows: int
    seed: int
    precision: torch.dtype
    before: Callable[[], PreTrainedModel]
    kept: Path
    tell: Tell = silent
    tokenizer: TextTokenizer | None = None


class Objective(Method):
    """Slot: what a stage minimises.

    `paper` is its source, `cost` says in a sentence what it costs. `head` is the kind of model it trains, `holds` what
    the corpora it reads hold (`Corpus.holds`). One that does not let `terms_act` cannot be had with retention methods
    that look at the logits or rows of the stage's own batches, and one that does not `compiles` is never compiled.
    """

    paper: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    head: ClassVar[Head] = "causal"
    holds: ClassVar[str] = "text"
    terms_act: ClassVar[bool] = True
    compiles: ClassVar[bool] = True

    @abstractmethod
    def loss(self, model: PreTrainedModel) -> Loss:
        """The loss under a model. UserError for a model it cannot train."""

    def check(self, beginning: Beginning) -> None:
        """UserError when no step could be made of the leg's text. Asked before the first leg begins: there is no model
        yet, and the rows that a source begins with are not those of the leg."""

    def rows(self, beginning: Beginning) -> Rows:
        """The leg's rows: packed text, unless an objective makes others. UserError when no step could be made."""
        # Here, because a plan is read without loading torch.
        from rewarm.tokens.loader import StageRows

        return StageRows(beginning.sources, beginning.source_SR, beginning.seq_len, beginning.micro_rows)

    def notes(self, rows: Rows) -> list[str]:
        """What a reader of the report should know of the leg's rows."""
        return []


SLOT = Objective
