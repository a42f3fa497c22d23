"""What does selection choose from a mixed pool, and is it worth more than chance at equal tokens?

    python studies/selection/study.py DATA OUTPUT --base FOLDER [--tokens 2.9M] [--seeds 3] [--jobs 2]

The pool is 70 % abstracts of one field (the domain), 20 % statutes and old books, and 10 % noise made here: abstracts
with their characters shuffled, and boilerplate. The task's text is other abstracts, and what is scored after training
others again. DATA is a folder with `domains/acl_abstracts_2016_2021.jsonl.zst`, `domains/legal_us_code.jsonl.zst` and
`base/classic_books_en.jsonl.zst`; FOLDER is a base trained on the books (`studies/river.py` trains one). Every way to
choose takes 1, 3, 10 and 30 % of the pool's tokens, each choice is trained on once, and the whole pool once, with
every seed: 12.2 times the pool's tokens for each seed, 35.5 M with the options above. Documents are scored once for
all. Runs stand side by side in `--jobs` processes; stopped, the study goes on where it was. Writes
OUTPUT/runs/*.json, of which `summary.py` makes the results.json beside this file.

The published sweep has 10 and 100 % only (arXiv 2311.08545), without chance at equal tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

SHARES = (0.01, 0.03, 0.1, 0.3)
ARMS: dict[str, tuple[Any, bool]] = {
    "random": ("random", False),
    "similarity": ("similarity", False),
    "similarity, soft": ("similarity", True),
    "perplexity": ("perplexity", False),
    "perplexity without guard": ({"type": "perplexity", "guard": "none"}, False),
    "entropy": ("entropy", False),
    "combined": ("combined", False),
}
"""How documents are scored, and whether they are drawn; all are trained."""
CHOSEN_ONLY: dict[str, tuple[Any, bool]] = {"n-gram importance": ("ngram-importance", False)}
"""Ways to choose of which only the choice is looked at."""
FULL = "full"
MIX = {"domain": 0.7, "statutes": 0.1, "books": 0.1, "shuffled": 0.05, "boilerplate": 0.05}
"""The pool's parts by tokens, as their bytes foretell them."""
BYTES_PER_TOKEN = {"domain": 3.0, "statutes": 3.0, "books": 3.9, "shuffled": 1.3, "boilerplate": 2.6}
"""As the base's tokenizer has it (4096 entries learned from books)."""
TASK_DOCUMENTS = 300
BOOKS_HELD_OUT = 0.05
"""The share of the books that the base of `studies/river.py` was not trained on."""
TEXTS = {
    "domain": "domains/acl_abstracts_2016_2021.jsonl.zst",
    "statutes": "domains/legal_us_code.jsonl.zst",
    "books": "base/classic_books_en.jsonl.zst",
}
_MENU = ("Home", "About", "Contact", "Privacy", "Terms", "Sitemap", "Log in", "Register", "Cookies", "Help", "News")


@dataclass(frozen=True)
class Run:
    """One choice and, unless `trains` is false, the training on it."""

    arm: str
    share: float
    seed: int
    trains: bool = True

    @property
    def name(self) -> str:
        """Names its files."""
        words = "".join(letter if letter.isalnum() else "-" for letter in self.arm)
        return f"{words}-{self.share:g}-{self.seed}"


@dataclass(frozen=True)
class Place:
    """Where the study reads and writes."""

    data: Path
    output: Path
    base: Path

    @property
    def pool(self) -> Path:
        """The pool."""
        return self.output / "texts" / "pool.jsonl"

    def text(self, name: str) -> Path:
        """The task, or the text that is scored."""
        return self.output / "texts" / f"{name}.jsonl"

    def result(self, run: Run) -> Path:
        """What is kept of a run."""
        return self.output / "runs" / f"{run.name}.json"


