"""Texts to ids and back: what opens and closes a document, and what can never do so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rewarm.tokens import tokenizer as module
from rewarm.tokens.tokenizer import TextTokenizer, train
from rewarm.types import UserError

BOS, EOS, PAD = 0, 1, 2


@pytest.fixture(scope="session")
def tiny(tiny_tokenizer_folder: Path) -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer_folder)


def sentencepiece_like(folder: Path, text: str, bos: bool, eos_token: str = "</s>") -> Path:
    """A tokenizer that puts a blank of its own before every text, as Llama 2's does."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(text.split(), trainer=trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token=eos_token).save_pretrained(folder)
    return folder


def test_the_trained_tokenizer(tiny: TextTokenizer, tiny_tokenizer_folder: Path) -> None:
    assert (tiny.prefix, tiny.eos_id, tiny.vocab_size, tiny.dtype) == ((BOS,), EOS, 400, np.dtype("uint16"))
    loaded = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (BOS, EOS, PAD)


def test_training_is_reproducible(tmp_path: Path, words: Any) -> None:
    for name in ("one", "two"):
        train((words(seed, 100) for seed in range(5)), 300, tmp_path / name)
    assert (tmp_path / "one" / "tokenizer.json").read_bytes() == (tmp_path / "two" / "tokenizer.json").read_bytes()
    assert TextTokenizer(tmp_path / "one").hash == TextTokenizer(tmp_path / "two").hash


def test_a_document_is_prefix_text_and_eos(tiny: TextTokenizer, tiny_tokenizer_folder: Path, words: Any) -> None:
    texts = [words(seed, 20) for seed in range(4)] + ["", "x", "größer ✓ 漢字\n\n\ttab"]
    loaded = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    for text, ids in zip(texts, tiny.encode(texts), strict=True):
        assert ids.dtype == np.uint16
        assert ids.tolist() == [*loaded(text)["input_ids"], EOS]
        assert ids[0] == BOS
        assert tiny.decode(ids.tolist()) == text


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_comes_back(tiny: TextTokenizer, text: str) -> None:
    ids = tiny.encode([text])[0].tolist()
    assert tiny.decode(ids) == text
    assert ids.count(EOS) == ids.count(BOS) == 1


@pytest.mark.parametrize("name", ["<|eos|>", "<|bos|>", "<|pad|>"])
def test_the_name_of_a_special_token_is_text(tiny: TextTokenizer, name: str) -> None:
    """A corpus must not be able to end a document, or to hold control tokens, by spelling them."""
    text = f"ba {name} ke{name}{name}"
    ids = tiny.encode([text])[0].tolist()
    assert ids[0] == BOS
    assert ids[-1] == EOS
    assert not {BOS, EOS, PAD} & set(ids[1:-1])
    assert tiny.decode(ids) == text


@pytest.mark.parametrize("bos", [True, False])
def test_the_prefix_is_what_the_tokenizer_itself_puts_there(tmp_path: Path, words: Any, bos: bool) -> None:
    """With a template of BOS, text and EOS, the EOS is not counted twice."""
    tokenizer = TextTokenizer(sentencepiece_like(tmp_path, words(0, 100), bos))
    assert tokenizer.prefix == ((1,) if bos else ())
    assert tokenizer.eos_id == 2
    ids = tokenizer.encode(["bake loki"])[0].tolist()
    assert ids.count(2) == 1
    assert ids.count(1) == bos
    assert tokenizer.decode(ids) == "bake loki"


