"""Fill-in-the-middle: next tokens of documents of which some are rearranged as prefix, suffix, middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rewarm.objectives import Beginning, Rows
from rewarm.objectives.causal import Causal
from rewarm.quantities import Share

if TYPE_CHECKING:
    from rewarm.tokens.middles import Middles


class FillInMiddle(Causal):
    """Next-token cross-entropy, for models that complete code between what stands before and after the cursor.

    Of the documents in a row a share `rate` is cut at two places and rearranged: `<prefix> before <suffix> after
    <middle> middle`, or for a share `suffix_first` of these `<prefix> <suffix> after <middle> before middle`. Each ends
    with its end-of-text token, so that a model learns where the middle ends. The places lie between tokens, every one
    equally likely. A rearranged document keeps its length and loses its last three tokens of text to the marks; a
    document cut by the end of a row is rearranged part by part. `tokens` are the three marks, in the order prefix,
    suffix, middle; those of the known models of code are found by themselves.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "fim_rate": "rate",
        "fim_spm_rate": "suffix_first",
        "spm_rate": "suffix_first",
    }
    paper: ClassVar[str] = "arXiv 2207.14255"
    cost: ClassVar[str] = "one forward and one backward pass per token, three of each rearranged document being marks"

    rate: Share = 0.5
    suffix_first: Share = 0.5
    tokens: Annotated[tuple[str, ...], Field(min_length=3, max_length=3)] | None = None

    def check(self, beginning: Beginning) -> None:
        """UserError when the tokenizer has no tokens for the marks."""
        self._middles(beginning)

    def rows(self, beginning: Beginning) -> Rows:
        """The leg's rows with documents rearranged. UserError when the tokenizer has no tokens for the marks."""
        # Here and below, because a plan is read without loading torch.
        from rewarm.tokens.middles import MiddleRows

        return MiddleRows(
            beginning.sources,
            beginning.source_SR,
            beginning.seq_len,
            beginning.micro_rows,
            self._middles(beginning),
            beginning.seed,
        )

    def _middles(self, beginning: Beginning) -> Middles:
        from rewarm.tokens.middles import Middles

        if beginning.tokenizer is None:
            raise ValueError("fill-in-middle needs to know the tokenizer")
        return Middles.of(beginning.tokenizer, self.tokens, self.rate, self.suffix_first)
