"""LoRA: beside each frozen matrix, a product of two thin ones that is trained and then added to it (peft)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rewarm.adapters import Adapter
from rewarm.methods import nearest
from rewarm.models.decoder import decoder_layers, drawing
from rewarm.types import UserError

if TYPE_CHECKING:
    from peft import LoraConfig

MOST_RANK = 256
RSLORA_ALPHA = 16.0


class Lora(Adapter):
    """W + scale x B A, with scale = alpha / r; A begins random, B at 0, and W is frozen.

    Hu et al., arXiv 2106.09685. Defaults for continual pre-training as Biderman et al. (arXiv 2405.09673) found them:
    every linear of the decoder layers, r 256 (a quarter of the width where that is less), alpha = 2 r. They train it
    at about ten times the learning rate of full training: that is `learning_rate_factor: 10`.

    `targets` is `all-linear`, `attention`, or names of modules (`[q_proj, v_proj]`); one that is nowhere is an error.
    `rslora` makes the scale alpha / sqrt(r), with alpha 16 (Kalajdzievski, arXiv 2312.03732), so that r can grow
    without the learning rate. With `embeddings` the input embeddings and the head are trained whole, which is what
    recipes for new languages do, and is exact for tied ones: low-rank pairs on two ends of one matrix are not. They
    then train at the stage's learning rate, which is high for them.

    CKL's setting (arXiv 2110.03215) is `{r: 4, alpha: 16, targets: [q_proj, v_proj]}`. Its code scales by r / alpha,
    the inverse: `{r: 4, alpha: 1, ...}` computes that.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "rank": "r", "lora_r": "r", "lora_rank": "r", "lora_alpha": "alpha", "lora_dropout": "dropout",
        "target_modules": "targets", "lora_target": "targets", "use_rslora": "rslora", "modules_to_save": "embeddings",
    }  # fmt: skip
    paper: ClassVar[str] = "arXiv 2106.09685"
    of_decoders: ClassVar[bool] = False
    several: ClassVar[bool] = True
    cost: ClassVar[str] = "two thin products beside each matrix; gradients and optimizer state for these alone"

    r: Annotated[int, Field(gt=0)] | None = None
    alpha: Annotated[float, Field(gt=0)] | None = None
    rslora: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["all-linear", "attention"] | tuple[str, ...] = "all-linear"
    embeddings: bool = False

    @field_validator("targets")
    @classmethod
    def _some_targets(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("give all-linear, attention, or names of modules such as [q_proj, v_proj]")
        return value

    def rank(self, width: int) -> int:
        """The rank for a model of this width; UserError when it is above the width, which no matrix needs."""
        rank = self.r if self.r is not None else max(1, min(MOST_RANK, width // 4))
        if rank > width:
            raise UserError(
                f"lora: r {rank} is more than the model's width {width}. Give {width} or less, or leave r out for "
                f"{max(1, min(MOST_RANK, width // 4))}"
            )
        return rank

    def scale(self, width: int) -> float:
        """What the product of the two thin matrices is multiplied by."""
        rank = self.rank(width)
        return self._alpha(rank) / (math.sqrt(rank) if self.rslora else rank)

    def attach(self, model: PreTrainedModel, seed: int) -> None:
        """Puts a pair of matrices beside each target. The model stays of its own class."""
        # Importing peft takes a moment that plans without LoRA should not wait for.
        from peft import inject_adapter_in_model

        found = self._found(model)
        config = self._config(model, list(found), any(isinstance(module, Conv1D) for module in found.values()))
        with drawing(seed):
            inject_adapter_in_model(config, model)
        if self.embeddings:
            for part in (model.get_input_embeddings(), model.get_output_embeddings()):
                if part is not None:
                    part.requires_grad_(True)

    def merge(self, model: PreTrainedModel) -> None:
        """Adds each product to its matrix, and takes the pairs away."""
        from peft.tuners.lora import LoraLayer

        for name, module in list(model.named_modules()):
            if isinstance(module, LoraLayer):
                module.merge()
                model.set_submodule(name, module.get_base_layer())
        del model.peft_config
        super().merge(model)

    def _alpha(self, rank: int) -> float:
        return self.alpha if self.alpha is not None else RSLORA_ALPHA if self.rslora else 2.0 * rank

    def _config(self, model: PreTrainedModel, targets: list[str], fan_in_fan_out: bool) -> LoraConfig:
        from peft import LoraConfig

        rank = self.rank(int(model.config.get_text_config().hidden_size))
        return LoraConfig(
            r=rank,
            lora_alpha=self._alpha(rank),  # type: ignore[arg-type]  # peft divides it, whole or not
            use_rslora=self.rslora,
            lora_dropout=self.dropout,
            target_modules=targets,
            fan_in_fan_out=fan_in_fan_out,
        )

    def _found(self, model: PreTrainedModel) -> dict[str, nn.Module]:
        """The targets by their names in the model; UserError when a name is that of none."""
        start, layers = decoder_layers(model)
        linears = {name: part for name, part in layers.named_modules() if isinstance(part, nn.Linear | Conv1D)}
        if self.targets == "attention":
            chosen = [name for name in linears if "attn" in name or "attention" in name]
        elif self.targets == "all-linear":
            chosen = list(linears)
        else:
            chosen = []
            for target in self.targets:
                own = [name for name in linears if f".{name}".endswith(f".{target}")]
                if not own:
                    kinds = {name.rpartition(".")[2] for name in linears}
                    raise UserError(
                        f"lora: no linear of {type(model).__name__}'s layers is called '{target}'. "
                        f"{nearest(target, kinds)}"
                    )
                chosen += [name for name in own if name not in chosen]
        if not chosen:
            raise UserError(
                f"lora: {type(model).__name__} has no linear that targets '{self.targets}' names. Name its modules"
            )
        return {f"{start}.{name}": linears[name] for name in chosen}
