"""Do task weights of an old base still serve on the updated one, and does that wear off as the update gets longer?

    python studies/recycle/study.py DATA OUTPUT --base FOLDER [--tokens 5M] [--seeds 3] [--jobs 2]

DATA is a folder with `base/classic_books_en.jsonl.zst`, `domains/acl_abstracts_2016_2021.jsonl.zst` and
`ecommerce/pc_parts_products.jsonl.zst`; FOLDER is a base trained on the books (`studies/river.py` trains one into
OUTPUT/base/stage-1-books). The base learns the category of a product from its name, from many examples. It is also
trained on abstracts: a tenth of TOKENS (short), then the rest (long). On both updated bases the task is learned again
from 32 examples of each category, in every way of `rewarm recycle`. The control of the straight line is a second base
from another seed, trained on the books for TOKENS, tuned on the task in the same way. Stopped, it goes on where it
was. `summary.py` makes `results.json` of OUTPUT/found.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from rewarm.evaluation.labelling import Labeller
from rewarm.evaluation.learners import score
from rewarm.evaluation.tuning import Distil, Tuning, tune
from rewarm.facts.files import rows
from rewarm.hashing import seed_of
from rewarm.launch import tune as tune_process
from rewarm.models.load import save_model
from rewarm.models.recycling import classifier_of, load_base, load_whole
from rewarm.plan import from_values
from rewarm.report.frontier import barrier
from rewarm.river import merge_parts
from rewarm.river.recycle import recycle
from rewarm.river.recycle_order import PLACES, RecycleOrder, plan_recycle
from rewarm.river.recycle_paths import path
from rewarm.river.recycle_task import read_task
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.storage import read_json, write_json
from rewarm.training.machine import on_device
from rewarm.types import BadRows

CATEGORIES = 10
EACH = {"train": 400, "dev": 50, "test": 150}
SHOTS = 32
LENGTH = 48
LENGTHS = ("short", "long")
WAYS = ("direct", "init", "teacher", "both", "fresh")
COMMON = {"seq_len": 256, "batch_tokens": 8192, "eval_tokens": 25_000, "precision": "bf16", "compile": False}


def books(data: Path) -> dict[str, Any]:
    """The text that both bases were trained on."""
    return {
        "type": "jsonl", "holdout": 0.05, "holdout_by": "group",
        "path": str(data / "base/classic_books_en.jsonl.zst"),
    }  # fmt: skip


def update(data: Path, output: Path, base: Path, tokens: int, seed: int) -> None:
    """The base trained on abstracts: OUTPUT/seed-N/update/stage-1-short and stage-2-long."""
    stage = {"data": "abstracts", "learning_rate": 1e-3, "schedule": {"type": "rewarm", "warmup": 0.05}}
    values = {
        "base": str(base),
        "output_dir": str(output / f"seed-{seed}" / "update"),
        "prepared_dir": str(output / "prepared"),
        "seed": seed,
        "corpora": {
            "books": books(data),
            "abstracts": {"path": str(data / "domains/acl_abstracts_2016_2021.jsonl.zst"), "holdout": 0.05},
        },
        "stages": [
            {"name": "short", "tokens": tokens // 10, **stage},
            {"name": "long", "tokens": tokens - tokens // 10, **stage},
        ],
        "watch": ["books", "abstracts"],
    }
    run(from_values(values | COMMON))


def other_base(data: Path, output: Path, base: Path, tokens: int) -> Path:
    """A base of the same shape and tokenizer, from another seed."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    kept = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "tie_word_embeddings", "max_position_embeddings")  # fmt: skip
    values = {
        "base": {"from": "scratch", "config": {key: config[key] for key in kept}, "tokenizer": str(base)},
        "output_dir": str(output / "other"),
        "prepared_dir": str(output / "prepared"),
        "seed": 1001,
        "corpora": {"books": books(data)},
        "stages": [{"name": "books", "data": "books", "tokens": tokens, "learning_rate": 3e-3, "schedule": "cosine"}],
        "watch": ["books"],
    }
    run(from_values(values | COMMON))
    return output / "other" / "stage-1-books"


