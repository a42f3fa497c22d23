"""Do the forecasts of `rewarm plan` hold? Ten updates are planned, run, and held against what was forecast of them.

    python studies/forecasts/study.py DATA OUTPUT [--small] [--trials 10] [--first-seed 1] [--results FILE]

DATA is the folder with the files of `CORPORA`. A base is trained on books first (0.2 M parameters, 0.7 M tokens, to a
decayed end). Each trial plans an update of it on one of three corpora that neither the base nor any choice of the
planner has seen (statutes, abstracts, a textbook), with a seed of its own for pilots and update and one of three limits
of forgetting; then it runs the plan, which is scored on the half of the held-out documents that no pilot reads. A trial
is inside when the changes on old and new text are both within their stated 95 % intervals. Where the planner advises
not to train, the settings that came nearest are run all the same: what is tried is the forecast. Stopped, it goes on
where it was; RESULTS is written anew after every trial. `--small` makes one trial of a twentieth of the tokens.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
import zstandard

from rewarm.launch import tune
from rewarm.plan import Plan, from_values
from rewarm.planner.asked import Limits, asked
from rewarm.planner.job import Planned, described, plan_update
from rewarm.planner.writing import chosen_plan, foretold
from rewarm.recipes.first_plan import first_plan
from rewarm.report.result import Result
from rewarm.river.comparison import finished
from rewarm.river.run import run

CORPORA = {
    "books": "base/classic_books_en.jsonl.zst",
    "law": "domains/legal_us_code.jsonl.zst",
    "abstracts": "domains/acl_abstracts_2016_2021.jsonl.zst",
    "biology": "domains/biology_openstax.jsonl.zst",
}
LIMITS = (0.1, 0.2, 0.3)
"""Of forgetting: looser than one would ask of a large model, which forgets less."""
CHARACTERS, READ_BY_THE_BASE = 1000, 4000
"""Of a document, and of a book that the base is trained on; the rest of a longer one is not used."""
SCORED = 12_000
"""Tokens of each part of each watched corpus."""
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": True,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the books for the base, and of each corpus; tokens of the base's training and of an update."""

    books: int
    text: int
    base: int
    update: int


LONG, SMALL = Sizes(1_600_000, 500_000, 700_000, 60_000), Sizes(300_000, 200_000, 40_000, 24_000)


def texts(source: Path, characters: int) -> Iterator[dict[str, str]]:
    """The documents of a file, cut to their beginnings."""
    with source.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
        for line in io.TextIOWrapper(plain, encoding="utf-8"):
            row = json.loads(line)
            yield {"id": row["id"], "text": row["text"][:characters]}


def write_text(data: Path, folder: Path, size: int, names: list[str], characters: int) -> dict[str, Path]:
    """A file of about so many bytes of each corpus, made once; short documents are left out."""
    found = {}
    for name in names:
        found[name] = file = folder / f"{name}.jsonl"
        if file.is_file():
            continue
        lines, total = [], 0
        for row in texts(data / CORPORA[name], characters):
            if len(row["text"]) >= 400:
                lines.append(json.dumps(row) + "\n")
                total += len(row["text"])
            if total >= size:
                break
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8")
    return found


def base_plan(text: Path, output: Path, tokens: int) -> Plan:
    """The base: books, from scratch, to a decayed end."""
    stage = {
        "name": "books", "data": "books", "tokens": tokens, "learning_rate": 3e-3, "max_epochs": 10,
        "schedule": {"type": "cosine", "warmup": 0.02},
    }  # fmt: skip
    return from_values(
        {
            "base": {"from": "scratch", "config": CONFIG, "tokenizer": {"vocab_size": 1024}},
            "output_dir": str(output), "seq_len": 128, "batch_tokens": 1024,
            "corpora": {"books": {"path": str(text), "holdout": 0.2}}, "stages": [stage], "watch": ["books"],
            "eval_tokens": 20_000, "eval_every": 0, "precision": "fp32", "compile": False,
        }
    )  # fmt: skip


def done(plan: Plan, command: str) -> Result:
    """The result of a run, made where it has not finished."""
    return finished(plan) or run(plan, command=command)


def trial(number: int, seed: int, text: dict[str, Path], base: Path, output: Path, tokens: int) -> dict[str, Any]:
    """One planned update and what became of it, as plain values."""
    new = list(CORPORA)[1:][number % 3]
    limit = LIMITS[number // 3 % 3]
    folder = output / f"trial-{number}-{new}-{seed}"
    values = yaml.safe_load(first_plan(str(base), [str(text[new])], [str(text["books"])], str(folder / "run")))
    values |= {"seed": 1000 * seed, "eval_tokens": SCORED, "precision": "fp32", "compile": False}
    wanted = asked(values, Limits(limit, budget=tokens, smallest=0), folder / "plan.yaml", folder / "pilots")
    found = plan_update(wanted)
    result = done(_to_run(found), "studies/forecasts/study.py")
    assert result.forecast is not None
    told = described(found)
    return {
        "trial": number, "corpus": new, "seed": seed, "max_forget": limit, "decision": told["decision"],
        "reason": told["reason"], "pilots": len(found.pilots), "solved": told["solved"], "laws": {
            name: {one["law"]: {key: one[key] for key in ("error", "points", "reach", "chosen")} for one in laws}
            for name, laws in told["laws"].items()
        },
        "corpora": [one.model_dump() for one in result.forecast.corpora],
        "inside": all(one.inside for one in result.forecast.corpora),
        "seconds": {"expected": result.forecast.seconds, "outcome": sum(cost.seconds for cost in result.costs)},
    }  # fmt: skip


def _to_run(found: Planned) -> Plan:
    """The plan that was written, or that of the settings which came nearest."""
    if found.plan is not None:
        return found.plan
    assert found.solved is not None  # no corpus of this study is too small, and no pilot diverges
    expected = foretold(found.asked, found.corpora, found.solved, found.pilots)
    return chosen_plan(found.asked.plan, found.solved, expected)


def main() -> None:
    """The trials, one after another."""
    tune()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="[default: OUTPUT/results.json]")
    given = parser.parse_args()
    sizes, trials = (SMALL, 1) if given.small else (LONG, given.trials)
    whole = write_text(given.data, given.output / "text", sizes.books, ["books"], READ_BY_THE_BASE)
    text = write_text(given.data, given.output / "short", sizes.text, list(CORPORA), CHARACTERS)
    books = base_plan(whole["books"], given.output / "base", sizes.base)
    done(books, "studies/forecasts/study.py")
    base, results = given.output / "base" / "stage-1-books", []
    file = given.results or given.output / "results.json"
    for number in range(trials):
        one = trial(number, given.first_seed + number, text, base, given.output, sizes.update)
        results.append(one)
        inside = sum(one["inside"] for one in results)
        parts = [part for one in results for part in one["corpora"]]
        summary = {
            "trials": len(results), "inside": inside, "forecasts": len(parts),
            "forecasts_inside": sum(part["inside"] for part in parts),
        }  # fmt: skip
        file.write_text(json.dumps({"summary": summary, "trials": results}, indent=1) + "\n", encoding="utf-8")
        print(f"trial {number}: {json.dumps(summary)}", flush=True)


if __name__ == "__main__":
    main()
