"""The log-probability of continuations: what fact probes, cloze tests and multiple-choice questions are scored by.

Nothing is generated, and logits are made only where a continuation is predicted. Contexts and few-shot examples that
requests share are computed once (rewarm.evaluation.prefixes); the rest goes in batches of nearly equal length.

Shapes: N requests, B rows, S positions of a row, C of them asked for, M predicted tokens, K rows of logits, D width,
V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from rewarm.evaluation.passes import batch_tokens, length_batches
from rewarm.evaluation.prefixes import Group, Ids, Query, plan
from rewarm.evaluation.trees import keep, reach, shares_prefixes, tree_inputs
from rewarm.objectives.packed_loss import has_plain_head
from rewarm.objectives.probing import evaluating
from rewarm.objectives.products import as_torch_does
from rewarm.types import UserError

LOGIT_BYTES = 64 << 20
"""Logits held at once."""
_MASKABLE = ("sdpa", "eager")
"""Attention that takes any mask; others (flash kernels, a mask made from positions) know causal ones only."""


@dataclass(frozen=True, slots=True)
class Request:
    """How likely is `continuation` after `context`? Both are token ids, neither is empty.

    A continuation at the start of a text has BOS (or EOS, where a tokenizer has no BOS) for a context.
    """

    context: Sequence[int]
    continuation: Sequence[int]


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """Scores of N requests, in their order.

    `logprob_N` is the natural logarithm of each continuation's probability (float64), `tokens_N` how many tokens it
    has, so `logprob_N / tokens_N` is the per-token score; divide by the bytes of the continuation's text for the
    per-byte one. `greedy_N`: the continuation is what greedy decoding gives. `truncated` counts the requests that were
    longer than the model reads, whose context was cut from the left.
    """

    logprob_N: NDArray[np.float64]
    tokens_N: NDArray[np.int64]
    greedy_N: NDArray[np.bool_]
    truncated: int


class Scorer:
    """Scores requests under one model, which reads at most `max_length` tokens at a time.

    What kind of model it is gets looked at once, so keep the scorer for several sets of requests.
    """

    def __init__(self, model: PreTrainedModel, max_length: int) -> None:
        self.model = model
        self.max_length = max_length
        self.plain_head = has_plain_head(model)
        self.picks_positions = "logits_to_keep" in inspect.signature(model.forward).parameters
        with _as_it_is_scored(model):
            self.shares = shares_prefixes(model)

    def score(self, requests: Sequence[Request], done: Callable[[int], None] = lambda requests: None) -> Likelihoods:
        """Scores of `requests`; they do not depend on order or company (beyond rounding, 1e-5).

        `done` is told how many requests each pass finished. UserError for an empty context or continuation, or a
        continuation longer than `max_length`.
        """
        queries = [_query(number, request, self.max_length) for number, request in enumerate(requests)]
        groups, alone = plan(queries) if self.shares else ([], list(range(len(queries))))
        with _as_it_is_scored(self.model):
            job = _Job(self, [request.continuation for request in requests])
            for group in groups:
                if group.length > reach(self.model):
                    alone += group.queries()
                else:
                    job.score_group(group, done)
            job.score_alone(queries, alone, done)
        lengths = (len(request.context) + len(request.continuation) for request in requests)
        return Likelihoods(
            job.logprob_N,
            np.array([query.scored for query in queries], np.int64),
            job.greedy_N,
            truncated=sum(length > self.max_length + 1 for length in lengths),
        )


def _query(number: int, request: Request, max_length: int) -> Query:
    """The last token is only predicted, never read; what is too long loses the start of its context."""
    if not len(request.context) or not 0 < len(request.continuation) <= max_length:
        raise UserError(
            f"request {number} has {len(request.context)} tokens of context and {len(request.continuation)} to score; "
            f"allowed: at least 1 of context (BOS or EOS at the start of a text) and 1 to {max_length} to score"
        )
    ids = np.concatenate([np.asarray(request.context, np.int64), np.asarray(request.continuation, np.int64)])
    return Query(ids[-(max_length + 1) :][:-1], len(request.continuation))


@contextmanager
def _as_it_is_scored(model: PreTrainedModel) -> Iterator[None]:
    """Without dropout and gradients, with attention that takes masks, and with torch's own products: passes have many
    shapes, and the other library prepares anew for each."""
    before = model.config._attn_implementation
    if before not in _MASKABLE:
        model.set_attn_implementation("sdpa")
    try:
        with evaluating(model), torch.no_grad(), as_torch_does():
            yield
    finally:
        if before not in _MASKABLE:
            model.set_attn_implementation(before)


class _Job:
    """Runs the passes of one set of requests and adds what they find to the requests' sums."""

    def __init__(self, scorer: Scorer, continuations: Sequence[Sequence[int]]) -> None:
        self.scorer = scorer
        self.model = scorer.model
        self.continuations = continuations
        self.logprob_N = np.zeros(len(continuations), np.float64)
        self.greedy_N = np.ones(len(continuations), bool)
        self.vocabulary = int(self.model.get_output_embeddings().weight.shape[0])
        self.batch_tokens = batch_tokens(self.model)
        if not scorer.plain_head:
            self.batch_tokens = min(self.batch_tokens, max(1, 4 * LOGIT_BYTES // (4 * self.vocabulary)))

    def score_group(self, group: Group, done: Callable[[int], None]) -> None:
        """Scores a group: its prefix once, then its rows, those of like length together."""
        cache = keep(self.model, group.prefix_P) if len(group.prefix_P) else None
        rows = sorted(group.rows, key=lambda row: -len(row.ids_S))
        for start, end in length_batches([len(row.ids_S) for row in rows], self.batch_tokens):
            chosen = rows[start:end]
            inputs = tree_inputs(chosen, len(group.prefix_P), self.model.dtype)
            width = inputs["input_ids"].shape[1]
            places = [
                (query, [index * width + position for position in positions])
                for index, row in enumerate(chosen)
                for query, positions in row.places
            ]
            self._pass(inputs, places, cache)
            done(len(places))

    def score_alone(self, queries: Sequence[Query], numbers: Sequence[int], done: Callable[[int], None]) -> None:
        """Scores queries as rows of their own; a causal model does not see the padding behind them."""
        ordered = sorted(numbers, key=lambda number: -len(queries[number].ids_T))
        for start, end in length_batches([len(queries[number].ids_T) for number in ordered], self.batch_tokens):
            chosen = ordered[start:end]
            width = len(queries[chosen[0]].ids_T)
            ids_BS = np.zeros((len(chosen), width), np.int64)
            places = []
            for row, number in enumerate(chosen):
                query = queries[number]
                length = len(query.ids_T)
                ids_BS[row, :length] = query.ids_T
                places.append((number, list(range(row * width + length - query.scored, row * width + length))))
            self._pass({"input_ids": torch.from_numpy(ids_BS)}, places, None)
            done(len(places))

    def _pass(self, inputs: dict[str, Tensor], places: list[tuple[int, list[int]]], cache: Cache | None) -> None:
        at_M = np.concatenate([positions for _, positions in places])
        query_M = np.repeat([query for query, _ in places], [len(positions) for _, positions in places])
        target_M = np.concatenate([self.continuations[query] for query, _ in places])
        order_M = np.argsort(at_M, kind="stable")
        needed, inverse_M = np.unique(at_M[order_M], return_inverse=True)
        target_M = target_M[order_M]
        rows_of = self._rows_of(inputs, needed, cache)
        step = max(1, LOGIT_BYTES // (4 * self.vocabulary))
        logprobs, greedy = [], []
        for start in range(0, len(needed), step):
            first, last = np.searchsorted(inverse_M, [start, start + step])
            row_m = torch.from_numpy(inverse_M[first:last] - start).to(self.model.device)
            target_m = torch.from_numpy(target_M[first:last]).to(self.model.device)
            found, best = _look_up(rows_of(slice(start, start + step)).float(), row_m, target_m)
            logprobs.append(found)
            greedy.append(best)
        query_M = query_M[order_M]
        np.add.at(self.logprob_N, query_M, torch.cat(logprobs).double().cpu().numpy())
        np.logical_and.at(self.greedy_N, query_M, torch.cat(greedy).cpu().numpy())

    def _rows_of(self, inputs: dict[str, Tensor], needed: Ids, cache: Cache | None) -> Callable[[slice], Tensor]:
        """A function: a part of the needed positions -> their logits."""
        width = inputs["input_ids"].shape[1]
        moved: dict[str, Any] = {name: value.to(self.model.device) for name, value in inputs.items()}
        moved |= {"past_key_values": cache, "use_cache": cache is not None}
        if self.scorer.plain_head:
            hidden_BSD = self.model.base_model(**moved).last_hidden_state
            hidden_KD = hidden_BSD.flatten(0, 1)[torch.from_numpy(needed).to(hidden_BSD.device)]
            head: Any = self.model.get_output_embeddings()
            return lambda part: head(hidden_KD[part])
        columns = np.arange(width)
        if self.scorer.picks_positions:
            columns = np.unique(needed % width)
            moved["logits_to_keep"] = torch.from_numpy(columns).to(self.model.device)
        logits_BCV = self.model(**moved).logits
        flat = needed // width * len(columns) + np.searchsorted(columns, needed % width)
        logits_KV = logits_BCV.flatten(0, 1)[torch.from_numpy(flat).to(logits_BCV.device)]
        return lambda part: logits_KV[part]


def _look_up(logits_KV: Tensor, row_M: Tensor, target_M: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target at its row of logits, and whether it is the likeliest; overwrites the logits."""
    chosen_M = logits_KV[row_M, target_M]
    top_K, best_K = logits_KV.max(dim=1)
    normaliser_K = logits_KV.sub_(top_K[:, None]).exp_().sum(dim=1).log_() + top_K
    return chosen_M - normaliser_K[row_M], best_K[row_M] == target_M
