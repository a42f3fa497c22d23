"""Which ways of learning prompts keep earlier tasks, on a frozen model that has all that the tasks need?

    python studies/codetask/study.py OUTPUT [--seeds 3]

A small causal model is taught four functions of strings (copy, reverse, shift by a letter, mirror in the alphabet), on
four alphabets, each function asked for by a tag in some of 8 slots before the string. Then it is frozen, and four
tasks come one after another without tags: a function each, on an alphabet of its own. 8 learned vectors stand in the
slots, and must say which function it is. Every way learns the same rows; the last two tune the whole model instead.
Seconds a run; stopped, it goes on where it was. The numbers kept are `results.json` beside this file.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rewarm.evaluation.answering import Answerer, Answers
from rewarm.evaluation.frontier import over_seeds
from rewarm.evaluation.learners import Learner, score
from rewarm.evaluation.tuning import Tuning, tune
from rewarm.hashing import seed_of
from rewarm.methods import build
from rewarm.storage import read_json, write_json
from rewarm.tasks import Arrived, Beginning, Way
from rewarm.tasks.rows import Joined

LETTERS, ALPHABETS, SLOTS, LENGTH = 10, 4, 8, 5
SEPARATOR, END, BLANK, TAGS = 1, 2, 3, 4
FIRST = TAGS + ALPHABETS
"""The first letter's id: before it stand padding, separator, end, blank and a tag for each function."""
FUNCTIONS: tuple[Callable[[Sequence[int]], list[int]], ...] = (
    list,
    lambda text: list(text[::-1]),
    lambda text: [(one + 1) % LETTERS for one in text],
    lambda text: [LETTERS - 1 - one for one in text],
)
ROWS = {"train": 512, "dev": 64, "test": 256}
BASE = Tuning(3e-3, max_steps=2000, batch_size=64, warmup=100, eval_every=500)
PROMPTS = Tuning(0.1, max_steps=150, batch_size=32, eval_every=75, max_grad_norm=100.0)
WHOLE = Tuning(1e-3, max_steps=150, batch_size=32, eval_every=75)
POOL = {"type": "prompt-pool", "keys": SLOTS, "length": 1}
FORCED = {**POOL, "teacher_forcing": True}
WAYS: dict[str, dict[str, Any]] = {
    "shared prompts": {"type": "shared-prompts", "tokens": SLOTS},
    "task prompts": {"type": "task-prompts", "tokens": SLOTS},
    "PP, 26 keys at random": {**POOL, "key_init": "random", "pool": 26},
    "PP, 26 keys upfront": {**POOL, "key_init": "upfront", "pool": 26},
    "PP-TF, upfront, 1 shared": {**FORCED, "shared": 1, "key_init": "upfront"},
    "PP-TF, stream, 1 shared": {**FORCED, "shared": 1},
    "PP-TF, stream, none shared": {**FORCED, "shared": 0},
    "PP, stream, 1 shared": {**POOL, "shared": 1},
    "shared prompts, 64 rows replayed": {"type": "shared-prompts", "tokens": SLOTS, "replay": {"rows": 64}},
    "whole model": {"type": "naive"},
    "whole model, 64 rows replayed": {"type": "replay", "rows": 64},
}


def rows(function: int, alphabet: int, count: int, seed: int, tagged: bool = False) -> Answers:
    """Strings of five letters of an alphabet and what a function makes of them."""
    draw = np.random.default_rng(seed)
    first = FIRST + alphabet * LETTERS
    tokens, asked = [], []
    for text in draw.integers(LETTERS, size=(count, LENGTH)).tolist():
        before = [*(_slots(function, draw) if tagged else ()), *(first + one for one in text), SEPARATOR]
        after = [*(first + one for one in FUNCTIONS[function](text)), END]
        tokens.append(before + after)
        asked.append([False] * len(before) + [True] * len(after))
    return Answers(tokens, asked)


def _slots(function: int, draw: np.random.Generator) -> list[int]:
    """The tag of a function in some of the slots, in half of them on average; blanks in the others."""
    tagged = draw.random(SLOTS) < 0.5
    tagged[draw.integers(SLOTS)] = True
    return [TAGS + function if here else BLANK for here in tagged.tolist()]


