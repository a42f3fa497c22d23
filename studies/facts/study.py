"""Do facts that did not change survive an update, and does replay of outdated text hold the update back?

    python studies/facts/study.py DATA OUTPUT --base FOLDER [--tokens 280k] [--seeds 3] [--jobs 2] [--only WORD ...]

DATA is a folder with `probes/factbook_*.jsonl.zst` and `base/classic_books_en.jsonl.zst`; FOLDER is a base trained on
the books (`studies/river.py` trains one into OUTPUT/base/stage-1-books). The base first learns the almanac of 2017
beside books; then it is updated with what `rewarm corpus diff` finds new in 2021, 2023 and 2025, in several ways with
the same budget, and asked for every fact after every update. Stopped, it goes on where it was. `summary.py` makes
`results.json` of OUTPUT/arms, which is kept beside this file.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import almanac

from rewarm.difference.editions import editions
from rewarm.difference.folder import OutputFolder
from rewarm.difference.run import Job, Settings
from rewarm.launch import tune
from rewarm.plan import Plan, from_values
from rewarm.quantities import parse_count
from rewarm.river.run import run

OLD = ["almanac-2017", "earlier"]
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plain, learning rate x0.5": {"factor": 0.5},
    "replay 1:1": {"replay": {"from": OLD, "share": 1, "mode": "additive"}},
    "replay 1:1, no stale text": {"replay": {"from": OLD, "share": 1, "mode": "additive", "stale": True}},
}
BASE_SHARE = 150 / 7
"""Tokens that the base learns the first almanac with, in tokens of one update."""
RATE = 1e-3
COMMON = {"seq_len": 256, "precision": "bf16", "compile": False, "eval_tokens": 25_000}


def books(data: Path) -> dict[str, Any]:
    """The text that the base was trained on first."""
    return {
        "type": "jsonl", "holdout": 0.05, "holdout_by": "group",
        "path": str(data / "base/classic_books_en.jsonl.zst"),
    }  # fmt: skip


def prepared(data: Path, output: Path, every: int) -> Path:
    """Almanacs, diffs and probes, in OUTPUT/text."""
    text = output / "text"
    almanacs = almanac.write(data, text, every)
    for old, new in almanac.periods():
        pair = editions(str(almanacs[old]), str(almanacs[new]))
        folder = OutputFolder(text / f"diff-{new}")
        Job(*pair, folder, Settings()).run(lambda *_: None, lambda: False)
    return text


def base_plan(data: Path, output: Path, text: Path, base: Path, tokens: int) -> Plan:
    """The books' base learns the almanac of 2017, a quarter of its text being books."""
    return from_values(
        {
            "base": str(base),
            "output_dir": str(output / "base"),
            "prepared_dir": str(output / "prepared"),
            "batch_tokens": 4096,
            "corpora": {"books": books(data), "almanac-2017": {"path": str(text / "2017.jsonl"), "id_field": "id"}},
            "stages": [
                {
                    "name": "almanac",
                    "data": [{"corpus": "almanac-2017", "weight": 3}, "books"],
                    "tokens": round(BASE_SHARE * tokens),
                    "max_epochs": 100,
                    "learning_rate": 2e-3,
                    "schedule": {"type": "cosine", "warmup": 0.02},
                }
            ],
            "watch": ["books"],
            **COMMON,
        }
    )


def arm_plan(data: Path, output: Path, name: str, seed: int, tokens: int) -> Plan:
    """Three updates of the base in one way; every probe set is asked after each."""
    text, options = output / "text", ARMS[name]
    years = [new for _, new in almanac.periods()]
    stage = {
        "tokens": tokens,
        "max_epochs": 100,
        "learning_rate": RATE * options.get("factor", 1.0),
        "schedule": {"type": "rewarm", "warmup": 0.05},
        "replay": options.get("replay"),
    }
    corpora = {year: {"path": str(text / f"diff-{year}/diff.jsonl.zst"), "id_field": "id"} for year in years}
    probes: dict[str, Any] = {"constant": str(text / "constant.jsonl")}
    probes |= {f"changed-{year}": {"path": str(text / f"changed-{year}.jsonl"), "stage": year} for year in years}
    return from_values(
        {
            "base": str(output / "base" / "stage-1-almanac"),
            "output_dir": str(output / "arms" / name.replace(" ", "-").replace(",", "").replace("%", "") / str(seed)),
            "prepared_dir": str(output / "prepared"),
            "batch_tokens": 2048,
            "corpora": {
                "books": books(data),
                "almanac-2017": {"path": str(text / "2017.jsonl"), "id_field": "id"},
                **corpora,
            },
            "stages": [{"name": year, "data": year, "date": year, **stage} for year in years],
            "watch": [{"corpus": "books", "role": "old"}],
            "probes": probes,
            "seed": seed,
            **COMMON,
        }
    )


def _run(plan: Plan) -> str:
    run(plan, command="studies/facts/study.py")
    return plan.output_dir


def main() -> None:
    """Trains the base, then every arm with every seed, `--jobs` at a time."""
    tune()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument(
        "--tokens", type=parse_count, default=280_000,
        help="New ones of each update, some ten passes; replay comes on top: all arms read the new text equally often.",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="One country of so many.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    text = prepared(given.data, given.output, given.every)
    run(base_plan(given.data, given.output, text, given.base, given.tokens), command="studies/facts/study.py")
    names = [name for name in ARMS if not given.only or name in given.only]
    seeds = range(1, given.seeds + 1)
    plans = [arm_plan(given.data, given.output, name, seed, given.tokens) for seed in seeds for name in names]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        for folder in pool.map(_run, plans):
            print(f"finished {folder}", flush=True)


if __name__ == "__main__":
    main()
