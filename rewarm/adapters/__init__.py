"""Where what is learned goes, when not into the model's own weights. One file each; the class is its options.

Laws (tests/adapters/test_adapters_laws.py): a fresh adapter leaves the logits equal; only what it says trains; its
tensors survive save and load; merged equals attached.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from rewarm.methods import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Adapter(Method):
    """Slot: parameters added to a model, which train in place of its own.

    With `one_for: stage` each stage gets a new adapter, on top of what the stages before merged into the weights; with
    `run` one adapter is trained by the stages that name it, one after the other, and each exports a merged copy.
    An adapter that `merges` becomes part of a plain Hugging Face model; another is exported beside the weights
    (rewarm/adapters/beside.py), and AutoModelForCausalLM alone then loads the model without it.
    One `of_decoders` is for models that read from left to right.
    `learning_rate_factor` multiplies the stage's learning rate: fresh parameters bear, and LoRA wants, a higher one.
    """

    paper: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    merges: ClassVar[bool] = True
    of_decoders: ClassVar[bool] = True

    sweep: ClassVar[Mapping[str, Sequence[Any]]] = {"learning_rate_factor": (1.0, 3.0, 10.0)}

    one_for: Literal["stage", "run"] = "stage"
    learning_rate_factor: Annotated[float, Field(gt=0)] = 1.0

    @abstractmethod
    def attach(self, model: PreTrainedModel, seed: int) -> None:
        """Adds the adapter in place; afterwards only what it trains has `requires_grad`. `seed` starts its weights.

        The process's random state is left alone. UserError when the model has nothing that it could be attached to;
        a plan is checked with a model whose weights are not there (on the meta device).
        """

    def merge(self, model: PreTrainedModel) -> None:
        """Folds the adapter into the weights in place: a plain model of its class that computes the same.

        One that does not merge stays where it is. Afterwards every parameter has `requires_grad` again.
        """
        model.requires_grad_(True)


SLOT = Adapter
