"""Hugging Face models in and out: load a base, make one from scratch, save one that `AutoModelForCausalLM` loads."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from rewarm.methods import nearest
from rewarm.models.encoder import longest_text
from rewarm.quantities import size
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import StorageError, UserError

transformers_logging.disable_progress_bar()

ADAPTERS = "adapters"
"""The child of a model that holds adapters which are no part of a plain model (rewarm/adapters/beside.py)."""
ADAPTER_JSON = "adapter.json"
ADAPTER_TENSORS = "adapter.safetensors"


UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What transformers raises for settings that are none: `[]` for a configuration, a list for a model's type."""
_NUMBERS = ("F64", "F32", "F16", "BF16", "I64", "I32", "BOOL")
"""Types of weights, and of the buffers that some models keep beside them."""

HEADS: dict[str, tuple[Any, str]] = {
    "causal": (AutoModelForCausalLM, "a causal language model"),
    "masked": (AutoModelForMaskedLM, "a masked language model"),
    "seq2seq": (AutoModelForSeq2SeqLM, "a sequence-to-sequence language model"),
}
"""transformers' class for each head, and what a user calls such a model."""


def load_model(
    name: str, revision: str | None = None, with_adapters: bool = False, head: str = "causal"
) -> PreTrainedModel:
    """A language model with that head in fp32 from a local folder or a hub name; none of its code and no pickle is run.

    UserError when there is none, or when a weight is missing or of another shape (it would be random, and unnoticed);
    also when an adapter lies beside the weights, unless the caller attaches it (`with_adapters`): without it, it is
    another model.
    """
    if not with_adapters and (Path(name) / ADAPTER_JSON).is_file():
        raise UserError(
            f"'{name}' holds a model with an adapter beside its weights, which this cannot work with. Give a model "
            "without one: the base, or a stage that was trained without an adapter or with one that is merged"
        )
    model = load_as(*HEADS[head], name, revision)
    _make_savable(model)
    return model


def load_as(kind: Any, words: str, name: str, revision: str | None = None) -> PreTrainedModel:
    """A model in fp32 by one of transformers' Auto classes, whose kind is said in `words`; as `load_model`, without
    looking for adapters. UserError when there is none, or when a weight is missing, of another shape or quantised."""
    _refuse_quantised(Path(name))
    try:
        loaded: Any = kind.from_pretrained(
            name, revision=revision, dtype=torch.float32, use_safetensors=True, trust_remote_code=False,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    except (*UNREADABLE, SafetensorError) as error:
        raise UserError(
            f"base '{name}' could not be loaded as {words}: {error}\n"
            "Give a folder with config.json and model.safetensors, or the name of one on the hub"
        ) from error
    model, found = loaded
    if not isinstance(model, PreTrainedModel):
        raise UserError(f"base '{name}' gave {type(model).__name__}, which is no Hugging Face model")
    wrong = sorted([*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])])
    if wrong:
        raise UserError(
            f"base '{name}' lacks {len(wrong)} weights of {type(model).__name__}, or has them in another shape: "
            f"{', '.join(wrong[:3])}. Give the model the weights belong to"
        )
    return model


def _refuse_quantised(folder: Path) -> None:
    """UserError for a folder with weights of 8 bits or fewer: transformers would take them for what they stand for.

    A file that cannot be read is left for whoever loads it to name.
    """
    for file in sorted(folder.glob("*.safetensors")):
        with contextlib.suppress(SafetensorError, OSError), safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                kind = opened.get_slice(name).get_dtype()
                if kind not in _NUMBERS:
                    raise UserError(
                        f"base '{folder}': weight '{name}' of {file.name} is of type {kind}, which is no type to train "
                        "from. Give the model before it was quantised"
                    )


def _make_savable(model: PreTrainedModel) -> None:
    model.config.use_cache = False
    generation: Any = getattr(model, "generation_config", None)  # masked models have none
    try:
        if generation is not None:
            generation.validate(strict=True)
    except ValueError:
        # Some published models name a temperature without do_sample; transformers loads that but will not save it.
        generation.do_sample = True


