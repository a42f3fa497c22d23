"""A plan's base before anything is loaded or trained: its shape, and its tokenizer if there is one already."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import torch
from transformers import PreTrainedModel

from rewarm.models.load import HEADS, make_model, save_tokenizer
from rewarm.plan import Plan, Scratch
from rewarm.river import heads
from rewarm.river.directory import PLAN, RunDirectory
from rewarm.river.shapes import base_shape
from rewarm.tokens.tokenizer import TextTokenizer


def _tokenizer(plan: Plan, run: RunDirectory) -> TextTokenizer | None:
    """The run's tokenizer, or the one it will have; None for one that is yet to be trained.

    That of a run directory belongs to the base of its last plan: with another base it will be made anew.
    """
    if (run.tokenizer / "tokenizer.json").is_file() and (run.root / PLAN).is_file():
        before = run.resolved()
        if (before.base, before.revision) == (plan.base, plan.revision):
            return TextTokenizer(run.tokenizer)
    name = plan.base.tokenizer if isinstance(plan.base, Scratch) else plan.base
    if not isinstance(name, str):
        return None
    # Saved as a run saves it, so that it has the hash of the run's and finds the stores made with it.
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(name, Path(folder) / "tokenizer", plan.revision)
        return TextTokenizer(Path(folder) / "tokenizer")


def _checked(plan: Plan, tokenizer: TextTokenizer | None) -> TextTokenizer | None:
    return None if tokenizer is None else heads.checked(plan, tokenizer)


def outline(plan: Plan, run: RunDirectory) -> tuple[PreTrainedModel, TextTokenizer | None]:
    """The model without its weights (on the meta device), and its tokenizer unless that is yet to be trained."""
    if not isinstance(plan.base, Scratch):
        # The shape first: reading a tokenizer reads the configuration, too, and says less of what is wrong with it.
        kind, words = HEADS[plan.head]
        shape = base_shape(plan.base, plan.revision, kind, words.removeprefix("a "))
        return shape, _checked(plan, _tokenizer(plan, run))
    found = tokenizer = _checked(plan, _tokenizer(plan, run))
    if tokenizer is None:
        vocabulary = getattr(plan.base.tokenizer, "vocab_size", 0)
        tokenizer = cast(TextTokenizer, SimpleNamespace(vocab_size=vocabulary, eos_id=1, prefix=(0,), pad_id=2))
    with torch.device("meta"):
        return make_model(plan.base.config, tokenizer, plan.seed, plan.head), found
