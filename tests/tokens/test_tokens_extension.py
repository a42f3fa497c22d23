"""New pieces: hand-made merges, old ids as they were, and the old tokenizer's own pieces behind each new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from rewarm.tokens.extension import count_words, extend
from rewarm.types import UserError

TEXTS = ["kage kage kage smag", "kage og smag", "det er en kage til smag"] * 5


@pytest.fixture
def tokenizer() -> Tokenizer:
    """Letters, and one merge: `ka`; its special token has an id behind the model's own."""
    vocabulary = {letter: number for number, letter in enumerate("aegikldmnorst")} | {"ka": 13}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[("k", "a")]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["<end>"])
    return made


def extended(tokenizer: Tokenizer, count: int, texts: list[str] = TEXTS) -> tuple[Any, Tokenizer]:
    found = extend(tokenizer, count_words(tokenizer, texts), count)
    return found, Tokenizer.from_str(json.dumps(found.tokenizer))


def test_the_commonest_pair_first(tokenizer: Tokenizer) -> None:
    """`kage` stands there 25 times and is cut ka g e: first ka+g and g+e tie, the lower pair of ids being (2, 1)."""
    found, after = extended(tokenizer, 3)
    assert found.first_id == 15  # behind <end>, which is 14
    assert found.names[:2] == ("ge", "kage")
    assert found.pieces[:2] == ((2, 1), (13, 2, 1))
    assert after.encode("kage").ids == [16]
    assert tokenizer.encode("kage").ids == [13, 2, 1]


def test_old_ids_and_words_without_new_merges_stay(tokenizer: Tokenizer) -> None:
    found, after = extended(tokenizer, 3)
    old, new = tokenizer.get_vocab(), after.get_vocab()
    assert {name: new[name] for name in old} == old
    assert after.token_to_id("<end>") == 14
    assert sorted(new.values()) == list(range(15 + len(found.pieces)))
    assert after.encode("lind").ids == tokenizer.encode("lind").ids
    assert after.encode("<end>").ids == [14]


def test_every_piece_is_what_the_old_tokenizer_cuts(tokenizer: Tokenizer) -> None:
    found, _ = extended(tokenizer, 50)
    for name, ids in zip(found.names, found.pieces, strict=True):
        assert "".join(tokenizer.id_to_token(number) or "" for number in ids) == name
        assert tuple(tokenizer.encode(name).ids) == ids
    assert len(set(found.names)) == len(found.names) < 50  # no pair is left that occurs twice


def test_text_comes_back(tiny_tokenizer_folder: Path) -> None:
    plain = Tokenizer.from_file(str(tiny_tokenizer_folder / "tokenizer.json"))
    _, after = extended(plain, 40, ["Blåbærgrød er også godt, på en måde.\n\tJa!"] * 4)
    for text in ("Blåbærgrød er også godt", "plain words, and \t more\n", "日本 é"):
        ids = after.encode(text, add_special_tokens=False).ids
        assert after.decode(ids) == text
    assert len(after.encode("Blåbærgrød").ids) < len(plain.encode("Blåbærgrød").ids)


def test_a_tokenizer_that_does_not_merge_is_refused() -> None:
    with pytest.raises(UserError, match="is a Unigram model that cannot be gone on with"):
        extend(Tokenizer(models.Unigram([("a", 0.0)], unk_id=0)), {"a": 3}, 4)
