"""Labels of words: which token bears them, what is cut, and scores worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from rewarm.evaluation.learners import IGNORED
from rewarm.evaluation.tuning import Tuning, tune
from rewarm.evaluation.word_labels import WordLabeller, WordRows, WordsRead, entities, entity_f1, is_iob2, label
from rewarm.types import UserError


def wordpiece() -> PreTrainedTokenizerFast:
    """A tokenizer as BERT's: [CLS] and [SEP] around, pieces marked by ##."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ba", "##ke", "##lo", "mi", "."]
    made = Tokenizer(models.WordPiece({name: place for place, name in enumerate(names)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]")


def test_a_word_is_read_at_its_first_or_last_piece() -> None:
    words, labels = [["bakelo", "mi", "."]], [[5, 6, 7]]
    read = WordsRead.of(words, labels, wordpiece(), 32)
    assert read.rows.tokens == [[2, 4, 5, 6, 7, 8, 3]]
    assert read.rows.labels == [[IGNORED, 5, IGNORED, IGNORED, 6, 7, IGNORED]]
    last = WordsRead.of(words, labels, wordpiece(), 32, "last")
    assert last.rows.labels == [[IGNORED, IGNORED, IGNORED, 5, 6, 7, IGNORED]]
    assert (read.words_lost, last.words_lost) == (0, 0)


def test_words_beyond_the_cut_are_counted_and_a_row_with_none_left_is_told() -> None:
    """Four tokens: [CLS] ba ##ke [SEP]. A word that is cut in two is there by its first piece, and not by its last."""
    words, labels = [["bakelo", "mi"], ["mi", "mi", "."]], [[1, 2], [3, 4, 5]]
    read = WordsRead.of(words, labels, wordpiece(), 4)
    assert read.rows.labels == [[IGNORED, 1, IGNORED, IGNORED], [IGNORED, 3, 4, IGNORED]]
    assert (read.words_lost, read.places) == (2, (0, 1))
    last = WordsRead.of(words, labels, wordpiece(), 4, "last")
    assert (last.rows.labels, last.words_lost, last.places) == ([[IGNORED, 3, 4, IGNORED]], 3, (1,))


def test_a_byte_level_tokenizer_is_read_by_its_characters(tiny_tokenizer_folder: Path) -> None:
    """Letters outside of ASCII are several bytes, and the blank belongs to the word behind it."""
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    words = ["ba", "smörgås", "æ", "ke"]
    for subword in ("first", "last"):
        read = WordsRead.of([words], [[0, 1, 2, 3]], tokenizer, 64, subword)  # type: ignore[arg-type]
        tokens, labels = read.rows.tokens[0], read.rows.labels[0]
        assert read.words_lost == 0
        at = [labels.index(number) for number in range(4)]
        ends = [*at[1:], len(tokens)] if subword == "first" else [place + 1 for place in at]
        starts = at if subword == "first" else [0, *ends[:-1]]
        spelled = [tokenizer.decode(tokens[a:b]).strip() for a, b in zip(starts, ends, strict=True)]
        assert [one.removeprefix("<|bos|>") for one in spelled[:3]] == words[:3]


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(UserError, match="is no fast tokenizer"):
        WordsRead.of([["ba"]], [[0]], object(), 8)


def test_wrong_rows_are_refused() -> None:
    with pytest.raises(UserError, match="as many labels as it has tokens"):
        WordRows([[1, 2]], [[0]])
    with pytest.raises(UserError, match="row 1 has no word with a label"):
        WordRows([[1], [2]], [[0], [IGNORED]])


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_every_family_learns_labels_of_words(kind: str, make_tiny: Callable[..., Any]) -> None:
    """The label follows from the token itself: 0 below 50, else 1. Padding changes nothing."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    body = BertModel(BertConfig(vocab_size=400, **sizes)) if kind == "bert" else make_tiny(kind)
    tokens = [[20 + row % 7, 60 + row % 5, 21 + row % 3, *([70] * (row % 3))] for row in range(24)]
    rows = WordRows(tokens, [[0, 1, IGNORED, *([1] * (len(row) - 3))] for row in tokens])
    learner = WordLabeller(body, 2, seed=0)
    said = [learner.eval().read(rows.padded(chosen, 0)).logits_NC for chosen in ([0], [0, 2])]
    assert torch.allclose(said[0], said[1][:2], atol=1e-5)
    tune(learner, rows, rows, Tuning(3e-3, max_steps=30, batch_size=8, eval_every=10))
    found = label(learner, rows)
    assert (found.accuracy, found.macro_f1(2)) == (1.0, 1.0)
    assert [len(row) for row in found.given] == [2 + row % 3 for row in range(24)]


def test_entities_are_whole_spans_of_one_kind() -> None:
    assert entities(["B-A", "I-A", "O", "B-B", "B-B"]) == {(0, 2, "A"), (3, 4, "B"), (4, 5, "B")}
    assert entities(["O", "I-A", "I-A", "I-B"]) == {(1, 3, "A"), (3, 4, "B")}
    assert entities(["O"]) == set()


def test_entity_f1_by_hand() -> None:
    """Right: A(0-2), B(3-4), and A(0-1) in the second row. Given: A(0-1), B(3-4), and A(0-1): of 3 and 3, 2 agree."""
    right = [["B-A", "I-A", "O", "B-B"], ["B-A", "O"]]
    given = [["B-A", "O", "O", "B-B"], ["B-A", "O"]]
    assert entity_f1(given, right) == pytest.approx(2 / 3)
    assert entity_f1([["O", "O"]], [["B-A", "O"]]) == 0
    assert entity_f1([["O"]], [["O"]]) == 1


def test_iob2_is_known_by_its_names() -> None:
    assert is_iob2(["O", "B-LOC", "I-LOC"])
    assert not is_iob2(["NOUN", "VERB"])
    assert not is_iob2(["O"])
    assert not is_iob2(["O", "I-LOC"])
