"""Pairs in every usual shape become two documents with one prompt; a row without a pair is counted by its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewarm.corpora import faults
from rewarm.corpora.preferences import Preferences
from rewarm.types import BadRows, Document

USER = {"role": "user", "content": "Which is it?"}
GOOD = {"role": "assistant", "content": "This one."}
BAD = {"role": "assistant", "content": "That one."}
TALK = "\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: Which is it?\n\nAssistant: "


def read(folder: Path, *rows: Any, **options: Any) -> tuple[list[Document], BadRows]:
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    bad = BadRows()
    return list(Preferences(path=str(file), **options).read(bad)), bad


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Which is it?", "chosen": "This one.", "rejected": "That one."},
        {"prompt": "Which is it?", "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "Which is it?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "\n\nHuman: Which is it?\n\nAssistant:", "chosen": " This one.", "rejected": " That one."},
        {
            "chosen": "\n\nHuman: Which is it?\n\nAssistant: This one.",
            "rejected": "\n\nHuman: Which is it?\n\nAssistant: That one.",
        },
    ],
)
def test_every_shape_gives_the_same_pair(tmp_path: Path, row: dict[str, Any]) -> None:
    (chosen, rejected), bad = read(tmp_path, row)
    assert [turn["content"].strip() for turn in chosen.meta["messages"]] == ["Which is it?", "This one."]
    assert [turn["content"].strip() for turn in rejected.meta["messages"]] == ["Which is it?", "That one."]
    assert (chosen.id, rejected.id) == ("pairs.jsonl:1:chosen", "pairs.jsonl:1:rejected")
    assert chosen.meta["prompt"] == rejected.meta["prompt"] == "User: Which is it?"
    assert (bad.rows, bad.total) == (2, 0)


def test_a_dialogue_keeps_its_turns_and_columns_and_ids_are_read(tmp_path: Path) -> None:
    row = {"better": f"{TALK}This one.", "worse": f"{TALK}That one.", "system": "Be kind.", "key": 7}
    (chosen, _), _ = read(tmp_path, row, columns={"chosen": "better", "rejected": "worse"}, id_field="key")
    assert [turn["role"] for turn in chosen.meta["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert chosen.id == "7:chosen"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "p", "chosen": "a"}, faults.NO_PAIR),
        ({"prompt": "p", "chosen": "a", "rejected": " a"}, faults.EQUAL_ANSWERS),
        ({"prompt": "p", "chosen": "a", "rejected": " "}, faults.EMPTY_ANSWER),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, faults.EMPTY_TURN),
        ({"chosen": "a", "rejected": "b"}, faults.NO_PROMPT),
        ({"chosen": "\n\nHuman: x\n\nAssistant: a", "rejected": "\n\nHuman: y\n\nAssistant: b"},
         faults.NO_COMMON_PROMPT),
        ({"prompt": "p", "chosen": "a", "rejected": "b\0"}, faults.NUL_CHARACTER),
    ],
)  # fmt: skip
def test_what_is_no_pair_is_counted_whole(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    found, bad = read(tmp_path, row)
    assert (found, bad.rows, dict(bad.counts)) == ([], 1, {reason: 1})
    assert reason in faults.REMEDIES


def test_pairs_are_held_out_by_their_prompt_or_by_a_field(tmp_path: Path) -> None:
    """Both documents of a pair name the same group, also where the row does not have the field."""
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b", "who": 3}, {"prompt": "q", "chosen": "a", "rejected": "b"}]
    by_prompt, _ = read(tmp_path, *rows)
    assert [one.meta["prompt"] for one in by_prompt] == ["User: p", "User: p", "User: q", "User: q"]
    by_field, _ = read(tmp_path, *rows, holdout_by="who")
    assert [one.meta["who"] for one in by_field] == [3, 3, "User: q", "User: q"]
