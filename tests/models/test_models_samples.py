"""Text from the model itself: made once, the same for a seed, never empty, and without the model's published habits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rewarm.models.samples import BARREN_BATCHES, ROWS, Sampling, sample_corpus
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, UserError, silent


@pytest.fixture(scope="session")
def tiny(tiny_tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer_folder)


def sampled(model: Any, tiny: TextTokenizer, file: Path, **changes: Any) -> list[str]:
    tell = changes.pop("tell", silent)
    options: dict[str, Any] = {"tokens": 600, "seq_len": 16, "temperature": 1.0, "seed": 0, **changes}
    corpus = sample_corpus(model, tiny, file, Sampling(**options), tell)
    bad = BadRows()
    texts = [document.text for document in corpus.read(bad)]
    assert bad.total == 0
    return texts


def force(model: Any, token: int) -> None:
    """Makes one token certain."""
    model.get_output_embeddings().bias = torch.nn.Parameter(torch.zeros(400))
    with torch.no_grad():
        model.get_output_embeddings().bias[token] = 1e4


def test_samples_are_documents(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    texts = sampled(make_tiny("llama"), tiny, tmp_path / "deep" / "s.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "deep" / "s.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == texts
    assert [row["id"] for row in rows] == [f"sample-{number}" for number in range(len(rows))]
    assert all(text.strip() for text in texts)
    assert len(texts) >= 600 / 15  # a document is at most 14 sampled tokens and EOS
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.jsonl"]


def test_a_seed_decides_the_samples(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    model = make_tiny("llama")
    one, again, other = (
        sampled(model, tiny, tmp_path / f"{name}.jsonl", seed=seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert one == again
    assert one != other
    assert sampled(model, tiny, tmp_path / "d.jsonl", seed=2**64 - 1) != one


def test_the_callers_state_is_untouched(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    model = make_tiny("gpt2").train()
    published = model.generation_config
    torch.manual_seed(9)
    state = torch.get_rng_state()
    sampled(model, tiny, tmp_path / "s.jsonl")
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.generation_config is published
    assert all(parameter.grad is None for parameter in model.parameters())


def test_samples_are_made_once(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    model = make_tiny("llama")
    first = sampled(model, tiny, tmp_path / "s.jsonl")
    changed = (tmp_path / "s.jsonl").stat().st_mtime_ns
    assert sampled(model, tiny, tmp_path / "s.jsonl", seed=1, tokens=10_000) == first
    assert (tmp_path / "s.jsonl").stat().st_mtime_ns == changed


def test_the_models_published_sampling_is_not_used(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    """Top-p, penalties and forbidden words make a chat better, and replay no longer the model's own distribution."""
    model = make_tiny("llama")
    plain = sampled(model, tiny, tmp_path / "a.jsonl")
    model.generation_config.update(top_p=0.1, repetition_penalty=5.0, suppress_tokens=list(range(3, 200)), min_p=0.9)
    assert sampled(model, tiny, tmp_path / "b.jsonl") == plain


def test_temperature_sharpens(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    model = make_tiny("llama")
    cold = sampled(model, tiny, tmp_path / "cold.jsonl", temperature=1e-4)
    assert len(set(cold)) < len(cold) / 4
    hot = sampled(model, tiny, tmp_path / "hot.jsonl", temperature=1.0)
    assert len(set(hot)) > 0.9 * len(hot)


def test_every_family_samples(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path, family: str) -> None:
    assert sampled(make_tiny(family), tiny, tmp_path / "s.jsonl", tokens=50)


def test_a_model_that_never_says_anything_is_no_replay(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    model = make_tiny("llama")
    force(model, tiny.eos_id)
    with pytest.raises(UserError, match=rf"no text in {BARREN_BATCHES * ROWS} samples.*replay from a corpus instead"):
        sampled(model, tiny, tmp_path / "s.jsonl")
    assert not (tmp_path / "s.jsonl").exists()
    assert model.training is False


def test_a_document_cut_inside_a_character_ends_before_it(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    """The first byte of a longer character, forever: nothing of it is text."""
    byte = tiny.encode(["é"])[0].tolist()[1]
    model = make_tiny("llama")
    force(model, byte)
    assert tiny.decode([byte]) == "\ufffd"
    with pytest.raises(UserError, match="gave no text"):
        sampled(model, tiny, tmp_path / "s.jsonl")


def test_progress_is_told(make_tiny: Any, tiny: TextTokenizer, tmp_path: Path) -> None:
    told: list[tuple[float, float | None]] = []
    sampled(
        make_tiny("llama"), tiny, tmp_path / "s.jsonl", tell=lambda label, done, total, unit: told.append((done, total))
    )
    assert told[-1] == (600, 600)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
