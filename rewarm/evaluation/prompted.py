"""A frozen causal language model that learns to answer by prompts alone: vectors put before its input embeddings.

Which prompts a row gets: all there are, those of its task, or those whose keys are closest to its query (PP of
CodeTask-CL, Yadav et al. 2023, arXiv 2307.02435), q(x) = the mean of the frozen model's last hidden states over x, the
tokens before the answer. PP: L = L_LM - pull * mean over rows of sum over its chosen keys of cos(q(x), k). The paper
prints a plus; its text and its code pull keys closer. With teacher forcing (PP-TF) a row of the training gets the keys
assigned to its task, in the sum and before the model; one that is asked about gets the closest keys all the same.

Shapes: B rows, T positions, P prompt vectors of a row, K prompts, L vectors of a prompt, C chosen prompts, D width, N
rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.evaluation.answering import Answerer
from rewarm.evaluation.generation import continued, plainly, rows_at_once, until
from rewarm.evaluation.learners import IGNORED, Padded, Passed, Rows
from rewarm.models.encoder import longest_text
from rewarm.models.prompts import PromptPool
from rewarm.types import UserError

_ROWS = 32
"""Rows of a pass that prompts are initialised from."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which prompts a row gets: `all`, its `task`'s (none yet: it is asked without any), or the `top` closest to its
    `query`.

    `forced`: in training a row gets its task's in their place. `pull` is the weight of the keys' term, `key_rate` the
    learning rate of keys as a factor of the prompts'.
    """

    by: Literal["all", "task", "query"]
    top: int = 20
    forced: bool = False
    pull: float = 0.1
    key_rate: float = 1.0


class PromptedAnswerer(Answerer):
    """Answers of a frozen body after prompts that are learned; body, tokens and answers are as of `Answerer`.

    The body has no dropout and no gradient. `pool` is in the state dict with its size and its owners, so that the state
    of a pool that has grown loads into one that has not.
    """

    def __init__(self, body: PreTrainedModel, length: int, choice: Choice) -> None:
        super().__init__(body)
        self.body.requires_grad_(False)
        embedding: Any = body.get_input_embeddings()
        width = int(embedding.weight.shape[1])
        self.choice = choice
        self.pool = PromptPool(width, length, choice.by == "query", body.device)
        self.train(self.training)

    def train(self, mode: bool = True) -> PromptedAnswerer:
        """As of any module, but the body stays as it answers."""
        super().train(mode)
        self.body.eval()
        return self

    def paces(self) -> dict[str, float]:
        """The factor of the keys' learning rate."""
        return {"pool.keys_KD": self.choice.key_rate}

    @property
    def prefix(self) -> int:
        """Prompt vectors that stand before a row."""
        chosen = {"all": len(self.pool), "task": 1, "query": min(self.choice.top, len(self.pool))}[self.choice.by]
        return min(chosen, len(self.pool)) * self.pool.length

    def check_length(self, tokens: int, prefix: int | None = None) -> None:
        """UserError where a row of so many tokens, after its prompts, has more than the body has positions for."""
        before = self.prefix if prefix is None else prefix
        most = longest_text(self.body)
        if most is not None and before + tokens > most:
            raise UserError(
                f"a row of {tokens:,} tokens after {before:,} prompt vectors takes {before + tokens:,} positions, and "
                f"the base has {most:,}: lower max_length, the number of prompts or their length"
            )

    def read(self, rows: Padded, states: bool = False) -> Passed:
        """Logits of the asked tokens (N, V) after the rows' prompts; in training `extra` is the pull on the keys."""
        device = self.body.device
        tokens_BT, real_BT, labels_BT = (one.to(device) for one in (rows.tokens_BT, rows.real_BT, rows.labels))
        query_BD = self.queries(tokens_BT, sources(real_BT, labels_BT)) if self.choice.by == "query" else None
        chosen_BC = self._chosen(query_BD, len(tokens_BT), rows.task_B, self.training and self.choice.forced)
        given = self._after_prompts(tokens_BT, chosen_BC)
        before = given.shape[1] - tokens_BT.shape[1]
        held_BT = torch.nn.functional.pad(real_BT, (before, 0), value=True)
        asked_BT = torch.nn.functional.pad(labels_BT, (before, 0), value=IGNORED)
        passed = self._asked({"inputs_embeds": given}, held_BT, asked_BT, states)
        if query_BD is None or not self.training or not self.choice.pull:
            return passed
        pull = self.pool.likeness(query_BD, chosen_BC).sum(1).mean()
        return Passed(passed.logits_NC, passed.labels_N, passed.row_N, passed.states, -self.choice.pull * pull)

    def _after_prompts(self, tokens_BT: Tensor, chosen_BC: Tensor) -> Tensor:
        """The embeddings (B, P + T, D) of tokens after their prompts."""
        embedded_BTD: Tensor = self.body.get_input_embeddings()(tokens_BT)
        prompts_BPD = self.pool.vectors(chosen_BC).to(embedded_BTD.dtype)
        self.check_length(tokens_BT.shape[1], prompts_BPD.shape[1])
        return torch.cat([prompts_BPD, embedded_BTD], dim=1)

    def _chosen(self, query_BD: Tensor | None, rows: int, tasks: Sequence[int], of_task: bool) -> Tensor:
        """Which prompts each row gets (B, C)."""
        if of_task or self.choice.by == "task":
            if len(tasks) != rows:
                raise UserError("rows do not say which task each is of, and prompts are chosen by task: give task_B")
            return self._of_tasks(tasks)
        if query_BD is None:
            return torch.arange(len(self.pool), device=self.body.device).repeat(rows, 1)
        return self.pool.closest(query_BD, self.choice.top)

    def _of_tasks(self, tasks: Sequence[int]) -> Tensor:
        held = {task: self.pool.assigned(task) for task in sorted(set(tasks))}
        sizes = {task: len(one) for task, one in held.items()}
        if len(set(sizes.values())) > 1:
            raise UserError(f"tasks have {sizes} prompts: rows of one pass need as many each, so read them apart")
        return torch.stack([held[task] for task in tasks])

    @torch.no_grad()
    def queries(self, tokens_BT: Tensor, source_BT: Tensor) -> Tensor:
        """q(x) of each row (B, D), in fp32: nothing behind the source is read, so an answer cannot matter."""
        width = int(source_BT.sum(1).max())
        source_BT = source_BT[:, :width]
        found: Any = self.body.base_model(input_ids=tokens_BT[:, :width], attention_mask=source_BT.long())
        return _mean(found.last_hidden_state, source_BT)

    def write(
        self, prompts: Sequence[Sequence[int]], new: int, ends: Sequence[int], tasks: Sequence[int]
    ) -> list[list[int]]:
        """Token ids written greedily after each prompt: up to `new`, without the first of `ends`. `tasks` matter where
        prompts are chosen by task. UserError for an empty prompt, and for one that is too long with what is written."""
        if not all(len(prompt) for prompt in prompts):
            raise UserError("a prompt without a token has no query: leave it out")
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, (prompt, task) in enumerate(zip(prompts, tasks, strict=True)):
            alike[len(prompt), task if self.choice.by == "task" else 0].append(number)
        written: list[list[int]] = [[]] * len(prompts)
        with plainly(self.body):
            for (length, _), numbers in sorted(alike.items()):
                self.check_length(length + new)
                rows = rows_at_once(self.body, self.prefix + length + new)
                for start in range(0, len(numbers), rows):
                    chosen = numbers[start : start + rows]
                    found = self._written([prompts[one] for one in chosen], new, ends, [tasks[one] for one in chosen])
                    for number, row in zip(chosen, found, strict=True):
                        written[number] = until(row, ends)
        return written

    def _written(
        self, prompts: Sequence[Sequence[int]], new: int, ends: Sequence[int], tasks: Sequence[int]
    ) -> list[list[int]]:
        tokens_BT = torch.tensor([list(prompt) for prompt in prompts], device=self.body.device)
        all_BT = torch.ones_like(tokens_BT, dtype=torch.bool)
        query_BD = self.queries(tokens_BT, all_BT) if self.choice.by == "query" else None
        given = self._after_prompts(tokens_BT, self._chosen(query_BD, len(prompts), tasks, of_task=False))
        mask_BT = torch.ones(given.shape[:2], dtype=torch.long, device=given.device)
        made: list[list[int]] = continued(
            self.body, {"inputs_embeds": given, "attention_mask": mask_BT}, new, ends
        ).tolist()  # fmt: skip
        return made


