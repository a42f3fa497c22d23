"""Training speed: rewarm's loop against the Hugging Face Trainer, as shipped and with the same allocator setting.

    python benchmarks/training.py [--shapes demo,llama-192x6] [--rounds 5] [--steps 8] [--out FILE]

Every measurement is a fresh process that trains the same model from the same weights on the same rows (each row is one
whole document, so that Trainer's attention is right too) in the same order with the same AdamW. The sides are
interleaved (A B C A B C ...); the median of the rounds is quoted, and of the ratios. The losses must agree.
`limit` is the rate at which plain matrix products of the model's own shapes would do the same floating-point work.
Needs `accelerate` for the Trainer's side.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "demo": {"config": {"model_type": "llama", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
                        "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 4096,
                        "tie_word_embeddings": True}, "seq_len": 256, "rows": 16},
    "llama-192x6": {"config": {"model_type": "llama", "hidden_size": 192, "intermediate_size": 512,
                               "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 6,
                               "vocab_size": 8192, "tie_word_embeddings": True}, "seq_len": 256, "rows": 16},
    "llama-192x6-512": {"config": {"model_type": "llama", "hidden_size": 192, "intermediate_size": 512,
                                   "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 6,
                                   "vocab_size": 8192, "tie_word_embeddings": True}, "seq_len": 512, "rows": 8},
    "pythia-14m": {"config": {"model_type": "gpt_neox", "hidden_size": 128, "intermediate_size": 512,
                              "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": 50304,
                              "hidden_dropout": 0.0, "attention_dropout": 0.0}, "seq_len": 256, "rows": 16},
    "pythia-70m": {"config": {"model_type": "gpt_neox", "hidden_size": 512, "intermediate_size": 2048,
                              "num_hidden_layers": 6, "num_attention_heads": 8, "vocab_size": 50304,
                              "hidden_dropout": 0.0, "attention_dropout": 0.0}, "seq_len": 256, "rows": 8},
}  # fmt: skip
WARM_UP = 2
RATE = 1e-3


def make_model(shape: dict[str, Any]) -> Any:
    """The model of a shape, the same weights in every process."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = {key: value for key, value in shape["config"].items() if key != "model_type"}
    config = AutoConfig.for_model(shape["config"]["model_type"], max_position_embeddings=1024, **fields)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.config.use_cache = False
    return model


def make_rows(shape: dict[str, Any], steps: int, folder: Path) -> Any:
    """A leg's rows over a real token store, every document exactly one row long."""
    import numpy as np

    from rewarm.tokens.loader import Source, StageRows
    from rewarm.tokens.order import DocumentStream
    from rewarm.tokens.shards import Store, StoreWriter

    count = steps * shape["rows"]
    vocabulary = shape["config"]["vocab_size"]
    dtype = np.dtype(np.uint16 if vocabulary <= 2**16 else np.uint32)
    # A skewed distribution, so that there is something to learn and losses can be told apart.
    ids = (np.random.default_rng(0).beta(0.5, 4.0, (count, shape["seq_len"])) * vocabulary).astype(dtype)
    with StoreWriter(folder / "store", dtype) as writer:
        writer.add(list(ids), [shape["seq_len"]] * count, list(range(count)), list(range(count)))
    store = Store(folder / "store")
    stream = DocumentStream(store, np.arange(count), 0, "benchmark")
    source = np.zeros((steps, shape["rows"]), np.uint8)
    return StageRows([Source("benchmark", stream)], source, shape["seq_len"], shape["rows"])


def run_ours(shape: dict[str, Any], steps: int, folder: Path) -> dict[str, Any]:
    """One run of rewarm's loop: seconds per step after the warm-up, and every loss."""
    import torch

    from rewarm.schedules.constant import Constant
    from rewarm.training.loop import Leg, train
    from rewarm.training.optimizer import AdamWOptions, Optimizer
    from rewarm.types import StreamState

    model = make_model(shape)
    optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    times: list[float] = []
    losses: list[float] = []

    def tell(step: int, entry: dict[str, Any]) -> None:
        times.append(time.perf_counter())
        losses.append(entry["loss"])

    leg = Leg(
        name="benchmark", folder=folder / "leg", rows=make_rows(shape, steps, folder), schedule=Constant(),
        peak=RATE, past=StreamState(), key="benchmark", precision=torch.float32, log_every=1,
    )  # fmt: skip
    train(model, optimizer, leg, [], lambda: False, tell)
    return {"seconds": [after - before for before, after in pairwise(times)], "losses": losses}


