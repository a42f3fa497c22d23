"""Merging: several models of one architecture become one, parameter by parameter, with sums in fp32.

Buffers (rotary tables, masks) follow from the configuration and are left alone. A weight at the end of a sweep gives
the model at that end back, bit for bit. Only the temporaries of one parameter are held beside the models.

Shapes: P is any shape of a parameter, V rows of a vocabulary, E the width, K models.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft.utils import merge_utils
from transformers import PreTrainedModel

from rewarm.hashing import seed_of
from rewarm.types import UserError

Method = Literal["wise-ft", "soup", "ties", "dare", "chat-vector"]
_FORWARD_KEYS = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "hidden_act", "rope_theta", "rope_parameters", "tie_word_embeddings",
)  # fmt: skip
"""Of a configuration, what gives the same parameters another meaning."""
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """How models are merged, whole: the same recipe on the same models gives the same bytes.

    The models are, for each method: `wise-ft` base and stage; `soup` any number; `ties` and `dare` the base and then
    any number; `chat-vector` stage, base and chat model. `density` and `seed` are for ties and dare; `special_rows`,
    rows of the vocabulary, for chat-vector.
    """

    method: Method
    weight: float = 1.0
    density: float = 1.0
    seed: int = 0
    special_rows: tuple[int, ...] = ()


def blend(model: PreTrainedModel, parts: Sequence[Mapping[str, torch.Tensor]], recipe: Recipe) -> None:
    """Overwrites every parameter of `model` with the merge of the parts' parameters of that name.

    `model` shares no memory with any part and has the shapes of the first one; for chat-vector, as many vocabulary rows
    as the stage or the chat model, whichever has more.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(combine(recipe, name, [part[name] for part in parts]))


def combine(recipe: Recipe, name: str, tensors_P: Sequence[torch.Tensor]) -> torch.Tensor:
    """The merged parameter (P) called `name`; `tensors_P` are that parameter in each of the recipe's models."""
    first_P, *rest_P = tensors_P
    match recipe.method:
        case "wise-ft":
            return interpolated(first_P, rest_P[0], recipe.weight)
        case "soup":
            return mean(tensors_P)
        case "ties":
            return ties(first_P, rest_P, recipe.weight, recipe.density)
        case "dare":
            return dare(first_P, rest_P, recipe.weight, recipe.density, seed_of(recipe.seed, name))
        case "chat-vector":
            return chat_vector(first_P, rest_P[0], rest_P[1], recipe.weight, recipe.special_rows)


def interpolated(base_P: torch.Tensor, stage_P: torch.Tensor, weight: float) -> torch.Tensor:
    """(1 - weight) base + weight stage, in the base's dtype; weights 0 and 1 give the two tensors themselves.

    WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903).
    """
    if weight == 0:
        return base_P
    if weight == 1:
        return stage_P
    return torch.lerp(base_P.float(), stage_P.float(), weight).to(base_P.dtype)


