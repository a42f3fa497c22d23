"""The log-probability of continuations: what fact probes, cloze tests and multiple-choice questions are scored by.

Nothing is generated, and logits are made only where a continuation is predicted. Contexts and few-shot examples that
requests share are computed once (rewarm.evaluation.prefixes); the rest goes in batches of nearly equal length.

Shapes: N requests, B rows, S positions of a row, P positions of a prefix, M predicted tokens, D width, V vocabulary.
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
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from rewarm.evaluation.passes import batch_tokens, length_batches
from rewarm.evaluation.prefixes import Group, Ids, Query, Row, plan
from rewarm.training.objective import ISOLATED, has_plain_head
from rewarm.training.products import as_torch_does
from rewarm.types import UserError

LOGIT_BYTES = 32 << 20
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


def likelihoods(
    model: PreTrainedModel,
    requests: Sequence[Request],
    max_length: int,
    done: Callable[[int], None] = lambda requests: None,
) -> Likelihoods:
    """Scores of `requests` under a model that reads at most `max_length` tokens at a time.

    They do not depend on order or company (beyond rounding, 1e-5). `done` is told how many requests each pass finished.
    UserError for an empty context or continuation, or a continuation longer than `max_length`.
    """
    queries = [_query(number, request, max_length) for number, request in enumerate(requests)]
    tokens_N = np.array([query.scored for query in queries], np.int64)
    lengths_N = np.array([len(request.context) + len(request.continuation) for request in requests], np.int64)
    was_training = model.training
    model.eval()
    with torch.no_grad(), as_torch_does(), _maskable(model):
        scorer = _Scorer(model, [request.continuation for request in requests])
        groups, alone = plan(queries) if len(queries) > 1 else ([], list(range(len(queries))))
        if groups and not shares_prefixes(model):
            groups, alone = [], list(range(len(queries)))
        for group in groups:
            if group.length > _window(model):
                alone += group.queries()
            else:
                scorer.score_group(group, done)
        scorer.score_alone(queries, alone, done)
    model.train(was_training)
    truncated = int((lengths_N > max_length + 1).sum())
    return Likelihoods(scorer.logprob_N, tokens_N, scorer.greedy_N, truncated)


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
def _maskable(model: PreTrainedModel) -> Iterator[None]:
    before = model.config._attn_implementation
    if before not in _MASKABLE:
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if before not in _MASKABLE:
            model.set_attn_implementation(before)


def _window(model: PreTrainedModel) -> float:
    """How far back every layer sees: the masks of trees know no sliding window or chunk."""
    config = model.config.get_text_config()
    sizes = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((size for size in sizes if isinstance(size, int)), default=float("inf"))


class _Kept(DynamicLayer):
    """One layer's keys and values of a prefix, for any number of rows and passes; what a pass adds is not kept."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of prefix and rows; the prefix is repeated for each row."""
        assert self.keys is not None
        assert self.values is not None
        repeated = (len(key_states), -1, -1, -1)
        keys = torch.cat([self.keys.expand(repeated), key_states], dim=-2)
        return keys, torch.cat([self.values.expand(repeated), value_states], dim=-2)


def _keep(model: PreTrainedModel, prefix_P: Ids) -> Cache | None:
    """The keys and values of a prefix; None when the model keeps something else."""
    cache = DynamicCache()
    tokens_BP = torch.from_numpy(prefix_P)[None].to(model.device)
    model.base_model(input_ids=tokens_BP, past_key_values=cache, use_cache=True)
    layers: list[Any] = []
    for made in cache.layers:
        if not isinstance(made, DynamicLayer) or made.keys is None or made.values is None:
            return None
        layers.append(_Kept(made.keys, made.values))
    return Cache(layers=layers) if layers else None


