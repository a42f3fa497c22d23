"""Training on a GPU: rewarm's loop against the Hugging Face Trainer, in tokens/s, peak memory and MFU.

    python benchmarks/gpu.py [--shapes llama-1.1b,pythia-160m,pythia-410m] [--rounds 5] [--compile] [--out FILE]

Every measurement is a fresh process that trains the same model from the same weights on the same rows in the same order
with the same AdamW, number format and batch, one forward pass a step; the sides are interleaved (A B A B ...), medians
of the rounds are quoted, and of the ratios. Speed is that of whole logging intervals, because only there either side
waits for the device; the first interval warms up. Two workloads: `rows` (each row is one document, so that causal
attention is right as it is) and `packed` (many short documents in a row: rewarm names their bounds; Trainer gets
position ids that restart, which is how it keeps documents apart: as rows with its mask, or, where flash attention is
installed, flattened without padding). Trainer has the best attention that is installed, and the losses must agree.

MFU is the model's floating-point operations for a token times tokens/s, over what the device could do: as published
where this file knows the device, and as measured with a plain matrix product, always. Recomputed activations do not
count as operations.

Without a GPU a tiny shape runs on the CPU (under a minute): both sides must run and agree; speed has no bar there.
Needs `accelerate` for the Trainer's side.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
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

from training import make_model, make_rows, rows_over
from turns import bar_of, machine, tell

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"config": {"model_type": "llama", "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
                        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
                        "tie_word_embeddings": False}, "seq_len": 128, "rows": 4},
    "llama-1.1b": {"config": {"model_type": "llama", "hidden_size": 2048, "intermediate_size": 5632,
                              "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
                              "vocab_size": 32000, "tie_word_embeddings": False}, "seq_len": 2048, "rows": 8},
    "pythia-160m": {"config": {"model_type": "gpt_neox", "hidden_size": 768, "intermediate_size": 3072,
                               "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 50304,
                               "hidden_dropout": 0.0, "attention_dropout": 0.0}, "seq_len": 2048, "rows": 8},
    "pythia-410m": {"config": {"model_type": "gpt_neox", "hidden_size": 1024, "intermediate_size": 4096,
                               "num_hidden_layers": 24, "num_attention_heads": 16, "vocab_size": 50304,
                               "hidden_dropout": 0.0, "attention_dropout": 0.0}, "seq_len": 2048, "rows": 8},
}  # fmt: skip
# Dense bf16 with fp32 accumulation, TFLOP/s, by NVIDIA's own publications, in which figures "with sparsity" are twice
# these: A100 datasheet (2021); H100 datasheet (2023) for SXM, PCIe and NVL; H200 datasheet (2024) for SXM; L4 datasheet
# (2023); RTX 4090: Ada GPU architecture whitepaper, appendix A. The first name that matches the device's counts.
PUBLISHED: list[tuple[str, float]] = [
    (r"A100", 312.0),
    (r"H100 PCIe", 756.0),
    (r"H100 NVL", 835.5),
    (r"H100", 989.4),
    (r"H200$", 989.4),
    (r"L4$", 121.0),
    (r"RTX 4090$", 165.2),
]
SIDES = ("rewarm", "trainer")
RATE = 1e-4
LOSSES_AGREE = {"bf16": 1e-2, "fp32": 1e-4}
"""Largest relative difference of an interval's mean loss between the sides."""


class Measured(Exception):
    """Ends a leg after its last measured step: the checkpoint it would write there is not what is measured."""


def make_packed_rows(shape: dict[str, Any], steps: int, folder: Path) -> Any:
    """A leg's rows over documents of very different lengths, most of them much shorter than a row."""
    import numpy as np

    source = np.random.default_rng(0)
    vocabulary, tokens = shape["config"]["vocab_size"], (steps + 1) * shape["rows"] * shape["seq_len"]
    lengths = np.clip(source.lognormal(np.log(shape["seq_len"] / 6), 0.8, tokens), 4, 4 * shape["seq_len"]).astype(int)
    lengths = lengths[: int(np.searchsorted(lengths.cumsum(), tokens)) + 1]
    ids = [source.beta(0.5, 4.0, length) * vocabulary for length in lengths]
    return rows_over(ids, shape, steps, folder)


WORKLOADS: dict[str, Callable[..., Any]] = {"rows": make_rows, "packed": make_packed_rows}


