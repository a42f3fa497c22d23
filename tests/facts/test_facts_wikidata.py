"""Dumps of Wikidata: which claims are facts, what they are called, and labels on disk."""

from __future__ import annotations

import json

import pytest

from rewarm.facts import labels, wikidata
from rewarm.facts.labels import Labels, LabelWriter, read_state
from rewarm.facts.wikidata import Wikidata
from rewarm.types import BadRows, UserError


@pytest.fixture
def dump(tmp_path, entity, claim, write_dump):
    return write_dump(
        tmp_path / "dump.json",
        entity("Q1", "France", "France", P36=[claim("Q2")], P6=[claim("Q3", P582=[1]), claim("Q4", "preferred")]),
        entity("P36", "capital"),
        entity("Q2", "Paris", P31=[claim("Q9", "deprecated"), claim(12), claim("Q5"), claim("Q77")]),
        entity("Q3", "Ann Old"),
        entity("Q4", "Ben New"),
        entity("Q5", "city"),
        entity("Q6", "", P36=[claim("Q2")]),
    )


def told(facts):
    return [(fact.subject, fact.relation, fact.object) for fact in facts]


def test_claims_that_are_facts_and_why_others_are_not(dump, read):
    facts, tally = read(Wikidata(path=str(dump)))
    assert told(facts) == [("France", "capital", "Paris"), ("France", "P6", "Ben New"), ("Paris", "P31", "city")]
    assert [(fact.subject_id, fact.object_id, fact.title) for fact in facts[:2]] == [
        ("Q1", "Q2", "France"), ("Q1", "Q4", "France"),
    ]  # fmt: skip
    assert dict(tally.left_out) == {
        "a better rank exists": 1, "deprecated": 1, "value is not an item": 1, "object without a label": 1,
        "subject without a label": 1,
    }  # fmt: skip


def test_ranks_ended_claims_properties_and_articles(dump, read, tmp_path):
    both = told(read(Wikidata(path=str(dump), ranks="all", ended=True, properties=("P6",)))[0])
    assert both == [("France", "P6", "Ann Old"), ("France", "P6", "Ben New")]
    assert dict(read(Wikidata(path=str(dump), ranks="all", properties=("P6",)))[1].left_out)["ended"] == 1
    assert {fact.subject for fact in read(Wikidata(path=str(dump), articles_only=True))[0]} == {"France"}
    (tmp_path / "names.json").write_text(json.dumps({"P6": "head of government"}), encoding="utf-8")
    named = read(Wikidata(path=str(dump), property_labels=str(tmp_path / "names.json")))[0]
    assert named[1].relation == "head of government"
    with pytest.raises(UserError, match="cannot be read"):
        read(Wikidata(path=str(dump), property_labels=str(tmp_path / "none.json")))


def test_a_name_that_is_the_same_in_all_languages(tmp_path, read, claim, write_dump):
    entity = {"id": "Q1", "labels": {"mul": {"value": "Ann"}, "de": {"value": "Anne"}}, "claims": {"P1": [claim("Q1")]}}
    dump = write_dump(tmp_path / "dump.json", json.dumps(entity))
    assert told(read(Wikidata(path=str(dump)))[0]) == [("Ann", "P1", "Ann")]
    assert told(read(Wikidata(path=str(dump), language="de"))[0]) == [("Anne", "P1", "Anne")]


def test_labels_are_read_once_and_again_when_the_dump_changes(dump, read, monkeypatch):
    first = read(Wikidata(path=str(dump)))
    passes = []
    lines = wikidata.lines
    monkeypatch.setattr(
        wikidata, "lines", lambda files, bad, what="read": passes.append(what) or lines(files, bad, what)
    )
    assert read(Wikidata(path=str(dump))) == first
    assert passes == ["read"]
    dump.write_text(dump.read_text(encoding="utf-8").replace("Paris", "Lutetia"), encoding="utf-8")
    assert ("France", "capital", "Lutetia") in told(read(Wikidata(path=str(dump)))[0])
    assert passes == ["read", "read labels", "read"]


class Cut(Exception):
    pass


def test_a_stopped_reading_of_labels_goes_on(dump, read, monkeypatch):
    """Stopped after five of nine lines, of which the first four were saved: these are not parsed again."""
    expected = read(Wikidata(path=str(dump), labels=str(dump.with_name("whole"))))
    monkeypatch.setattr(wikidata, "SAVE_EVERY", 2)
    parsed = []
    parse = wikidata._entity

    def stopping(line: bytes):
        parsed.append(line)
        if len(parsed) == 6:
            raise Cut
        return parse(line)

    snapshot = Wikidata(path=str(dump), labels=str(dump.with_name("store")))
    monkeypatch.setattr(wikidata, "_entity", stopping)
    with pytest.raises(Cut):
        list(snapshot.read(BadRows()))
    state = read_state(dump.with_name("store") / "en")
    assert (state["done"], state["complete"]) == (4, False)
    parsed.clear()
    monkeypatch.setattr(wikidata, "_entity", lambda line: parsed.append(line) or parse(line))
    snapshot._labels(BadRows())
    assert len(parsed) == 9 - 4
    assert read(snapshot) == expected


def test_labels_far_apart_and_missing_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "_FIRST_PLACES", 2)
    with LabelWriter(tmp_path, "key").opened() as writer:
        for number, label in ((0, "nought"), (1_000_000, "Zoë"), (7, "seven"), (7, "seven again")):
            writer.add(number, label)
        writer.add(10**15, "beyond every number")
        writer.save(5, complete=True)
    store = Labels(tmp_path)
    assert [store.label(number) for number in (0, 1, 7, 1_000_000, 10**7, 10**15)] == [
        "nought", "", "seven again", "Zoë", "", "",
    ]  # fmt: skip


def test_a_store_without_labels_is_read(tmp_path):
    with LabelWriter(tmp_path, "key").opened() as writer:
        writer.save(0, complete=True)
    assert Labels(tmp_path).label(3) == ""
