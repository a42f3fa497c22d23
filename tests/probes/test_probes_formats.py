"""Formats of other projects: what their rows become, by hand."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from rewarm.probes.ckl import Ckl
from rewarm.probes.lama import Lama
from rewarm.probes.realtimeqa import Realtimeqa
from rewarm.probes.templama import Templama
from rewarm.probes.temporalwiki import Temporalwiki
from rewarm.probes.time_sensitive_qa import begins
from rewarm.types import UserError


def told(probe):
    return probe.kind, probe.prompt, probe.suffix, probe.answers, probe.old_answers


def test_tables_of_temporalwiki(tmp_path, read):
    (tmp_path / "0801-0901_changed.csv").write_text("subject,relation,object\nAnn,employer,Acme\n", encoding="utf-8")
    (tmp_path / "0801-0901_unchanged.csv").write_text("Ben,shoe size,44\n", encoding="utf-8")
    probes, tally = read(Temporalwiki(path=str(tmp_path)))
    assert [told(probe) for probe in probes] == [
        ("changed", "Ann is employed by", ".", ("Acme",), ()), ("unchanged", "Ben shoe size", ".", ("44",), ()),
    ]  # fmt: skip
    assert tally.rows == 2
    (tmp_path / "0801-0901.csv").touch()
    with pytest.raises(UserError, match="must end in what became of its facts"):
        read(Temporalwiki(path=str(tmp_path)))


def test_the_four_sets_of_ckl(tmp_path, read):
    files = {
        "invariantLAMA.csv": "id,input,output\n1,<extra_id_0> was born in Rome.,Ann\n2,No blank,Ben\n",
        "updatedLAMA.csv": "unique_id,statement,new_answer\n7,The leader of A is _X_ .,Ben\n8,A _X_ B _X_.,C\n",
        "updatedlama_answers.json": json.dumps({"7": [{"old": ["Cid", "Cy"], "new": ["Ben", "Benjamin"]}]}),
        "newLAMA.csv": "unique_id,statement,answer\n7,A sells <extra_id_0>,tea; black\n",
        "newlama_answers.json": json.dumps({"7": ["tea", "leaves"]}),
        "newLAMA_easy.csv": "unique_id,question,answer\n9,Who leads A?,Ben; Benjamin;\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    probes, tally = read(Ckl(path=str(tmp_path)))
    assert [told(probe) for probe in probes] == [
        ("unchanged", "", " was born in Rome.", ("Ann",), ()),
        ("new", "A sells", "", ("tea; black", "tea", "leaves"), ()),
        ("new", "Question: Who leads A?\nAnswer:", "", ("Ben", "Benjamin"), ()),
        ("changed", "The leader of A is", " .", ("Ben", "Benjamin"), ("Cid", "Cy")),
    ]  # fmt: skip
    assert dict(tally.counts) == {"no blank, or several": 2}
    (tmp_path / "other.csv").touch()
    with pytest.raises(UserError, match="must begin with invariant, updated, new"):
        read(Ckl(path=str(tmp_path)))


def test_sentences_of_lama(tmp_path, read, write_rows):
    base = {"sub_label": "Ann", "obj_label": "Rome", "predicate_id": "P19"}
    file = write_rows(
        tmp_path / "P19.jsonl",
        base | {"uuid": "u", "masked_sentences": ["Two [MASK] of [MASK].", "In [MASK], Ann was born."]},
        base,
    )
    first, second = read(Lama(path=str(file)))[0]
    assert told(first) == ("unchanged", "In", ", Ann was born.", ("Rome",), ())
    assert told(second) == ("unchanged", "The birthplace of Ann is", ".", ("Rome",), ())
    assert (first.id, second.id) == ("u", f"{file}:2")
    relations = write_rows(tmp_path / "relations.jsonl", {"relation": "P19", "template": "[X] comes from [Y] ."})
    first, second = read(Lama(path=str(file), relations_file=str(relations)))[0]
    assert told(first) == told(second) == ("unchanged", "Ann comes from", " .", ("Rome",), ())


def test_what_became_of_the_answers_of_templama(tmp_path, read, write_rows):
    def row(name: str, date: str, *answers: str) -> dict:
        return {"query": f"{name} plays for _X_.", "answer": [{"name": one} for one in answers], "date": date,
                "id": f"{name}_P54_{date}", "relation": "P54"}  # fmt: skip

    file = write_rows(
        tmp_path / "test.json",
        row("Stays", "2010", "A"), row("Stays", "2012", "A"), row("Stays", "2011", "A"),
        row("Moves", "2010", "A", "B"), row("Moves", "2012", "B", "C"),
        row("Shrinks", "2010", "A", "B"), row("Shrinks", "2012", "B"),
        row("Ends", "2010", "A"), row("Begins", "2012", "A"),
    )  # fmt: skip
    probes, tally = read(Templama(path=str(file), old=2010, new="2012"))
    assert [(probe.id, probe.kind, probe.answers, probe.old_answers) for probe in probes] == [
        ("Stays_P54", "unchanged", ("A",), ()),
        ("Moves_P54", "changed", ("C",), ("A",)),
        ("Shrinks_P54", "unchanged", ("B",), ()),
        ("Begins_P54", "new", ("A",), ()),
        ("Ends_P54", "deleted", (), ("A",)),
    ]
    assert dict(tally.left_out) == {"another date": 1, "earlier row of a probe": 3}
    with pytest.raises(ValidationError, match="an earlier and a later date"):
        Templama(path=str(file), old=2012, new=2010)


def test_questions_on_the_news(tmp_path, read, write_rows):
    row = {
        "question_id": "20220617_0", "question_date": "2022/06/17", "question_sentence": "Which team won?",
        "choices": ["A", "B", "C", "D"], "answer": ["2", "0"], "evidence": "C did.",
    }  # fmt: skip
    (probe,), _ = read(Realtimeqa(path=str(write_rows(tmp_path / "a.jsonl", row))))
    assert told(probe) == ("new", "Question: Which team won?\nAnswer:", "", ("C", "A"), ())
    assert (probe.id, probe.date, probe.choices) == ("20220617_0", "2022-06-17", ("A", "B", "C", "D"))


@pytest.mark.parametrize(
    ("question", "date"),
    [
        ("Who led A from Jul 1929 to Sep 1937?", "1929-07"),
        ("Who led A in 1991?", "1991"),
        ("Founded in 1811, who owned A between 1916 and January 1920?", "1916"),
        ("Who leads A?", ""),
    ],
)
def test_when_the_time_of_a_question_begins(question, date):
    assert begins(question) == date
