"""A causal language model that learns to give answers: prompts with the tokens that are to follow them.

Shapes: B rows, T positions, N targets, V vocabulary, M real tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.evaluation.classifier import filled
from rewarm.evaluation.generation import greedy
from rewarm.evaluation.learners import IGNORED, Judged, Learner, Padded, Passed
from rewarm.objectives.packed_loss import has_plain_head
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError


@dataclass(frozen=True, slots=True)
class Answers:
    """Rows of token ids, and for each token whether it is to be predicted from those before it (the answer's are)."""

    tokens: Sequence[Sequence[int]]
    asked: Sequence[Sequence[bool]]

    def __post_init__(self) -> None:
        """UserError for masks that do not match, and for a row that asks for nothing."""
        if [len(row) for row in self.tokens] != [len(row) for row in self.asked]:
            raise UserError("every row needs as many marks (asked) as it has tokens")
        if bare := [number for number, row in enumerate(self.asked) if not any(row[1:])]:
            raise UserError(f"row {bare[0]} asks for no token behind its first: give it an answer, or leave it out")

    @classmethod
    def of(
        cls, prompts: Sequence[str], answers: Sequence[str], tokenizer: TextTokenizer, max_length: int = 512
    ) -> Answers:
        """Prompts, each followed by its answer and EOS, which is asked for too: a model that never learns to end goes
        on for ever. What is longer than `max_length` loses the start of its prompt."""
        tokens, asked = [], []
        for prompt, answer in zip(tokenizer.encode(prompts), tokenizer.encode(answers), strict=True):
            before = prompt[:-1].tolist()
            after = answer[len(tokenizer.prefix) :].tolist()[: max_length - 1]
            before = before[-(max_length - len(after)) :]
            tokens.append(before + after)
            asked.append([False] * len(before) + [True] * len(after))
        return cls(tokens, asked)

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each row."""
        return [len(row) for row in self.tokens]

    def padded(self, chosen: Sequence[int], pad: int) -> Padded:
        """The chosen rows, filled up on the right; the label of a position is the token after it."""
        tokens_BT, real_BT = filled([self.tokens[row] for row in chosen], pad)
        labels_BT = torch.full_like(tokens_BT, IGNORED)
        for place, row in enumerate(chosen):
            asked = np.asarray(self.asked[row], bool)[1:]
            following = np.asarray(self.tokens[row], np.int64)[1:]
            labels_BT[place, : len(asked)] = torch.from_numpy(np.where(asked, following, IGNORED))
        return Padded(tokens_BT, real_BT, labels_BT)


class Answerer(Learner):
    """A causal language model, itself and not a copy, as a learner of answers: logits at the asked tokens alone."""

    judged: ClassVar[Judged] = "loss"

    def __init__(self, body: PreTrainedModel) -> None:
        super().__init__()
        self.body = body
        self.body.config.use_cache = False
        self._plain = has_plain_head(body)

    def read(self, rows: Padded, states: bool = False) -> Passed:
        """Logits of the asked tokens (N, V), in fp32."""
        device = self.body.device
        real_BT, labels_BT = rows.real_BT.to(device), rows.labels.to(device)
        return self._asked({"input_ids": rows.tokens_BT.to(device)}, real_BT, labels_BT, states)

    def _asked(self, given: dict[str, Tensor], real_BT: Tensor, labels_BT: Tensor, states: bool) -> Passed:
        """What the body makes of tokens, or of their embeddings."""
        inputs: dict[str, Any] = {**given, "attention_mask": real_BT.long(), "output_hidden_states": states}
        is_asked = labels_BT != IGNORED
        if self._plain:
            found = self.body.base_model(**inputs)
            head: Any = self.body.get_output_embeddings()
            logits_NV = head(found.last_hidden_state[is_asked])
        else:
            found = self.body(**inputs)
            logits_NV = found.logits[is_asked]
        kept = tuple(state[real_BT] for state in found.hidden_states[:-1]) if states else ()
        return Passed(logits_NV.float(), labels_BT[is_asked], is_asked.nonzero()[:, 0], kept)

    def write(
        self, prompts: Sequence[Sequence[int]], new: int, ends: Sequence[int], tasks: Sequence[int]
    ) -> list[list[int]]:
        """The tokens written greedily after each prompt: at most `new`, up to (without) the first of `ends`.

        `tasks` has the number of the task of each prompt, for learners that are told; this one does not look at it.
        """
        return greedy(self.body, prompts, [new] * len(prompts), ends)
