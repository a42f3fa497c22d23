"""Conversations in every usual shape, and what makes a row none."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from rewarm.corpora.chat import Chat
from rewarm.corpora.jsonl import Jsonl
from rewarm.types import BadRows, Document, UserError

TURNS = [
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "Ada."},
]
LONG = [{"role": "system", "content": "Be brief."}, *TURNS, {"role": "user", "content": "When?"}, TURNS[1]]


def write(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def read(corpus: Chat) -> tuple[list[Document], BadRows]:
    bad = BadRows()
    return list(corpus.read(bad)), bad


def of(tmp_path: Path, rows: list[Any], **options: Any) -> tuple[list[Document], BadRows]:
    return read(Chat(path=str(write(tmp_path / "a.jsonl", rows)), **options))


def test_every_shape_gives_the_same_conversation(tmp_path: Path) -> None:
    rows = [
        {"messages": TURNS},
        {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada."}]},
        {"messages": [{"role": "User", "content": [{"type": "text", "text": "Who?"}]}, TURNS[1]]},
        {"instruction": "Who?", "input": "", "output": "Ada."},
        {"prompt": "Who?", "completion": "Ada."},
        {"question": "Who?", "answer": "Ada.", "system": ""},
        {"prompt": [TURNS[0]], "completion": [TURNS[1]]},
        {"input": "Who?", "output": "Ada."},
    ]
    documents, bad = of(tmp_path, rows)
    assert bad.total == 0
    assert [document.text for document in documents] == ["User: Who?\n\nAssistant: Ada."] * len(rows)
    assert [list(document.meta["messages"]) for document in documents] == [TURNS] * len(rows)


def test_a_system_text_beside_the_turns_is_the_first_turn(tmp_path: Path) -> None:
    documents, _ = of(tmp_path, [{"messages": LONG}, {"system": "Be brief.", "conversations": LONG[1:]}])
    assert documents[0].text == documents[1].text
    assert documents[0].text.startswith("System: Be brief.\n\nUser: Who?")


def test_instruction_and_input_are_one_turn(tmp_path: Path) -> None:
    documents, _ = of(tmp_path, [{"instruction": "Name it.", "input": "a cat", "output": "Tom"}])
    assert documents[0].meta["messages"][0]["content"] == "Name it.\n\na cat"


def test_fields_and_roles_may_have_any_name(tmp_path: Path) -> None:
    row = {"turns": [{"who": "client", "said": "Who?"}, {"who": "agent", "said": "Ada."}], "n": 7, "book": "b"}
    documents, bad = of(
        tmp_path, [row], columns={"messages": "turns", "role": "who", "content": "said"},
        roles={"client": "user", "agent": "assistant"}, id_field="n", keep_fields=("book",),
    )  # fmt: skip
    assert bad.total == 0
    assert (documents[0].id, documents[0].meta["book"]) == ("7", "b")
    assert list(documents[0].meta["messages"]) == TURNS


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "plain"}, "no turns and no question with an answer"),
        ({"prompt": "Who?"}, "no turns and no question with an answer"),
        ({"messages": "Who?"}, "messages are no list of turns"),
        ({"messages": ["Who?", "Ada."]}, "messages are no list of turns"),
        ({"messages": [{"role": "narrator", "content": "x"}, TURNS[1]]}, "unknown role"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, TURNS[1]]}, "a turn is no text"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": []}]}, "empty answer"),
        ({"instruction": "Who?", "output": " "}, "empty answer"),
        ({"messages": [{"role": "user", "content": ""}, TURNS[1]]}, "empty turn"),
        ({"messages": TURNS[:1]}, "the last turn is not the assistant's"),
        ({"messages": []}, "the last turn is not the assistant's"),
        ({"messages": TURNS[1:]}, "an answer before any question"),
        ({"messages": [TURNS[0], *TURNS]}, "two turns of one speaker in a row"),
        ({"messages": [*TURNS, LONG[0], *TURNS]}, "a system turn after the first turn"),
        ({"messages": [{"role": "user", "content": "\0"}, TURNS[1]]}, "NUL character"),
        ([1], "not an object"),
    ],
)
def test_bad_rows_are_counted_by_reason(tmp_path: Path, row: Any, reason: str) -> None:
    documents, bad = of(tmp_path, [{"messages": TURNS}, row, {"messages": LONG}])
    assert len(documents) == 2
    assert dict(bad.counts) == {reason: 1}
    assert bad.rows == 3
    assert bad.examples[reason] == [f"{tmp_path}/a.jsonl:2"]


def test_tools_may_speak_several_times(tmp_path: Path) -> None:
    tool = {"role": "tool", "content": "42"}
    documents, bad = of(tmp_path, [{"messages": [*TURNS, tool, tool, TURNS[1]]}])
    assert (len(documents), bad.total) == (1, 0)


def test_an_array_is_read_like_lines(tmp_path: Path) -> None:
    rows = [{"instruction": f"Who? [{number}]", "output": 'Ada, éve, \\ "x".'} for number in range(400)]
    lines, _ = of(tmp_path, rows)
    for indent in (None, 2):
        file = tmp_path / "a.json"
        file.write_text("\ufeff" + json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
        found, bad = read(Chat(path=str(file)))
        assert bad.total == 0
        assert [one.text for one in found] == [one.text for one in lines]
        assert found[3].place == f"{file}:4"


def test_a_broken_array_is_read_up_to_its_fault(tmp_path: Path) -> None:
    good = json.dumps({"prompt": "Who?", "response": "Ada."})
    for rest, reason in (
        ("{", "broken JSON"), ("", "broken JSON"), ("nonsense]", "broken JSON"), ('"\\ud800"]', "not an object"),
        ('{"prompt": "\\ud800", "response": "x"}]', "lone surrogate"),
    ):  # fmt: skip
        (tmp_path / "a.json").write_text(f"[{good}, {good},\n{rest}", encoding="utf-8")
        found, bad = read(Chat(path=str(tmp_path / "a.json")))
        assert (len(found), dict(bad.counts)) == (2, {reason: 1})
    (tmp_path / "a.json").write_bytes(f"[{good}, ".encode() + b'"\xff"]')
    assert dict(read(Chat(path=str(tmp_path / "a.json")))[1].counts) == {"not UTF-8": 1}
    (tmp_path / "a.json").write_text("[]")
    assert read(Chat(path=str(tmp_path / "a.json")))[0] == []


def test_an_element_above_the_limit_ends_an_array(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"prompt": "Who?", "response": "x" * 900_000}]))
    found, bad = read(Chat(path=str(tmp_path / "a.json"), max_row_bytes=300_000))
    assert (len(found), dict(bad.counts)) == (0, {"row longer than max_row_bytes": 1})


def test_parquet_holds_turns_as_structs(tmp_path: Path) -> None:
    table = pyarrow.table({"messages": [LONG, TURNS[:1]], "unread": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    documents, bad = read(Chat(path=str(tmp_path / "a.parquet")))
    assert list(documents[0].meta["messages"]) == LONG
    assert dict(bad.counts) == {"the last turn is not the assistant's": 1}
    (tmp_path / "b.parquet").write_bytes(b"PAR1 damaged")
    assert dict(read(Chat(path=str(tmp_path / "b.parquet")))[1].counts) == {"truncated file": 1}


def test_a_template_that_is_no_file_is_refused(tmp_path: Path) -> None:
    file = str(write(tmp_path / "a.jsonl", [{"messages": TURNS}]))
    with pytest.raises(UserError, match="template 'chatml' is no file"):
        Chat(path=file, template="chatml").files()
    for given in ("auto", "plain", "{{ messages }}", file):
        assert len(Chat(path=file, template=given).files()) == 1


def test_the_remedy_for_conversations_read_as_text_names_the_type(tmp_path: Path) -> None:
    from rewarm.corpora.faults import check_budget

    bad = BadRows()
    list(Jsonl(path=str(write(tmp_path / "a.jsonl", [{"messages": TURNS}]))).read(bad))
    with pytest.raises(UserError, match="type: chat"):
        check_budget("a", bad, 0.0)
