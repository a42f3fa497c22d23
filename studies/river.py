"""Must-show of the first milestone, on real text: a base trained here on old books, then abstracts, then statutes.

    python studies/river.py DATA OUTPUT [--tokens 1.5M] [--learning-rate 1e-3] [--replay 0.05] [--seeds 1] [--base DIR]

DATA is a folder with `base/classic_books_en.jsonl.zst`, `domains/acl_abstracts_2016_2021.jsonl.zst` and
`domains/legal_us_code.jsonl.zst`. The base is trained once (8 M tokens, 12 minutes on 2 cores). Each seed trains
two stages with and without replay. Writes OUTPUT/river.json; `studies/results/river.json` keeps one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rewarm.plan import Plan, from_values
from rewarm.report.result import Cell, Result
from rewarm.river.run import run
from rewarm.river.train import Hooks

CONFIG = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
    "max_position_embeddings": 1024,
}


def books(data: Path) -> dict[str, Any]:
    """The old corpus; whole books are held out."""
    return {"path": str(data / "base/classic_books_en.jsonl.zst"), "holdout": 0.05, "holdout_by": "group"}


def base_plan(data: Path, output: Path) -> Plan:
    """The base: 1.3 M parameters, 8 M tokens of books, cosine to a tenth of the peak."""
    return from_values(
        {
            "base": {"from": "scratch", "config": CONFIG, "tokenizer": {"vocab_size": 4096, "sample_bytes": "20M"}},
            "output_dir": str(output / "base"),
            "seq_len": 256,
            "batch_tokens": 8192,
            "corpora": {"books": books(data)},
            "stages": [
                {"name": "books", "data": "books", "tokens": "8M", "learning_rate": 3e-3, "schedule": "cosine"},
            ],
            "watch": ["books"],
        }
    )


def update_plan(data: Path, output: Path, options: argparse.Namespace, seed: int) -> Plan:
    """Abstracts, then statutes, with replay of the books; the control trains the same without replay."""
    stage = {
        "tokens": options.tokens,
        "learning_rate": options.learning_rate,
        "schedule": "rewarm",
        "replay": {"from": "books", "share": options.replay},
    }
    return from_values(
        {
            "base": str(options.base or output / "base" / "stage-1-books"),
            "output_dir": str(output / f"seed-{seed}"),
            "prepared_dir": str(output / "prepared"),
            "seed": seed,
            "seq_len": 256,
            "batch_tokens": 8192,
            "corpora": {
                "books": books(data),
                "abstracts": str(data / "domains/acl_abstracts_2016_2021.jsonl.zst"),
                "statutes": {"path": str(data / "domains/legal_us_code.jsonl.zst"), "holdout": 0.05},
            },
            "stages": [
                {"name": "abstracts", "data": "abstracts", **stage},
                {"name": "statutes", "data": "statutes", **stage},
            ],
            "watch": ["books", "abstracts", "statutes"],
            "controls": ["new-only"],
        }
    )


def _numbers(cell: Cell) -> list[float | str]:
    return [*(round(value, 5) for value in (cell.loss, cell.delta, cell.low, cell.high)), cell.verdict]


def summary(result: Result) -> dict[str, Any]:
    """Losses, deltas and intervals per model, and what replay saved and cost."""
    rows = {row.name: {name: _numbers(cell) for name, cell in row.cells.items()} for row in result.rows}
    with_replay, without = result.rows[2].cells, result.rows[3].cells
    new = {name: with_replay[name].loss / without[name].loss - 1 for name in ("abstracts", "statutes")}
    return {
        "columns": ["loss (nats/byte)", "delta", "low", "high", "verdict"],
        "rows": rows,
        "forgetting with replay / without": round(with_replay["books"].delta / without["books"].delta, 4),
        "new loss with replay over without": {name: round(value, 5) for name, value in new.items()},
        "shares": [[share.run, share.stage, share.corpus, share.planned, share.realised] for share in result.shares],
        "seconds": {f"{cost.run}/{cost.leg}": round(cost.seconds, 1) for cost in result.costs},
        "tokens_per_second": {f"{cost.run}/{cost.leg}": round(cost.tokens_per_second) for cost in result.costs},
    }


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--tokens", default="1.5M")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--replay", type=float, default=0.05)
    parser.add_argument("--base", type=Path, help="A base that this study trained before; it is not trained again.")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    hooks = Hooks(tell=lambda label, done, total, unit: print(label, done, total, unit, flush=True))
    if options.base is None:
        run(base_plan(options.data, options.output), hooks)
    found = {
        f"seed {seed}": summary(run(update_plan(options.data, options.output, options, seed), hooks))
        for seed in range(options.seeds)
    }
    settings = {"tokens per stage": options.tokens, "learning_rate": options.learning_rate, "replay": options.replay}
    text = json.dumps({"settings": settings, **found}, indent=1)
    (options.output / "river.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
