"""Text sampled from a model: replay when the old corpus is closed. The samples are a corpus like any other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedModel

from rewarm.corpora.jsonl import Jsonl
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import Tell, UserError, silent

ROWS = 32
BARREN_BATCHES = 20


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much to sample: `tokens` in all, documents of at most `seq_len` tokens; at which temperature and seed."""

    tokens: int
    seq_len: int
    temperature: float
    seed: int


@torch.no_grad()
def sample_corpus(
    model: PreTrainedModel, tokenizer: TextTokenizer, file: Path, sampling: Sampling, tell: Tell = silent
) -> Jsonl:
    """Samples documents into `file` (unless it exists) and returns it as a corpus.

    Each document starts as the model's own documents do: from BOS, or from EOS for a model that has none, and ends at
    EOS or after `seq_len` tokens. Nothing of the old corpus is read, and the caller's random state is not touched.
    UserError when the model gives no text.
    """
    if file.is_file():
        return Jsonl(path=str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    made, number, barren = 0, 0, 0
    with partial.open("w", encoding="utf-8") as opened, _sampling(model, sampling.seed):
        while made < sampling.tokens:
            before = number
            for ids in _documents(model, tokenizer, sampling.seq_len, sampling.temperature):
                # A document cut at its last token may end inside a character.
                text = tokenizer.decode(ids).rstrip("\ufffd")
                if text.strip() and "\x00" not in text:
                    opened.write(json.dumps({"id": f"sample-{number}", "text": text}) + "\n")
                    made += len(ids) + 1
                    number += 1
            barren = barren + 1 if number == before else 0
            if barren == BARREN_BATCHES:
                raise UserError(
                    f"the model gave no text in {barren * ROWS} samples, so it cannot be its own replay: "
                    "replay from a corpus instead"
                )
            tell("sample the model's own text", min(made, sampling.tokens), sampling.tokens, "tokens")
    os.replace(partial, file)
    return Jsonl(path=str(file))


@contextmanager
def _sampling(model: PreTrainedModel, seed: int) -> Iterator[None]:
    """Evaluation mode, a random state of its own, and none of the sampling habits the model was published with."""
    was_training, published = model.training, model.generation_config
    model.eval()
    model.generation_config = GenerationConfig()
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed % (1 << 63))
        try:
            yield
        finally:
            model.generation_config = published
            model.train(was_training)


def _documents(
    model: PreTrainedModel, tokenizer: TextTokenizer, seq_len: int, temperature: float
) -> Iterator[list[int]]:
    """The ids of `ROWS` sampled documents, without the tokens that open and close them."""
    start = torch.tensor([list(tokenizer.prefix) or [tokenizer.eos_id]] * ROWS, device=model.device)
    found: torch.Tensor = model.generate(  # type: ignore[operator]
        start,
        attention_mask=torch.ones_like(start),
        do_sample=True,
        temperature=temperature,
        top_k=0,
        max_new_tokens=seq_len - start.shape[1] - 1,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.eos_id,
        use_cache=True,
    )
    for row in found[:, start.shape[1] :].tolist():
        yield row[: row.index(tokenizer.eos_id)] if tokenizer.eos_id in row else row
