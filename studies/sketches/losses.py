"""Are sketches easier than sources? Two small models of equal steps, one on each: mean loss on held-out files.

    python studies/sketches/losses.py SOURCES OUTPUT [--library pandas --library numpy] [--tokens 400k] [--seeds 3]

SOURCES is a corpus of Python code, as `rewarm corpus sketch` takes it, whose documents have a path, as in
'{path: code.jsonl.zst, keep_fields: [path]}'. Both corpora have the same files, in training and held out; both models
are new, of the same shape, with one tokenizer that was trained on the sources. Losses are per token and per byte of
each corpus's own text, and for each held-out file in all. Stopped, it goes on where it was. Writes losses.json into
OUTPUT.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rewarm.cli.given import corpus
from rewarm.evaluation.frontier import over_seeds
from rewarm.launch import tune
from rewarm.plan import Plan, from_values
from rewarm.report.result import Result
from rewarm.river.comparison import finished
from rewarm.river.run import run
from rewarm.sketches.job import WRITES, Job, Write
from rewarm.types import silent

CONFIG = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True, "max_position_embeddings": 1024,
}  # fmt: skip
ARMS: tuple[Write, ...] = ("sources", "sketcher")


def arm_plan(given: argparse.Namespace, arm: Write, seed: int) -> Plan:
    """One new model on one of the two corpora; the first of all trains the tokenizer, and the others take it."""
    first = given.output / "arms" / "sources" / "1"
    is_first = (arm, seed) == (ARMS[0], 1)
    return from_values(
        {
            "base": {
                "from": "scratch",
                "config": CONFIG,
                "tokenizer": {"vocab_size": 2048, "sample_bytes": "20M"} if is_first else str(first / "tokenizer"),
            },
            "output_dir": str(given.output / "arms" / arm / str(seed)),
            "seed": seed,
            "seq_len": 256,
            "batch_tokens": 4096,
            "corpora": {"code": {"path": str(given.output / f"{arm}.jsonl.zst"), "keep_fields": ["path"],
                                 "holdout": 0.08, "holdout_by": "path"}},
            "stages": [{"name": "code", "data": "code", "tokens": given.tokens, "learning_rate": 3e-3,
                        "schedule": "cosine"}],
            "watch": ["code"],
            "eval_tokens": "2M",
            "eval_every": 0,
        }
    )  # fmt: skip


def losses(result: Result) -> dict[str, float]:
    """Nats per token, per byte, and per held-out document."""
    cell = result.final().cells["code"]
    total = cell.loss * cell.bytes
    return {
        "nats per token": total / cell.tokens, "nats per byte": cell.loss, "nats per file": total / cell.documents,
        "documents": cell.documents,
    }  # fmt: skip


def main() -> None:
    """Both corpora, then every model."""
    tune()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources")
    parser.add_argument("output", type=Path)
    parser.add_argument("--library", action="append", default=[])
    parser.add_argument("--tokens", default="400k")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Any] = {}
    for arm in ARMS:
        assert arm in WRITES
        job = Job(corpus("SOURCES", given.sources), given.output / f"{arm}.jsonl.zst", write=arm,
                  libraries=tuple(given.library))  # fmt: skip
        counts[arm] = job.run(silent)
    arms: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in range(1, given.seeds + 1):
        for arm in ARMS:
            plan = arm_plan(given, arm, seed)
            found = finished(plan) or run(plan, command="studies/sketches/losses.py")
            arms[arm].append(losses(found))
            print(f"finished {arm}, seed {seed}: {arms[arm][-1]}", flush=True)
    measures = [key for key in arms["sources"][0] if key != "documents"]
    summary = {
        "settings": {"tokens": given.tokens, "seeds": given.seeds, "libraries": given.library},
        "files": counts["sources"]["written"],
        "held-out files": arms["sources"][0]["documents"],
        **{arm: {key: over([one[key] for one in arms[arm]]) for key in measures} for arm in ARMS},
        "sketches less sources": {
            key: over([one[key] - other[key] for one, other in zip(arms["sketcher"], arms["sources"], strict=True)])
            for key in measures
        },
    }
    text = json.dumps(summary, indent=1)
    (given.output / "losses.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def over(values: list[float]) -> list[float]:
    """The mean over seeds and its 95 % interval."""
    return [round(value, 5) for value in over_seeds(values)]


if __name__ == "__main__":
    main()
