"""What a model makes of each document of a stream: how many nats it costs, and where it stands in the model's space.

Losses and states come from one forward pass. Documents are taken in blocks: one is tokenised, on another thread, while
the one before is read by the model, and few are held, so that memory does not grow with the stream. A document longer
than `seq_len` is read in windows of that length, each without what precedes it. Windows of a block are rows in order
of length: next to no padding, and attention needs no mask, because every row is one document; so models that could not
keep packed documents apart can be asked, too. What a block finds is fetched from a GPU once, when the next block is
already under way.

Shapes: G documents, W windows, N tokens, B rows, T positions, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.evaluation.passes import batch_tokens as usual_tokens
from rewarm.evaluation.passes import length_batches
from rewarm.evaluation.row_passes import RowReader
from rewarm.models.load import check_length, check_vocabulary
from rewarm.tokens.order import Indices
from rewarm.tokens.shards import Store
from rewarm.types import UserError

BLOCK_PASSES = 64
"""Passes that a block is worth: among so many windows, neighbours in order of length are nearly equal."""
TOKEN_CHARACTERS = 4
STATE_BYTES = 256 << 20
"""States of a block held at once, from which the most documents of a block follow."""
AHEAD = 2
"""Blocks tokenised before they are asked for."""

Flat = tuple[NDArray[Any], NDArray[np.int64]]
"""Ids (N,) of documents end to end, and how many each document has (G,)."""


class Encoder(Protocol):
    """What gives ids, as `TextTokenizer` does."""

    vocab_size: int

    def encode_flat(self, texts: Sequence[str]) -> Flat:
        """Ids of all texts end to end, and the number of each text's ids."""


class DocumentScore(NamedTuple):
    """`tokens` counts those that open and close the document, too; `nats` is summed over the `targets` that are
    predicted (0 where losses were not asked for). `state_D` is the mean of the last hidden states of all tokens (zeros
    for a document without any; None where states were not asked for)."""

    tokens: int
    targets: int
    nats: float
    state_D: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class _Windows:
    """Windows of a block, longest first; `owner_W` ascends again in the order `back_W`."""

    owner_W: NDArray[np.int64]
    start_W: NDArray[np.int64]
    length_W: NDArray[np.int64]
    targets_W: NDArray[np.int64]


