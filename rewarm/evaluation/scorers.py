"""A model of any kind, by its name or as it is, as one that can be asked about facts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from rewarm.adapters.beside import load_with_adapters
from rewarm.evaluation.causal_spans import CausalSpans
from rewarm.evaluation.masked import MaskedSpans
from rewarm.evaluation.seq2seq import Seq2seqSpans
from rewarm.evaluation.spans import SpanScorer
from rewarm.models.load import UNREADABLE, check_vocabulary, load_as, save_tokenizer
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.training.machine import on_device
from rewarm.types import UserError

_MASKED = frozenset(MODEL_FOR_MASKED_LM_MAPPING_NAMES.values())


def open_scorer(name: str) -> SpanScorer:
    """The scorer of a local folder or hub name, on this machine's device, by the class its configuration names.

    A folder of a causal model may hold adapters beside its weights. UserError when there is no such model, or no
    tokenizer that goes with it.
    """
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except UNREADABLE as error:
        raise UserError(f"model '{name}' has no configuration that could be read: {error}") from error
    if config.is_encoder_decoder:
        model = load_as(AutoModelForSeq2SeqLM, "an encoder-decoder language model", name)
    elif _MASKED & set(config.architectures or ()):
        model = load_as(AutoModelForMaskedLM, "a masked language model", name)
    else:
        model = load_with_adapters(name)
    return scorer_for(on_device(model), name)


def scorer_for(model: PreTrainedModel, tokenizer: str) -> SpanScorer:
    """The scorer of a model by its class: encoder-decoder, masked, or else causal; `tokenizer` is a folder or name."""
    is_masked = type(model).__name__ in _MASKED
    if not (model.config.is_encoder_decoder or is_masked):
        with tempfile.TemporaryDirectory() as place:
            save_tokenizer(tokenizer, Path(place) / "tokenizer")
            text_tokenizer = TextTokenizer(Path(place) / "tokenizer")
        check_vocabulary(model, text_tokenizer)
        return CausalSpans(model, text_tokenizer)
    try:
        fast = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except UNREADABLE as error:
        raise UserError(f"'{tokenizer}' has no tokenizer that could be loaded: {error}") from error
    if not isinstance(fast, PreTrainedTokenizerFast):
        raise UserError(f"'{tokenizer}' has no fast tokenizer (tokenizer.json), which is needed to place answers")
    return Seq2seqSpans(model, fast) if model.config.is_encoder_decoder else MaskedSpans(model, fast)
