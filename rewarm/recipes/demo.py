"""The demo: a tiny base that we trained and ship learns an invented wiki, then what changed in it, then Python code.

The base (`demo_base/`, 1.3 M parameters) was trained by `rewarm demo --train-base FOLDER` on the documentation of the
Python standard library as the installation has it. It knows nothing of the wiki, so a first run teaches it the first
snapshot; the second, which is the demo's main job, starts from there. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewarm.plan import Plan, from_values
from rewarm.recipes import demo_text
from rewarm.recipes.demo_wiki import Stop
from rewarm.recipes.small_texts import month, write_wiki
from rewarm.types import Tell, silent

BASE = Path(__file__).parent / "demo_base"
SEQ_LEN = 256
FIRST = "wiki"
"""The stage of the first run, whose model is the second's base."""


def write(directory: Path, tell: Tell = silent, stop: Stop = lambda: False) -> dict[str, Path]:
    """The paths of the demo's text: `old`, `code`, the `wiki`, its `changes` a month later, and `probes` of these."""
    found = demo_text.write(directory)
    write_wiki(directory, 2, tell, stop)
    return found | {
        "wiki": directory / "snapshots" / f"{month(1)}.jsonl",
        "changes": directory / "differences" / month(2) / "diff.jsonl.zst",
        "probes": directory / "probes" / f"{month(2)}.jsonl",
    }


def base_plan(text: Mapping[str, Path], output: Path) -> Plan:
    """The plan that trained the shipped base: from scratch, on `old` text, to a decayed end."""
    return from_values(
        {
            "base": {
                "from": "scratch",
                "config": {
                    "model_type": "llama",
                    "hidden_size": 128,
                    "intermediate_size": 352,
                    "num_hidden_layers": 4,
                    "num_attention_heads": 4,
                    "num_key_value_heads": 4,
                    "max_position_embeddings": 1024,
                    "tie_word_embeddings": True,
                },
                "tokenizer": {"vocab_size": 4096},
            },
            "output_dir": str(output),
            "seq_len": SEQ_LEN,
            "batch_tokens": 4096,
            "corpora": {"documentation": _old(text)},
            "stages": [
                {
                    "name": "documentation",
                    "data": "documentation",
                    "epochs": 10,
                    "max_epochs": 10,
                    "learning_rate": 3e-3,
                    "schedule": {"type": "cosine", "warmup": 0.02},
                }
            ],
            "watch": ["documentation"],
        }
    )


def first_plan(text: Mapping[str, Path], output: Path) -> Plan:
    """The plan that teaches the base the wiki's first snapshot."""
    stage = {"name": FIRST, "data": FIRST, "tokens": 360_000, "max_epochs": 20, "learning_rate": 3e-3}
    return from_values(
        {
            "base": str(BASE),
            "output_dir": str(output),
            "seq_len": SEQ_LEN,
            "batch_tokens": 1024,
            "corpora": {"documentation": _old(text), FIRST: _wiki(text)},
            "stages": [
                {
                    **stage,
                    "schedule": {"type": "rewarm", "warmup": 0.02},
                    "replay": {"from": "documentation", "share": 0.2},
                }
            ],
            "watch": ["documentation", FIRST],
            "eval_tokens": 20_000,
        }
    )


def plan(text: Mapping[str, Path], output: Path, base: Path) -> Plan:
    """The demo's main job: what changed in the wiki, then code, with replay of all that the base knew and without.

    `base` is a model that knows the wiki's first snapshot.
    """
    shared: dict[str, Any] = {"schedule": {"type": "rewarm", "warmup": 0.02}, "max_epochs": 20}
    replayed = {"from": ["documentation", "wiki", "earlier"], "share": 0.5, "stale": True}
    return from_values(
        {
            "base": str(base),
            "output_dir": str(output),
            "seq_len": SEQ_LEN,
            "batch_tokens": 1024,
            "corpora": {
                "documentation": _old(text),
                FIRST: _wiki(text),
                "changes": {"type": "jsonl", "path": str(text["changes"]), "holdout": 0},
                "code": {"type": "jsonl", "path": str(text["code"]), "holdout": 0.1},
            },
            "stages": [
                {
                    "name": "changes",
                    "data": "changes",
                    "tokens": 90_000,
                    "learning_rate": 2e-3,
                    "replay": replayed,
                    **shared,
                },
                {
                    "name": "code",
                    "data": "code",
                    "tokens": 150_000,
                    "learning_rate": 1e-3,
                    "replay": replayed,
                    **shared,
                },
            ],
            "watch": ["documentation", "code"],
            "probes": {"changes": {"path": str(text["probes"]), "stage": "changes"}},
            "controls": ["new-only"],
            "eval_tokens": 40_000,
        }
    )


def _old(text: Mapping[str, Path]) -> dict[str, Any]:
    return {"type": "jsonl", "path": str(text["old"]), "holdout": 0.1, "holdout_by": "group"}


def _wiki(text: Mapping[str, Path]) -> dict[str, Any]:
    return {"type": "jsonl", "path": str(text["wiki"]), "holdout": 0.03}
