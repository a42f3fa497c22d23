"""Training speed: rewarm's loop against the Hugging Face Trainer, as shipped and with the same allocator setting.

    python benchmarks/training.py [--shapes demo-256,llama-192x6-256] [--rounds 5] [--steps 1] [--eager] [--out FILE]

Every side is a process of its own that trains the same model from the same weights on the same rows in the same order
with the same AdamW, logging every step. The processes stay, and are given a few steps in turn (A B C A B C ...): what
disturbs the machine disturbs all of them. The median of the rounds is quoted, and of the ratios of each round.
The losses of all sides must agree at every step. Rows are whole documents, but for shapes named `packed`, whose rows
hold many (Trainer is then given their position_ids, from which it makes a mask).

`rewarm` is the number format that `precision: auto` measured to be the fastest here, `rewarm fp32` is held to fp32.
Where a shape says `compile`, its passes are compiled, as a leg of ten minutes or more is by itself (`compile: auto`).
`limit` is the rate at which the model's own matrix products alone, attention's causal half included, run in fp32 in the
fastest library. Needs `pip install "rewarm[bench]"` for Trainer's sides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from turns import Side, Turns, bar_of, machine

_LLAMA = {"model_type": "llama", "tie_word_embeddings": True}
_NEOX = {"model_type": "gpt_neox", "vocab_size": 50304, "hidden_dropout": 0.0, "attention_dropout": 0.0}
_DEMO = {**_LLAMA, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 4, "vocab_size": 4096}  # fmt: skip
_SMALL = {**_LLAMA, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 6,
          "num_key_value_heads": 6, "vocab_size": 8192}  # fmt: skip
_PYTHIA_14M = {**_NEOX, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 4}
_PYTHIA_70M = {**_NEOX, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "demo-256": {"config": _DEMO, "seq_len": 256, "rows": 16, "compile": True},
    "llama-192x6-256": {"config": _SMALL, "seq_len": 256, "rows": 16, "compile": True},
    "llama-192x6-512": {"config": _SMALL, "seq_len": 512, "rows": 8, "compile": True},
    "llama-192x6-512-packed": {"config": _SMALL, "seq_len": 512, "rows": 8, "document": 64},
    "pythia-14m-256": {"config": _PYTHIA_14M, "seq_len": 256, "rows": 16},
    "pythia-70m-256": {"config": _PYTHIA_70M, "seq_len": 256, "rows": 4},
    "pythia-70m-512": {"config": _PYTHIA_70M, "seq_len": 512, "rows": 2},
}
DEFAULT = "demo-256,llama-192x6-256,llama-192x6-512,llama-192x6-512-packed,pythia-70m-256,pythia-70m-512"
WARM_UP = 1
RATE = 1e-3
OURS, OURS_FP32, SHIPPED, SAME = "rewarm", "rewarm fp32", "Trainer as shipped", "Trainer, same allocator"
SAME_BF16 = "Trainer in bf16, same allocator"
SIDES = {OURS: True, OURS_FP32: True, SHIPPED: False, SAME: True, SAME_BF16: True, "limit": True}
"""Whether a side's process has rewarm's allocator settings."""
AGREE = {OURS: 1e-2, OURS_FP32: 1e-4, SHIPPED: 0.0, SAME: 1e-4, SAME_BF16: 1e-2}
"""Largest difference of a step's loss (about 8 nats) from Trainer's as shipped."""


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
    """A leg's rows over a real token store; every document is one row long, or the shape's `document` tokens."""
    import numpy as np

    length = shape.get("document", shape["seq_len"])
    count = steps * shape["rows"] * shape["seq_len"] // length
    # A skewed distribution, so that there is something to learn and losses can be told apart.
    ids = np.random.default_rng(0).beta(0.5, 4.0, (count, length)) * shape["config"]["vocab_size"]
    return rows_over(list(ids), shape, steps, folder)


def rows_over(documents: list[Any], shape: dict[str, Any], steps: int, folder: Path) -> Any:
    """A leg's rows over a store of these documents."""
    import numpy as np

    from rewarm.tokens.loader import Source, StageRows
    from rewarm.tokens.order import DocumentStream
    from rewarm.tokens.shards import Store, StoreWriter

    dtype = np.dtype(np.uint16 if shape["config"]["vocab_size"] <= 2**16 else np.uint32)
    numbers = list(range(len(documents)))
    with StoreWriter(folder / "store", dtype) as writer:
        ids = [document.astype(dtype) for document in documents]
        writer.add(ids, [len(document) for document in ids], numbers, numbers)
    stream = DocumentStream(Store(folder / "store"), np.arange(len(ids)), 0, "benchmark")
    source = np.zeros((steps, shape["rows"]), np.uint8)
    return StageRows([Source("benchmark", stream)], source, shape["seq_len"], shape["rows"])