def mean(tensors_P: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean, in the first one's dtype; of a single tensor that tensor itself. Model soups (Wortsman et al. 2022)."""
    if len(tensors_P) == 1:
        return tensors_P[0]
    sum_P = tensors_P[0].float().clone()
    for tensor_P in tensors_P[1:]:
        sum_P += tensor_P.float()
    return (sum_P / len(tensors_P)).to(tensors_P[0].dtype)


def ties(base_P: torch.Tensor, models_P: Sequence[torch.Tensor], weight: float, density: float) -> torch.Tensor:
    """base + weight * (the task vectors, trimmed, with one elected sign per entry, averaged where they have it).

    TIES (Yadav et al. 2023, arXiv 2306.01708). The `density` of each vector's entries largest in size is kept in each
    parameter on its own, where the paper ranks a whole model's at once: that would need every vector at a time.
    """
    if weight == 0:
        return base_P
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The density")  # peft: nothing is trimmed at density 1
        vector_P = merge_utils.ties(_vectors(base_P, models_P), torch.ones(len(models_P)), density)
    return (base_P.float() + weight * vector_P).to(base_P.dtype)


def dare(
    base_P: torch.Tensor, models_P: Sequence[torch.Tensor], weight: float, density: float, seed: int
) -> torch.Tensor:
    """base + weight * (the sum of the task vectors, each with a random `density` of its entries kept, over `density`).

    DARE (Yu et al. 2024, arXiv 2311.03099) with task arithmetic: what is kept is scaled so that the expectation is the
    plain sum. The same seed keeps the same entries at every weight; the caller's random state is not touched.
    """
    if weight == 0:
        return base_P
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The density")
        torch.default_generator.manual_seed(seed % 2**63)
        vector_P = merge_utils.dare_linear(_vectors(base_P, models_P), torch.ones(len(models_P)), density)
    return (base_P.float() + weight * vector_P).to(base_P.dtype)


def _vectors(base_P: torch.Tensor, models_P: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [model_P.float() - base_P.float() for model_P in models_P]


def chat_vector(
    stage_P: torch.Tensor,
    base_P: torch.Tensor,
    chat_P: torch.Tensor,
    weight: float,
    special_rows: Sequence[int] = (),
) -> torch.Tensor:
    """stage + weight * (chat - base), in the stage's dtype; weight 0 gives the stage's tensor itself.

    Chat Vector (Huang et al. 2024, arXiv 2310.04799). Where one vocabulary has more rows than another, the rows that
    all three have get the difference; of `special_rows` those that the chat model changed become its own (the published
    code takes the base's, against its description); the stage's further rows stay; rows that only the chat model has
    are added.
    """
    if weight == 0:
        return stage_P
    if stage_P.shape == base_P.shape == chat_P.shape:
        return _moved(stage_P, base_P, chat_P, weight).to(stage_P.dtype)
    rows = min(len(stage_P), len(base_P), len(chat_P))
    merged_VE = stage_P.float().clone()
    merged_VE[:rows] = _moved(stage_P[:rows], base_P[:rows], chat_P[:rows], weight)
    special = [row for row in special_rows if row < rows and not torch.equal(chat_P[row], base_P[row])]
    merged_VE[special] = chat_P[special].float()
    return torch.cat([merged_VE, chat_P[len(stage_P) :].float()]).to(stage_P.dtype)


def _moved(stage_P: torch.Tensor, base_P: torch.Tensor, chat_P: torch.Tensor, weight: float) -> torch.Tensor:
    """stage + weight * (chat - base) in fp32. Where the stage did not move, the whole difference gives the chat model
    bit for bit, which the rounded sum need not."""
    sum_P = stage_P.float() + weight * (chat_P.float() - base_P.float())
    return torch.where(stage_P == base_P, chat_P.float(), sum_P) if weight == 1 else sum_P


def vocabulary_parameters(model: PreTrainedModel) -> set[str]:
    """Names of the parameters with one row per token: the embedding and the output head, once where they are tied."""
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    own = {id(parameter) for end in ends if isinstance(end, torch.nn.Module) for parameter in end.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in own}


def vocabulary_rows(model: PreTrainedModel) -> int:
    """Rows of the model's embedding."""
    embedding: Any = model.get_input_embeddings()
    return int(embedding.weight.shape[0])


def check_mergeable(
    first: PreTrainedModel, other: PreTrainedModel, names: tuple[str, str], free_rows: bool, own_head: bool = False
) -> None:
    """UserError, naming both models, unless they have one architecture and parameters of one shape.

    With `free_rows` their vocabularies may have different numbers of rows, with `own_head` the other one may have
    parameters that the first lacks. No weight is looked at, so models on the meta device do.
    """
    told = f"'{names[1]}' cannot be merged with '{names[0]}': "
    remedy = "Give models that were all trained on from one base"
    values = [{key: getattr(model.config, key, None) for key in _FORWARD_KEYS} for model in (first, other)]
    differing = [key for key in _FORWARD_KEYS if values[0][key] != values[1][key]]
    if differing:
        said = ", ".join(f"{key} {values[1][key]} instead of {values[0][key]}" for key in differing[:_NAMED])
        raise UserError(f"{told}it has another architecture ({said}). {remedy}")
    shapes, other_shapes = ({name: one.shape for name, one in model.named_parameters()} for model in (first, other))
    vocabulary = vocabulary_parameters(first)
    named = shapes.keys() if own_head else shapes.keys() | other_shapes.keys()
    differing = sorted(name for name in named if shapes.get(name) != other_shapes.get(name))
    rows = [name for name in differing if name in vocabulary and name in other_shapes]
    if rows and rows == differing and all(shapes[name][1:] == other_shapes[name][1:] for name in rows):
        if not free_rows:
            raise UserError(
                f"{told}its vocabulary has {other_shapes[rows[0]][0]} rows instead of {shapes[rows[0]][0]}. Only "
                "chat-vector takes vocabularies of different sizes"
            )
    elif differing:
        raise UserError(f"{told}parameters differ in name or shape: {', '.join(differing[:_NAMED])}. {remedy}")
