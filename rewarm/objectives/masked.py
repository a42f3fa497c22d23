"""The masked language-model loss: hidden tokens are predicted from both sides, as BERT and RoBERTa are pre-trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from rewarm.objectives import Beginning, Head, Loss, Objective, Rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Masked(Objective):
    """Cross-entropy of hidden tokens: the mean over all that a step hides.

    Of a row's tokens, special ones aside, each is hidden with `probability`; a share `replace` of these becomes the
    mask token, `random` another token, and the rest stays as it is. Which ones is a function of the plan's seed and the
    row, so that a resumed stage hides the same, and a text that comes again other ones. Documents are packed into rows
    and do not see each other, and positions begin anew with each. A document is what the tokenizer makes of a single
    text (BERT: [CLS] text [SEP]); what does not fit into a row goes on in the next one without a new [CLS].
    """

    SYNONYMS: ClassVar[dict[str, str]] = {"mlm_probability": "probability", "mask_prob": "probability"}
    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 1810.04805; continually: arXiv 2205.09357"
    cost: ClassVar[str] = "one forward and one backward pass per token, of which one in seven is learned from"
    head: ClassVar[Head] = "masked"
    terms_act: ClassVar[bool] = False
    compiles: ClassVar[bool] = False

    probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    replace: Annotated[float, Field(ge=0, le=1)] = 0.8
    random: Annotated[float, Field(ge=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _shares_of_one_whole(self) -> Masked:
        if self.replace + self.random > 1 + 1e-9:
            raise ValueError(
                f"replace {self.replace:g} and random {self.random:g} are shares of the hidden tokens and sum to more "
                "than 1: lower one of them"
            )
        return self

    def loss(self, model: PreTrainedModel) -> Loss:
        """The loss of rows with hidden tokens, in nats summed over these. UserError for a model that mixes texts."""
        # Here and below, because a plan is read without loading torch.
        from rewarm.objectives.masked_loss import MaskedLoss

        return MaskedLoss(model)

    def rows(self, beginning: Beginning) -> Rows:
        """The leg's rows with tokens hidden. UserError when the tokenizer has no mask token."""
        from rewarm.tokens.masking import MaskedRows, Masking

        if beginning.tokenizer is None:
            raise ValueError("a masked objective needs to know the tokenizer")
        return MaskedRows(
            beginning.sources,
            beginning.source_SR,
            beginning.seq_len,
            beginning.micro_rows,
            Masking.of(beginning.tokenizer, self.probability, self.replace, self.random),
            beginning.seed,
        )
