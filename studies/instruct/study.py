"""What is left of an instruct model after continual pre-training: bare, replayed to, or with the difference added back.

    python studies/instruct/study.py DATA OUTPUT --base FOLDER [--tokens 300k] [--seeds 3] [--jobs 2]

DATA is a folder with `base/classic_books_en.jsonl.zst`, `domains/biology_openstax.jsonl.zst` and
`ecommerce/pc_parts_products.jsonl.zst`; FOLDER is a base trained on the books (`studies/river.py` trains one into
OUTPUT/base/stage-1-books). The base learns to answer two questions about names of products; every answer begins with
`Answer:` and ends behind a word or two. That instruct model, or the base, is then trained on textbooks of biology:
chapters are long, so that the end of a text is rare. Each stage takes TOKENS, six for each seed: 5.4 M tokens in all.
Asked are names that no stage has seen. Stopped, it goes on where it was. `summary.py` makes `results.json` of
OUTPUT/found.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.facts.files import rows
from rewarm.hashing import seed_of
from rewarm.launch import tune
from rewarm.models.load import load_model
from rewarm.models.merging import Recipe, blend
from rewarm.plan import Plan, from_values
from rewarm.quantities import parse_count
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import read_inputs
from rewarm.river.outcome import scored
from rewarm.river.run import run
from rewarm.river.scores import score
from rewarm.river.suites import ask_suites_of_another, suite_answers
from rewarm.storage import read_json, write_json
from rewarm.suites import Answers
from rewarm.training.machine import on_device
from rewarm.types import BadRows

KINDS = 10
"""Kinds of products, the commonest; each gives the same number of names."""
TRAINED, ASKED = 700, 15
"""Names of each kind that are learned, and others that are asked."""
SIGN = "Answer:"
"""What every answer begins with."""
WORDINGS = {
    "kind": ("What kind of part is this?", "Which sort of part is this?", "Name the kind of this part."),
    "word": ("What is the first word of this?", "Which word comes first here?", "Name the first word of this."),
}
WATCHED = ("books", "biology")
STAGES = ("instruct", "bare", "replay-chat", "replay-books", "plain", "again")
"""Stages of a seed in the order of the plan; each leaves a model that is an arm."""
ALPHAS = (0.5, 1.0)
"""What the difference is multiplied with before it is added back."""


def names(data: Path) -> Iterator[tuple[str, list[str]]]:
    """Each kind of product with its names, in an order that follows from the names alone."""
    found: dict[str, str] = {}
    for row, _ in rows([data / "ecommerce/pc_parts_products.jsonl.zst"], BadRows()):
        found.setdefault(row["attributes"]["name"], row["category"])
    common = [kind for kind, _ in Counter(found.values()).most_common(KINDS)]
    for kind in sorted(common):
        yield kind, sorted((name for name, own in found.items() if own == kind), key=lambda name: seed_of(0, name))


def row(task: str, name: str, kind: str) -> dict[str, str]:
    """One question with its answer."""
    wordings = WORDINGS[task]
    wording = wordings[seed_of(1, task, name) % len(wordings)]
    right = kind.replace("-", " ") if task == "kind" else name.split()[0]
    answer = f"{SIGN} {right}"
    return {"id": f"{task} {name}", "prompt": f"{wording}\n{name}", "response": answer, "answer": answer}


def write_rows(data: Path, output: Path) -> None:
    """OUTPUT/texts/learned.jsonl and, for each task, what is asked. No name is in both."""
    folder = output / "texts"
    if (folder / "learned.jsonl").is_file():
        return
    learned: list[dict[str, str]] = []
    asked: dict[str, list[dict[str, str]]] = {task: [] for task in WORDINGS}
    for kind, found in names(data):
        tasks = list(WORDINGS)
        for task in tasks:
            asked[task] += [row(task, name, kind) for name in found[:ASKED]]
        learned += [
            row(tasks[number % len(tasks)], name, kind)
            for number, name in enumerate(found[ASKED : ASKED + TRAINED])
        ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in [*asked.items(), ("learned", learned)]:
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        partial = folder / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / f"{name}.jsonl")


def corpora(data: Path, texts: Path) -> dict[str, Any]:
    """The text of the base, the text of the update, and the questions with their answers."""
    return {
        "books": {
            "type": "jsonl", "holdout": 0.05, "holdout_by": "group",
            "path": str(data / "base/classic_books_en.jsonl.zst"),
        },
        "biology": {"path": str(data / "domains/biology_openstax.jsonl.zst"), "holdout": 0.05},
        "chat": {"type": "chat", "path": str(texts / "learned.jsonl")},
    }  # fmt: skip


def plan(data: Path, output: Path, base: Path, tokens: int, seed: int) -> Plan:
    """All that one seed trains: the instruct model, three updates of it, an update of the base, and tuning of that."""
    learning = {"tokens": tokens, "learning_rate": 1e-3, "schedule": {"type": "rewarm", "warmup": 0.05}}
    tuning = {"data": "chat", "max_epochs": 8, **learning}
    update = {"data": "biology", **learning}
    replays = {"replay-chat": {"from": "chat", "share": 0.1}, "replay-books": {"from": "books", "share": 0.25}}
    texts = output / "texts"
    return from_values(
        {
            "base": str(base),
            "output_dir": str(output / f"seed-{seed}"),
            "prepared_dir": str(output / "prepared"),
            "seed": seed,
            "seq_len": 256,
            "batch_tokens": 2048,
            "eval_tokens": 25_000,
            "eval_every": 0,
            "precision": "bf16",
            "compile": False,
            "corpora": corpora(data, texts),
            "stages": [
                {"name": "instruct", **tuning},
                {"name": "bare", "from": "instruct", **update},
                *({"name": name, "from": "instruct", "replay": replay, **update} for name, replay in replays.items()),
                {"name": "plain", "from": "base", **update},
                {"name": "again", "from": "plain", **tuning},
            ],
            "watch": list(WATCHED),
            "suites": {
                task: {
                    "type": "instructions", "path": str(texts / f"{task}.jsonl"), "new_tokens": 24,
                    "rules": {"starts_with": SIGN},
                }
                for task in WORDINGS
            },
        }
    )  # fmt: skip


def measured(losses: Mapping[str, DocumentLosses], answers: Mapping[str, Answers]) -> dict[str, Any]:
    """Of one model: each suite's measures, and nats per byte of each watched corpus."""
    return {
        "suites": {
            task: {name: one.value for name, one in found.measures.items()} for task, found in answers.items()
        },
        "losses": {corpus: found.per_byte for corpus, found in losses.items()},
    }  # fmt: skip