def make_model(config: dict[str, Any], tokenizer: TextTokenizer, seed: int, head: str = "causal") -> PreTrainedModel:
    """A freshly initialised model with that head: `config` as in a plan, vocabulary and special tokens filled in.

    The same seed gives the same weights; the caller's random state is not touched. UserError for a config that is no
    such model, or that holds a key its model type does not know.
    """
    fields = {key: value for key, value in config.items() if key != "model_type"}
    fields.setdefault("vocab_size", tokenizer.vocab_size)
    fields["eos_token_id"] = tokenizer.eos_id
    fields["bos_token_id"] = tokenizer.prefix[0] if tokenizer.prefix else None
    if head != "causal" and tokenizer.pad_id is not None:  # its embedding is never trained, so it must be no other's
        fields.setdefault("pad_token_id", tokenizer.pad_id)
    if head == "seq2seq":
        fields.setdefault("decoder_start_token_id", fields.get("pad_token_id", tokenizer.eos_id))
    try:
        _check_keys(config)
        made = AutoConfig.for_model(config["model_type"], **fields)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model: PreTrainedModel = HEADS[head][0].from_config(made, dtype=torch.float32, trust_remote_code=False)
    except (ValueError, TypeError, AttributeError, ZeroDivisionError, StrictDataclassError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"base.config {config} is no {HEADS[head][1].removeprefix('a ')}: {error}") from error
    _make_savable(model)
    return model


def _check_keys(config: dict[str, Any]) -> None:
    """transformers takes any key, so that a misspelled size would be the default size without a word."""
    usual = AutoConfig.for_model(config["model_type"])
    allowed = {*usual.to_dict(), *usual.attribute_map, "model_type"}
    for key in config:
        if key not in allowed:
            close = nearest(key, allowed)
            close = close if close.startswith("Did") else f"See the configuration of {config['model_type']} models"
            raise UserError(f"base.config.{key}: a {config['model_type']} model has no such key. {close}")


def save_tokenizer(name: str, folder: Path, revision: str | None = None) -> None:
    """Copies a base's tokenizer into `folder` in the fast format."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    except Exception as error:
        if isinstance(error, UNREADABLE) or type(error) is Exception:  # the tokenizers library raises no other class
            raise UserError(f"base '{name}' has no tokenizer that could be loaded: {error}") from error
        raise
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


class Vocabulary(Protocol):
    """What gives ids below a size, as `TextTokenizer` does."""

    vocab_size: int


def check_vocabulary(model: PreTrainedModel, tokenizer: Vocabulary) -> None:
    """UserError when the tokenizer can give ids that the model has no embedding for."""
    rows = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    if tokenizer.vocab_size > rows:
        raise UserError(
            f"tokenizer mismatch: the tokenizer gives ids up to {tokenizer.vocab_size - 1}, the model has {rows} "
            "embedding rows. Use the tokenizer the model was trained with"
        )


def check_length(model: PreTrainedModel, seq_len: int) -> None:
    """UserError when rows are longer than the model has positions for."""
    most = longest_text(model)
    if most is not None and seq_len > most:
        raise UserError(f"seq_len {seq_len} is more than the model's {most} positions. Set seq_len to {most} or less")


def save_model(
    model: PreTrainedModel, tokenizer_folder: Path, folder: Path, extra: str | None = None,
    chat_template: str | None = None,
) -> None:  # fmt: skip
    """Writes a Hugging Face folder with weights and tokenizer; it appears under its name only when complete.

    Adapters beside the weights get files of their own: the folder's weights are those of the plain model. A
    `chat_template` takes the place of the tokenizer's.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.config.use_cache = True
        _save_weights(model, partial)
        shutil.copytree(tokenizer_folder, partial, dirs_exist_ok=True)
        if chat_template is not None:
            (partial / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
        if extra is not None:
            (partial / "rewarm.json").write_text(extra, encoding="utf-8")
        for file in partial.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except (OSError, SafetensorError) as error:
        needed = sum(parameter.nbytes for parameter in model.parameters())
        raise StorageError(
            f"could not save the model to '{folder}' (about {size(needed)}): {error}. Everything saved before is "
            "whole: make room and run the same command again"
        ) from error
    finally:
        model.config.use_cache = False
        shutil.rmtree(partial, ignore_errors=True)


def _save_weights(model: PreTrainedModel, folder: Path) -> None:
    adapters: Any = getattr(model, ADAPTERS, None)
    if adapters is None:
        model.save_pretrained(folder)
        return
    own = f"{ADAPTERS}."
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict={key: value for key, value in tensors.items() if not key.startswith(own)})
    save_file({key: value for key, value in tensors.items() if key.startswith(own)}, folder / ADAPTER_TENSORS)
    described = [adapter.described for adapter in adapters]
    (folder / ADAPTER_JSON).write_text(json.dumps(described, indent=1), encoding="utf-8")


def weights_hash(model: torch.nn.Module) -> str:
    """SHA-256 over every parameter's name and bytes: equal hashes mean bit-equal models."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
