"""What a run does in another way for masked and for encoder-decoder models: their tokenizer, how they are scored, how
they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from transformers import PreTrainedModel

from rewarm.corpora import Corpus
from rewarm.evaluation import masked_loss, span_loss
from rewarm.evaluation.causal_spans import CausalSpans
from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.loss import document_losses
from rewarm.evaluation.masked import MaskedSpans
from rewarm.evaluation.seq2seq import Seq2seqSpans
from rewarm.evaluation.spans import SpanScorer
from rewarm.plan import Plan
from rewarm.tokens.chat import encoder_of
from rewarm.tokens.masking import Masking
from rewarm.tokens.order import Indices
from rewarm.tokens.shards import Store
from rewarm.tokens.spans import Spans
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

CAUSAL, MASKED, SEQ2SEQ = "causal", "masked", "seq2seq"


def checked(plan: Plan, tokenizer: TextTokenizer) -> TextTokenizer:
    """The tokenizer, for a plan whose models it can serve. UserError when they need a mask token or sentinels and it
    has none, or a corpus holds conversations, of which a decoder alone learns the answers."""
    if plan.head == CAUSAL:
        return tokenizer
    if plan.head == MASKED:
        Masking.of(tokenizer)
    else:
        Spans.of(tokenizer)
    for name, corpus in plan.corpora.items():
        used = plan.trained(name) or plan.watched(name)
        if used and isinstance(corpus, Corpus) and encoder_of(corpus, tokenizer) is not None:
            objective = plan.stages[0].objective.method_name()
            raise UserError(
                f"corpora.{name} holds conversations, of which a decoder learns the answers, and objective {objective} "
                "trains no decoder alone. Give the text as a corpus of type jsonl, or leave it out"
            )
    return tokenizer


def measure_of(plan: Plan) -> Sequence[Any]:
    """What names the losses of the plan's models where they are kept; nothing for those of the next token."""
    return {MASKED: masked_loss.MEASURE, SEQ2SEQ: span_loss.MEASURE}.get(plan.head, ())


def word_of(plan: Plan) -> Literal["loss", "masked loss", "span loss"]:
    """What a report calls these losses."""
    return "masked loss" if plan.head == MASKED else "span loss" if plan.head == SEQ2SEQ else "loss"


def losses_of(
    plan: Plan, tokenizer: TextTokenizer, model: PreTrainedModel, store: Store, documents: Indices,
    done: Callable[[int], None],
) -> DocumentLosses:  # fmt: skip
    """Losses of a model of the plan's kind on documents of a store."""
    if plan.head == MASKED:
        return masked_loss.masked_losses(model, store, documents, plan.seq_len, Masking.of(tokenizer), done)
    if plan.head == SEQ2SEQ:
        return span_loss.span_losses(model, store, documents, plan.seq_len, Spans.of(tokenizer), done)
    return document_losses(model, store, documents, plan.seq_len, done)


def scorer_of(plan: Plan, tokenizer: TextTokenizer, model: PreTrainedModel) -> SpanScorer:
    """What asks a model of the plan's kind about facts."""
    if plan.head == MASKED:
        return MaskedSpans(model, tokenizer.as_transformers())
    if plan.head == SEQ2SEQ:
        return Seq2seqSpans(model, tokenizer.as_transformers())
    return CausalSpans(model, tokenizer)


def remarks(plan: Plan) -> list[str]:
    """What a reader of the report should know of how the models are measured."""
    if plan.head == MASKED:
        return [
            "the models are masked language models: losses on watched corpora are masked losses, of the same tokens of "
            "each document hidden for every model, and cannot be compared with those of causal models"
        ]
    if plan.head == SEQ2SEQ:
        return [
            "the models are encoder-decoder models: losses on watched corpora are span losses, of the same spans of "
            "each document taken out for every model (15 % of the tokens), and cannot be compared with those of causal "
            "models"
        ]
    return []