def test_long_texts_are_cut_without_a_trace(tiny: TextTokenizer, words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "  \n".join(words(seed, 60) for seed in range(20)) + "z" * 900 + "\n" * 300 + " tail"
    whole = tiny.encode([text, "x"])
    for longest in (50, 333, 1000):
        monkeypatch.setattr(tiny, "_longest", longest)
        pieces = list(module._cut(text, longest))
        assert "".join(pieces) == text
        assert all(0 < len(piece) <= longest for piece in pieces)
        cut = tiny.encode([text, "x"])
        assert tiny.decode(cut[0].tolist()) == text
        assert (cut[0][0], cut[0][-1]) == (BOS, EOS)
        assert np.isin(cut[0][1:-1], [BOS, EOS]).sum() == 0
        assert cut[1].tolist() == whole[1].tolist()


def test_plain_prose_is_cut_between_its_tokens(
    tiny: TextTokenizer, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = words(3, 2000)
    whole = tiny.encode([text])[0].tolist()
    monkeypatch.setattr(tiny, "_longest", 500)
    assert tiny.encode([text])[0].tolist() == whole


def test_a_tokenizer_that_adds_blanks_takes_long_texts_whole(
    tmp_path: Path, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut, each piece would begin with a blank that is not in the text."""
    folder = sentencepiece_like(tmp_path, words(0, 100), True)
    text = words(1, 300)
    whole = TextTokenizer(folder).encode([text])[0].tolist()
    monkeypatch.setattr(module, "MAX_CHARACTERS", 100)
    tokenizer = TextTokenizer(folder)
    assert tokenizer.encode([text])[0].tolist() == whole
    assert tokenizer.decode(whole) == text


def test_truncation_and_padding_kept_in_the_file_are_ignored(tiny_tokenizer_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_tokenizer_folder, tmp_path / "t")
    tokenizer = Tokenizer.from_file(str(tmp_path / "t" / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(tmp_path / "t" / "tokenizer.json"))
    long, short = TextTokenizer(tmp_path / "t").encode(["bake loki " * 10, "ba"])
    assert len(long) > 20
    assert len(short) == 3


def configured(source: Path, folder: Path, **changes: Any) -> Path:
    shutil.copytree(source, folder)
    file = folder / "tokenizer_config.json"
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return folder


def test_the_end_of_text_may_be_written_as_a_mapping(tiny_tokenizer_folder: Path, tmp_path: Path) -> None:
    folder = configured(tiny_tokenizer_folder, tmp_path / "t", eos_token={"content": "<|eos|>", "lstrip": False})
    assert TextTokenizer(folder).eos_id == EOS


@pytest.mark.parametrize("eos_token", [None, "<|no such|>"])
def test_without_an_end_of_text_documents_cannot_be_closed(
    tiny_tokenizer_folder: Path, tmp_path: Path, eos_token: str | None
) -> None:
    folder = configured(tiny_tokenizer_folder, tmp_path / "t", eos_token=eos_token)
    with pytest.raises(UserError, match=rf"no end-of-text token \(eos_token: {eos_token!r}\).*Set eos_token"):
        TextTokenizer(folder)


def test_a_folder_without_a_fast_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no tokenizer\.json: rewarm needs a fast"):
        TextTokenizer(tmp_path)


def test_ids_beyond_16_bits(tmp_path: Path) -> None:
    """65,536 ids still fit; one more does not."""
    for size, dtype in ((2**16, "uint16"), (2**16 + 1, "uint32")):
        vocabulary = {"</s>": 0, **{f"w{number}": number for number in range(1, size)}}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="</s>"))
        folder = tmp_path / dtype
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(folder)
        loaded = TextTokenizer(folder)
        assert (loaded.vocab_size, loaded.dtype) == (size, np.dtype(dtype))
        assert loaded.encode([f"w{size - 1}"])[0].tolist() == [size - 1, 0]


def test_the_hash_tells_tokenizers_apart(tiny: TextTokenizer, tiny_tokenizer_folder: Path, tmp_path: Path) -> None:
    assert TextTokenizer(configured(tiny_tokenizer_folder, tmp_path / "same")).hash == tiny.hash
    assert TextTokenizer(configured(tiny_tokenizer_folder, tmp_path / "other", eos_token="<|pad|>")).hash != tiny.hash