def sources(real_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """Where rows hold what comes before their answer (B, T)."""
    asked_BT = labels_BT != IGNORED
    # The label of a place is the token after it: the place of the first label still is of the source.
    return real_BT & (asked_BT.long().cumsum(1) - asked_BT.long() == 0)


def _mean(vectors_BTD: Tensor, held_BT: Tensor) -> Tensor:
    vectors_BTD = vectors_BTD.float() * held_BT[:, :, None]
    return vectors_BTD.sum(1) / held_BT.sum(1, keepdim=True)


@torch.no_grad()
def from_rows(
    learner: PromptedAnswerer, rows: Rows, count: int, seed: int, whole: bool = False
) -> tuple[Tensor, Tensor]:
    """Keys (N, D) and prompts (N, L, D) of unit length, as published, from `count` groups of L rows drawn with the
    seed.

    Each vector of a prompt is the mean embedding of a row's source, the key is the query of one of them. The source is
    all of a row where they are `whole`: prompts without an answer.
    """
    length, device = learner.pool.length, learner.body.device
    draw = np.random.default_rng(seed)
    needed, held = count * length, len(rows.lengths)
    drawn = np.concatenate([draw.permutation(held) for _ in range(-(-needed // held))])[:needed]
    queries, means = [], []
    for start in range(0, needed, _ROWS):
        padded = rows.padded(drawn[start : start + _ROWS].tolist(), learner.pad)
        tokens_BT, labels_BT = padded.tokens_BT.to(device), padded.labels.to(device)
        real_BT = padded.real_BT.to(device)
        source_BT = real_BT if whole else sources(real_BT, labels_BT)
        queries.append(learner.queries(tokens_BT, source_BT))
        means.append(_mean(learner.body.get_input_embeddings()(tokens_BT), source_BT))
    unit = torch.nn.functional.normalize
    prompts_NLD = unit(torch.cat(means), dim=-1).unflatten(0, (count, length))
    groups_NLD = unit(torch.cat(queries), dim=-1).unflatten(0, (count, length))
    picked_N = torch.from_numpy(draw.integers(length, size=count)).to(device)
    return groups_NLD[torch.arange(count, device=device), picked_N], prompts_NLD


def at_random(learner: PromptedAnswerer, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Keys (N, D) and prompts (N, L, D) of unit length in directions drawn with the seed."""
    draw = torch.Generator().manual_seed(seed % 2**63)
    shape = (count, 1 + learner.pool.length, learner.pool.keys_KD.shape[1])
    vectors = torch.nn.functional.normalize(torch.randn(shape, generator=draw), dim=-1).to(learner.body.device)
    return vectors[:, 0], vectors[:, 1:]


def embedding_length(learner: PromptedAnswerer) -> float:
    """The mean length of the body's input embeddings: prompts of unit length times it look like tokens."""
    weight: Any = learner.body.get_input_embeddings().weight
    return float(weight.float().norm(dim=-1).mean())
