"""Tokens to a target: what the size of a batch costs in new loss and in forgetting, at equal numbers of tokens.

    python studies/tokens_needed.py DATA OUTPUT --base DIR [--budgets 300k,600k,1200k] [--batches 16384,8192,4096,2048]

DIR is the base that studies/river.py trains (1.3 M parameters, books). Each run is one stage of abstracts with 5 %
replay of books and the rewarm schedule; the peak goes with the square root of the batch (1e-3 at 8,192 tokens), or
stays at 1e-3 (`fixed`, at the middle budget). Smaller batches make more updates of as many tokens. Writes
OUTPUT/tokens_needed.json with the final loss on both corpora, and how many tokens each batch needs for the new loss
that the largest batch reaches with the largest budget (interpolated in the logarithm of tokens), with the forgetting.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from river import books

from rewarm.plan import Plan, from_values
from rewarm.quantities import parse_count
from rewarm.river.run import run
from rewarm.river.train import Hooks

PEAK, PEAK_BATCH = 1e-3, 8192


def plan_of(options: argparse.Namespace, tokens: int, batch: int, peak: float) -> Plan:
    """One stage of abstracts."""
    return from_values(
        {
            "base": str(options.base),
            "output_dir": str(options.output / f"{tokens}-{batch}-{peak:.3g}"),
            "prepared_dir": str(options.output / "prepared"),
            "seq_len": 256,
            "batch_tokens": batch,
            "corpora": {
                "books": books(options.data),
                "abstracts": str(options.data / "domains/acl_abstracts_2016_2021.jsonl.zst"),
            },
            "stages": [
                {
                    "name": "abstracts", "data": "abstracts", "tokens": tokens, "learning_rate": peak,
                    "schedule": "rewarm", "replay": {"from": "books", "share": 0.05},
                }
            ],
            "watch": ["books", "abstracts"],
            "eval_every": 0,
        }
    )  # fmt: skip


def one(options: argparse.Namespace, tokens: int, batch: int, peak: float) -> dict[str, Any]:
    """A run: its new loss (nats per byte), and what the old corpus lost, with its interval."""
    cells = run(plan_of(options, tokens, batch, peak), Hooks()).rows[-1].cells
    new, old = cells["abstracts"], cells["books"]
    found = {
        "tokens": tokens,
        "batch_tokens": batch,
        "learning_rate": round(peak, 6),
        "new loss": round(new.loss, 5),
        "new interval": [round(new.loss - new.delta + edge, 5) for edge in (new.low, new.high)],
        "forgetting": round(old.delta, 5),
        "forgetting interval": [round(old.low, 5), round(old.high, 5)],
    }
    print(json.dumps(found), flush=True)
    return found


def needed(runs: list[dict[str, Any]], target: float) -> dict[str, float] | None:
    """Tokens to the target new loss along one batch's runs, and the forgetting there; None when it is out of reach."""
    for before, after in pairwise(runs):
        if before["new loss"] >= target >= after["new loss"]:
            share = (before["new loss"] - target) / (before["new loss"] - after["new loss"])
            logs = [math.log(entry["tokens"]) for entry in (before, after)]
            forgetting = before["forgetting"] + share * (after["forgetting"] - before["forgetting"])
            return {
                "tokens": round(math.exp(logs[0] + share * (logs[1] - logs[0]))),
                "forgetting": round(forgetting, 5),
            }
    return None


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--budgets", default="300k,600k,1200k")
    parser.add_argument("--batches", default="16384,8192,4096,2048")
    options = parser.parse_args()
    budgets = [parse_count(word) for word in options.budgets.split(",")]
    batches = [int(word) for word in options.batches.split(",")]
    scaled = {
        batch: [one(options, tokens, batch, PEAK * math.sqrt(batch / PEAK_BATCH)) for tokens in budgets]
        for batch in batches
    }
    middle = budgets[len(budgets) // 2]
    fixed = [one(options, middle, batch, PEAK) for batch in batches if batch != PEAK_BATCH]
    target = scaled[batches[0]][-1]["new loss"]
    text = json.dumps(
        {
            "peak with the square root of the batch": [entry for entries in scaled.values() for entry in entries],
            "fixed peak": fixed,
            "target new loss": target,
            "tokens to the target": {batch: needed(entries, target) for batch, entries in scaled.items()},
        },
        indent=1,
    )
    (options.output / "tokens_needed.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