def added_back(asked: Plan, alpha: float) -> dict[str, Any]:
    """What the base's update with alpha (instruct - base) added is, scored as the run's own models."""
    directory = RunDirectory.of(asked)
    inputs = read_inputs(asked, directory)
    places = [str(directory.model(leg(name))) for name in ("plain", "instruct")]
    stage, chat = (load_model(place) for place in places)
    parts = [dict(model.named_parameters()) for model in (stage, load_model(str(asked.base)), chat)]
    made = load_model(places[0])
    blend(made, parts, Recipe("chat-vector", alpha))
    made = on_device(made)
    losses = score(made, inputs, directory.evaluations / f"added-{alpha:g}")
    return measured(losses, ask_suites_of_another(made, inputs, directory))


def leg(stage: str) -> str:
    """The name that the run gives to a stage's model."""
    return f"stage-{STAGES.index(stage) + 1}-{stage}"


def one_seed(data: Path, output: Path, base: Path, tokens: int, seed: int) -> str:
    """Trains and asks all models of a seed; OUTPUT/found/seed-N.json."""
    tune()
    file = output / "found" / f"seed-{seed}.json"
    if read_json(file) is None:
        asked = plan(data, output, base, tokens, seed)
        run(asked)
        directory = RunDirectory.of(asked)
        models = {"base": "base"} | {name: leg(name) for name in STAGES}
        arms = {
            name: measured(scored(directory, model, WATCHED), suite_answers(directory, model, WORDINGS))
            for name, model in models.items()
        }
        arms |= {f"added {alpha:g}": added_back(asked, alpha) for alpha in ALPHAS}
        write_json(file, {"seed": seed, "tokens": tokens, "arms": arms})
    return f"seed {seed}"


def main() -> None:
    """Runs the study, or goes on with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--tokens", default="300k", help="Tokens of each stage.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="Seeds at a time.")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tune()
    write_rows(options.data, options.output)
    given = (options.data, options.output, options.base, parse_count(options.tokens))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        # The first prepares the corpora for all.
        first = pool.submit(one_seed, *given, 1)
        print(first.result(), flush=True)
        for done in [pool.submit(one_seed, *given, seed) for seed in range(2, options.seeds + 1)]:
            print(done.result(), flush=True)


if __name__ == "__main__":
    main()
