"""Programs written by two models, as CERT does: one drafts a sketch, the one that is asked writes the program from it.

What the steps are is said in rewarm/evaluation/two_step.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rewarm.evaluation.sampled import Drawing
from rewarm.evaluation.two_step import Sampler, two_step
from rewarm.hashing import seed_of
from rewarm.models.load import load_model
from rewarm.storage import sha256_of
from rewarm.suites import Asked
from rewarm.suites.problems import Problem
from rewarm.suites.writing import plain, write, write_several
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError, counted


def check_sketcher(folder: Path) -> None:
    """UserError when a folder holds no model with its tokenizer."""
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UserError(
                f"sketcher: '{folder}' has no {name}. Give the folder of a model that was trained on sketches, such as "
                "stage-1-sketches of its run"
            )


def sketcher_key(folder: Path) -> str:
    """A hash of the sketcher's weights and tokenizer. UserError when a file is missing."""
    check_sketcher(folder)
    return sha256_of(sorted([*folder.glob("*.safetensors"), folder / "tokenizer.json"]))


def in_two_steps(
    asked: Asked,
    sketcher: Path,
    items: Sequence[Problem],
    stops: Sequence[Sequence[str]],
    new_tokens: int,
    draw: Drawing,
) -> tuple[list[list[str]], dict[str, int]]:
    """`draw.samples` programs for each problem, and how many problems were answered by whom (sketcher, generator).

    At temperature 0 both models write greedily. What is drawn for a problem does not depend on the other problems.
    """
    model = load_model(str(sketcher)).to(asked.model.device).eval()  # type: ignore[arg-type]
    drafts = replace(asked, model=model, tokenizer=TextTokenizer(sketcher))
    done = counted(asked.tell, "write programs in two steps", len(items), "problems")
    texts, by = [], Counter({"sketcher": 0, "generator": 0})
    for item, stop in zip(items, stops, strict=True):
        drawing = replace(draw, seed=seed_of(draw.seed, "two-steps", item.prompt) % (1 << 31))
        first, second = (_sampler(one, new_tokens, drawing) for one in (drafts, asked))
        # A sketch may have the names of the source, so only markers of values tell it from a program.
        answers = two_step(item.prompt, first, second, draw.samples, stop)
        texts.append(list(answers.texts))
        by[answers.by] += 1
        done(1)
    return texts, dict(by)


def _sampler(asked: Asked, new_tokens: int, drawing: Drawing) -> Sampler:
    quiet = replace(asked, tell=lambda label, done, total, unit: None)

    def draw(prompt: str, count: int) -> list[str]:
        prompts = plain(quiet, [prompt])
        if drawing.temperature == 0:
            return [write(quiet, prompts, new_tokens)[0].text]
        return [one.text for one in write_several(quiet, prompts, new_tokens, replace(drawing, samples=count))[0]]

    return draw
