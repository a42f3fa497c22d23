"""Does the order of languages matter? A base of English books learns Danish, Icelandic and Norwegian in three orders.

    python studies/languages/study.py DATA OUTPUT [--base FOLDER] [--tokens 100k] [--seeds 3] [--learning-rate 1e-3]

After Gogoulou et al. (arXiv 2311.01200). DATA is a folder with `base/classic_books_en.jsonl.zst` and `languages/` with
`da_adl_literature`, `is_icepahc_modern`, `no_eltec_novels` and `sv_eltec_novels` (all .jsonl.zst); FOLDER is a base
trained on the books before (`studies/river.py` trains one into OUTPUT/base/stage-1-books). The arms: the orders
da-is-no, no-is-da and is-no-da, and da-is-no with 5 % replay of the base's and all earlier text. Swedish is watched and
never learned. Forward transfer is against the control `alone`, which learns each language from the base. Stopped, it
goes on where it was. Writes OUTPUT/results.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rewarm.evaluation.frontier import over_seeds
from rewarm.launch import tune
from rewarm.plan import Plan, from_values
from rewarm.report.result import Result
from rewarm.river.comparison import finished
from rewarm.river.orders import reordered
from rewarm.river.run import run

CONFIG = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True, "max_position_embeddings": 1024,
}  # fmt: skip
SEQ_LEN, BATCH_TOKENS = 256, 1024
FILES = {
    "en": "base/classic_books_en.jsonl.zst",
    "da": "languages/da_adl_literature.jsonl.zst",
    "is": "languages/is_icepahc_modern.jsonl.zst",
    "no": "languages/no_eltec_novels.jsonl.zst",
    "sv": "languages/sv_eltec_novels.jsonl.zst",
}
REPLAY = {"from": ["en", "earlier"], "share": 0.05}
ARMS: dict[str, tuple[tuple[str, ...], dict[str, Any] | None]] = {
    "da-is-no": (("da", "is", "no"), None),
    "no-is-da": (("no", "is", "da"), None),
    "is-no-da": (("is", "no", "da"), None),
    "da-is-no, 5% replay": (("da", "is", "no"), REPLAY),
}


def corpora(data: Path) -> dict[str, dict[str, Any]]:
    """Every text; whole books are held out."""
    return {name: {"path": str(data / path), "holdout": 0.1, "holdout_by": "group"} for name, path in FILES.items()}


def base_plan(data: Path, output: Path) -> Plan:
    """A base of 1.3 M parameters on English books, with a tokenizer of single bytes and 1,024 English merges."""
    return from_values(
        {
            "base": {"from": "scratch", "config": CONFIG, "tokenizer": {"vocab_size": 1280, "sample_bytes": "20M"}},
            "output_dir": str(output / "base"),
            "seq_len": SEQ_LEN,
            "batch_tokens": BATCH_TOKENS,
            "corpora": {"en": corpora(data)["en"]},
            "stages": [{"name": "books", "data": "en", "tokens": "4M", "learning_rate": 3e-3, "schedule": "cosine"}],
            "watch": ["en"],
        }
    )


def arm_plan(given: argparse.Namespace, base: Path, arm: str, seed: int) -> Plan:
    """One arm under one seed; with replay, the first language replays the base's text alone."""
    order, replay = ARMS[arm]
    stage = {"tokens": given.tokens, "learning_rate": given.learning_rate, "schedule": {"type": "rewarm"}}
    stages = []
    for place, name in enumerate(("da", "is", "no")):
        held = {} if replay is None else {"replay": replay if place else {**replay, "from": "en"}}
        stages.append({"name": name, "data": name, **stage, **held})
    plan = from_values(
        {
            "base": str(base),
            "output_dir": str(given.output / "arms" / arm.replace(", ", "-").replace("% ", "-") / str(seed)),
            "prepared_dir": str(given.output / "prepared"),
            "seed": seed,
            "seq_len": SEQ_LEN,
            "batch_tokens": BATCH_TOKENS,
            # Without replay English is read by no stage: this keeps its held-out books the same.
            "old_corpus": "en",
            "corpora": corpora(given.data),
            "languages": {name: name for name in FILES},
            "stages": stages,
            "watch": ["en", "da", "is", "no", {"corpus": "sv", "role": "old"}],
            "controls": ["alone"],
            "eval_tokens": "30k",
            "eval_every": 0,
        }
    )
    return reordered(plan, order)


def summary(found: dict[str, list[Result]]) -> dict[str, Any]:
    """Every transfer over the seeds of each arm, how many have which sign beyond noise, and the two tables of text."""
    arms: dict[str, Any] = {}
    for arm, results in found.items():
        of_seeds = [one.languages.transfers for one in results if one.languages is not None]
        rows = []
        for several in zip(*of_seeds, strict=True):
            mean, low, high = over_seeds([one.value for one in several])
            rows.append([several[0].kind, several[0].stage, several[0].corpus, *_rounded(mean, low, high)])
        signs = {
            f"{kind} {word}": sum(row[0] == kind and (row[4] > 0 if word == "above 0" else row[5] < 0) for row in rows)
            for kind in ("forward", "backward")
            for word in ("above 0", "below 0")
        }
        total = {f"{kind} in all": sum(row[0] == kind for row in rows) for kind in ("forward", "backward")}
        arms[arm] = {"transfers": rows, "beyond noise over seeds": signs | total}
    first = next(iter(found.values()))[0].languages
    assert first is not None  # every plan asks for it
    return {
        "columns": ["kind", "stage", "on", "nats per byte", "low", "high"],
        "arms": arms,
        "contamination": {one.name: dict(list(one.shares.items())[:4]) for one in first.corpora},
        "distances": {
            one.name: _rounded(*(value or 0.0 for value in row))
            for one, row in zip(first.corpora, first.distances, strict=True)
        },
    }


def _rounded(*values: float) -> list[float]:
    return [round(value, 5) for value in values]


def main() -> None:
    """Every arm under every seed, a seed of all arms before the next."""
    tune()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, help="A base that is there; otherwise one is trained.")
    parser.add_argument("--tokens", default="100k", help="Of each language.")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    base = given.base
    if base is None:
        plan = base_plan(given.data, given.output)
        if finished(plan) is None:
            run(plan, command="studies/languages/study.py")
        base = given.output / "base" / "stage-1-books"
    found: dict[str, list[Result]] = {arm: [] for arm in ARMS}
    for seed in range(1, given.seeds + 1):
        for arm in ARMS:
            plan = arm_plan(given, base, arm, seed)
            found[arm].append(finished(plan) or run(plan, command="studies/languages/study.py"))
            print(f"finished {arm}, seed {seed}", flush=True)
    settings = {"tokens per language": given.tokens, "learning_rate": given.learning_rate, "seeds": given.seeds}
    text = json.dumps({"settings": settings, **summary(found)}, indent=1)
    (given.output / "results.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
