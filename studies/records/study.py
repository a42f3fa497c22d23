"""Does text in which related records stand together teach what single records do not?

    python studies/records/study.py DATA OUTPUT --base FOLDER [--tokens 1.6M] [--seeds 3] [--jobs 4]

DATA is a folder with `ecommerce/pc_parts_products.jsonl.zst`, `ecommerce/bestbuy_category_tree.jsonl.zst` and
`base/classic_books_en.jsonl.zst`; FOLDER is a base trained on the books (`studies/river.py` trains one into
OUTPUT/base/stage-1-books). The base goes on with records as clusters, each record alone, or records shuffled, with the
same tokens, and with clusters beside twice as many tokens of books; then it is asked for values that were taken out of
records (studies/records/shop.py). Stopped, it goes on where it was; `summary.py` makes `results.json` of
OUTPUT/results, which is kept beside this file.

The expectation was that clusters help with values that related records state (`line`, `tree`) and not with others
(`own`), that `shuffled` does not help, and that books in the stream keep the loss on books lower. The arm with books
reads as many tokens of records as the others and so takes three times their steps: what it learns of records is not
comparable at equal steps.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import shop

from rewarm.evaluation.loss import load
from rewarm.evaluation.scorers import open_scorer
from rewarm.evaluation.spans import Span
from rewarm.launch import tune
from rewarm.methods import checked
from rewarm.plan import Plan, from_values
from rewarm.quantities import parse_count
from rewarm.records.building import Question, surveyed
from rewarm.records.job import Job
from rewarm.records.spec import Spec
from rewarm.river.run import run
from rewarm.storage import write_json
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import silent

ARMS: dict[str, tuple[str, float]] = {
    "cluster": ("cluster", 0), "isolated": ("isolated", 0), "shuffled": ("shuffled", 0),
    "cluster-books-2": ("cluster", 2),
}  # fmt: skip
"""How the text is made, and tokens of books for each of records."""
SEQ_LEN = 512
EPOCHS = 3
RATE = 1e-3


class Run(NamedTuple):
    """One arm with one seed."""

    data: Path
    output: Path
    base: Path
    tokens: int
    arm: str
    seed: int


def spec(text: Path, seed: int) -> Spec:
    """Products by name (line), by maker, and categories by the tree; ids, lines and makers are edges and no text."""
    said = {"id": "id", "title": "name"}
    products = {
        "path": str(text / "products.jsonl"), "drop": ["line", "maker"],
        "edges": [{"field": "line", "weight": 4}, "maker"],
    }  # fmt: skip
    tree = {"path": str(text / "tree.jsonl"), "drop": "path", "edges": ["tree:path"]}
    values = {"sources": {"products": products | said, "tree": tree | said}, "limit": SEQ_LEN - 2, "seed": seed}
    return surveyed(checked(Spec, values))[0]


def texts(base: Path, output: Path, seed: int) -> None:
    """The documents of every arm, in OUTPUT/text."""
    tokenizer = TextTokenizer(base)

    def tokens(text: str) -> int:
        return len(tokenizer.encode_flat([text])[0]) - 1 - len(tokenizer.prefix)

    for arm in ("cluster", "isolated", "shuffled"):
        question = Question(spec(output / "text", seed), measure=tokens)
        Job(question, output / f"text-{arm}-{seed}", arm, EPOCHS, "tokens").run(silent, lambda: False)  # type: ignore[arg-type]


def plan(asked: Run) -> Plan:
    """The base goes on with the documents of one arm."""
    documents, books = ARMS[asked.arm]
    return from_values(
        {
            "base": str(asked.base),
            "output_dir": str(asked.output / "runs" / f"{asked.arm}-{asked.seed}"),
            "prepared_dir": str(asked.output / "prepared"),
            "old_corpus": "books",
            "seq_len": SEQ_LEN,
            "batch_tokens": 4096,
            "eval_tokens": 25_000,
            "precision": "bf16",
            "compile": False,
            "corpora": {
                "books": {
                    "type": "jsonl", "holdout": 0.05, "holdout_by": "group",
                    "path": str(asked.data / "base/classic_books_en.jsonl.zst"),
                },
                "records": {"path": str(asked.output / f"text-{documents}-{asked.seed}" / "text"), "id_field": "id"},
            },
            "stages": [
                {
                    "name": "records", "data": "records", "tokens": asked.tokens, "max_epochs": 100,
                    "learning_rate": RATE, "schedule": {"type": "rewarm", "warmup": 0.05},
                    "replay": {"from": "books", "share": books, "mode": "additive"} if books else None,
                }
            ],
            "watch": [{"corpus": "books", "role": "old"}],
            "seed": asked.seed,
        }
    )  # fmt: skip


def ask(model: Path, text: Path) -> dict[str, dict[str, list[float]]]:
    """By kind of probe and form of prompt: the nats and the bytes of all answers, and how many probes there are."""
    probes = [json.loads(line) for line in (text / "probes.jsonl").read_text(encoding="utf-8").splitlines()]
    scorer = open_scorer(str(model))
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in shop.KINDS}
    for form in probes[0]["prompts"]:
        scores = scorer.score([Span(probe["prompts"][form], probe["answer"]) for probe in probes])
        for kind in shop.KINDS:
            here = [number for number, probe in enumerate(probes) if probe["kind"] == kind]
            # The blank before an answer is predicted with it.
            size = sum(len(f" {probes[number]['answer']}".encode()) for number in here)
            found[kind][form] = [float(-scores.logprob_N[here].sum()), size, len(here)]
    return found


def result(asked: Run) -> str:
    """Trains one run and asks its model; writes its result, unless it is there."""
    file = asked.output / "results" / f"{asked.arm}-{asked.seed}.json"
    if not file.is_file():
        run(plan(asked), command="studies/records/study.py")
        folder = Path(plan(asked).output_dir)
        books = {
            name: load(folder / "evaluations" / name / "books.npz").per_byte for name in ("base", "stage-1-records")
        }
        values: dict[str, Any] = {"arm": asked.arm, "seed": asked.seed, "tokens": asked.tokens, "books": books}
        write_json(file, values | {"probes": ask(folder / "stage-1-records", asked.output / "text")})
    return file.stem


def main() -> None:
    """Writes the text, then trains every arm with every seed, `--jobs` at a time."""
    tune()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--tokens", default="1.6M", help="Tokens of records in every run; books come on top.")
    parser.add_argument("--products", type=int, default=5000)
    parser.add_argument("--probes", type=int, default=400, help="Of each kind.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    shop.write(given.data, given.output / "text", given.products, given.probes)
    seeds = range(1, given.seeds + 1)
    if not (given.output / "results" / "base.json").is_file():
        write_json(given.output / "results" / "base.json", {"probes": ask(given.base, given.output / "text")})
    tokens = parse_count(given.tokens)
    runs = [Run(given.data, given.output, given.base, tokens, arm, seed) for seed in seeds for arm in ARMS]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(texts, [given.base] * given.seeds, [given.output] * given.seeds, seeds))
        for name in pool.map(result, runs):
            print(f"finished {name}", flush=True)


if __name__ == "__main__":
    main()
