"""A tagger learns Danish, Swedish and German one after another, and the other way round: what is forgotten?

    python studies/tasks/study.py DATA OUTPUT [--base FOLDER] [--seeds 3] [--rows 240] [--epochs 4]

After Castellucci et al., ACL 2021, whose data could not be had. DATA is a folder with `languages/`, in it
`ud_pos_7langs.jsonl.zst`: sentences with parts of speech (the dev and test parts of Universal Dependencies, split anew
by a hash of the sentence). The base is the demo's, a small model of English documentation, if no other is given. Ways:
naive, distil (no old label is read), replay, joint and alone. It goes through `rewarm learn`'s own run; stopped, it
goes on where it was. Writes OUTPUT/results.json, and OUTPUT/tasks/tasks.html with every matrix.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rewarm.launch import tune
from rewarm.recipes.demo import BASE
from rewarm.report.tasks import Learned
from rewarm.tasks.plan import LearnPlan, from_values
from rewarm.tasks.run import learn
from rewarm.tasks.work import plan_work

LANGUAGES = {"danish": "da", "swedish": "sv", "german": "de"}
ORDERS = [["danish", "swedish", "german"], ["german", "swedish", "danish"]]
WAYS: list[Any] = ["naive", "distil", {"type": "replay", "rows": 48}, "joint", "alone"]


def plan(given: argparse.Namespace) -> LearnPlan:
    """The plan of the whole study."""
    task = {
        "kind": "labelling", "path": str(given.data / "languages" / "ud_pos_7langs.jsonl.zst"), "labels": "upos",
        "train_limit": given.rows, "dev_limit": 40, "test_limit": 100,
    }  # fmt: skip
    return from_values(
        {
            "base": given.base or str(BASE),
            "output_dir": str(given.output / "tasks"),
            "tasks": {name: {**task, "where": {"lang": code}} for name, code in LANGUAGES.items()},
            "ways": WAYS,
            "orders": ORDERS,
            "seeds": given.seeds,
            "max_length": 96,
            "subword": "last",
            "precision": "fp32",
            "tuning": {"learning_rate": given.learning_rate, "epochs": given.epochs, "warmup": 6},
        }
    )


def summary(found: Learned, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Settings, lines and mean matrices; no path of the machine."""
    matrices = {
        " > ".join(order): {
            way.name: [[round(value, 4) for value in row] for row in found.mean_matrix(way.name, order)]
            for way in found.ways
        }
        for order in found.orders
    }
    return {
        "settings": {name: getattr(given, name) for name in ("seeds", "rows", "epochs", "learning_rate")},
        "base": "demo" if given.base is None else Path(given.base).name,
        "measure": found.measure,
        "verdict": found.verdict,
        "lines": [line.model_dump(mode="json") for line in found.lines],
        "matrices": matrices,
        "seconds of the last call": round(seconds),
    }


def main() -> None:
    """Learns every arm and writes results.json."""
    tune()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", help="A folder or a name of the hub; the demo's base without it.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=240, help="Training rows of each language.")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    given = parser.parse_args()
    start = time.monotonic()
    found = learn(plan_work(plan(given)))
    text = json.dumps(summary(found, given, time.monotonic() - start), indent=1)
    (given.output / "results.json").write_text(text + "\n", encoding="utf-8")
    print(found.verdict)


if __name__ == "__main__":
    main()
