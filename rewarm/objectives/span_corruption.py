"""T5's loss: spans of a text are taken out, and a decoder writes them from what an encoder reads of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rewarm.objectives import Beginning, Head, Loss, Objective, Rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from rewarm.tokens.spans import Spans


class SpanCorruption(Objective):
    """Cross-entropy of all that the decoder is to write: the mean over a step's spans, sentinels and ends of text.

    Of the tokens of every document a share `rate` is taken out, in spans of `mean_length` tokens on average; a sentinel
    (<extra_id_0>, <extra_id_1>, ...) is left in the place of each. The decoder writes each sentinel and its span, one
    more sentinel, and the end of text. Number and total length of a document's spans are fixed by its length; where
    they lie, and how long each is, is a function of the plan's seed and the row (any choice is as likely as any other),
    so that a resumed stage takes out the same, and a text that comes again is asked otherwise. Ours: a span may begin
    or end a text, where T5's first token always stays and its last one never does.

    Documents are packed into rows in encoder and decoder and do not see each other, which is exact for relative
    positions: rows are padded only up to the longest of a micro-batch. What does not fit into a row goes on in the
    next one as a document of its own. For T5, mT5 and umT5.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "noise_density": "rate", "corruption_rate": "rate", "mlm_probability": "rate",
        "mean_noise_span_length": "mean_length", "mean_span_length": "mean_length",
    }  # fmt: skip
    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 1910.10683, section 3.1.4"
    cost: ClassVar[str] = "the encoder reads nine tokens of ten, the decoder writes one for every four"
    head: ClassVar[Head] = "seq2seq"
    terms_act: ClassVar[bool] = False
    compiles: ClassVar[bool] = False

    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    mean_length: Annotated[float, Field(ge=1)] = 3.0

    def alone(self, in_parts: bool) -> str | None:
        """Whole weights only."""
        if not in_parts:
            return None
        return (
            "trains an encoder and a decoder, and weights in parts were not made to work for two lists of layers. Set "
            "sharding: none"
        )

    def loss(self, model: PreTrainedModel) -> Loss:
        """The loss of rows with spans taken out. UserError for a model that mixes texts or has no decoder."""
        # Here and below, because a plan is read without loading torch.
        from rewarm.objectives.span_loss import SpanLoss

        return SpanLoss(model)

    def check(self, beginning: Beginning) -> None:
        """UserError when the tokenizer has no sentinels, or too few of them for documents of `seq_len` tokens."""
        self._spans(beginning)

    def rows(self, beginning: Beginning) -> Rows:
        """The leg's rows with spans taken out; UserError as of `check`."""
        from rewarm.tokens.spans import SpanRows

        return SpanRows(
            beginning.sources,
            beginning.source_SR,
            beginning.seq_len,
            beginning.micro_rows,
            self._spans(beginning),
            beginning.seed,
        )

    def _spans(self, beginning: Beginning) -> Spans:
        from rewarm.tokens.spans import Spans

        if beginning.tokenizer is None:
            raise ValueError("span-corruption needs to know the tokenizer")
        spans = Spans.of(beginning.tokenizer, self.rate, self.mean_length)
        spans.check(beginning.seq_len)
        return spans

    def notes(self, rows: Rows) -> list[str]:
        """Pieces of text that are too short to take something out of."""
        return list(_notes(rows))


def _notes(rows: Rows) -> Iterator[str]:
    from rewarm.tokens.spans import SpanRows

    assert isinstance(rows, SpanRows)
    for number, source in enumerate(rows.sources):
        looked, pieces, short = rows.short(number)
        if short:
            yield (
                f"corpus {source.name}: {short:,} of the {pieces:,} pieces of text in the {looked:,} first rows have "
                "a single token, from which span-corruption can take nothing out: they are left out"
            )
