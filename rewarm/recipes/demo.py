"""The demo: a tiny base that we trained and ship learns invented facts, then Python code, with and without replay.

The base (`demo_base/`, 1.3 M parameters) was trained by `rewarm demo --train-base FOLDER` on the documentation of the
Python standard library as the installation has it. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewarm.plan import Plan, from_values

BASE = Path(__file__).parent / "demo_base"
SEQ_LEN = 256


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


def plan(text: Mapping[str, Path], output: Path, base: Path = BASE) -> Plan:
    """The demo's own plan: two stages with 10 % replay of the documentation, and the same without replay."""
    replay = {"from": "documentation", "share": 0.1}
    stage: dict[str, Any] = {"learning_rate": 1e-3, "schedule": {"type": "rewarm", "warmup": 0.02}, "replay": replay}
    return from_values(
        {
            "base": str(base),
            "output_dir": str(output),
            "seq_len": SEQ_LEN,
            "batch_tokens": 2048,
            "corpora": {
                "documentation": _old(text),
                "facts": {"type": "jsonl", "path": str(text["facts"]), "holdout": 0.05},
                "code": {"type": "jsonl", "path": str(text["code"]), "holdout": 0.1},
            },
            "stages": [
                {"name": "facts", "data": "facts", "tokens": 200_000, **stage},
                {"name": "code", "data": "code", "tokens": 200_000, **stage},
            ],
            "watch": ["documentation", "facts", "code"],
            "controls": ["new-only"],
            "eval_tokens": 40_000,
        }
    )


def _old(text: Mapping[str, Path]) -> dict[str, Any]:
    return {"type": "jsonl", "path": str(text["old"]), "holdout": 0.1, "holdout_by": "group"}
