"""Text sampled from a model: replay when the old corpus is closed. The samples are a corpus like any other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rewarm.corpora.jsonl import Jsonl
from rewarm.tokens.prepare import Tell, silent
from rewarm.tokens.tokenizer import TextTokenizer

ROWS = 32


@torch.no_grad()
def sample_corpus(
    model: PreTrainedModel,
    tokenizer: TextTokenizer,
    file: Path,
    tokens: int,
    seq_len: int,
    temperature: float,
    seed: int,
    tell: Tell = silent,
) -> Jsonl:
    """Samples at least `tokens` tokens of documents into `file` (unless it exists) and returns it as a corpus.

    Each document starts as the model's own documents do: from BOS, or from EOS for a model that has none, and ends at
    EOS or after `seq_len` tokens. Nothing of the old corpus is read.
    """
    if file.is_file():
        return Jsonl(path=str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    start = torch.tensor([list(tokenizer.prefix) or [tokenizer.eos_id]] * ROWS, device=model.device)
    states = torch.get_rng_state()
    torch.manual_seed(seed % (1 << 63))
    made, number = 0, 0
    partial = file.with_suffix(".partial")
    was_training = model.training
    model.eval()
    with partial.open("w", encoding="utf-8") as opened:
        while made < tokens:
            found = model.generate(
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
                ids = row[: row.index(tokenizer.eos_id)] if tokenizer.eos_id in row else row
                text = tokenizer.decode(ids)
                if text.strip() and "\x00" not in text:
                    opened.write(json.dumps({"id": f"sample-{number}", "text": text}) + "\n")
                    made += len(ids) + 1
                    number += 1
            tell("sample the model's own text", min(made, tokens), tokens, "tokens")
    model.train(was_training)
    torch.set_rng_state(states)
    os.replace(partial, file)
    return Jsonl(path=str(file))