def _tree_inputs(rows: Sequence[Row], prefix: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tokens, positions and mask of rows of trees that follow a prefix, which all of them see."""
    width = max(len(row.ids_S) for row in rows)
    ids_BS = np.zeros((len(rows), width), np.int64)
    depths_BS = np.full((len(rows), width), prefix, np.int64)
    ends_BS = np.tile(np.arange(1, width + 1), (len(rows), 1))  # padding sees itself
    for index, row in enumerate(rows):
        ids_BS[index, : len(row.ids_S)] = row.ids_S
        depths_BS[index, : len(row.ids_S)] = row.depths_S
        ends_BS[index, : len(row.ids_S)] = row.ends_S
    at_S = torch.arange(width)
    seen_BSS = (at_S[None, None] <= at_S[None, :, None]) & (at_S[None, :, None] < torch.from_numpy(ends_BS)[:, None])
    mask_B1SK = torch.zeros((len(rows), 1, width, prefix + width), dtype=dtype)
    mask_B1SK[:, 0, :, prefix:].masked_fill_(~seen_BSS, torch.finfo(dtype).min)
    tokens, positions = torch.from_numpy(ids_BS), torch.from_numpy(depths_BS)
    return {"input_ids": tokens, "position_ids": positions, "attention_mask": mask_B1SK}


@torch.no_grad()
def shares_prefixes(model: PreTrainedModel) -> bool:
    """Whether a tree behind a kept prefix gives the logits of each of its queries alone.

    False for models without keys and values (recurrent ones), and for attention that follows no mask or position ids.
    """
    known = inspect.signature(model.base_model.forward).parameters
    if not {"past_key_values", "attention_mask", "position_ids"} <= known.keys():
        return False
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    ids_T = np.arange(1, 9) * max(1, vocabulary // 9) % vocabulary
    first, second = ids_T[:6], ids_T[[0, 1, 2, 6, 7]]
    tree = Row(
        ids_S=ids_T[2:], depths_S=np.array([2, 3, 4, 5, 3, 4]), ends_S=np.array([6, 4, 4, 4, 6, 6]),
        places=[(0, [3]), (1, [5])],
    )  # fmt: skip
    if _window(model) < len(first):
        return False
    try:
        cache = _keep(model, ids_T[:2])
        if cache is None:
            return False
        inputs = {name: value.to(model.device) for name, value in _tree_inputs([tree], 2, model.dtype).items()}
        together = model(**inputs, past_key_values=cache, use_cache=True).logits[0, [3, 5]].float()
    except (ValueError, TypeError, RuntimeError, IndexError, AttributeError):
        return False  # how a model fails that was given a cache of another kind than its own
    alone = [model(input_ids=torch.from_numpy(ids)[None].to(model.device), use_cache=False) for ids in (first, second)]
    expected = torch.stack([output.logits[0, -1].float() for output in alone])
    return float((together - expected).abs().max()) <= ISOLATED * float(expected.abs().max())


class _Scorer:
    """Runs passes and adds what they find to the requests' sums."""

    def __init__(self, model: PreTrainedModel, continuations: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.continuations = continuations
        self.logprob_N = np.zeros(len(continuations), np.float64)
        self.greedy_N = np.ones(len(continuations), bool)
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.plain_head = has_plain_head(model)
        self.picks = "logits_to_keep" in inspect.signature(model.forward).parameters
        whole = max(1, 8 * LOGIT_BYTES // (4 * self.vocabulary))
        self.batch_tokens = batch_tokens(model) if self.plain_head else min(batch_tokens(model), whole)

    def score_group(self, group: Group, done: Callable[[int], None]) -> None:
        """Scores a group: its prefix once, then its rows, those of like length together."""
        cache = _keep(self.model, group.prefix_P) if len(group.prefix_P) else None
        rows = sorted(group.rows, key=lambda row: -len(row.ids_S))
        for start, end in length_batches([len(row.ids_S) for row in rows], self.batch_tokens):
            chosen = rows[start:end]
            inputs = _tree_inputs(chosen, len(group.prefix_P), self.model.dtype)
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
        if self.plain_head:
            hidden_BSD = self.model.base_model(**moved).last_hidden_state
            hidden_KD = hidden_BSD.flatten(0, 1)[torch.from_numpy(needed).to(hidden_BSD.device)]
            head: Any = self.model.get_output_embeddings()
            return lambda part: head(hidden_KD[part])
        columns = np.unique(needed % width) if self.picks else np.arange(width)
        keep = {"logits_to_keep": torch.from_numpy(columns).to(self.model.device)} if self.picks else {}
        logits_BCV = self.model(**moved, **keep).logits
        flat = needed // width * len(columns) + np.searchsorted(columns, needed % width)
        logits_KV = logits_BCV.flatten(0, 1)[torch.from_numpy(flat).to(logits_BCV.device)]
        return lambda part: logits_KV[part]


def _look_up(logits_KV: Tensor, row_M: Tensor, target_M: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target at its row of logits, and whether it is the likeliest; overwrites the logits."""
    chosen_M = logits_KV[row_M, target_M]
    top_K, best_K = logits_KV.max(dim=1)
    normaliser_K = logits_KV.sub_(top_K[:, None]).exp_().sum(dim=1).log_() + top_K
    return chosen_M - normaliser_K[row_M], best_K[row_M] == target_M
