"""Which retention methods beat a lower learning rate? Two domains after a base of old books, one sweep for each method.

    python studies/retention/study.py DATA OUTPUT --base FOLDER [--tokens 120k] [--seeds 3] [--jobs 2]

DATA is a folder with `base/classic_books_en.jsonl.zst`, `domains/legal_us_code.jsonl.zst` and
`domains/biology_openstax.jsonl.zst`; FOLDER is a base trained on the books (`studies/river.py` trains one into
OUTPUT/base/stage-1-books). Every method tries its own `sweep` on seed 0 and is then run on seeds 1 to 3. Stopped, it
goes on where it was. Writes OUTPUT/comparison.json and .html; `summary.py` makes `results.json` and `frontier.svg` of
them, which are kept beside this file, and docs/methods.md reads them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewarm.launch import tune
from rewarm.plan import Plan, from_values
from rewarm.river.comparison import compare
from rewarm.river.train import Hooks
from rewarm.river.variants import Arm, arms

OLD = {"type": "jsonl", "holdout": 0.05, "holdout_by": "group"}
RETENTION: tuple[Any, ...] = (
    "l2-sp",
    {"type": "ewc", "rows": 64},
    "moments",
    "recadam",
    {"type": "distillation", "on": "new"},
    {"type": "das", "rows": 64},
    "reptile",
    "ema",
    "a-gem",
    "freeze",
    "lr-adjust",
)
ADAPTERS: tuple[Any, ...] = ("lora", "block-expansion", "k-adapter", "modular")
REPLAYED: tuple[Any, ...] = ("l2-sp", "distillation")
FACTORS = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0)
REPLAYS = tuple({"from": "books", "share": share} for share in (0.05, 0.25))


def plan(data: Path, output: Path, base: Path, tokens: str, beta2: float) -> Plan:
    """Statutes, then a biology textbook, after the books. Plain training forgets much at this learning rate."""
    stage = {"tokens": tokens, "learning_rate": 1e-3, "schedule": {"type": "rewarm", "warmup": 0.05}}
    return from_values(
        {
            "base": str(base),
            "output_dir": str(output / "plan"),
            "prepared_dir": str(output / "prepared"),
            "old_corpus": "books",
            "seq_len": 256,
            "batch_tokens": 2048,
            "adam_betas": [0.9, beta2],
            "eval_tokens": 25_000,
            "precision": "bf16",
            "compile": False,
            "corpora": {
                "books": OLD | {"path": str(data / "base/classic_books_en.jsonl.zst")},
                "statutes": {"path": str(data / "domains/legal_us_code.jsonl.zst"), "holdout": 0.05},
                "biology": {"path": str(data / "domains/biology_openstax.jsonl.zst"), "holdout": 0.05},
            },
            "stages": [
                {"name": "statutes", "data": "statutes", **stage},
                {"name": "biology", "data": "biology", **stage},
            ],
            "watch": ["books", "statutes", "biology"],
        }
    )


def chosen(plain: Plan, only: list[str]) -> list[Arm]:
    """The sweep of learning rates, each method alone, replay alone, and what needs or may gain from replay."""
    found = arms(plain, {"retention": RETENTION, "adapter": ADAPTERS, "replay": REPLAYS}, FACTORS)
    values = plain.resolved()
    for stage in values["stages"]:
        stage["replay"] = REPLAYS[0]
    replayed = arms(from_values(values), {"retention": REPLAYED})
    found += [replace(arm, name=f"replay 5% + {arm.name}") for arm in replayed if arm.kind == "variant"]
    return [arm for arm in found if not only or arm.kind == "sweep" or any(word in arm.name for word in only)]


def main() -> None:
    """Runs the study, or goes on with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--tokens", default="120k")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--beta2", type=float, default=0.95, help="How long Adam remembers squares.")
    parser.add_argument("--jobs", type=int, default=2, help="Runs at a time.")
    parser.add_argument("--only", default="", help="Parts of names of arms, comma-separated; the sweep always runs.")
    options = parser.parse_args()
    tune()
    plain = plan(options.data, options.output, options.base, options.tokens, options.beta2)
    only = [word for word in options.only.split(",") if word]

    def tell(label: str, done: float, total: float | None, unit: str) -> None:
        if done == total:
            print(label, unit, flush=True)

    comparison = compare(
        plain, chosen(plain, only), options.seeds, Hooks(tell=tell), options.output, tune=True, jobs=options.jobs
    )
    for arm in comparison.arms:
        standing = arm.standing.verdict if arm.standing else "sweep"
        print(f"{arm.name:<44} old {arm.old.point:+.4f} new {arm.new.point:+.4f} cost {arm.cost:.2f} {standing}")


if __name__ == "__main__":
    main()
