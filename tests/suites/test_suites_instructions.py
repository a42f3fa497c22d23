"""Rules by hand, repetition by hand, and what a model writes under a chat template."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rewarm.suites.asking import asked_of
from rewarm.suites.instructions import Instructions, Rules, repetition
from rewarm.suites.rows import BadRow
from rewarm.suites.writing import prompts
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError


@pytest.mark.parametrize(
    ("rules", "text", "followed"),
    [
        ({}, " anything ", True),
        ({}, "  ", False),
        ({"starts_with": "A:"}, "\nA: yes", True),
        ({"starts_with": "A:"}, "B: A: yes", False),
        ({"ends_with": "."}, "yes. \n", True),
        ({"contains": ["x", "y"]}, "a x", False),
        ({"contains": "x"}, "a x", True),
        ({"matches": "^Answer: \\w+$"}, "hm\nAnswer: yes\n", True),
        ({"matches": "^Answer: \\w+$"}, "my Answer: yes", False),
        ({"json": True}, '{"a": [1, 2]}', True),
        ({"json": True}, '{"a": }', False),
        ({"max_words": 2}, "a b", True),
        ({"max_words": 2}, "a b c", False),
        ({"min_words": 2}, "a", False),
        ({"max_words": 3, "json": True}, "[1, 2, 3, 4]", False),
    ],
)
def test_rules(rules: dict[str, Any], text: str, followed: bool) -> None:
    assert Rules.model_validate(rules).followed(text) is followed


def test_repetition_is_the_share_of_sequences_seen_before() -> None:
    assert repetition([1, 2, 3]) == 0
    assert repetition([1, 2, 3, 4, 5, 6]) == 0
    # 1111, 1111, 1111: two of three stood there before.
    assert repetition([1] * 6) == pytest.approx(2 / 3)
    # 1212 2121 1212 2121 1212: three of five.
    assert repetition([1, 2] * 4) == pytest.approx(3 / 5)


def test_messages_of_every_form_of_row() -> None:
    assert asked_of({"prompt": "a"}, None) == (("user", "a"),)
    assert asked_of({"instruction": "a", "input": "b"}, None) == (("user", "a\nb"),)
    assert asked_of({"instruction": "a", "input": ""}, None) == (("user", "a"),)
    assert asked_of({"x": "a"}, "Q: {x}") == (("user", "Q: a"),)
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert asked_of({"messages": said}, None) == (("user", "a"),)
    with pytest.raises(BadRow, match="no text in field 'prompt'"):
        asked_of({"text": "a"}, None)
    with pytest.raises(BadRow, match="no list of role and content"):
        asked_of({"messages": ["a"]}, None)
    with pytest.raises(BadRow, match="no text in field 'messages'"):
        asked_of({"messages": said[1:]}, None)


def test_rules_of_a_row_are_added_to_those_of_the_file() -> None:
    suite = Instructions(path="x", rules=Rules(max_words=3), system="be brief")
    item = suite.item({"prompt": "a", "rules": {"starts_with": "A"}, "answer": ["b", "c"]})
    assert item.rules == Rules(max_words=3, starts_with="A")
    assert item.messages == (("system", "be brief"), ("user", "a"))
    assert item.answers == ("b", "c")
    with pytest.raises(BadRow, match="rules that cannot be read"):
        suite.item({"prompt": "a", "rules": {"at_most": 3}})


def test_what_is_measured_is_what_was_written(write_rows: Any, answers_of: Any, words: Any) -> None:
    rows: list[dict[str, Any]] = [{"prompt": words(seed, 4)} for seed in range(6)]
    rows[0] |= {"rules": {"max_words": 2}}
    rows[1] |= {"rules": {"min_words": 1}, "answer": "ba"}
    values = {"type": "instructions", "path": write_rows(rows), "new_tokens": 12, "match": "contains"}
    found = answers_of(values)
    format_N, right_N = (found.measures[name].values_N for name in ("format_rate", "accuracy"))
    assert np.isnan(format_N).tolist() == [False, False, True, True, True, True]
    assert format_N[0] == (0 < len(found.written[0].split()) <= 2)
    assert np.isnan(right_N).tolist() == [True, False, True, True, True, True]
    assert set(found.measures) == {"format_rate", "accuracy", "stop_rate", "repetition"}
    # What the model itself wrote is a right answer, and without a rule or an answer there is nothing to be right.
    rows[1]["answer"] = found.written[1]
    assert answers_of(values | {"path": write_rows(rows, "own")}).measures["accuracy"].value == 1
    bare = answers_of(values | {"path": write_rows(rows[2:], "bare")})
    assert list(bare.measures) == ["stop_rate", "repetition"]


def test_a_model_that_ends_its_answer_stops(
    write_rows: Any, answers_of: Any, make_tiny: Any, tokenizer: TextTokenizer, asked: Any
) -> None:
    """With every logit equal but those of the end of the text, nothing is written; with none, the limit is reached."""
    model = make_tiny("llama")
    path = write_rows([{"prompt": "ba ke"}])
    ids = prompts(asked(), [[("user", "ba ke")]], "auto")
    assert tokenizer.eos_id in ids.ends
    model.lm_head.weight.data.zero_()
    found = answers_of({"type": "instructions", "path": path, "new_tokens": 3}, model)
    assert found.measures["stop_rate"].value == 0  # the first id of all is the likeliest of equal ones, and no end
    model.generation_config.eos_token_id = 5  # the decoding habits a model came with are not asked
    assert answers_of({"type": "instructions", "path": path, "new_tokens": 3}, model).written == found.written


def test_prompts_stand_in_the_chat_template(asked: Any, tokenizer: TextTokenizer) -> None:
    conversation = [("user", "ba ke")]
    plain = prompts(asked(), [conversation], "plain")
    assert tokenizer.decode(plain.ids[0]) == "### User:\nba ke\n\n### Assistant:\n"
    bare = prompts(asked(), [conversation], "none")
    assert bare.ids == [tokenizer.encode(["ba ke"])[0][:-1].tolist()]
    with pytest.raises(UserError, match="has no chat template"):
        prompts(asked(), [conversation], "tokenizer")
