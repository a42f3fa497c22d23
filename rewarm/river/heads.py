"""What a run does in another way for masked models: their tokenizer, how they are scored, how they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedModel

from rewarm.corpora import Corpus
from rewarm.evaluation.causal_spans import CausalSpans
from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.loss import document_losses
from rewarm.evaluation.masked import MaskedSpans
from rewarm.evaluation.masked_loss import MEASURE, masked_losses
from rewarm.evaluation.spans import SpanScorer
from rewarm.plan import Plan
from rewarm.tokens.chat import encoder_of
from rewarm.tokens.masking import Masking
from rewarm.tokens.order import Indices
from rewarm.tokens.shards import Store
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

MASKED = "masked"


def checked(plan: Plan, tokenizer: TextTokenizer) -> TextTokenizer:
    """The tokenizer, for a plan whose models it can serve. UserError when they are masked and it has no mask token, or
    a corpus holds conversations, of which a decoder alone learns the answers."""
    if plan.head == MASKED:
        Masking.of(tokenizer)
        for name, corpus in plan.corpora.items():
            used = plan.trained(name) or plan.watched(name)
            if used and isinstance(corpus, Corpus) and encoder_of(corpus, tokenizer) is not None:
                raise UserError(
                    f"corpora.{name} holds conversations, of which a decoder learns the answers, and objective masked "
                    "trains no decoder. Give the text as a corpus of type jsonl, or leave it out"
                )
    return tokenizer


def measure_of(plan: Plan) -> Sequence[Any]:
    """What names the losses of the plan's models where they are kept; nothing for those of the next token."""
    return MEASURE if plan.head == MASKED else ()


def losses_of(
    plan: Plan, tokenizer: TextTokenizer, model: PreTrainedModel, store: Store, documents: Indices,
    done: Callable[[int], None],
) -> DocumentLosses:  # fmt: skip
    """Losses of a model of the plan's kind on documents of a store."""
    if plan.head == MASKED:
        return masked_losses(model, store, documents, plan.seq_len, Masking.of(tokenizer), done)
    return document_losses(model, store, documents, plan.seq_len, done)


def scorer_of(plan: Plan, tokenizer: TextTokenizer, model: PreTrainedModel) -> SpanScorer:
    """What asks a model of the plan's kind about facts."""
    if plan.head == MASKED:
        return MaskedSpans(model, tokenizer.as_transformers())
    return CausalSpans(model, tokenizer)


def remarks(plan: Plan) -> list[str]:
    """What a reader of the report should know of how the models are measured."""
    if plan.head != MASKED:
        return []
    return [
        "the models are masked language models: losses on watched corpora are masked losses, of the same tokens of "
        "each document hidden for every model, and cannot be compared with those of causal models"
    ]
