"""Probes about invented things, and tiny masked and encoder-decoder models with tokenizers of whole words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rewarm.probes import Probe

SENTENCE = (
    "the capital of moria luria dorne zuben is was now in a and north south stone river gate hill lake east west king "
    "queen old new great . , ?"
)
SENTINELS = ["<extra_id_0>", "<extra_id_1>"]


@pytest.fixture(scope="session")
def word_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function: `bert` or `t5` -> a tokenizer folder of whole words, with the special tokens of the family."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    def make(family: str) -> Path:
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] if family == "bert" else ["<pad>", "</s>", "<unk>"]
        special += SENTINELS if family == "t5" else []
        vocabulary = {word: number for number, word in enumerate([*special, *SENTENCE.split()])}
        unknown = "[UNK]" if family == "bert" else "<unk>"
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        folder = tmp_path_factory.mktemp(family) / "tokenizer"
        if family == "bert":
            tokenizer.post_processor = processors.TemplateProcessing(
                single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
            )
            names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
        else:
            tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
            names = {"pad_token": "<pad>", "eos_token": "</s>"}
        more: dict[str, Any] = {"extra_special_tokens": SENTINELS} if family == "t5" else {}
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token=unknown, model_max_length=64, **names, **more
        ).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def probes() -> list[Probe]:
    """Two relations, every kind of fact, several accepted answers, and answers of one and two words."""
    return [
        Probe("u1", "unchanged", "The capital of moria is", ("stone gate",), subject="moria", relation="capital"),
        Probe("u2", "unchanged", "The capital of luria is", ("lake", "the lake"), subject="luria", relation="capital"),
        Probe("c1", "changed", "The king of moria is", ("north",), ("south", "south hill"), ".", "moria", "king"),
        Probe("c2", "changed", "The capital of dorne is", ("hill",), ("river gate",), ".", "dorne", "capital"),
        Probe("n1", "new", "The capital of zuben is", ("east",), subject="zuben", relation="capital"),
        Probe("d1", "deleted", "The king of zuben is", (), ("west",), ".", "zuben", "king"),
        Probe("q1", "new", "Who is king in dorne?", ("queen",), choices=("king", "queen", "old king")),
    ]


@pytest.fixture(scope="session")
def sharpened() -> Callable[[Any], Any]:
    """A function: a fresh model -> the same with larger weights, so that what it has read makes a difference."""

    def sharpen(model: Any) -> Any:
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D":
                module.weight.data *= 5
        return model

    return sharpen
