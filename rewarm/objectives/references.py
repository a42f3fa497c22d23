"""What a model gives for pairs of answers: once for each pair, kept on disk for as long as the run lives.

Shapes: P pairs of a store (in a file: all of them), 2 their answers (chosen, rejected).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rewarm.hashing import Indices
from rewarm.models.load import weights_hash
from rewarm.objectives import Beginning
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.objectives.pair_loss import log_probabilities
from rewarm.objectives.probing import evaluating
from rewarm.storage import replaced
from rewarm.tokens.pairs import PairRows, Pairs, pair_batch


@torch.no_grad()
def answers(
    model: PreTrainedModel, pairs: Pairs, places: Indices, tokens: int, precision: torch.dtype = torch.float32,
    done: Callable[[int], None] = lambda pairs: None,
) -> NDArray[np.float64]:  # fmt: skip
    """Log-probabilities in nats of the answers of some pairs (P, 2), about `tokens` tokens a pass. The model is in
    evaluation mode meanwhile."""
    packed, found = PackedLoss(model), np.empty((len(places), 2))
    first = 0
    with evaluating(model), torch.autocast(model.device.type, precision, enabled=precision != torch.float32):
        while first < len(places):
            sizes = np.cumsum(pairs.lengths_P[places[first : first + tokens]])
            last = first + max(1, int(np.searchsorted(sizes, tokens, side="right")))
            segments = [one for place in places[first:last].tolist() for one in pairs.segments(place)]
            found[first:last] = log_probabilities(packed, pair_batch(segments))[0].cpu().numpy()
            first = last
            done(first)
    return found


def references(rows: PairRows, beginning: Beginning) -> list[NDArray[np.float64]]:
    """For each source, what the model before the stage gives for every pair of its store (P, 2): NaN where the leg
    draws none. What was found before, for the same weights, is read and not made again."""
    model = beginning.before()
    weights = weights_hash(model)
    found = []
    for stream, places, source in zip(rows.streams, rows.drawn(), rows.sources, strict=True):
        pairs = stream.pairs
        precision = str(beginning.precision).removeprefix("torch.")
        name = f"{weights[:16]}-{pairs.store.hash[:16]}-{rows.seq_len}-{precision}.npy"
        held = _read(beginning.kept / name, pairs.store.documents // 2)
        left = places[np.isnan(held[pairs.numbers[places], 0])]
        if len(left):
            label = f"the reference's answers to {source.name}"

            def told(done: int, label: str = label, of: int = len(left)) -> None:
                beginning.tell(label, done, of, "pairs")

            most = beginning.micro_rows * rows.seq_len
            held[pairs.numbers[left]] = answers(model, pairs, left, most, beginning.precision, told)
            with replaced(beginning.kept / name) as file:
                np.save(file, held)
        found.append(held)
    return found


def _read(file: Path, count: int) -> NDArray[np.float64]:
    """What a file holds; NaN for every pair where there is none, or one of another store."""
    held: NDArray[np.float64] = np.full((count, 2), np.nan)
    if file.is_file():
        found = np.load(file, allow_pickle=False)
        held = found if found.shape == held.shape else held
    return held