def run_trainer(shape: dict[str, Any], steps: int, folder: Path) -> dict[str, Any]:
    """One run of the Hugging Face Trainer with its own defaults where they do not change what is learned."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    rows = make_rows(shape, steps, folder)
    batches = [batch for step in range(steps) for batch in rows.batches(step)]
    tokens = torch.cat([batch.tokens_BT for batch in batches])
    dataset = [{"input_ids": row, "labels": row} for row in tokens]
    times: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **more: Any) -> None:
            times.append(time.perf_counter())

        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=shape["rows"], max_steps=steps,
        learning_rate=RATE, lr_scheduler_type="constant", weight_decay=0.1, adam_beta1=0.9, adam_beta2=0.95,
        adam_epsilon=1e-8, max_grad_norm=1.0, logging_steps=1, logging_first_step=True, save_strategy="no",
        report_to=[], disable_tqdm=True, train_sampling_strategy="sequential", use_cpu=not torch.cuda.is_available(),
    )  # fmt: skip
    Trainer(model=make_model(shape), args=arguments, train_dataset=dataset, callbacks=[Clock()]).train()
    return {"seconds": [after - before for before, after in pairwise(times)], "losses": losses}


def matmul_limit(shape: dict[str, Any]) -> float:
    """Tokens/s if nothing but the model's own matrix products ran, each measured alone at its own shape (best of 3)."""
    import torch

    model = make_model(shape)
    tokens = shape["rows"] * shape["seq_len"]
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings().weight
    weights = [weight for weight in model.parameters() if weight.ndim == 2 and weight is not embedding]
    weights += [head] if head is embedding else []
    seconds = 0.0
    with torch.no_grad():
        for weight in weights:
            inputs = torch.randn(tokens, weight.shape[1])
            slopes = torch.randn(tokens, weight.shape[0])
            out = torch.empty(tokens, weight.shape[0])
            best = min(_product_seconds(torch, inputs, slopes, weight, out) for _ in range(3))
            seconds += best
    return tokens / seconds


def _product_seconds(torch: Any, inputs: Any, slopes: Any, weight: Any, out: Any) -> float:
    back = torch.empty_like(inputs)
    gradient = torch.empty_like(weight)
    start = time.perf_counter()
    torch.mm(inputs, weight.t(), out=out)
    torch.mm(slopes, weight, out=back)
    torch.mm(slopes.t(), inputs, out=gradient)
    return time.perf_counter() - start


def measure(side: str, shape: str, steps: int, tuned: bool) -> dict[str, Any]:
    """Runs one side in a fresh process, with or without rewarm's allocator settings."""
    environment = dict(os.environ, REWARM_TUNED="off")
    if tuned:
        from rewarm.launch import tuned_environment

        environment |= tuned_environment()
    command = [sys.executable, __file__, "--worker", side, "--shapes", shape, "--steps", str(steps)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{side} on {shape} failed:\n{finished.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(finished.stdout.strip().split("\n")[-1])
    return result


def worker(side: str, shape: dict[str, Any], steps: int) -> None:
    """The measured process: prints one JSON line."""
    if side == "limit":
        print(json.dumps({"tokens_per_second": matmul_limit(shape)}))
        return
    run: Callable[..., dict[str, Any]] = run_ours if side == "ours" else run_trainer
    with tempfile.TemporaryDirectory() as folder:
        found = run(shape, steps + WARM_UP + 1, Path(folder))
    seconds = statistics.median(found["seconds"][WARM_UP:])
    found["tokens_per_second"] = shape["rows"] * shape["seq_len"] / seconds
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


SIDES = {"ours": ("ours", True), "trainer as shipped": ("trainer", False), "trainer, same allocator": ("trainer", True)}


def compare(name: str, rounds: int, steps: int) -> dict[str, Any]:
    """All sides on one shape, interleaved."""
    found: dict[str, list[dict[str, Any]]] = {label: [] for label in [*SIDES, "limit"]}
    for _ in range(rounds):
        for label, (side, tuned) in SIDES.items():
            found[label].append(measure(side, name, steps, tuned))
        found["limit"].append(measure("limit", name, steps, True))
    ours = found["ours"]
    row: dict[str, Any] = {"shape": name, "rounds": rounds}
    for label, runs in found.items():
        row[label] = {"tokens_per_second": round(statistics.median(run["tokens_per_second"] for run in runs))}
        if label != "limit":
            row[label]["peak_mib"] = round(statistics.median(run["peak_mib"] for run in runs))
        pairs = [own["tokens_per_second"] / run["tokens_per_second"] for own, run in zip(ours, runs, strict=True)]
        row[f"ours / {label}"] = round(statistics.median(pairs), 3)
    del row["ours / ours"]
    gaps = [
        abs(own - other)
        for label in SIDES
        for own, other in zip(ours[0]["losses"], found[label][0]["losses"], strict=True)
    ]
    row["largest loss difference"] = max(gaps)
    row["last loss"] = ours[0]["losses"][-1]
    return row


def main() -> None:
    """Measures, prints each shape's row, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="demo,llama-192x6,llama-192x6-512,pythia-14m,pythia-70m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=["ours", "trainer", "limit"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.shapes.split(",")
    if options.worker:
        worker(options.worker, SHAPES[names[0]], options.steps)
        return
    rows = []
    for name in names:
        rows.append(compare(name, options.rounds, options.steps))
        print(json.dumps(rows[-1], indent=1), flush=True)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    if options.out:
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
