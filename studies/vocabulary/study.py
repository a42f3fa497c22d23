"""What new tokens do to the old language, and what their rows are worth on the new one.

    python studies/vocabulary/study.py DATA OUTPUT --base FOLDER [--count 300] [--tokens 200k] [--seeds 3]

DATA is a folder with `base/classic_books_en.jsonl.zst` and `languages/` with `da_adl_literature`, `is_icepahc_modern`
and `no_eltec_novels` (all .jsonl.zst); FOLDER a base trained on the books (studies/languages/study.py trains one). For
every seed (other texts) and language, tokens are added with each way of making rows, and the losses of both languages
are measured before any training. Then the base and three of the ways learn Danish. All losses are in nats per byte, in
the tokens of the grown model. Stopped, it goes on where it was. Writes OUTPUT/results.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rewarm.corpora import Corpus
from rewarm.evaluation.document_scores import DocumentScorer
from rewarm.evaluation.frontier import over_seeds
from rewarm.hashing import text_hash
from rewarm.launch import tune
from rewarm.methods import build
from rewarm.models.load import load_model
from rewarm.models.new_rows import INITS, Init
from rewarm.plan import Plan, from_values
from rewarm.river.comparison import finished
from rewarm.river.extending import Extend
from rewarm.river.run import run
from rewarm.storage import read_json, write_json
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows

OLD = "base/classic_books_en.jsonl.zst"
NEW = {
    "da": "languages/da_adl_literature.jsonl.zst",
    "is": "languages/is_icepahc_modern.jsonl.zst",
    "no": "languages/no_eltec_novels.jsonl.zst",
}
NONE = "no new tokens"
TRAINED = (NONE, "mean", "multivariate", "subword-mean")
LEARNED = 300
"""Documents that tokens are learned from."""


def texts(file: Path, seed: int) -> list[str]:
    """The texts of a file in an order of the seed."""
    source = build("corpora", {"type": "jsonl", "path": str(file)})
    assert isinstance(source, Corpus)
    found = [document.text for document in source.read(BadRows())]
    return sorted(found, key=lambda text: text_hash(f"{seed} {text}"))


def per_byte(folder: Path, of: list[str]) -> float:
    """Mean loss of a model in nats per byte."""
    scorer = DocumentScorer(load_model(str(folder)), TextTokenizer(folder), 256, states=False)
    return sum(one.nats for one in scorer.score(of)) / sum(len(text.encode()) for text in of)


def rows(given: argparse.Namespace, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each language: the losses on the old and the new one, by the way of making rows."""
    english = texts(given.data / OLD, seed)[: given.measured]
    for language, file in NEW.items():
        kept = given.output / f"rows-{language}-{seed}.json"
        found = read_json(kept)
        if found is None:
            of = texts(given.data / file, seed)
            source = given.output / f"{language}-{seed}.jsonl"
            lines = (json.dumps({"text": text}) + "\n" for text in islice(of, given.measured, given.measured + LEARNED))
            source.write_text("".join(lines), encoding="utf-8")
            found = {NONE: {"old": per_byte(given.base, english), "new": per_byte(given.base, of[: given.measured])}}
            for way in INITS:
                grown = extended(given, source, way, language, seed)
                found[way] = {"old": per_byte(grown, english), "new": per_byte(grown, of[: given.measured])}
                extension = json.loads((grown / "extension.json").read_text(encoding="utf-8"))
                found[way]["bytes per token"] = extension["bytes_per_token"]
            write_json(kept, found)
        yield language, found


def extended(given: argparse.Namespace, source: Path, way: Init, language: str, seed: int) -> Path:
    """The folder of the base with tokens of a text."""
    folder: Path = given.output / "grown" / language / way / str(seed)
    if not folder.is_dir():
        text = build("corpora", {"type": "jsonl", "path": str(source)})
        assert isinstance(text, Corpus)
        Extend(str(given.base), text, given.count, (way, way), folder, seed).run()
    return folder


def danish(given: argparse.Namespace, way: str, seed: int) -> dict[str, float]:
    """Losses on Danish and English after learning Danish."""
    base = given.base if way == NONE else given.output / "grown" / "da" / way / str(seed)
    plan: Plan = from_values(
        {
            "base": str(base),
            "output_dir": str(given.output / "trained" / way.replace(" ", "-") / str(seed)),
            "seed": seed,
            "seq_len": 256,
            "batch_tokens": 4096,
            "corpora": {
                "en": {"path": str(given.data / OLD), "holdout": 0.05, "holdout_by": "group"},
                "da": {"path": str(given.data / NEW["da"]), "holdout": 0.1, "holdout_by": "group"},
            },
            "stages": [{"name": "da", "data": "da", "tokens": given.tokens, "learning_rate": 1e-3}],
            "old_corpus": "en",
            "watch": ["en", "da"],
            "eval_every": 0,
        }
    )
    result = finished(plan) or run(plan, command="studies/vocabulary/study.py")
    cells = result.final().cells
    return {"new": cells["da"].loss, "old": cells["en"].loss, "bytes per token": cells["da"].bytes / cells["da"].tokens}


def over(values: list[float]) -> list[float]:
    """The mean over seeds and its 95 % interval."""
    return [round(value, 5) for value in over_seeds(values)]


def main() -> None:
    """Every seed, one after another."""
    tune()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--tokens", default="200k")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--measured", type=int, default=60, help="Documents of each language that are scored.")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    before: dict[str, dict[str, list[dict[str, Any]]]] = {language: {} for language in NEW}
    after: dict[str, list[dict[str, float]]] = {way: [] for way in TRAINED}
    for seed in range(1, given.seeds + 1):
        for language, found in rows(given, seed):
            for way, losses in found.items():
                before[language].setdefault(way, []).append(losses)
        for way in TRAINED:
            after[way].append(danish(given, way, seed))
        print(f"finished seed {seed}", flush=True)
    summary = {
        "settings": {"tokens added": given.count, "tokens trained": given.tokens, "seeds": given.seeds},
        "before training, change of nats per byte": {
            language: {
                way: {
                    kind: over([one[kind] - none[kind] for one, none in zip(found[way], found[NONE], strict=True)])
                    for kind in ("old", "new")
                }
                for way in INITS
            }
            for language, found in before.items()
        },
        "after training on Danish, nats per byte": {
            way: {kind: over([one[kind] for one in found]) for kind in found[0]} for way, found in after.items()
        },
        "after training on Danish, less no new tokens": {
            way: {
                kind: over([one[kind] - none[kind] for one, none in zip(found, after[NONE], strict=True)])
                for kind in ("old", "new")
            }
            for way, found in after.items()
            if way != NONE
        },
    }
    text = json.dumps(summary, indent=1)
    (given.output / "results.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