def run_rewarm(options: argparse.Namespace, shape: dict[str, Any], rows: Any, folder: Path) -> dict[str, Any]:
    """One run of rewarm's loop: when each interval ended, and its mean loss."""
    from rewarm.schedules.constant import Constant
    from rewarm.training.leg import Leg
    from rewarm.training.loop import train
    from rewarm.training.machine import choose_precision, flops_per_token, on_device
    from rewarm.training.optimizer import AdamWOptions, Optimizer
    from rewarm.types import StreamState

    model = on_device(make_model(shape))
    times: list[float] = []
    losses: list[float] = []

    def tell(step: int, entry: dict[str, Any]) -> None:
        if step % options.interval == 0:
            times.append(time.perf_counter())
            losses.append(entry["loss"])
        if step == rows.steps:
            raise Measured

    leg = Leg(
        name="benchmark", folder=folder / "leg", rows=rows, schedule=Constant(), peak=RATE, past=StreamState(),
        key="benchmark", precision=choose_precision(options.precision), log_every=options.interval,
        compile=options.compile, checkpointed=options.gradient_checkpointing,
    )  # fmt: skip
    with contextlib.suppress(Measured):
        train(model, Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0)), leg, [], lambda: False, tell)
    # What attention works on: in packed rows a token sees its own document only.
    positions = rows.batches(0)[0].positions_BT.double().mean().item()
    flops = flops_per_token(model, round(2 * positions + 1))
    return {"times": times, "losses": losses, "flops_per_token": flops, "attention": "documents named by their bounds"}


def best_attention() -> str:
    """The fastest attention of transformers that is installed and can run here."""
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    if is_flash_attn_3_available():
        return "flash_attention_3"
    return "flash_attention_2" if is_flash_attn_2_available() else "sdpa"


def trainer_rows(rows: Any, is_packed: bool) -> list[dict[str, Any]]:
    """The same rows as Trainer takes them. `shift_labels` are labels that need no shift: a row's last one is kept."""
    found = []
    for step in range(rows.steps):
        for batch in rows.batches(step):
            for tokens, targets, positions in zip(batch.tokens_BT, batch.targets_BT, batch.positions_BT, strict=True):
                row = {"input_ids": tokens, "labels": targets, "shift_labels": targets}
                found.append(row | ({"position_ids": positions} if is_packed else {}))
    return found


