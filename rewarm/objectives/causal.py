"""The causal language-model loss: every token of packed text is predicted from those before it in its document."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rewarm.objectives import Loss, Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Causal(Objective):
    """Next-token cross-entropy over packed documents: plain continual pre-training."""

    several: ClassVar[bool] = True
    paper: ClassVar[str] = "the usual objective of decoders"
    cost: ClassVar[str] = "one forward and one backward pass per token"

    def loss(self, model: PreTrainedModel) -> Loss:
        """The loss of packed rows, in nats summed over targets."""
        # Here, because a plan is read without loading torch.
        from rewarm.objectives.packed_loss import PackedLoss

        return PackedLoss(model)