def run_ours(shape: dict[str, Any], steps: int, folder: Path, options: dict[str, Any]) -> None:
    """rewarm's loop, as `rewarm run` calls it."""
    from rewarm.schedules.constant import Constant
    from rewarm.training.leg import Leg
    from rewarm.training.loop import train
    from rewarm.training.machine import choose_precision
    from rewarm.training.optimizer import AdamWOptions, Optimizer
    from rewarm.types import StreamState

    turns = Turns()

    class Paced(Constant):
        def rate(self, *arguments: Any) -> float:
            turns.before_step()
            return RATE

    model = make_model(shape)
    leg = Leg(
        name="benchmark", folder=folder / "leg", rows=make_rows(shape, steps, folder), schedule=Paced(), peak=RATE,
        past=StreamState(), key="benchmark", precision=choose_precision(options["precision"]), log_every=1,
        compile=options["compile"],
    )  # fmt: skip
    optimizer = Optimizer(model, AdamWOptions(0.1, (0.9, 0.95), 1e-8, 1.0))
    train(model, optimizer, leg, [], lambda: False, lambda step, entry: turns.losses.append(entry["loss"]))


def run_trainer(shape: dict[str, Any], steps: int, folder: Path, in_bf16: bool) -> None:
    """The Hugging Face Trainer with its own defaults where they do not change what is learned."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    turns = Turns()
    rows = make_rows(shape, steps, folder)
    batches = [batch for step in range(steps) for batch in rows.batches(step)]
    names = {"input_ids": "tokens_BT", "position_ids": "positions_BT"}
    tensors = {name: torch.cat([getattr(batch, field) for batch in batches]) for name, field in names.items()}
    # Trainer shifts labels itself: the label of a token is the token, and none where a document begins.
    tensors["labels"] = torch.where(tensors["position_ids"] == 0, -100, tensors["input_ids"])
    if "document" not in shape:
        del tensors["position_ids"]
    dataset = [dict(zip(tensors, values, strict=True)) for values in zip(*tensors.values(), strict=True)]

    class Paced(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *arguments: Any, **more: Any) -> None:
            turns.before_step()

        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if "loss" in logs:
                turns.losses.append(float(logs["loss"]))

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=shape["rows"], max_steps=steps,
        learning_rate=RATE, lr_scheduler_type="constant", weight_decay=0.1, adam_beta1=0.9, adam_beta2=0.95,
        adam_epsilon=1e-8, max_grad_norm=1.0, logging_steps=1, logging_first_step=True, save_strategy="no",
        report_to=[], disable_tqdm=True, train_sampling_strategy="sequential", use_cpu=not torch.cuda.is_available(),
        bf16=in_bf16,
    )  # fmt: skip
    Trainer(model=make_model(shape), args=arguments, train_dataset=dataset, callbacks=[Paced()]).train()


def run_limit(shape: dict[str, Any], steps: int, folder: Path) -> None:
    """Only the model's matrix products, each at its own shape, in the library that was measured to be the fastest."""
    import torch

    from rewarm.objectives.products import use_fastest

    model = make_model(shape)
    tokens, length = shape["rows"] * shape["seq_len"], shape["seq_len"]
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    weights = [weight.detach() for weight in model.parameters() if weight.ndim == 2 and weight is not embedding]
    weights += [head.detach()] if head is embedding else []
    heads, layers = model.config.num_attention_heads, model.config.num_hidden_layers
    width = model.config.hidden_size // heads
    # 6 products of queries, keys and values a layer, forward and backward, on half of the pairs: at half the length.
    half = torch.randn(2, shape["rows"] * heads, length // 2, width)
    largest = max(len(weight) for weight in weights)
    out = torch.empty(min(tokens, 1024), largest)
    use_fastest()
    turns = Turns()
    with torch.no_grad():
        for _ in range(steps):
            turns.before_step()
            for weight in weights:
                rows = min(tokens, 1024) if len(weight) == largest else tokens
                for _ in range(tokens // rows):
                    _products(torch, weight, rows, out)
            for _ in range(2 * 6 * layers):
                torch.bmm(half[0], half[1].transpose(1, 2))


def _products(torch: Any, weight: Any, rows: int, out: Any) -> None:
    """Forward, and the gradients of input and weight."""
    inputs = torch.ones(()).expand(rows, weight.shape[1]).contiguous()
    slopes = torch.mm(inputs, weight.t(), out=out[:rows, : len(weight)] if len(weight) == out.shape[1] else None)
    torch.mm(slopes, weight)
    torch.mm(slopes.t(), inputs)


def start(label: str, shape: str, steps: int, eager: bool) -> Side:
    """A side's process, on its way to its first turn."""
    from rewarm.launch import tuned_environment

    environment = dict(os.environ, REWARM_TUNED="off") | (tuned_environment() if SIDES[label] else {})
    command = [sys.executable, __file__, "--worker", label, "--shapes", shape, "--steps", str(steps)]
    return Side(label, command + (["--eager"] if eager else []), environment)


def compare(name: str, rounds: int, steps: int, eager: bool) -> dict[str, Any]:
    """All sides on one shape, in turn."""
    shape = SHAPES[name]
    total = WARM_UP + rounds * steps + 1
    sides = {label: start(label, name, total, eager) for label in SIDES}
    for side in sides.values():
        side.ready()
    for side in sides.values():
        side.turn(WARM_UP, count=False)
    for _ in range(rounds):
        for side in sides.values():
            side.turn(steps)
    row: dict[str, Any] = {"shape": name, "rounds": rounds, "steps a round": steps}
    tokens = steps * shape["rows"] * shape["seq_len"]
    for label, side in sides.items():
        side.close()
        rates = [tokens / answer["seconds"] for answer in side.answers]
        row[label] = {"tokens_per_second": round(statistics.median(rates)), "readings": [round(rate) for rate in rates]}
        if label != "limit":
            last = side.answers[-1]
            row[label] |= {"peak_mib": round(last["peak_mib"]), "losses": last["losses"]}
    wanted = row[SHIPPED]["losses"]
    for label in AGREE:
        losses = row[label].pop("losses")
        row[label]["largest loss difference"] = max(abs(a - b) for a, b in zip(losses, wanted, strict=False))
        row[label]["last loss"] = losses[-1]
    for label in (OURS, OURS_FP32):
        for other in (SHIPPED, SAME, SAME_BF16, "limit"):
            pairs = zip(row[label]["readings"], row[other]["readings"], strict=True)
            row[f"{label} / {other}"] = round(statistics.median(own / theirs for own, theirs in pairs), 3)
    return row


def bars(row: dict[str, Any]) -> list[dict[str, Any]]:
    """What a shape is held to. A 50k vocabulary and the other shapes have bars of their own."""
    large = SHAPES[row["shape"]]["config"]["vocab_size"] > 50_000
    wanted = {SHIPPED: 1.8 if large else 1.5, SAME: 1.2 if large else 1.25, "limit": 0.75}
    found = []
    for label in (OURS, OURS_FP32):
        for other, bar in wanted.items():
            if label == OURS_FP32 or other != "limit":  # the limit is one of fp32
                found.append(bar_of(f"{row['shape']}: {label} / {other}", row[f"{label} / {other}"], bar, "higher"))
        if label == OURS:
            found.append(
                bar_of(f"{row['shape']}: rewarm / {SAME_BF16}", row[f"{OURS} / {SAME_BF16}"], wanted[SAME], "higher")
            )
        memory = row[label]["peak_mib"] / row[SHIPPED]["peak_mib"]
        found.append(bar_of(f"{row['shape']}: {label}, peak memory / {SHIPPED}", round(memory, 3), 1.0, "lower"))
    for label in (OURS, OURS_FP32, SAME, SAME_BF16):
        gap = row[label]["largest loss difference"]
        found.append(bar_of(f"{row['shape']}: {label}, largest loss difference", gap, AGREE[label], "lower"))
    return found


def worker(label: str, shape: dict[str, Any], steps: int, eager: bool) -> None:
    """The measured process: answers on standard output whenever its turn is over."""
    with tempfile.TemporaryDirectory() as folder:
        if label == "limit":
            run_limit(shape, steps, Path(folder))
        elif label in (OURS, OURS_FP32):
            precision = "auto" if label == OURS else "fp32"
            run_ours(
                shape,
                steps,
                Path(folder),
                {"precision": precision, "compile": shape.get("compile", False) and not eager},
            )
        else:
            run_trainer(shape, steps, Path(folder), label == SAME_BF16)


def main() -> None:
    """Measures, prints each shape's row, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.shapes.split(",")
    if options.worker:
        worker(options.worker, SHAPES[names[0]], options.steps, options.eager)
        return
    rows = []
    for name in names:
        rows.append(compare(name, options.rounds, options.steps, options.eager))
        print(json.dumps(rows[-1], indent=1), flush=True)
    held = [bar for row in rows for bar in bars(row)]
    if options.out:
        options.out.write_text(json.dumps({"machine": machine(), "rows": rows, "bars": held}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
