"""The form that `rewarm corpus probes` writes, and the real files in it or near it."""

from __future__ import annotations

from collections import Counter

import pytest

from rewarm.probes.jsonl import Jsonl
from rewarm.probes.time_sensitive_qa import TimeSensitiveQa


def test_every_field(tmp_path, read, write_rows):
    row = {
        "id": "x", "subject": "France", "relation": "head of state", "object": ["Ann", "Ben"], "object_old": "Cid",
        "label": "changed", "prompt": "The head of state of France is ", "suffix": " .", "date": "2021",
        "choices": ["Ann", "Ben", "Dan"],
    }  # fmt: skip
    (probe,), _ = read(Jsonl(path=str(write_rows(tmp_path / "a.jsonl", row))))
    assert probe.id == "x"
    assert (probe.kind, probe.prompt, probe.suffix) == ("changed", "The head of state of France is", " .")
    assert (probe.answers, probe.old_answers, probe.choices) == (("Ann", "Ben"), ("Cid",), ("Ann", "Ben", "Dan"))
    assert (probe.subject, probe.relation, probe.date) == ("France", "head of state", "2021")
    assert probe.place == f"{tmp_path}/a.jsonl:1"


def test_a_fact_without_a_sentence_gets_one(tmp_path, read, write_rows):
    (tmp_path / "own.yaml").write_text("rules over: ['[Y] rules over [X].']\n", encoding="utf-8")
    base = {"label": "new", "object": "B", "subject": "A"}
    rows = [base | {"relation": relation} for relation in ("P36", "rules over", "hums like")]
    file = write_rows(tmp_path / "a.jsonl", *rows)
    probes, _ = read(Jsonl(path=str(file), templates=str(tmp_path / "own.yaml")))
    assert [(probe.prompt, probe.suffix) for probe in probes] == [
        ("The capital of A is", "."), ("", " rules over A."), ("A hums like", "."),
    ]  # fmt: skip


def test_deleted_unchanged_and_chosen_rows(tmp_path, read, write_rows):
    base = {"subject": "A", "relation": "capital"}
    file = write_rows(
        tmp_path / "a.jsonl",
        base | {"id": 1, "label": "deleted", "object": None, "object_old": "B"},
        base | {"id": 2, "object": "B", "object_old": "B", "period": "2021-1201-0101"},
        base | {"id": 3, "object": "B", "period": "2021-0901-1001"},
        base | {"id": 3, "answer": " C", "label": "new"},
    )
    probes, tally = read(Jsonl(path=str(file), kind="unchanged"))
    assert [(probe.kind, probe.answers, probe.old_answers, probe.date) for probe in probes] == [
        ("deleted", (), ("B",), ""), ("unchanged", ("B",), (), "2022-01-01"), ("unchanged", ("B",), (), "2021-10-01"),
    ]  # fmt: skip
    assert dict(tally.counts) == {"duplicate id": 1}
    probes, tally = read(Jsonl(path=str(file), kind="unchanged", where={"period": "2021-0901-1001"}))
    assert [probe.id for probe in probes] == ["3"]
    assert dict(tally.left_out) == {"another value of period": 3}


@pytest.mark.data
@pytest.mark.parametrize(
    ("years", "unchanged", "changed", "reworded", "damaged"),
    [("2017_2021", 1409, 474, 39, 4), ("2021_2023", 1516, 395, 21, 11), ("2023_2025", 1519, 402, 19, 20)],
)
def test_real_facts_of_countries(read, real, years, unchanged, changed, reworded, damaged):
    file = str(real(f"factbook_{years}.jsonl.zst"))
    probes, tally = read(Jsonl(path=file))
    assert Counter(probe.kind for probe in probes) == {"unchanged": unchanged, "changed": changed}
    assert tally.left_out == {"label reworded": reworded, "label damaged": damaged}
    assert all(len(probe.old_answers) == (probe.kind == "changed") for probe in probes)
    people, _ = read(Jsonl(path=file, relations=("population",)))
    rest, _ = read(Jsonl(path=file, without_relations=("population",)))
    assert len(people) + len(rest) == unchanged + changed
    assert 220 <= sum(probe.kind == "changed" for probe in people) <= 240


@pytest.mark.data
def test_real_probes_of_temporalwiki(read, real):
    """16,993 rows; four facts are unchanged in both periods, so 14,149 + 2,840 of them are different."""
    file = str(real("twiki_probes_0901_1101.jsonl.zst"))
    probes, tally = read(Jsonl(path=file))
    assert (Counter(probe.kind for probe in probes), tally.total) == ({"unchanged": 14_153, "changed": 2_840}, 0)
    facts = {(probe.kind, probe.subject, probe.relation, probe.answers) for probe in probes}
    assert Counter(kind for kind, *_ in facts) == {"unchanged": 14_149, "changed": 2_840}
    assert {probe.date for probe in probes} == {"2021-10-01", "2021-11-01"}
    september, _ = read(Jsonl(path=file, where={"period": "2021-0901-1001"}))
    assert Counter(probe.kind for probe in september) == {"unchanged": 7_090, "changed": 1_732}
    assert all(len(answer.split()) <= 5 for probe in probes for answer in probe.answers)


@pytest.mark.data
def test_real_facts_of_pararel(read, real):
    probes, tally = read(Jsonl(path=str(real("lama_trex_pararel.jsonl.zst")), kind="unchanged"))
    assert (len(probes), tally.total, len({probe.relation for probe in probes})) == (27_610, 0, 39)
    assert all(probe.prompt and not probe.prompt.endswith("[Y]") for probe in probes)


@pytest.mark.data
def test_real_questions_about_a_time(read, real):
    """320 articles with 1,171 questions, of which 189 are not answered by their article."""
    probes, tally = read(TimeSensitiveQa(path=str(real("time_sensitive_qa_train.jsonl.zst"))))
    assert (len(probes), tally.total) == (982, 0)
    assert tally.left_out == {"its article has no answer": 189}
    assert sum(bool(probe.date) for probe in probes) >= 970
