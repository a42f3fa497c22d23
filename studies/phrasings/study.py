"""Does a fact that is told in several ways come out better? One to five phrasings of invented lives, at equal tokens.

    python studies/phrasings/study.py OUTPUT [--tokens 800k] [--people 120] [--seeds 3] [--jobs 2]

A tiny model (0.1 M parameters) is trained from scratch on the lives of all people, and on questions with answers about
half of them. It is then asked the same questions about the others: what it can recall of lives it was only told. Every
run sees as many tokens of lives; what differs is whether they are one text a person, or several that say the same
(a corpus of type `paraphrased` with another `per_document`). The claim, at scale: Physics of Language Models 3.1 and
EntiGraph (arXiv 2409.07431). Stopped, it goes on where it was. `results.json` beside this file keeps what it found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from people import ANSWERS, People

from rewarm.launch import tune
from rewarm.models.load import load_model
from rewarm.plan import Plan, from_values
from rewarm.quantities import parse_count
from rewarm.river.run import run
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.training.machine import on_device

HERE = Path(__file__).parent
PHRASINGS = (1, 2, 3, 5)
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 128,
}  # fmt: skip


def plan(folder: Path, output: Path, phrasings: int, tokens: int, seed: int) -> Plan:
    """Two thirds of the tokens are lives and a third is questions, for every number of phrasings."""
    lives: dict[str, Any] = {"path": str(folder / "lives.jsonl"), "id_field": "id"}
    if phrasings > 1:
        lives = {
            "type": "paraphrased", "path": lives["path"], "source": {"id_field": "id"},
            "paraphrases": str(folder / "paraphrases.jsonl"), "per_document": phrasings - 1,
        }  # fmt: skip
    stage = {
        "name": "learn", "data": [{"corpus": "lives", "weight": 2}, {"corpus": "questions", "weight": 1}],
        "tokens": tokens, "max_epochs": 1e6, "learning_rate": 5e-3, "schedule": "cosine",
    }  # fmt: skip
    return from_values(
        {
            "base": {"from": "scratch", "config": CONFIG, "tokenizer": {"vocab_size": 400}},
            "output_dir": str(output),
            "corpora": {"lives": lives, "questions": {"path": str(folder / "questions.jsonl")}},
            "stages": [stage],
            "seed": seed,
            "seq_len": 64,
            "batch_tokens": 1024,
            "precision": "fp32",
            "compile": False,
        }
    )


@torch.no_grad()
def right(people: People, names: tuple[str, ...], output: Path) -> list[float]:
    """The share of each person's questions of which the right answer is the likeliest of all of its kind."""
    model = on_device(load_model(str(output / "stage-1-learn"))).eval()
    tokenizer = TextTokenizer(output / "tokenizer")
    shares = []
    for name in names:
        good = []
        for kind, values in people.values.items():
            asked = people.question(name, kind)
            whole = [ids[:-1] for ids in tokenizer.encode([f"{asked} {value} ." for value in values])]
            start = len(tokenizer.encode([asked])[0]) - 1
            length = max(map(len, whole))
            ids_BT = torch.zeros(len(whole), length, dtype=torch.long)
            for place, ids in enumerate(whole):
                ids_BT[place, : len(ids)] = torch.from_numpy(ids.astype("int64"))
            logs_BTV = model(input_ids=ids_BT.to(model.device)).logits.float().log_softmax(-1).cpu()
            scores = [
                sum(float(logs_BTV[place, at - 1, int(ids[at])]) for at in range(start, len(ids)))
                for place, ids in enumerate(whole)
            ]
            good.append(values[scores.index(max(scores))] == people.lives[name][kind])
        shares.append(mean(good))
    return shares


def one(output: Path, phrasings: int, tokens: int, count: int, seed: int) -> None:
    """Trains and asks one model; its numbers lie in OUTPUT as JSON."""
    people = People.made(count, seed)
    folder, runs = output / f"people-{seed}", output / f"{phrasings}-{seed}"
    people.write(folder / str(phrasings))
    result = run(plan(folder / str(phrasings), runs, phrasings, tokens, seed))
    found = {
        "phrasings": phrasings,
        "seed": seed,
        "taught": right(people, people.taught, runs),
        "others": right(people, people.others, runs),
        "parameters": result.parameters,
    }
    (output / f"{phrasings}-{seed}.json").write_text(json.dumps(found), encoding="utf-8")


def interval(values: list[float]) -> list[float]:
    """The mean over people of all seeds, and its 95 % interval (bootstrap over people)."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    return [round(float(number), 4) for number in (np.mean(values), *np.quantile(draws, (0.025, 0.975)))]


def summary(found: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Shares of right answers with intervals, for people whose questions were taught and for the others; for the others
    also the difference from one phrasing of the same people, and each seed's."""
    by_arm = {
        phrasings: sorted((row for row in found if row["phrasings"] == phrasings), key=lambda row: row["seed"])
        for phrasings in PHRASINGS
    }
    arms = {}
    for phrasings, rows in by_arm.items():
        gains = [
            [own - first for own, first in zip(row["others"], alone["others"], strict=True)]
            for row, alone in zip(rows, by_arm[1], strict=True)
        ]
        arms[str(phrasings)] = {
            **{group: interval([share for row in rows for share in row[group]]) for group in ("taught", "others")},
            "gain over 1": interval([gain for seed in gains for gain in seed]),
            "gain by seed": [round(mean(seed), 4) for seed in gains],
        }
    settings = {"tokens": options.tokens, "people": options.people, "seeds": options.seeds, "chance": 1 / ANSWERS}
    return {
        "settings": settings | {"parameters": found[0]["parameters"]},
        "columns": ["mean", "low", "high"],
        "share of right answers by phrasings": arms,
    }


def main() -> None:
    """Runs the study, or goes on with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--tokens", default="800k")
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="Runs at a time.")
    parser.add_argument("--one", type=int, nargs=2, help="Phrasings and seed of a single run.")
    options = parser.parse_args()
    tune()
    if options.one:
        one(options.output, options.one[0], parse_count(options.tokens), options.people, options.one[1])
        return
    options.output.mkdir(parents=True, exist_ok=True)
    files = {
        (phrasings, seed): options.output / f"{phrasings}-{seed}.json"
        for seed in range(options.seeds)
        for phrasings in PHRASINGS
    }

    def start(which: tuple[int, int]) -> None:
        command = [sys.executable, __file__, str(options.output), "--tokens", options.tokens]
        command += ["--people", str(options.people), "--one", *map(str, which)]
        subprocess.run(command, check=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(start, [which for which, file in files.items() if not file.is_file()]))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files.values()]
    text = json.dumps(summary(found, options), indent=1)
    (options.output / "results.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
