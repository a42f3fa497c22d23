"""A Hugging Face sequence classifier as a learner, with the head and the pooling of its own family.

Shapes: B rows, C classes, M real tokens, D width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from transformers import PreTrainedModel

from rewarm.evaluation.learners import Judged, Learner, Padded, Passed


class Labeller(Learner):
    """The model itself and not a copy. One that reads the last token finds it by its own padding token."""

    judged: ClassVar[Judged] = "accuracy"

    def __init__(self, body: PreTrainedModel) -> None:
        super().__init__()
        self.body = body
        self.body.config.use_cache = False

    def read(self, rows: Padded, states: bool = False) -> Passed:
        """Logits of the rows' classes (B, C), in fp32."""
        device = self.body.device
        real_BT = rows.real_BT.to(device)
        found = self.body(
            input_ids=rows.tokens_BT.to(device), attention_mask=real_BT.long(), output_hidden_states=states
        )
        kept = tuple(state[real_BT] for state in found.hidden_states[:-1]) if states else ()
        return Passed(found.logits.float(), rows.labels.to(device), torch.arange(len(real_BT)), kept)
