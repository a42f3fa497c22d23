"""Task weights carried from one base to the next: what a model learned of a task on base i, put on base i + 1.

Recyclable tuning (Qin et al. 2023, arXiv 2305.08702): theta_(i+1) + s (theta_i^task - theta_i), or the adapter that was
trained on base i put on base i + 1. A classifier's head belongs to the task and not to the base: it is copied. (The
released code takes its difference too, and so adds the difference of two random heads to it.)

Shapes: P is any shape of a parameter.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from rewarm.models.load import UNREADABLE, load_as, load_model
from rewarm.models.merging import chat_vector, interpolated, vocabulary_parameters, vocabulary_rows
from rewarm.types import UserError

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

Kind = Literal["labels", "answers"]
"""What a task asks for: a class of each text, or an answer to each prompt."""
Tensors = Mapping[str, torch.Tensor]
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_HEADS = ("score", "classifier")


@dataclass(slots=True)
class TaskModel:
    """A model with task weights. `wrapped` is its peft model where they are an adapter beside the base's weights."""

    model: PreTrainedModel
    wrapped: PeftModel | None = None

    def merged(self) -> PreTrainedModel:
        """The model with its adapter, if any, added to its weights; the task model is used up."""
        if self.wrapped is None:
            return self.model
        found: Any = self.wrapped
        whole: PreTrainedModel = found.merge_and_unload()
        return whole


def is_masked(place: str, revision: str | None = None) -> bool:
    """Whether a base is an encoder that was trained on masked tokens, by its configuration."""
    try:
        config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
    except UNREADABLE as error:
        raise UserError(f"base '{place}' has no configuration that could be read: {error}") from error
    return any("MaskedLM" in name for name in getattr(config, "architectures", None) or ())


def base_class(place: str, revision: str | None = None) -> tuple[Any, str]:
    """transformers' Auto class of a base, and what to call it."""
    if is_masked(place, revision):
        return AutoModelForMaskedLM, "masked language model"
    return AutoModelForCausalLM, "causal language model"


def load_base(place: str) -> PreTrainedModel:
    """A base: a causal language model, or a masked one. UserError when it is neither."""
    kind, words = base_class(place)
    return load_model(place) if kind is AutoModelForCausalLM else load_as(kind, f"a {words}", place)


def adapter_config(place: str) -> PeftConfig | None:
    """The settings of the adapter in a folder; None for a whole model. UserError for one that cannot be carried."""
    if not (Path(place) / ADAPTER_CONFIG).is_file():
        return None
    from peft import PeftConfig

    config: Any = PeftConfig.from_pretrained(place)
    told = f"the adapter in '{place}' cannot be put on another base: "
    remedy = "Merge it into its old base, and give the whole model"
    if config.is_prompt_learning:
        raise UserError(f"{told}{config.peft_type.value} acts on the input and not on weights. {remedy}")
    saved = [name for name in getattr(config, "modules_to_save", None) or () if name not in _HEADS]
    if saved or getattr(config, "trainable_token_indices", None):
        raise UserError(
            f"{told}it holds whole copies of parts of the old base ({', '.join(saved) or 'rows of the embedding'}), "
            f"which would undo what the new base learned. {remedy}"
        )
    return config  # type: ignore[no-any-return]


def load_whole(place: str, kind: Kind) -> PreTrainedModel:
    """A whole task model. UserError when there is none."""
    if kind == "answers":
        return load_model(place)
    return load_as(AutoModelForSequenceClassification, "a sequence classifier", place)


def with_adapter(model: PreTrainedModel, place: str, scale: float = 1.0) -> TaskModel:
    """The model with the adapter of a folder, and its head if it has one, ready to be trained; what it adds is scaled.

    UserError when the adapter does not fit, and for a scale of an adapter that has no linear one.
    """
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    if not (Path(place) / ADAPTER_WEIGHTS).is_file():
        raise UserError(
            f"the adapter in '{place}' holds no {ADAPTER_WEIGHTS}: rewarm reads no pickles. Save it again with "
            "save_pretrained"
        )
    try:
        wrapped: Any = PeftModel.from_pretrained(model, place, is_trainable=True)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the adapter in '{place}' does not fit {type(model).__name__}: {error}") from error
    if scale != 1:
        layers = [module for module in wrapped.modules() if isinstance(module, LoraLayer)]
        if not layers:
            raise UserError(
                f"--scale {scale:g} is for LoRA and whole models: leave it out for the adapter in '{place}'"
            )
        with torch.no_grad():
            for layer in layers:
                for matrix in (*layer.lora_B.values(), *layer.lora_embedding_B.values()):
                    getattr(matrix, "weight", matrix).mul_(scale)
    return TaskModel(wrapped.base_model.model, wrapped)


def new_adapter(model: PreTrainedModel, config: PeftConfig, seed: int) -> TaskModel:
    """The model with a fresh adapter of the same settings, random by the seed."""
    from peft import get_peft_model

    own = copy.deepcopy(config)
    own.inference_mode = False
    own.base_model_name_or_path = None  # it names the old base
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        wrapped: Any = get_peft_model(model, own)
    return TaskModel(wrapped.base_model.model, wrapped)


def classifier_of(base: PreTrainedModel, classes: Sequence[str], pad: int, seed: int) -> PreTrainedModel:
    """A sequence classifier with a copy of the base's body and a random head; rows are filled up with the token `pad`.

    The caller's random state is not touched.
    """
    config = copy.deepcopy(base.config)
    config.num_labels = len(classes)
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: number for number, name in enumerate(classes)}
    config.get_text_config().pad_token_id = pad
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        made: PreTrainedModel = AutoModelForSequenceClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
    body = dict(base.named_parameters())
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name in body:
                parameter.copy_(body[name])
    made.config.use_cache = False
    made.eval()
    return made


def carried(
    new: PreTrainedModel,
    old: PreTrainedModel,
    tuned: PreTrainedModel,
    scale: float = 1.0,
    special_rows: Sequence[int] = (),
) -> PreTrainedModel:
    """new + scale (tuned - old) as a model of the tuned one's class; none of the three is touched.

    Parameters that only the tuned model has, a classifier's head, are copied from it, at any scale. Scale 0 leaves the
    new base's, bit for bit. Rows of a grown vocabulary: as `rewarm.models.merging.chat_vector`.
    """
    made = copy.deepcopy(tuned)
    rows = max(vocabulary_rows(new), vocabulary_rows(tuned))
    if rows > vocabulary_rows(made):
        made.resize_token_embeddings(rows, mean_resizing=False)
    parts = [dict(model.named_parameters()) for model in (new, old, tuned)]
    vocabulary = vocabulary_parameters(made)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name in parts[0]:
                new_P, old_P, tuned_P = (part[name].detach() for part in parts)
                special = special_rows if name in vocabulary else ()
                parameter.copy_(chat_vector(new_P, old_P, tuned_P, scale, special))
    return made


def between(model: PreTrainedModel, first: Tensors, second: Tensors, place: float) -> None:
    """Overwrites the parameters of a model with (1 - place) first + place second, heads included."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(interpolated(first[name], second[name], place))