def write_task(data: Path, file: Path) -> Path:
    """Names of products of the commonest categories, each with its category and split; the same number of each."""
    if file.is_file():
        return file
    found: dict[str, dict[str, str]] = {}
    for row, _ in rows([data / "ecommerce/pc_parts_products.jsonl.zst"], BadRows()):
        found.setdefault(row["attributes"]["name"], {"text": row["attributes"]["name"], "label": row["category"]})
    common = [label for label, _ in Counter(one["label"] for one in found.values()).most_common(CATEGORIES)]
    lines = []
    for label in sorted(common):
        own = sorted((one for one in found.values() if one["label"] == label), key=lambda one: seed_of(0, one["text"]))
        splits = [split for split, count in EACH.items() for _ in range(count)]
        lines += [json.dumps(one | {"split": split}) for one, split in zip(own, splits, strict=False)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def tune_base(base: Path, tokens: Path, task_file: Path, folder: Path, seed: int, brief: bool) -> None:
    """Tunes a base on the whole task into `folder`, unless that was done before."""
    if folder.is_dir():
        return
    task = read_task(task_file, None, seed)
    classes = task.labels()
    model = on_device(classifier_of(load_base(str(base)), classes, 2, seed))
    learner = Labeller(model)
    train, dev = (task.rows(split, tokens, classes, LENGTH) for split in ("train", "dev"))
    tune(learner, train, dev, Tuning(1e-3, epochs=1 if brief else 5, batch_size=32, seed=seed, warmup=20))
    save_model(model.to("cpu"), tokens, folder)  # type: ignore[arg-type]


def arms(output: Path, base: Path, task_file: Path, seed: int, length: str, brief: bool) -> dict[str, Any]:
    """Every way on the base after a short or a long update."""
    new = output / f"seed-{seed}" / "update" / {"short": "stage-1-short", "long": "stage-2-long"}[length]
    tuning = Tuning(
        5e-4, max_steps=20 if brief else 300, batch_size=16, warmup=10, decay="none", eval_every=10, seed=seed
    )
    order = RecycleOrder(
        str(base), str(output / f"seed-{seed}" / "tuned"), str(new), task_file, WAYS,  # type: ignore[arg-type]
        sweep=True, curve=True, tuning=tuning, taught=tuning, distil=Distil(0.9, 5.0, 0.0), shots=SHOTS,
        max_length=LENGTH,
    )  # fmt: skip
    found = recycle(plan_recycle(order, output / f"seed-{seed}" / length))
    return found.model_dump(mode="json")


def control(output: Path, task_file: Path, seed: int) -> dict[str, Any]:
    """The straight line between task models of two bases that were trained apart."""
    task = read_task(task_file, None, seed)
    folder = output / f"seed-{seed}"
    dev = task.rows("dev", output / "other" / "tokenizer", task.labels(), LENGTH)
    learners = [Labeller(on_device(load_whole(str(folder / name), "labels"))) for name in ("tuned", "tuned-other")]
    losses = [one.loss for one in path(learners[1], merge_parts.tensors(learners[0].body), dev, "fp32", Hooks())]
    places = np.linspace(0, 1, PLACES).tolist()
    accuracies = [score(one, dev).accuracy for one in learners]
    return {"losses": losses, "barrier": barrier(places, losses), "accuracies": accuracies}


def once(file: Path, make: Callable[[], dict[str, Any]]) -> None:
    """Makes a result, unless it is kept."""
    if read_json(file) is None:
        write_json(file, make())


def one_seed(data: Path, output: Path, base: Path, tokens: int, seed: int) -> str:
    """All that one seed needs."""
    tune_process()
    brief = tokens < 1_000_000
    task_file = write_task(data, output / "task.jsonl")
    update(data, output, base, tokens, seed)
    folder, tokenizer = output / f"seed-{seed}", output / "other" / "tokenizer"
    for name, origin in (("tuned", base), ("tuned-other", output / "other" / "stage-1-books")):
        tune_base(origin, tokenizer, task_file, folder / name, seed, brief)
    for length in LENGTHS:
        once(
            output / "found" / f"{length}-{seed}.json",
            lambda length=length: arms(output, base, task_file, seed, length, brief),  # type: ignore[misc]
        )
    once(output / "found" / f"control-{seed}.json", lambda: control(output, task_file, seed))
    return f"seed {seed}"


def main() -> None:
    """Runs the study, or goes on with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=5_000_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="Seeds at a time.")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tune_process()
    other_base(options.data, options.output, options.base, options.tokens)
    write_task(options.data, options.output / "task.jsonl")
    given = (options.data, options.output, options.base, options.tokens)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        for done in [pool.submit(one_seed, *given, seed) for seed in range(1, options.seeds + 1)]:
            print(done.result(), flush=True)


if __name__ == "__main__":
    main()