def _windows(lengths_G: NDArray[np.int64], seq_len: int) -> _Windows:
    """Documents cut as `rewarm.tokens.packing.windows` cuts them: each token but the first is a target once."""
    counts_G = -(-lengths_G // seq_len)
    owner_W = np.repeat(np.arange(len(lengths_G)), counts_G)
    number_W = np.arange(len(owner_W)) - np.repeat(np.cumsum(counts_G) - counts_G, counts_G)
    begins_G = np.cumsum(lengths_G) - lengths_G
    left_W = lengths_G[owner_W] - number_W * seq_len
    length_W = np.minimum(left_W, seq_len)
    order = np.argsort(-length_W, kind="stable")
    start_W = begins_G[owner_W] + number_W * seq_len
    return _Windows(owner_W[order], start_W[order], length_W[order], np.minimum(length_W, left_W - 1)[order])


@dataclass(slots=True)
class _Found:
    """What is known of a block once the device has worked: values of its windows, in their order."""

    lengths_G: NDArray[np.int64]
    windows: _Windows
    nats_W: Tensor | None
    states_WD: Tensor | None

    def scores(self) -> Iterator[DocumentScore]:
        """One score per document. Sums are made here, in a fixed order: a GPU would add windows as they come."""
        count = len(self.lengths_G)
        owner_W = self.windows.owner_W
        targets_G = np.bincount(owner_W, self.windows.targets_W, count).astype(np.int64)
        nats_G = np.zeros(count) if self.nats_W is None else np.bincount(owner_W, self.nats_W.cpu().numpy(), count)
        states_GD = None if self.states_WD is None else self._states(self.states_WD.cpu().numpy())
        for index, values in enumerate(zip(self.lengths_G.tolist(), targets_G.tolist(), nats_G.tolist(), strict=True)):
            # A copy: a document that is kept would otherwise keep its whole block.
            yield DocumentScore(*values, None if states_GD is None else states_GD[index].copy())

    def _states(self, sums_WD: NDArray[np.float32]) -> NDArray[np.float32]:
        states_GD = np.zeros((len(self.lengths_G), sums_WD.shape[1]), np.float32)
        if len(sums_WD) == np.count_nonzero(self.lengths_G):  # no document has a second window
            states_GD[self.windows.owner_W] = sums_WD
        else:
            np.add.at(states_GD, self.windows.owner_W, sums_WD)
        states_GD /= np.maximum(self.lengths_G, 1)[:, None]
        return states_GD


class DocumentScorer:
    """Scores of documents in their order, each of them independent of the others (beyond rounding).

    `losses` need a causal model with its head; `states` any model of one stack, encoders such as BERT among them.
    `batch_tokens` of one forward pass follow from the device when they are not given; `precision` is that of the
    passes, sums are made in more. UserError for a model that cannot do what is asked, before any work.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Encoder,
        seq_len: int,
        batch_tokens: int | None = None,
        precision: torch.dtype = torch.float32,
        *,
        losses: bool = True,
        states: bool = True,
    ) -> None:
        if not losses and not states:
            raise UserError("neither losses nor states are asked for: a document's score would be empty")
        check_length(model, seq_len)
        check_vocabulary(model, tokenizer)
        self.tokenizer = tokenizer
        self.seq_len = seq_len
        self.batch_tokens = batch_tokens or usual_tokens(model)
        self.states = states
        self._reader = RowReader(model, precision, losses)
        self._device = model.device
        self._most_documents = max(1024, STATE_BYTES // (4 * self._reader.width))

    def score(self, texts: Iterable[str]) -> Iterator[DocumentScore]:
        """The score of each text, in order. Texts are drawn and tokenised on another thread, a few blocks ahead."""
        left = iter(texts)
        most = BLOCK_PASSES * self.batch_tokens * TOKEN_CHARACTERS

        def block() -> Flat | None:
            found: list[str] = []
            size = 0
            for text in islice(left, self._most_documents):
                found.append(text)
                size += len(text)
                if size >= most:
                    break
            return self.tokenizer.encode_flat(found) if found else None

        return self._scores(block)

    def score_store(self, store: Store, documents: Indices) -> Iterator[DocumentScore]:
        """The score of some documents of a store, in order, from their ids."""
        most = BLOCK_PASSES * self.batch_tokens
        at = 0

        def block() -> Flat | None:
            nonlocal at
            some = documents[at : at + self._most_documents]
            if not len(some):
                return None
            lengths_G = store.lengths_of(some)
            taken = 1 + int(np.searchsorted(np.cumsum(lengths_G)[:-1], most))
            at += taken
            return np.concatenate([store.ids(number) for number in some[:taken].tolist()]), lengths_G[:taken]

        return self._scores(block)

    def _scores(self, block: Callable[[], Flat | None]) -> Iterator[DocumentScore]:
        """Scores of all blocks; `block` gives the next one, or None at the end, and is called by one thread."""
        with ThreadPoolExecutor(1) as pool:
            coming = [pool.submit(block) for _ in range(AHEAD)]
            before: _Found | None = None
            while (flat := coming.pop(0).result()) is not None:
                coming.append(pool.submit(block))
                under_way = self._begin(*flat)
                if before is not None:
                    yield from before.scores()
                before = under_way
            if before is not None:
                yield from before.scores()

    def _begin(self, ids_N: NDArray[Any], lengths_G: NDArray[np.int64]) -> _Found:
        """Lets the device work through a block, without waiting for what it finds."""
        with self._reader.passes():
            return self._worked(ids_N, lengths_G)

    def _worked(self, ids_N: NDArray[Any], lengths_G: NDArray[np.int64]) -> _Found:
        windows = _windows(lengths_G, self.seq_len)
        tokens_N = self._sent(np.append(ids_N, ids_N[:1]).astype(np.int32))  # every token is followed by one
        starts_W, lengths_W, targets_W = map(self._sent, (windows.start_W, windows.length_W, windows.targets_W))
        nats = [torch.zeros(0, dtype=torch.float64, device=self._device)]
        states = [torch.zeros(0, self._reader.width, device=self._device)]
        for first, end in length_batches(windows.length_W.tolist(), self.batch_tokens):
            longest, shortest = int(windows.length_W[first]), int(windows.length_W[end - 1])
            places_T = torch.arange(longest, device=self._device)
            index_BT = (starts_W[first:end, None] + places_T).clamp_(max=len(ids_N) - 1)
            real_BT = None if longest == shortest else places_T < lengths_W[first:end, None]
            hidden_BTD, nats_BT = self._reader.read(tokens_N[index_BT].long(), real_BT, tokens_N[index_BT + 1].long())
            if self.states:
                states.append(_sums(hidden_BTD, real_BT))
            if nats_BT is not None:
                is_target_BT = places_T < targets_W[first:end, None]
                nats.append(nats_BT.where(is_target_BT, 0.0).sum(1, dtype=torch.float64))
        return _Found(
            lengths_G,
            windows,
            torch.cat(nats) if self._reader.losses else None,
            torch.cat(states) if self.states else None,
        )

    def _sent(self, values: NDArray[Any]) -> Tensor:
        """On the model's device. A copy to a GPU is asynchronous from pinned memory only."""
        held = torch.from_numpy(values)
        return held.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else held


def _sums(hidden_BTD: Tensor, real_BT: Tensor | None) -> Tensor:
    """Hidden states summed over a row's tokens (B, D), in fp32."""
    if real_BT is None:
        return hidden_BTD.sum(1, dtype=torch.float32)
    return torch.bmm(real_BT[:, None].float(), hidden_BTD.float())[:, 0]
