"""Direct preference optimisation: answers that people chose become likelier than those they rejected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rewarm.corpora.preferences import PAIRS
from rewarm.objectives import Beginning, Loss, Objective, Rows
from rewarm.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from rewarm.tokens.pairs import PairRows


class Preference(Objective):
    """DPO of pairs of answers (type preferences), against the model as it was before the stage.

    With d = (log p(chosen) - log r(chosen)) - (log p(rejected) - log r(rejected)), sums over the tokens of the answers
    under the model p and the reference r, a pair's loss is -log sigmoid(beta d); with `label_smoothing` s, the chance
    that a pair is labelled wrongly, (1 - s) of that and s of -log sigmoid(-beta d). `sft` adds so much of the chosen
    answer's mean loss per token, which keeps its probability from falling (ours: the mean, so that its weight does not
    depend on the length). The loss of a step is the mean over its pairs. The reference is the model before the stage,
    also for a release; what it gives is kept in the run's `references/`, and it is never moved. A learning rate of
    1e-6 is usual for large models, some ten times as much with LoRA.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2305.18290"
    cost: ClassVar[str] = "one pass of the reference over each pair, once; the logits of answers are made twice"
    holds: ClassVar[str] = PAIRS
    terms_act: ClassVar[bool] = False
    compiles: ClassVar[bool] = False

    beta: Annotated[float, Field(gt=0)] = 0.1
    sft: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0

    def loss(self, model: PreTrainedModel) -> Loss:
        """The loss of batches of pairs that know what the reference gives."""
        # Here and below, because a plan is read without loading torch.
        from rewarm.objectives.pair_loss import PairLoss

        return PairLoss(model, self.beta, self.sft, self.label_smoothing)

    def check(self, beginning: Beginning) -> None:
        """UserError when a step would have no pair."""
        self._pairs(beginning)

    def rows(self, beginning: Beginning) -> Rows:
        """The pairs of each step, with what the reference gives; UserError when a step would have none."""
        from rewarm.objectives.references import references

        rows = self._pairs(beginning)
        return rows.with_references(references(rows, beginning))

    def _pairs(self, beginning: Beginning) -> PairRows:
        from rewarm.tokens.loader import StageRows
        from rewarm.tokens.pairs import PairRows, Pairs, PairStream

        streams = [
            PairStream(
                Pairs(source.stream.store, source.stream.documents, beginning.seq_len), beginning.seed, source.name
            )
            for source in beginning.sources
        ]
        drawn = StageRows(beginning.sources, beginning.source_SR, beginning.seq_len, beginning.micro_rows)
        rows = PairRows(drawn, streams)
        empty = int((rows.pairs_of_steps() == 0).sum())
        if empty:
            longest = max(int(stream.pairs.lengths_P.max()) for stream in streams)
            raise UserError(
                f"{empty} of {rows.steps} steps would have no pair: a step has {rows.step_tokens} tokens, and the "
                f"longest pair {longest}. Raise batch_tokens to several times that"
            )
        return rows

    def notes(self, rows: Rows) -> list[str]:
        """Pairs that were cut or left out."""
        return list(_notes(rows))


def _notes(rows: Rows) -> Iterator[str]:
    from rewarm.tokens.pairs import PairRows

    assert isinstance(rows, PairRows)
    for source, stream in zip(rows.sources, rows.streams, strict=True):
        pairs = stream.pairs
        kept = f"corpus {source.name}: of {len(pairs)} pairs to learn from"
        if pairs.cut:
            yield f"{kept}, {pairs.cut} are longer than seq_len {rows.seq_len}: the beginning of the prompt was cut off"
        if pairs.too_long:
            yield f"{kept}, {pairs.too_long} more were left out: their answers leave no room for a prompt in seq_len"
        if pairs.parted:
            yield f"{kept}, {pairs.parted} single answers were left out: the other one of their pair is not trained on"
