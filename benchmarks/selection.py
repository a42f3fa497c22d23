"""Scoring and cleaning documents: the rate of the scorer, and memory at 100 thousand and at a million documents.

    python benchmarks/selection.py [--shapes llama-192x6,pythia-70m] [--rounds 5] [--documents 1e5,1e6] [--out FILE]

`scoring`: losses and mean states of documents of 20 to 3,000 tokens, from their text (tokenising and all), against the
same model's bare forward pass, logits included, over batches of whole rows that lie ready. Both take turns in one
process after a round that warms them up; the median of the ratios within a round is the bar.
`selecting` and `cleaning`: short documents through the whole of `rewarm corpus select` (by the random method, so that
bookkeeping is what is measured) and through the search for near duplicates and shared runs of words, in a process of
their own for each size. Memory is what the process holds of its own at its peak (RssAnon; mapped files belong to the
system); the bar is what a further document adds to it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evaluation import LENGTH, SHAPES, make_folder
from turns import bar_of, machine, tell

RATE, PER_DOCUMENT = 0.9, 400.0
MORE = "bytes for a further document"
TOKENS = {"llama-192x6": 200_000, "pythia-70m": 40_000}
"""Of the documents that are scored: some seconds on two cores."""
WORDS = 40
"""Of a short document."""


def texts_of(shape: dict[str, Any], tokens: int) -> list[str]:
    """Documents of about so many tokens in all, short ones the commonest, in no order of length; always the same."""
    import numpy as np

    source = np.random.default_rng(0)
    found: list[str] = []
    left = tokens
    while left > 0:
        count = int(np.exp(source.uniform(np.log(20), np.log(3000))))
        found.append(" ".join(f"w{index}" for index in source.integers(3, shape["config"]["vocab_size"], count)))
        left -= count
    return found


def scoring(name: str, rounds: int, tokens: int, seq_len: int) -> dict[str, Any]:
    """Both sides on one shape, in turn; readings in tokens per second."""
    import torch

    from rewarm.evaluation.document_scores import DocumentScorer
    from rewarm.models.load import load_model
    from rewarm.objectives.products import use_fastest
    from rewarm.tokens.tokenizer import TextTokenizer
    from rewarm.training.machine import choose_precision, on_device

    with tempfile.TemporaryDirectory() as folder:
        make_folder(SHAPES[name], Path(folder))
        model, bare = (on_device(load_model(folder)).eval() for _ in range(2))
        tokenizer = TextTokenizer(Path(folder))
    use_fastest()
    precision = choose_precision("auto")
    scorer = DocumentScorer(model, tokenizer, seq_len, precision=precision)
    texts = texts_of(SHAPES[name], tokens)
    count = sum(score.tokens for score in scorer.score(texts))
    rows = max(1, scorer.batch_tokens // seq_len)
    batch = torch.randint(3, tokenizer.vocab_size, (rows, seq_len), device=bare.device)

    def passes() -> None:
        with torch.no_grad(), torch.autocast(bare.device.type, precision, enabled=precision != torch.float32):
            for _ in range(-(-count // batch.numel())):
                bare(input_ids=batch, use_cache=False).logits  # noqa: B018
        if bare.device.type == "cuda":
            torch.cuda.synchronize()

    sides: dict[str, Callable[[], object]] = {"scorer": lambda: list(scorer.score(texts)), "bare forward": passes}
    done = {"scorer": count, "bare forward": -(-count // batch.numel()) * batch.numel()}
    found: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side, act in sides.items():
            start = time.perf_counter()
            act()
            if turn:
                found[side].append(done[side] / (time.perf_counter() - start))
    ratios = [own / other for own, other in zip(*found.values(), strict=True)]
    return {
        "shape": name, "documents": len(texts), "tokens": count, "seq_len": seq_len, "device": bare.device.type,
        "precision": str(precision), "readings": {side: list(map(round, rates)) for side, rates in found.items()},
        **{f"{side}, tokens/s": round(statistics.median(rates)) for side, rates in found.items()},
        "rate / bare forward": round(statistics.median(ratios), 3),
    }  # fmt: skip


class Peak:
    """The most memory this process has held of its own since it began, in MiB."""

    def __init__(self) -> None:
        self.most = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        status = Path("/proc/self/status")
        while True:
            held = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("RssAnon"))
            self.most = max(self.most, int(held.split()[1]) / 1024)
            time.sleep(0.02)


def short_documents(count: int, seed: int) -> Iterator[str]:
    """So many texts of 40 words, of which one in twenty nearly repeats the one before it; always the same."""
    import numpy as np

    source = np.random.default_rng(seed)
    before: list[str] = []
    for start in range(0, count, 10_000):
        drawn = source.integers(3, 8000, (min(10_000, count - start), WORDS))
        for place, row in enumerate(drawn.tolist()):
            words = [f"w{index}" for index in row]
            if place % 20 == 19:
                words = [*before[:-1], words[-1]]
            before = words
            yield " ".join(words)


def select(count: int, folder: Path) -> None:
    """The whole of a selection; the pool is written by another process."""
    from rewarm.corpora.jsonl import Jsonl
    from rewarm.river.selecting import Select
    from rewarm.selection.budget import Budget
    from rewarm.selection.random import Random

    Select(
        pool=Jsonl(path=str(folder / "pool.jsonl")), method=Random(), budget=Budget(share=0.1, soft=True),
        model=str(folder / "model"), out=folder / "picked.jsonl.zst", work=folder / "work",
    ).run()  # fmt: skip


def clean(count: int, folder: Path) -> None:
    """The whole of a search, against a thousand watched documents."""
    from rewarm.selection.cleaning import Reference, Settings
    from rewarm.selection.cleaning import clean as compare

    new = ((str(number), text) for number, text in enumerate(short_documents(count, 0)))
    watched = [(str(number), text) for number, text in enumerate(short_documents(1000, 1))]
    found = compare({"new": new}, [Reference("watch", watched, True)], Settings(0.8, 13), folder)
    assert 0.04 < len(found.dropped["new"]) / count < 0.06, found.counts("new")


JOBS = {"selecting": select, "cleaning": clean}


def work(job: str, count: int, folder: Path) -> None:
    """The measured process: one JSON line."""
    peak = Peak()
    start = time.perf_counter()
    JOBS[job](count, folder)
    print(json.dumps({"documents": count, "seconds": round(time.perf_counter() - start, 1), "peak_mib": peak.most}))


def grown(job: str, sizes: list[int]) -> dict[str, Any]:
    """A job at each size."""
    readings = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            if job == "selecting":
                make_folder(SHAPES["llama-192x6"], Path(folder) / "model")
                with (Path(folder) / "pool.jsonl").open("w", encoding="utf-8") as file:
                    file.writelines(json.dumps({"text": text}) + "\n" for text in short_documents(count, 0))
            command = [sys.executable, __file__, "--worker", job, "--documents", str(count), "--folder", folder]
            environment = dict(os.environ, REWARM_TUNED="off", HF_HUB_OFFLINE="1")
            ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            readings.append(json.loads(ended.stdout.splitlines()[-1]))
    first, last = readings[0], readings[-1]
    more = max(1, last["documents"] - first["documents"])
    return {
        "job": job,
        "readings": readings,
        "documents/s": round(last["documents"] / last["seconds"]),
        MORE: round((last["peak_mib"] - first["peak_mib"]) * 2**20 / more, 1),
    }


def main() -> None:
    """Measures, prints and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=float, help="of the documents that are scored")
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--documents", default="1e5,1e6")
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(float(size)) for size in options.documents.split(",")]
    if options.worker:
        work(options.worker, sizes[0], options.folder)
        return
    assert options.seq_len <= LENGTH
    names = [name for name in options.shapes.split(",") if name]
    scored = [scoring(name, options.rounds, int(options.tokens or TOKENS[name]), options.seq_len) for name in names]
    jobs = [grown(job, sizes) for job in options.jobs.split(",") if job]
    bars = [bar_of(f"scoring {row['shape']}: rate / bare forward", row["rate / bare forward"], RATE, "higher")
            for row in scored]  # fmt: skip
    bars += [
        bar_of(
            f"{row['job']}: bytes for a further document", row["bytes for a further document"], PER_DOCUMENT, "lower"
        )
        for row in jobs
    ]
    tell({"machine": machine(), "scoring": scored, "jobs": jobs, "bars": bars}, options.out)


if __name__ == "__main__":
    main()
