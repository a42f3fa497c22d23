"""Cost as work grows: training speed and memory on corpora of 1, 10 and 100 million tokens, as a curve.

    python benchmarks/growth.py [--tokens 1e6,1e7,1e8] [--rounds 6] [--steps 2] [--out FILE] [--picture FILE.svg]

One process per size trains the demo-sized model over one whole pass of its corpus (documents of 100 tokens, so that a
hundred million tokens are a million documents), from a place that moves through the pass: the first turn is at its
start, the last one at its end. The processes take turns. Memory is what the process holds of its own (RssAnon): mapped
pages of token files belong to the system and are given back when it needs them. Bars: the rate of the largest corpus
over that of the smallest, and the memory of the largest over that of the smallest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training import RATE, SHAPES, make_model
from turns import Side, Turns, bar_of, machine, tell

DOCUMENT = 100
SHAPE = SHAPES["demo-256"]
FLAT_RATE, FLAT_MEMORY = 0.95, 1.10


def write_store(tokens: int, folder: Path) -> Any:
    """A store of random tokens in documents of 100, written in blocks."""
    import numpy as np

    from rewarm.tokens.shards import Store, StoreWriter

    source = np.random.default_rng(0)
    left = tokens // DOCUMENT
    with StoreWriter(folder / "store", np.dtype(np.uint16)) as writer:
        while left:
            count = min(left, 50_000)
            ids = source.integers(1, SHAPE["config"]["vocab_size"], (count, DOCUMENT), dtype=np.uint16)
            keys = source.integers(0, 2**63, count)
            writer.add(list(ids), [4 * DOCUMENT] * count, keys.tolist(), keys.tolist())
            left -= count
    return Store(folder / "store")


def own_memory() -> float:
    """MiB this process holds of its own."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def work(tokens: int, turns_made: int, steps: int, folder: Path) -> None:
    """The measured process."""
    import numpy as np
    import torch

    from rewarm.objectives.packed_loss import PackedLoss
    from rewarm.tokens.loader import Source, StageRows
    from rewarm.tokens.order import DocumentStream, training_documents
    from rewarm.training.machine import choose_precision
    from rewarm.training.optimizer import AdamWOptions, Optimizer

    store = write_store(tokens, folder)
    documents, _ = training_documents(store, np.zeros(store.documents, bool), np.zeros(0, np.uint64))
    stream = DocumentStream(store, documents, 0, "growth")
    total = tokens // (SHAPE["rows"] * SHAPE["seq_len"])
    rows = StageRows([Source("growth", stream)], np.zeros((total, SHAPE["rows"]), np.uint8), SHAPE["seq_len"], 16)
    model = make_model(SHAPE)
    objective, optimizer = PackedLoss(model), Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    precision = choose_precision("auto")
    turns = Turns()

    def places() -> Iterator[int]:
        for turn in range(turns_made):
            yield round(turn * (total - steps) / max(1, turns_made - 1))

    for place in places():
        batches = rows.iterate(place)
        for _ in range(steps):
            turns.losses = [own_memory()]
            turns.before_step()
            for batch in next(batches):
                with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                    loss = objective.loss_sum(batch, 1 / batch.num_targets)
                loss.backward()
            optimizer.clip()
            optimizer.step(RATE)
        batches.close()
    turns.losses = [own_memory()]
    turns.before_step()


def draw(sizes: list[int], rates: list[float], memory: list[float], file: Path) -> None:
    """The curve: speed and memory against the size of the corpus."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    for axes, values, label in zip(figure.subplots(1, 2), (rates, memory), ("tokens/s", "MiB"), strict=True):
        axes.plot(sizes, values, marker="o", color="#0b6e4f")
        axes.set(xscale="log", ylim=(0, 1.2 * max(values)), xlabel="tokens in the corpus", ylabel=label)
        axes.grid(alpha=0.3)
    figure.suptitle("Training while the corpus grows")
    figure.savefig(file, format="svg", metadata={"Date": None})


def main() -> None:
    """Measures, prints, and writes JSON and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", default="1e6,1e7,1e8")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(float(size)) for size in options.tokens.split(",")]
    if options.worker:
        with tempfile.TemporaryDirectory() as folder:
            work(sizes[0], options.rounds + 1, options.steps, Path(folder))
        return
    from rewarm.launch import tuned_environment

    environment = dict(os.environ, REWARM_TUNED="off") | tuned_environment()
    fixed = ["--worker", "--rounds", str(options.rounds), "--steps", str(options.steps)]
    sides = [Side(f"{size}", [sys.executable, __file__, "--tokens", str(size), *fixed], environment) for size in sizes]
    for side in sides:
        side.ready()
    for turn in range(options.rounds + 1):
        for side in sides:
            side.turn(options.steps, count=turn > 0)
    tokens = options.steps * SHAPE["rows"] * SHAPE["seq_len"]
    readings = [[tokens / answer["seconds"] for answer in side.answers] for side in sides]
    memory = [max(answer["losses"][0] for answer in side.answers) for side in sides]
    for side in sides:
        side.close()
    rates = [statistics.median(reading) for reading in readings]
    ratio = statistics.median(last / first for first, last in zip(readings[0], readings[-1], strict=True))
    name = f"{sizes[-1]:.0e} tokens of corpus / {sizes[0]:.0e}"
    found = {
        "machine": machine(),
        "tokens": sizes,
        "tokens_per_second": [round(rate) for rate in rates],
        "readings": [[round(rate) for rate in reading] for reading in readings],
        "own_memory_mib": [round(held) for held in memory],
        "bars": [
            bar_of(f"growth: training speed, {name}", round(ratio, 3), FLAT_RATE, "higher"),
            bar_of(f"growth: own memory, {name}", round(memory[-1] / memory[0], 3), FLAT_MEMORY, "lower"),
        ],
    }
    tell(found, options.out)
    if options.picture:
        draw(sizes, rates, memory, options.picture)


if __name__ == "__main__":
    main()
