"""A classifier on any Hugging Face body, and the loop that tunes it (rewarm.evaluation.tuning).

Shapes: B rows, T positions, M real tokens, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.evaluation.learners import Judged, Learner, Outcome, Padded, Passed, score
from rewarm.evaluation.tuning import Course, Distil, Teaching, Tuning, tune
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

__all__ = ["Classifier", "Course", "Distil", "Examples", "Outcome", "Teaching", "Tuning", "score", "tune"]


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled rows: token ids, as the body is to read them, and a class from 0 for each."""

    tokens: Sequence[Sequence[int]]
    labels: Sequence[int]

    def __post_init__(self) -> None:
        """UserError for an empty row or labels that do not match."""
        if len(self.tokens) != len(self.labels):
            raise UserError(f"{len(self.tokens)} rows have {len(self.labels)} labels: give one for each")
        if empty := [number for number, row in enumerate(self.tokens) if not len(row)]:
            raise UserError(f"row {empty[0]} has no token: leave empty rows out")

    @classmethod
    def of(
        cls, texts: Sequence[str], labels: Sequence[int], tokenizer: TextTokenizer, max_length: int = 128
    ) -> Examples:
        """Texts as the tokenizer reads documents, cut after `max_length` tokens."""
        return cls([row[:max_length].tolist() for row in tokenizer.encode(texts)], labels)

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each row."""
        return [len(row) for row in self.tokens]

    def padded(self, chosen: Sequence[int], pad: int) -> Padded:
        """The chosen rows, filled up on the right."""
        tokens_BT, real_BT = filled([self.tokens[row] for row in chosen], pad)
        return Padded(tokens_BT, real_BT, torch.tensor([self.labels[row] for row in chosen]))


def filled(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Rows as one tensor (B, T), and where it holds real tokens."""
    tokens_BT = np.full((len(rows), max(map(len, rows))), pad, np.int64)
    real_BT = np.zeros(tokens_BT.shape, bool)
    for place, row in enumerate(rows):
        tokens_BT[place, : len(row)] = row
        real_BT[place, : len(row)] = True
    return torch.from_numpy(tokens_BT), torch.from_numpy(real_BT)


class Classifier(Learner):
    """The mean of the last hidden states over the real tokens, then a linear head: logits of `classes` classes.

    The body is the model itself, not a copy: tuning the classifier changes it. A language model's own head is not used.
    The head is random by the seed, and lies on the body's device.
    """

    judged: ClassVar[Judged] = "accuracy"

    def __init__(self, body: PreTrainedModel, classes: int, seed: int = 0) -> None:
        super().__init__()
        if classes < 2:
            raise UserError(f"a classifier of {classes} classes has nothing to tell apart: give 2 or more")
        found: Any = body.base_model
        self.body: PreTrainedModel = found
        self.body.config.use_cache = False
        width = int(body.config.get_text_config().hidden_size)
        self.head = nn.Linear(width, classes)
        with torch.no_grad():
            self.head.weight.normal_(std=0.02, generator=torch.Generator().manual_seed(seed))
            self.head.bias.zero_()
        self.head.to(body.device)

    def read(self, rows: Padded, states: bool = False) -> Passed:
        """Logits of the rows' classes (B, C)."""
        device = self.body.device
        real_BT = rows.real_BT.to(device)
        found = self.body(
            input_ids=rows.tokens_BT.to(device), attention_mask=real_BT.long(), output_hidden_states=states
        )
        hidden_BTD = found.last_hidden_state.float() * real_BT[:, :, None]
        logits_BC = self.head(hidden_BTD.sum(1) / real_BT.sum(1, keepdim=True)).float()
        kept = tuple(state[real_BT] for state in found.hidden_states[:-1]) if states else ()
        return Passed(logits_BC, rows.labels.to(device), torch.arange(len(logits_BC)), kept)
