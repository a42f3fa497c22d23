"""Where what is learned goes, when not into the model's own weights. One file each; the class is its options.

Laws (tests/adapters/test_adapters_laws.py): a fresh adapter leaves the logits equal; only what it says trains; its
tensors survive save and load; merged equals attached.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from rewarm.methods import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Adapter(Method):
    """Slot: parameters added to a model, which train in place of its own.

    With `one_for: stage` each stage gets a new adapter, on top of what the stages before merged into the weights; with
    `run` one adapter is trained by all stages that name it, and each stage exports a merged copy.
    An adapter that `merges` becomes part of a plain Hugging Face model; another is exported beside the weights.
    """

    paper: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    merges: ClassVar[bool] = True

    one_for: Literal["stage", "run"] = "stage"

    @abstractmethod
    def attach(self, model: PreTrainedModel, seed: int) -> None:
        """Adds the adapter in place; afterwards only what it trains has `requires_grad`. `seed` starts its weights.

        UserError when the model has nothing that it could be attached to.
        """

    @abstractmethod
    def merge(self, model: PreTrainedModel) -> None:
        """Folds the adapter into the weights in place: a plain model of its class that computes the same."""


SLOT = Adapter