def base(folder: Path) -> Any:
    """The model, taught every function on every alphabet, kept in a folder; its share of right answers is printed."""
    if folder.is_dir():
        return AutoModelForCausalLM.from_pretrained(folder)
    sizes = {
        "vocab_size": FIRST + ALPHABETS * LETTERS, "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0,
    }  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes))
    every = [(function, alphabet) for function in range(len(FUNCTIONS)) for alphabet in range(ALPHABETS)]
    train, dev = (
        Joined([(0, rows(*pair, count, seed_of(0, part, *pair), tagged=True)) for pair in every])
        for part, count in (("base", 2000), ("base-dev", 16))
    )
    course = tune(Answerer(model), train, dev, BASE)
    print(f"{course.best.accuracy:.3f} of the base's answers are right", flush=True)
    model.save_pretrained(folder)
    return model


def task(number: int, seed: int, part: str) -> Answers:
    """Rows of a task, without tags."""
    return rows(number, number, ROWS[part], seed_of(seed, part, number))


def begin(way: Way, place: int, seed: int) -> Beginning:
    """What a way finds when a task arrives."""

    def seen(number: int) -> Arrived:
        held = {part: Joined([(number, task(number, seed, part))]) for part in ("train", "dev")}
        bare = [row[: row.index(SEPARATOR) + 1] for row in task(number, seed, "train").tokens]
        labelled = number == place or (number < place and way.reads_old_labels)
        train, dev = (held["train"], held["dev"]) if labelled else (None, None)
        return Arrived(number, f"task-{number}", train, dev, Answers(bare, [[True] * len(row) for row in bare]))

    every = [seen(number) for number in range(len(FUNCTIONS))]
    to_come = every[place + 1 :] if way.peeks_ahead else []
    tuning = WHOLE if way.method_name() in ("naive", "replay") else PROMPTS
    return Beginning(every[place], every[:place], to_come, tuning, seed, Path())


@torch.no_grad()
def right(learner: Learner, number: int, seed: int) -> tuple[float, float]:
    """Shares of the test tokens and of the test answers that are right."""
    held = Joined([(number, task(number, seed, "test"))])
    learner.eval()
    passed = learner.read(held.padded(range(ROWS["test"]), 0))
    tokens = (passed.logits_NC.argmax(1) == passed.labels_N).float().mean().item()
    return tokens, score(learner, held).accuracy


def learned(options: Mapping[str, Any], model: Any, seed: int) -> dict[str, Any]:
    """Shares right of every task after each, by `tokens` and `answers`."""
    way: Any = build("tasks", options)
    learner = way.learner(Answerer(copy.deepcopy(model)), seed)
    found: dict[str, Any] = {"tokens": [], "answers": []}
    for place in range(len(FUNCTIONS)):
        beginning = begin(way, place, seed)
        way.arrive(learner, beginning)
        tune(learner, way.rows(beginning), way.dev(beginning), beginning.tuning)
        for name, shares in zip(
            found, zip(*(right(learner, one, seed) for one in range(place + 1)), strict=True), strict=True
        ):
            found[name].append(list(shares))
    return found


def summary(matrices: Sequence[Sequence[Sequence[float]]]) -> dict[str, Any]:
    """Mean after the last task, and forgetting: by how much an earlier task was better at its best. With intervals."""
    final = [float(np.mean(one[-1])) for one in matrices]
    lost = [
        float(np.mean([max(row[place] for row in one[place:-1]) - one[-1][place] for place in range(len(one) - 1)]))
        for one in matrices
    ]
    return {
        name: {"mean, low, high": [round(one, 3) for one in over_seeds(values)], "seeds": [round(v, 3) for v in values]}
        for name, values in (("final", final), ("forgetting", lost))
    }


def main() -> None:
    """Runs what has not been run, and writes the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    kept = asked.output / "found.json"
    asked.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = read_json(kept) if kept.is_file() else {}
    model = base(asked.output / "base")
    for seed in range(asked.seeds):
        for name in [name for name in WAYS if f"{name} | {seed}" not in found]:
            found[f"{name} | {seed}"] = learned(WAYS[name], model, seed)
            write_json(kept, found)
            print(
                name,
                {kind: round(float(np.mean(one[-1])), 3) for kind, one in found[f"{name} | {seed}"].items()},
                flush=True,
            )
    results = {
        name: {
            kind: summary([found[f"{name} | {seed}"][kind] for seed in range(asked.seeds)])
            for kind in ("tokens", "answers")
        }
        for name in WAYS
    }
    write_json(asked.output / "results.json", {"seeds": asked.seeds, "ways": results})


if __name__ == "__main__":
    main()
