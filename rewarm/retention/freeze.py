"""Freezing: some layers of the model, or parts of them, do not train."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, model_validator
from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.models.decoder import decoder_layers
from rewarm.retention import Keeper, Retention, Scene
from rewarm.types import UserError

PARTS = {"attention": ("attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn", "moe")}
"""What the names of a decoder layer's modules hold in the families of the transformers library."""
Layers = str | tuple[int, ...]


def _named(layers: Layers) -> Layers:
    if isinstance(layers, str) and not re.fullmatch(
        r"none|all|body|(lower|upper|random)-half|(first|last|random)-0*[1-9]\d*", layers
    ):
        raise ValueError(
            "give none, all, body, lower-half, upper-half, random-half, first-N, last-N or random-N with a number N, "
            "or a list of layers counted from 0"
        )
    return layers


class Freeze(Retention):
    """The chosen decoder layers do not train, nor the token embeddings where `embeddings`, nor any norm where `norms`.

    The default is the lower half and the embeddings, as in Cossu et al., arXiv 2205.09357; `only` freezes just the
    attention or the feed-forward part of the chosen layers, as Li and Lee, arXiv 2401.03129, compare. Layers count
    from 0 at the input; `body` is everything but the rows of tokens, in the embedding and the head, so that with
    `embeddings: false` these alone train (the first stage after new tokens). A head tied to the embeddings is frozen
    with them. What is frozen has no gradient, no moments and no place in checkpoints. `random-half` and `random-N`
    freeze layers drawn with `seed`: the control.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2205.09357"
    cost: ClassVar[str] = "less than nothing: fewer gradients and moments, smaller checkpoints"
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"layers": ("lower-half", "upper-half"), "embeddings": (True, False)}

    layers: Annotated[Layers, AfterValidator(_named)] = "lower-half"
    only: Literal["attention", "mlp"] | None = None
    embeddings: bool = True
    norms: bool = False
    seed: int = 0

    @model_validator(mode="after")
    def _only_of_something(self) -> Freeze:
        if self.only is not None and self.layers == "none":
            raise ValueError(f"only: {self.only} freezes that part of the layers chosen, and layers is none")
        if self.layers == "body" and (self.only is not None or self.embeddings or self.norms):
            raise ValueError(
                "layers: body freezes everything but the rows of tokens: set embeddings: false, and leave out only and "
                "norms"
            )
        return self

    @classmethod
    def off(cls) -> Freeze:
        """Everything trains."""
        return cls(layers="none", embeddings=False)

    def control(self) -> Freeze | None:
        """As many layers, drawn at random; None where none or all of them are frozen, or they are random already."""
        if isinstance(self.layers, tuple):
            return self.model_copy(update={"layers": f"random-{len(self.layers)}"}) if self.layers else None
        first, _, count = self.layers.partition("-")
        return self.model_copy(update={"layers": f"random-{count}"}) if count and first != "random" else None

    def select(self, model: PreTrainedModel) -> None:
        """Takes the frozen parameters out of training; UserError when that leaves none, or there is nothing to take."""
        frozen = self._frozen(model)
        if frozen and not any(parameter.requires_grad for parameter in frozen):
            raise UserError(
                f"retention 'freeze': what it names of {type(model).__name__} does not train anyway, because an "
                "adapter trains in its place. Leave freeze out, or train without the adapter"
            )
        for parameter in frozen:
            parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise UserError(
                f"retention 'freeze' leaves nothing of {type(model).__name__} to train. Freeze fewer layers"
            )

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """No hooks; `reached` is the frozen share of all parameters of the model."""
        keeper = Keeper()
        total = sum(parameter.numel() for parameter in scene.model.parameters())
        frozen = sum(parameter.numel() for parameter in self._frozen(scene.model))
        keeper.reached = frozen / total if frozen else None
        return keeper

    def _frozen(self, model: PreTrainedModel) -> list[nn.Parameter]:
        """The parameters the options name, tied ones once; UserError for an option that names none."""
        chosen: dict[int, nn.Parameter] = {}
        kinds = {
            "layers": (self.layers != "none" and self.layers != (), self._in_layers(model)),
            "embeddings": (self.embeddings, model.get_input_embeddings().parameters()),
            "norms": (self.norms, _in_norms(model)),
        }
        for option, (is_asked, parameters) in kinds.items():
            if not is_asked:
                continue
            found = {id(parameter): parameter for parameter in parameters}
            if not found:
                raise UserError(f"retention 'freeze': {option} names no parameter of {type(model).__name__}")
            chosen |= found
        return list(chosen.values())

    def _in_layers(self, model: PreTrainedModel) -> Iterator[nn.Parameter]:
        if self.layers == "body":
            both = model.get_input_embeddings(), model.get_output_embeddings()
            rows = {id(parameter) for module in both if module is not None for parameter in module.parameters()}
            yield from (parameter for parameter in model.parameters() if id(parameter) not in rows)
            return
        _, layers = decoder_layers(model)
        for number in self._numbers(len(layers)):
            parts = layers[number].named_children() if self.only else [("", layers[number])]
            for name, part in parts:
                if self.only is None or (_is_named(name, PARTS[self.only]) and not _is_norm(part)):
                    yield from part.parameters()

    def _numbers(self, count: int) -> list[int]:
        """Which of `count` layers are frozen; UserError for more of them than there are."""
        if isinstance(self.layers, tuple):
            wrong = [number for number in self.layers if not 0 <= number < count]
            if wrong:
                raise UserError(
                    f"retention 'freeze': layers {wrong} are not among the model's {count}, counted 0 to {count - 1}"
                )
            return sorted(set(self.layers))
        word, _, amount = self.layers.partition("-")
        frozen = count if word == "all" else 0 if word == "none" else count // 2 if amount == "half" else int(amount)
        if frozen > count:
            raise UserError(f"retention 'freeze': '{self.layers}' is more than the model's {count} layers")
        if word in ("upper", "last"):
            return list(range(count - frozen, count))
        if word == "random":
            return sorted(random.Random(self.seed).sample(range(count), frozen))
        return list(range(frozen))


def _in_norms(model: PreTrainedModel) -> Iterator[nn.Parameter]:
    for module in model.modules():
        if _is_norm(module):
            yield from module.parameters()


def _is_named(name: str, words: Iterable[str]) -> bool:
    return any(word in name for word in words)


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()