def run_trainer(options: argparse.Namespace, shape: dict[str, Any], rows: Any, folder: Path) -> dict[str, Any]:
    """One run of the Hugging Face Trainer with its own defaults where they do not change what is learned."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    is_packed, attention = options.worker[1] == "packed", best_attention()
    is_flat = is_packed and attention != "sdpa"
    times: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if "loss" in logs:
                times.append(time.perf_counter())
                losses.append(float(logs["loss"]))

    def collated(chosen: list[dict[str, Any]]) -> dict[str, Any]:
        stacked = {name: torch.stack([row[name] for row in chosen]) for name in chosen[0]}
        return {name: value.view(1, -1) for name, value in stacked.items()} if is_flat else stacked

    model = make_model(shape)
    model.set_attn_implementation(attention)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=shape["rows"], max_steps=rows.steps,
        learning_rate=RATE, lr_scheduler_type="constant", weight_decay=0.1, adam_beta1=0.9, adam_beta2=0.95,
        adam_epsilon=1e-8, max_grad_norm=1.0, logging_steps=options.interval, save_strategy="no", report_to=[],
        disable_tqdm=True, train_sampling_strategy="sequential", remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(), bf16=options.precision == "bf16", torch_compile=options.compile,
        gradient_checkpointing=options.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if options.gradient_checkpointing else None,
    )  # fmt: skip
    dataset = trainer_rows(rows, is_packed)
    Trainer(
        model=model, args=arguments, train_dataset=dataset, data_collator=collated, callbacks=[Clock()]
    ).train()  # fmt: skip
    return {"times": times, "losses": losses, "attention": attention + (", flattened" if is_flat else "")}


def worker(options: argparse.Namespace) -> None:
    """The measured process: one side on one workload; prints one JSON line."""
    import torch

    side, workload = options.worker
    shape = shape_of(options, options.shapes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = WORKLOADS[workload](shape, options.interval * (options.intervals + 1), folder)
        run = run_rewarm if side == "rewarm" else run_trainer
        found = run(options, shape, rows, folder)
    times = found.pop("times")
    seconds = statistics.median(after - before for before, after in pairwise(times))
    found["tokens_per_second"] = options.interval * shape["rows"] * shape["seq_len"] / seconds
    found["losses"] = found["losses"][1:]  # the first interval of the two sides does not begin at the same step
    if torch.cuda.is_available():
        found["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def shape_of(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """A shape, with the batch that was asked for."""
    shape = dict(SHAPES[name])
    shape["rows"], shape["seq_len"] = options.rows or shape["rows"], options.seq_len or shape["seq_len"]
    return shape


def measure(options: argparse.Namespace, side: str, workload: str, name: str) -> dict[str, Any]:
    """Runs one side in a fresh process; both sides have rewarm's allocator settings, which GPUs do not see."""
    from rewarm.launch import tuned_environment

    environment = dict(os.environ, REWARM_TUNED="off") | tuned_environment()
    command = [sys.executable, __file__, "--worker", side, workload, "--shapes", name]
    for flag in ("precision", "interval", "intervals", "rows", "seq_len"):
        command += [f"--{flag.replace('_', '-')}", str(getattr(options, flag))]
    command += [
        f"--{flag.replace('_', '-')}" for flag in ("compile", "gradient_checkpointing") if getattr(options, flag)
    ]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{side} on {name}, {workload} failed:\n{finished.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(finished.stdout.strip().split("\n")[-1])
    return result


def compare(options: argparse.Namespace, name: str, workload: str, peaks: dict[str, float]) -> dict[str, Any]:
    """Both sides on one workload of one shape, interleaved."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(options.rounds):
        for side in SIDES:
            runs[side].append(measure(options, side, workload, name))
    flops = runs["rewarm"][0]["flops_per_token"]
    row: dict[str, Any] = {"shape": name, "workload": workload, "rounds": options.rounds, "runs": runs}
    for side, found in runs.items():
        speed = statistics.median(run["tokens_per_second"] for run in found)
        row[side] = {
            "tokens_per_second": round(speed),
            "peak_mib": round(statistics.median(run["peak_mib"] for run in found)),
            "attention": found[0]["attention"],
            **{f"mfu, {kind} peak": round(speed * flops / peak, 4) for kind, peak in peaks.items()},
        }
    pairs = zip(runs["rewarm"], runs["trainer"], strict=True)
    row["rewarm / trainer"] = statistics.median(a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs)
    losses = zip(runs["rewarm"][0]["losses"], runs["trainer"][0]["losses"], strict=True)
    row["largest relative loss difference"] = max(abs(own - other) / other for own, other in losses)
    return row


def peaks_of(device: str, precision: str) -> dict[str, float]:
    """FLOP/s that the device could do: as published for bf16, if it is known, and as measured."""
    import torch

    from rewarm.training.machine import choose_precision, matmul_rate

    size = (8192, 4096) if torch.cuda.is_available() else (1024, 512)
    found = {"measured": matmul_rate(*size, choose_precision(precision))}
    published = next((peak for name, peak in PUBLISHED if re.search(rf"\b{name}", device)), None)
    if published is not None and precision == "bf16":
        found["published"] = published * 1e12
    return found


def bars(options: argparse.Namespace, rows: list[dict[str, Any]], on_gpu: bool) -> list[dict[str, Any]]:
    """What must hold: the losses agree; on a GPU rewarm is not slower and takes no more memory."""
    agree = LOSSES_AGREE[options.precision]
    found = []
    for row in rows:
        where = f"gpu.py, {row['shape']}, {row['workload']}"
        readings = [("largest relative loss difference", row["largest relative loss difference"], agree, "lower")]
        if on_gpu:
            memory = row["rewarm"]["peak_mib"] / row["trainer"]["peak_mib"]
            readings.append(("tokens/s, rewarm / Trainer", row["rewarm / trainer"], 1.0, "higher"))
            readings.append(("peak memory, rewarm / Trainer", memory, 1.0, "lower"))
        for name, value, bar, better in readings:
            found.append(bar_of(f"{where}: {name}", value, bar, better))
    return found


def parsed() -> argparse.Namespace:
    """The command line, with the size that fits this machine where none is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", help=f"of {', '.join(SHAPES)}; default: all but tiny on a GPU, tiny without one")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--rounds", type=int, help="default: 5 on a GPU, 1 without one")
    parser.add_argument("--interval", type=int, help="steps timed together (at least 3); default: 10, or 3")
    parser.add_argument("--intervals", type=int, help="timed intervals of a run; default: 4, or 2")
    parser.add_argument("--rows", type=int, default=0, help="rows of a batch; default: the shape's")
    parser.add_argument("--seq-len", type=int, default=0, help="tokens of a row; default: the shape's")
    parser.add_argument("--compile", action="store_true", help="torch.compile on both sides")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="on both sides")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measures, prints each workload's row, and the result as JSON."""
    options = parsed()
    if options.worker:
        worker(options)
        return
    import torch

    on_gpu = torch.cuda.is_available()
    options.shapes = options.shapes or ("llama-1.1b,pythia-160m,pythia-410m" if on_gpu else "tiny")
    options.rounds = options.rounds or (5 if on_gpu else 1)
    options.interval = max(3, options.interval or (10 if on_gpu else 3))
    options.intervals = options.intervals or (4 if on_gpu else 2)
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    peaks = peaks_of(device, options.precision)
    rows = []
    for name in options.shapes.split(","):
        for workload in options.workloads.split(","):
            rows.append(compare(options, name, workload, peaks))
            print({key: value for key, value in rows[-1].items() if key != "runs"}, file=sys.stderr, flush=True)
    asked = {name: getattr(options, name) for name in ("precision", "compile", "gradient_checkpointing", "interval")}
    where = {**machine(), "device": device, "torch": torch.__version__}
    result = {"machine": where, "asked": asked, "peaks": peaks, "bars": bars(options, rows, on_gpu), "rows": rows}
    tell(result, options.out)


if __name__ == "__main__":
    main()
