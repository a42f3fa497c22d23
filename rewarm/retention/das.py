"""DAS: units that matter to what a model knows are changed less, by how much they matter (soft-masking)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.quantities import Share
from rewarm.retention import Cut, Keeper, Retention, Scene, Tensors
from rewarm.retention.contrast import contrast, document_means, without_recomputing
from rewarm.retention.gates import (
    Norm,
    dropout_importance,
    dropped,
    gated,
    inputs_of,
    normalised,
    text_importance,
)
from rewarm.retention.penalty import permuted, trainable
from rewarm.retention.units import Units, find_units, masks
from rewarm.stages import NEW, OLD
from rewarm.types import Batch, UserError

PROTECTED, FREE = 0.8, 0.2


class DAS(Retention):
    """An update of the weights of a unit is scaled by 1 - strength x importance, which lies between 0 and 1.

    Ke et al., arXiv 2302.03241. Units are attention heads, feed-forward neurons and feed-forward outputs; embeddings,
    norms and the head stay free. Importance starts with `general` knowledge: `dropout`, the paper's stand-in for text
    that is not to be had (the divergence of two passes over the stage's own text), `text`, or `none`. At the end of a
    stage it grows to the maximum of itself and the importance for the stage's own text; the next stage starts with it.

    `mask: gradients` is the published form: AdamW divides a constant scale of gradients out again, so that it hardly
    protects anything. `norm: paper` also protects the units that matter least.

    With `contrast` above 0 (the paper: 1) the loss has its contrastive term, averaged over the documents of a
    micro-batch, whose other documents are the negatives: three more passes, forward and backward.
    """

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "arXiv 2302.03241"
    cost: ClassVar[str] = (
        "one copy of the layers' weights and two passes over them per step; per stage a forward and backward pass over "
        "`rows` rows, and about three times that more in the first for dropout; with contrast, steps take 3 to 4 times "
        "as long"
    )
    copies: ClassVar[float] = 1.0
    of_text: ClassVar[bool] = True
    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"norm": ("one-sided", "paper", "rank")}
    brisk: ClassVar[Mapping[str, Any]] = {"rows": 4, "contrast": 1.0}

    strength: Share = 1.0
    general: Literal["dropout", "text", "none"] = "dropout"
    text: str = OLD
    rows: Annotated[int, Field(ge=1)] = 256
    dropout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    norm: Norm = "one-sided"
    mask: Literal["update", "gradients"] = "update"
    protect_down: bool = False
    contrast: Annotated[float, Field(ge=0)] = 0.0
    temperature: Annotated[float, Field(gt=0)] = 0.05
    importance: Literal["gates", "shuffled"] = "gates"

    @classmethod
    def off(cls) -> DAS:
        """Masks of strength 0, and no contrast."""
        return cls(strength=0.0, general="none")

    def control(self) -> DAS:
        """The same importances, given to other units of their layer and kind."""
        return self.model_copy(update={"importance": "shuffled"})

    def alone(self, in_parts: bool) -> str | None:
        """The contrast has no share of its own for each process."""
        if self.contrast == 0:
            return None
        return (
            f"with contrast {self.contrast:g} would depend on the number of processes: its negatives are the documents "
            "of one micro-batch, and its dropout is drawn for each. Start one process, or set contrast to 0"
        )

    def texts(self) -> tuple[str, ...]:
        """What general knowledge is measured on, if on a text that is not the stage's own."""
        return (self.text,) if self.general == "text" and self.text != NEW else ()

    def measure(self, scene: Scene) -> Tensors:
        """Importance by name of the units, (units) each: what the stage before left, or of general knowledge."""
        if scene.before:
            return dict(scene.before)
        units = find_units(scene.model)
        if self.general == "none":
            return {some.name: torch.zeros(some.count) for some in units}
        if self.general == "text":
            found = text_importance(scene, units, self.text, self.rows)
        else:
            found = dropout_importance(scene, units, NEW, self.rows, self.dropout)
        return normalised(found, self.norm)

    def keeper(self, scene: Scene, measured: Mapping[str, Tensor]) -> Keeper:
        """The masks; UserError when the importance is that of another model."""
        units = find_units(scene.model, self.protect_down)
        held = {name: value.to(scene.model.device) for name, value in measured.items()}
        _check(units, held)
        return SoftMask(scene, units, permuted(held, scene.seed) if self.importance == "shuffled" else held, self)

    def check(self, model: PreTrainedModel, steps: int) -> None:
        """UserError when the heads and neurons of such a model are not known, or none of their weights trains."""
        units = find_units(model, self.protect_down)
        if not masks(units, {some.name: torch.ones(some.count) for some in units}):
            raise UserError(
                f"retention 'das': no weight of a head or neuron of {type(model).__name__} trains, because an adapter "
                "or freeze keeps them as they are. Leave das out, or train without that"
            )

    def leave(self, scene: Scene, measured: Mapping[str, Tensor]) -> Tensors:
        """The maximum, unit by unit, of the importance so far and that for the stage's own text."""
        found = normalised(text_importance(scene, find_units(scene.model), NEW, self.rows), self.norm)
        return {name: torch.maximum(value, measured[name].to(value)) for name, value in found.items()}


def _check(units: Sequence[Units], held: Mapping[str, Tensor]) -> None:
    wanted = {some.name: (some.count,) for some in units}
    found = {name: tuple(value.shape) for name, value in held.items()}
    if wanted != found:
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise UserError(
            f"importance was measured on a model of another shape: {', '.join(differing[:4])} differ. das goes on from "
            "a stage before only with the same layers; start it anew in a run of its own"
        )


class SoftMask(Keeper):
    """Scales updates (or gradients) of the weights that units lie in; the contrastive term."""

    def __init__(self, scene: Scene, units: Sequence[Units], held: Tensors, options: DAS) -> None:
        self.model, self.units, self.held, self.options = scene.model, units, held, options
        self.masks: dict[nn.Parameter, Tensor] = {
            parameter: mask * options.strength for parameter, mask in masks(units, held).items()
        }
        names = {parameter: name for name, parameter in trainable(scene.model).items()}
        self._names = [names[parameter] for parameter in self.masks]
        held_back = sum(int((mask > 0).expand_as(parameter).sum()) for parameter, mask in self.masks.items())
        # Without any general knowledge there is nothing to hold before the first stage has left something.
        waits = options.general == "none" and not scene.before
        self.reached = None if waits else held_back / max(1, sum(parameter.numel() for parameter in names))
        self._on_update = options.strength > 0 and options.mask == "update"
        self._before = [torch.empty_like(parameter) for parameter in self.masks] if self._on_update else []

    @torch.no_grad()
    def divide(self, own: Mapping[str, nn.Parameter], cut: Cut, total: Callable[[float], float]) -> None:
        """The same for the parts; a mask of columns is that of every part."""
        super().divide(own, cut, total)
        named = zip(self._names, self.masks.values(), strict=True)
        self.masks = {own[name]: cut(name, mask) if len(mask) > 1 else mask for name, mask in named}
        self._before = [torch.empty_like(part) for part in self.masks] if self._on_update else []

    def loss(self, batch: Batch, scale: float) -> Tensor | None:
        """The contrast of a micro-batch, weighted by its share of the step's targets."""
        if self.options.contrast == 0 or batch.num_targets == 0:
            return None
        with without_recomputing(self.model):
            full_ND = self._documents(batch)
            with dropped(self.units, self.options.dropout):
                positive_ND = self._documents(batch)
            with gated(self.units, self.held):
                negative_ND = self._documents(batch)
        found = contrast(full_ND, positive_ND, negative_ND, self.options.temperature)
        return self.options.contrast * scale * batch.num_targets * found

    def _documents(self, batch: Batch) -> Tensor:
        hidden_BTD = self.model.base_model(**inputs_of(self.model, batch)).last_hidden_state
        return document_means(hidden_BTD, batch)

    @torch.no_grad()
    def gradients(self, step: int) -> None:
        """The published form: scales gradients."""
        if self.options.strength > 0 and self.options.mask == "gradients":
            for parameter, mask in self.masks.items():
                if parameter.grad is not None:
                    parameter.grad.mul_(1 - mask)

    @torch.no_grad()
    def before_update(self, step: int) -> None:
        """Remembers the weights."""
        if self._on_update:
            torch._foreach_copy_(self._before, list(self.masks))

    @torch.no_grad()
    def update(self, step: int, rate: float) -> None:
        """Takes back the masked share of the update, weight decay included."""
        if self._on_update:
            # lerp gives either end exactly: a mask of 0 leaves the update as it is, one of 1 freezes, bit for bit.
            for (parameter, mask), before in zip(self.masks.items(), self._before, strict=True):
                parameter.lerp_(before, mask)

    @torch.no_grad()
    def readings(self) -> dict[str, float]:
        """Mean importance, the share of units above 0.8, and how far the last update moved those as against free ones.

        `displacement` is the root mean square over weights of units above 0.8, divided by that of units below 0.2.
        """
        every = torch.cat(list(self.held.values()))
        found = {"importance": float(every.mean()), "protected": float((every > PROTECTED).float().mean())}
        return found | (self._displacement() if self._on_update else {})

    def _displacement(self) -> dict[str, float]:
        squares, counts = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        for (parameter, mask), before in zip(self.masks.items(), self._before, strict=True):
            moved = (parameter - before).square()
            for place, chosen in enumerate((mask > PROTECTED, mask < FREE)):
                squares[place] += (moved * chosen).sum().cpu()
                counts[place] += chosen.expand_as(parameter).sum().cpu()
        for sums in (squares, counts):
            sums.copy_(torch.tensor([self.total(value) for value in sums.tolist()]))
        if not counts.all() or squares[1] == 0:
            return {}
        protected, free = (squares / counts).sqrt().tolist()
        return {"displacement": protected / free}