def documents(data: Path, part: str, held_out: bool = False) -> Iterator[str]:
    """The texts of a file in an order that does not follow the file's; of books those that the base has learned, or
    with `held_out` those that it has not."""
    from rewarm.corpora.jsonl import Jsonl
    from rewarm.hashing import text_hash
    from rewarm.tokens.order import is_held_out
    from rewarm.types import BadRows

    rows = Jsonl(path=str(data / TEXTS[part]), keep_fields=("group",)).read(BadRows())
    texts = [
        one.text
        for one in rows
        if part != "books" or is_held_out(text_hash(str(one.meta["group"])), BOOKS_HELD_OUT) == held_out
    ]
    # Long documents are cut at an end of line: a chapter of a book or a title of law would be 1 % of the pool.
    pieces = [piece for text in texts for piece in _pieces(text)]
    yield from sorted(pieces, key=text_hash)


def _pieces(text: str, most: int = 4000) -> Iterator[str]:
    while len(text) > most:
        end = max(text.rfind("\n", most // 2, most), text.rfind(" ", most // 2, most))
        end = end if end > 0 else most
        yield text[:end]
        text = text[end:].strip()
    if text:
        yield text


def boilerplate(number: int) -> str:
    """A page of menus and notices; no two alike, all of the same few phrases."""
    source = random.Random(number)
    menu = " | ".join(source.sample(_MENU, 8))
    notice = f"Copyright {1990 + number % 35}. All rights reserved. This site uses cookies. Click here to accept. "
    return f"{menu}\n" + notice * source.randint(4, 9) + f"\n{menu}\nPage {number} of {number + source.randint(1, 99)}"


def shuffled(text: str, number: int) -> str:
    """The characters of a text in no order."""
    letters = list(text)
    random.Random(number).shuffle(letters)
    return "".join(letters)


def write_texts(place: Place, tokens: int) -> None:
    """The pool, the task and what is scored; documents are in one of them only."""
    if place.pool.is_file():
        return
    place.pool.parent.mkdir(parents=True, exist_ok=True)
    domain = documents(place.data, "domain")
    for name in ("task", "heldout"):
        _write(place.text(name), [("domain", next(domain)) for _ in range(TASK_DOCUMENTS)])
    held_books = documents(place.data, "books", held_out=True)
    _write(place.text("books"), [("books", text) for text in islice(held_books, 100)])
    noise = (shuffled(text, number) for number, text in enumerate(documents(place.data, "domain")))
    sources: dict[str, Iterator[str]] = {
        "domain": domain, "statutes": documents(place.data, "statutes"), "books": documents(place.data, "books"),
        "shuffled": noise, "boilerplate": (boilerplate(number) for number in range(10**9)),
    }  # fmt: skip
    rows: list[tuple[str, str]] = []
    for kind, share in MIX.items():
        left = share * tokens * BYTES_PER_TOKEN[kind]
        for text in sources[kind]:
            rows.append((kind, text))
            left -= len(text.encode())
            if left <= 0:
                break
    random.Random(0).shuffle(rows)
    _write(place.pool, rows)


def _write(file: Path, rows: list[tuple[str, str]]) -> None:
    partial = file.with_name(f"{file.name}.partial")
    lines = (
        json.dumps({"id": f"{kind}-{number}", "kind": kind, "text": text}) for number, (kind, text) in enumerate(rows)
    )
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(file)


def runs(seeds: int, shares: Sequence[float] = SHARES) -> list[Run]:
    """Every run of the study, those first that are wanted most."""
    trained = [Run(arm, share, seed) for seed in range(seeds) for share in shares[::-1] for arm in ARMS]
    looked_at = [Run(arm, share, 0, trains=False) for share in shares for arm in CHOSEN_ONLY]
    return [*(Run(FULL, 1.0, seed) for seed in range(seeds)), *trained, *looked_at]


def choose(place: Place, run: Run) -> tuple[Path, dict[str, Any]]:
    """The file of what a run trains on, and the summary of the choice."""
    from rewarm.methods import build
    from rewarm.river.selecting import Select
    from rewarm.selection.budget import Budget

    by, soft = ("random", False) if run.arm == FULL else (ARMS | CHOSEN_ONLY)[run.arm]
    chance = (soft or by == "random") and run.arm != FULL
    # What is not drawn is the same for every seed.
    name = Run(run.arm, run.share, run.seed if chance else 0).name
    select = Select(
        pool=build("corpora", {"type": "jsonl", "path": str(place.pool)}),  # type: ignore[arg-type]
        method=build("selection", by),  # type: ignore[arg-type]
        budget=Budget(share=run.share, soft=soft),
        model=str(place.base),
        out=place.output / "chosen" / f"{name}.jsonl.zst",
        work=place.output / "scores",
        task=build("corpora", {"type": "jsonl", "path": str(place.text("task"))}),  # type: ignore[arg-type]
        seed=run.seed if chance else 0,
        seq_len=256,
        source_field="kind",
    )
    return select.out, select.run()


def plan(place: Place, run: Run, chosen: Path) -> Any:
    """One pass over what was chosen."""
    from rewarm.plan import from_values

    return from_values(
        {
            "base": str(place.base),
            "output_dir": str(place.output / "models" / run.name),
            "prepared_dir": str(place.output / "prepared"),
            "seed": run.seed,
            "seq_len": 256,
            "batch_tokens": 2048,
            "eval_tokens": 40_000,
            "eval_every": 0,
            "compile": False,
            "corpora": {
                "chosen": str(chosen), "heldout": str(place.text("heldout")), "books": str(place.text("books")),
            },
            "stages": [
                {"name": "update", "data": "chosen", "epochs": 1, "learning_rate": 1e-3,
                 "schedule": {"type": "rewarm", "warmup": 0.05}}
            ],
            "watch": [{"corpus": "heldout", "role": "new"}, {"corpus": "books", "role": "old"}],
        }
    )  # fmt: skip


def train(place: Place, run: Run, chosen: Path) -> dict[str, Any]:
    """Trains one model and deletes it; its losses in nats per byte, and those of the base."""
    import shutil

    from rewarm.river.run import run as carry_out

    asked = plan(place, run, chosen)
    result = carry_out(asked)
    base, after = result.rows[0], result.rows[1]
    found = {
        name: {"base": base.cells[name].loss, "after": after.cells[name].loss, "relative": after.cells[name].relative}
        for name in ("heldout", "books")
    }
    shutil.rmtree(asked.output_dir)
    return {"tokens": after.tokens, "losses": found}


def carry_out(place: Place, run: Run, chosen: Path, kinds: dict[str, Any]) -> str:
    """One run in a process of the pool; writes its result."""
    trained = train(place, run, chosen) if run.trains else {}
    file = place.result(run)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(json.dumps({**asdict(run), "chosen": kinds, **trained}, indent=1) + "\n", encoding="utf-8")
    partial.replace(file)
    return run.name


def kept(summary: dict[str, Any]) -> dict[str, Any]:
    """What a run's result holds of its choice."""
    total = summary["chosen"]["tokens"]
    held = {one["source"]: one for one in summary["sources"]}
    return {
        "documents": summary["chosen"]["documents"],
        "tokens": total,
        "of_tokens": summary["of_tokens"],
        "kinds": {kind: one["tokens"]["chosen"] / total for kind, one in held.items()},
        "pool": {kind: one["tokens"]["pool"] / summary["pool"]["tokens"] for kind, one in held.items()},
        "mean": summary["chosen"]["mean"],
        "notes": summary["notes"],
    }


def main() -> None:
    """Runs the study, or goes on with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--tokens", default="2.9M", help="Tokens of the pool, nearly.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES, help="Of the pool's tokens.")
    parser.add_argument("--jobs", type=int, default=2, help="Runs at a time.")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // options.jobs)))
    from rewarm.quantities import parse_count

    place = Place(options.data.resolve(), options.output.resolve(), options.base.resolve())
    write_texts(place, parse_count(options.tokens))
    waiting = [run for run in runs(options.seeds, options.shares) if not place.result(run).is_file()]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        under_way = []
        for run in waiting:
            chosen, summary = choose(place, run)
            under_way.append(pool.submit(carry_out, place, run, chosen, kept(summary)))
        for number, one in enumerate(under_way, 1):
            print(f"{number}/{len(under_way)} {one.result()}", flush=True)


if __name__ == "__main__":
    main()
