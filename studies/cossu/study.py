"""Does continual pre-training forget, and which read-out shows it? Five domains after a base of old books.

    python studies/cossu/study.py DATA OUTPUT --base FOLDER [--tokens 280k] [--seeds 3] [--jobs 2] [--only ARM ...]

After Cossu et al. (arXiv 2205.09357). DATA is the folder with the files of `stream.py`; FOLDER is a base trained on the
books (`studies/river.py` trains one into OUTPUT/base/stage-1-books). After every domain the model is read out by its
raw loss on held-out books, by a linear head on it frozen and by fine-tuning a copy of it (on which book a passage is
from, and who wrote it: neither is in the stream), and by the CKA of every layer with the base. The arms: continual
pre-training (`lm`); the same with every learning rate a quarter (`lm x0.25`); supervised fine-tuning of the same
backbone on the stream's own labels, one domain after the other, over the same text (`supervised`); and pre-training on
a fifth of each domain, chosen by the current model's loss around its median (`sep-median`) or at random (`sep-random`).
Stopped, it goes on where it was. `summary.py` makes `results.json` of OUTPUT/arms, which is kept beside this file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stream
import torch
from transformers import PreTrainedModel

from rewarm.evaluation.classifier import Classifier, Examples, Tuning, tune
from rewarm.evaluation.document_scores import DocumentScorer
from rewarm.launch import tune as tune_memory
from rewarm.models.load import load_model
from rewarm.plan import Plan, from_values
from rewarm.quantities import parse_count
from rewarm.river.run import run
from rewarm.suites import Asked
from rewarm.suites.labelled import Labelled
from rewarm.suites.similarity import Similarity
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.training.machine import on_device

SEQ_LEN, BATCH_TOKENS, RATE = 256, 2048, 1e-3
CHARACTERS_PER_TOKEN = 3.3
SEP_SHARE = 0.2
ARMS: dict[str, dict[str, Any]] = {
    "lm": {},
    "supervised": {},
    "sep-median": {"select": {"type": "loss", "keep": "median", "share": SEP_SHARE}},
    "sep-random": {"select": {"type": "loss", "keep": "random", "share": SEP_SHARE}},
    "lm x0.25": {"factor": 0.25},
}
FULL_ON_THE_WAY = {"lm": ("abstracts", "biology"), "supervised": ("abstracts", "biology")}
"""Stages after which copies are fine-tuned, besides the last: most of the study's tokens go there. Other arms have
nothing but their losses read on the way."""
SETS = {"books": {"split_by": "record"}, "authors": {"split": "split"}}
MAX_LENGTH, EPOCHS = 128, 5


@dataclass(frozen=True, slots=True)
class Job:
    """One arm under one seed."""

    text: Path
    output: Path
    base: Path
    arm: str
    seed: int
    rows: int

    @property
    def folder(self) -> Path:
        """Where its models and its result go."""
        return self.output / "arms" / self.arm.replace(" ", "-") / str(self.seed)


class Reader:
    """Reads models out; `tokens` counts what fine-tuning copies took."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.tokenizer = TextTokenizer(job.base)
        self.tokens = 0

    def read(self, model: PreTrainedModel, stage: str, full: bool) -> dict[str, Any]:
        """Everything that is known of one model, as JSON values."""
        found = self.losses(model, stage)
        text = self.job.text
        asked = Asked(
            model, self.tokenizer, lambda: on_device(load_model(str(self.job.base))), SEQ_LEN, self.job.seed,
            torch.float32,
        )  # fmt: skip
        layers = Similarity(path=str(text / "books-held.jsonl"), limit=max(128, self.job.rows), batch=64).answer(asked)
        found["read"] = {name: self._ask(asked, name, full) for name in (*SETS, "stream")}
        found["cka"] = dict(zip(layers.extra["layers"], layers.extra["cka"], strict=True))
        return found

    def losses(self, model: PreTrainedModel, stage: str) -> dict[str, Any]:
        """Nats per byte of every held-out text."""
        names = ["books-held", *(f"{name}-held" for name in stream.DOMAINS)]
        return {"stage": stage, "losses": {name: self._loss(model, self.job.text / f"{name}.jsonl") for name in names}}

    def _ask(self, asked: Asked, name: str, full: bool) -> dict[str, Any]:
        read = ("linear", "full") if full and name in SETS else ("linear",)
        rows = self.job.rows
        caps = {"train_limit": rows, "dev_limit": max(10, rows * 2 // 5), "limit": max(20, rows * 5 // 4)}
        options = {**caps, **SETS.get(name, {}), "read": read, "epochs": EPOCHS, "max_length": MAX_LENGTH}
        answers = Labelled(path=str(self.job.text / f"fc-{name}.jsonl"), **options).answer(asked)
        self.tokens += answers.extra.get("full", {}).get("tokens", 0)
        kept = ("linear", "full", "chance", "train", "test")
        return {key: answers.extra[key] for key in kept if key in answers.extra}

    def _loss(self, model: PreTrainedModel, file: Path) -> float:
        texts = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
        scorer = DocumentScorer(model, self.tokenizer, SEQ_LEN, states=False)
        return sum(one.nats for one in scorer.score(texts)) / sum(len(text.encode()) for text in texts)


def plan(job: Job) -> Plan:
    """The five domains, one pass each, as a river."""
    options = ARMS[job.arm]
    stage = {
        "epochs": 1,
        "learning_rate": RATE * options.get("factor", 1.0),
        "schedule": {"type": "rewarm", "warmup": 0.05},
        **({"select": options["select"]} if "select" in options else {}),
    }
    return from_values(
        {
            "base": str(job.base),
            "output_dir": str(job.folder / "run"),
            "prepared_dir": str(job.output / "prepared"),
            "seq_len": SEQ_LEN,
            "batch_tokens": BATCH_TOKENS,
            "precision": "fp32",
            "compile": False,
            "seed": job.seed,
            "corpora": {name: {"path": str(job.text / f"{name}.jsonl"), "id_field": "id"} for name in stream.DOMAINS},
            "stages": [{"name": name, "data": name, **stage} for name in stream.DOMAINS],
        }
    )


def pretrained(job: Job) -> Iterator[tuple[str, PreTrainedModel, int]]:
    """The model after each domain, with the tokens its stage took."""
    result = run(plan(job), command="studies/cossu/study.py")
    costs = {cost.leg: cost.tokens for cost in result.costs}
    for number, name in enumerate(stream.DOMAINS, start=1):
        leg = f"stage-{number}-{name}"
        yield name, on_device(load_model(str(job.folder / "run" / leg))), costs[leg]


def supervised(job: Job) -> Iterator[tuple[str, PreTrainedModel, int]]:
    """The same backbone fine-tuned on the labels of one domain after the other, by one head over all classes."""
    model = on_device(load_model(str(job.base)))
    tokenizer = TextTokenizer(job.base)
    classes = [f"{name}: {label}" for name, (_, _, labels) in stream.DOMAINS.items() for label in labels]
    classifier = Classifier(model, len(classes), job.seed)
    for name in stream.DOMAINS:
        lines = (job.text / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        every = Examples.of(
            [row["text"] for row in rows], [classes.index(row["label"]) for row in rows], tokenizer, SEQ_LEN
        )
        few = max(1, len(rows) // 10)
        dev, train = (Examples(every.tokens[part], every.labels[part]) for part in (slice(few), slice(few, None)))
        size = max(1, round(BATCH_TOKENS * len(train.lengths) / sum(train.lengths)))
        steps = -(-len(train.lengths) // size)
        tuning = Tuning(RATE, epochs=1, batch_size=size, warmup=max(1, steps // 20), seed=job.seed)
        course = tune(classifier, train, dev, tuning)
        yield name, model, course.tokens


def finish(job: Job) -> str:
    """Trains and reads out one arm under one seed, unless its result is there; the base is the arm `base`."""
    file = job.folder / "result.json"
    if file.is_file():
        return str(file)
    reader, tokens, stages = Reader(job), 0, []
    if job.arm == "base":
        stages.append(reader.read(on_device(load_model(str(job.base))), "base", True))
    else:
        last = list(stream.DOMAINS)[-1]
        for name, model, taken in supervised(job) if job.arm == "supervised" else pretrained(job):
            full = name == last or name in FULL_ON_THE_WAY.get(job.arm, ())
            whole = full or job.arm in FULL_ON_THE_WAY
            found = reader.read(model, name, full) if whole else reader.losses(model, name)
            stages.append(found | {"tokens": taken})
            tokens += taken
        shutil.rmtree(job.folder / "run", ignore_errors=True)
    result = {"arm": job.arm, "seed": job.seed, "tokens": tokens, "read_tokens": reader.tokens, "stages": stages}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return str(file)


def main() -> None:
    """Every arm with every seed, `--jobs` at a time."""
    tune_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--tokens", type=parse_count, default=280_000, help="About so many of each domain; 8k or more.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rows", type=int, default=480, help="Rows that a read-out learns from.")
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    text = stream.write(given.data, given.output / "text", round(given.tokens * CHARACTERS_PER_TOKEN))
    arms = ["base", *(arm for arm in ARMS if not given.only or arm in given.only)]
    seeds = range(1, given.seeds + 1)
    jobs = [Job(text, given.output, given.base, arm, seed, given.rows) for seed in seeds for arm in arms]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        for file in pool.map(finish, jobs):
            print(f"finished {file}", flush=True)


if __name__ == "__main__":
    main()
