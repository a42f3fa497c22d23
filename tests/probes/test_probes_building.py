"""From two snapshots to probes: kinds, filters, caps, texts, and what the summary counts."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from rewarm.facts import sorting
from rewarm.facts.triples import Triples
from rewarm.probes import KINDS, building
from rewarm.probes.alignment import diff_pages, stands, unchanged_pages
from rewarm.probes.asking import Templates
from rewarm.probes.building import Building, build, fault_of
from rewarm.probes.comparing import Change
from rewarm.probes.jsonl import Jsonl
from rewarm.types import Stopped, UserError, silent


@pytest.fixture
def make(tmp_path):
    """A function: old and new triples, **how -> the rows written and the summary, whose sums are checked."""

    def run(old, new, tell=silent, **how):
        snapshots = []
        for name, triples in (("old", old), ("new", new)):
            fields = ("subject", "relation", "object", "subject_id")
            rows = [dict(zip(fields, triple, strict=False)) for triple in triples]
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            snapshots.append(Triples(path=str(tmp_path / f"{name}.jsonl"), subject_id_field="subject_id"))
        output = tmp_path / "out" / "probes.jsonl"
        summary = build(*snapshots, output, Building(**how), tell)
        assert summary == json.loads(output.with_name("probes.summary.json").read_text(encoding="utf-8"))
        assert sorted(path.name for path in output.parent.iterdir()) == ["probes.jsonl", "probes.summary.json"]
        for kind in KINDS:
            assert summary["changes"][kind] == summary["facts"][kind] + sum(summary["dropped"][kind].values())
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        assert Counter(row["label"] for row in rows) == Counter(summary["probes"])
        return rows, summary

    return run


def told(rows):
    return [(row["label"], row["subject"], row["relation"], row.get("object"), row.get("object_old")) for row in rows]


SOMEONE = [("Someone", "is", "someone")]  # dropped, since it repeats its subject
OLD = [
    ("Ann", "employer", "Acme"), ("Ann", "sport", "chess"), ("Ann", "child", "Bo"), ("Ann", "child", "Cy"),
    ("Gone", "sport", "golf"), ("Ann", "party", "Left"), ("Ann", "team", "Reds"), ("Ann", "team", "Blues"),
]  # fmt: skip
NEW = [
    ("Ann", "employer", "Bolt"), ("Ann", "sport", "chess"), ("Ann", "child", "Bo"), ("Ann", "child", "Cy"),
    ("Ann", "child", "Di"), ("Ann", "team", "Blues"), ("Ann", "team", "Greens"), ("Ann", "team", "Golds"),
    ("Zed", "sport", "polo"), ("Ann", "award", "Cup"), ("Ann", "award", "Cup"),
]  # fmt: skip


def test_what_becomes_of_facts(make):
    rows, summary = make(OLD, NEW)
    assert told(rows) == [
        ("new", "Ann", "award", "Cup", None),
        ("unchanged", "Ann", "child", ["Bo", "Cy"], None),
        ("new", "Ann", "child", "Di", None),
        ("changed", "Ann", "employer", "Bolt", "Acme"),
        ("deleted", "Ann", "party", None, "Left"),
        ("unchanged", "Ann", "sport", "chess", None),
        ("unchanged", "Ann", "team", "Blues", None),
        ("changed", "Ann", "team", ["Golds", "Greens"], "Reds"),
        ("deleted", "Gone", "sport", None, "golf"),
        ("new", "Zed", "sport", "polo", None),
    ]
    assert summary["changes"] == {"unchanged": 4, "changed": 3, "new": 3, "deleted": 2}
    assert (summary["new"]["rows"], summary["new"]["facts"], summary["new"]["repeated"]) == (11, 10, 1)


def test_what_becomes_of_facts_as_temporalwiki_publishes_it(make):
    """Subjects of one snapshot only give nothing; whatever came is changed; a probe for each object."""
    rows, summary = make(OLD, NEW, as_published=True)
    changed = [row for row in told(rows) if row[0] == "changed"]
    assert changed == [
        ("changed", "Ann", "award", "Cup", None), ("changed", "Ann", "child", "Di", None),
        ("changed", "Ann", "employer", "Bolt", "Acme"), ("changed", "Ann", "team", "Golds", "Reds"),
        ("changed", "Ann", "team", "Greens", "Reds"),
    ]  # fmt: skip
    assert summary["probes"] == {"unchanged": 4, "changed": 5, "new": 0, "deleted": 1}
    assert (summary["old"]["not_compared"], summary["new"]["not_compared"]) == (1, 1)


def test_ids_are_unique_and_do_not_depend_on_other_facts(make):
    rows, _ = make(OLD, NEW, as_published=True)
    assert len({row["id"] for row in rows}) == len(rows)
    fewer, _ = make(OLD[:1], NEW[:1], as_published=True)
    assert fewer == [row for row in rows if row["relation"] == "employer"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Change("new", "s", "r", "paris", "University of Paris", ""), building.OVERLAP),
        (Change("new", "s", "r", "Greater Paris Region", "Paris", ""), building.OVERLAP),
        (Change("new", "s", "r", "one two three four five six", "A", ""), building.TOO_LONG),
        (Change("new", "s", "r", "one two three four five", "A", ""), None),
        (Change("changed", "s", "r", "Rome", "A", "", ("Oslo", "ROME")), building.READS_THE_SAME),
        (Change("changed", "s", "r", "Rome", "A", "", ("Oslo",)), None),
    ],
)
def test_filters_of_a_fact(change, reason):
    assert fault_of(change, Building()) == reason
    if reason in (building.OVERLAP, building.TOO_LONG):
        assert fault_of(change, Building(overlap=True, max_words=None)) is None


def test_a_sample_is_a_share_and_the_same_each_time():
    facts = [Change("unchanged", f"s{number}", "r", "o", "A", "") for number in range(4000)]
    kept = [fact for fact in facts if fault_of(fact, Building(sample={"unchanged": 0.25})) is None]
    assert 900 < len(kept) < 1100
    assert kept == [fact for fact in facts if fault_of(fact, Building(sample={"unchanged": 0.25})) is None]
    assert kept != [fact for fact in facts if fault_of(fact, Building(sample={"unchanged": 0.25}, seed=1)) is None]
    assert fault_of(Change("changed", "s0", "r", "o", "A", ""), Building(sample={"unchanged": 0.0})) is None


def test_a_triple_is_never_in_two_sets(make):
    """Two towns called Bury: as read, (Bury, county, X) is unchanged for one and new for the other."""
    old = [("Bury", "county", "X", "Q1"), ("Ham", "county", "X", "Q3"), ("Ely", "river", "Ouse", "Q6")]
    old += [("Ely", "river", "Ouse", "Q7")]
    rows, summary = make(old, [*old, ("Bury", "county", "X", "Q2"), ("Ham", "county", "x", "Q5")])
    assert told(rows) == [("unchanged", "Ely", "river", "Ouse", None)]
    assert summary["dropped"]["unchanged"] == {"reads like a fact of another kind": 2, "reads like another fact": 1}
    assert summary["dropped"]["new"] == {"reads like a fact of another kind": 2}


def test_caps_hold_exactly_on_what_is_written(make):
    """Facts drawn unevenly, some with several objects: every value keeps within its share of what is kept."""
    source = random.Random(3)
    triples = [tuple(f"{name}{int(many * source.random() ** 2)}" for name, many in (("s", 800), ("r", 90), ("o", 90)))
               for _ in range(6000)]  # fmt: skip
    rows, summary = make(SOMEONE, triples, caps={"subject": 0.01, "relation": 0.05, "object": 0.05})
    assert 1000 < len(rows) == summary["probes"]["new"]
    assert set(summary["dropped"]["new"]) == {
        "cap of its subject",
        "cap of its relation",
        "cap of its object",
    }
    for field, share in (("subject", 100), ("relation", 20), ("object", 20)):
        counts: Counter[str] = Counter()
        for row in rows:
            counts.update(row[field] if isinstance(row[field], list) else [row[field]])
        assert max(counts.values()) * share <= len(rows), field
    again, _ = make(SOMEONE, triples, caps={"subject": 0.01, "relation": 0.05, "object": 0.05})
    assert again == rows
    other, _ = make(SOMEONE, triples, caps={"subject": 0.01, "relation": 0.05, "object": 0.05}, seed=1)
    assert other != rows


def test_caps_that_no_set_can_keep_are_said(make):
    same = [(f"s{n}", f"r{n % 3}", f"o{n}") for n in range(30)]
    with pytest.raises(UserError, match=r"a cap of 0.05 for one relation takes 20 of them, and there are 3"):
        make(same, same, caps={"relation": 0.05})
    rows, summary = make(same, [*same, ("t", "q", "z")], caps={"relation": 0.34})
    assert summary["probes"]["unchanged"] == 30
    assert summary["notes"] == [
        "new: the caps keep no probe: a cap of 0.34 for one relation takes 3 of them, and there are 1. "
        "Raise --subject-cap, --relation-cap or --object-cap."
    ]
    assert len(rows) == 30


def test_changed_facts_stand_in_the_diff_and_unchanged_ones_in_the_rest(make, tmp_path):
    old = [("Ann_B", "sport", "chess"), ("Ann_B", "team", "Reds"), ("Ed", "sport", "golf"), ("Ed", "art", "oil")]
    new = [("Ann_B", "sport", "chess"), ("Ann_B", "team", "Blues"), ("Ed", "sport", "polo"), ("Ed", "art", "oil")]
    (tmp_path / "diff").mkdir()
    diff = [
        {"id": "1", "title": "Ann B", "text": "She now plays\nfor the BLUES."},
        {"id": "2", "title": "Ed", "text": "poloist"},
    ]
    (tmp_path / "diff" / "diff.jsonl").write_text("".join(json.dumps(row) + "\n" for row in diff), encoding="utf-8")
    rest = [{"title": "ann b", "text": "Chess!"}, {"title": "Other", "text": "oil"}, {"title": "Ed"}]
    (tmp_path / "rest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rest), encoding="utf-8")
    pages = (diff_pages(tmp_path / "diff"), unchanged_pages(tmp_path / "rest.jsonl"))
    rows, summary = make(old, new, pages=pages)
    assert told(rows) == [("unchanged", "Ann_B", "sport", "chess", None), ("changed", "Ann_B", "team", "Blues", "Reds")]
    assert summary["dropped"]["changed"] == summary["dropped"]["unchanged"] == {"not in the text of its article": 1}
    assert [(read["rows"], read["bad_rows"]) for read in summary["articles"]] == [(2, {}), (3, {"no text": 1})]
    with pytest.raises(UserError, match=r"give a folder with one of diff.jsonl"):
        diff_pages(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [("Rom", "romania and rome", False), ("Rom", "romania, rom.", True), ("5", "born 1985", False),
     ("C++", "c++11", True), ("New York", "in new york", True), ("é", "café é", True)],
)  # fmt: skip
def test_names_stand_as_whole_words(name, text, found):
    assert stands(name, text) == found


def test_sentences_of_relations(make, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("sport: ['The sport of [X] is [Y].', '[Y] is played by [X].', 'x [X] y [Y]!']\n", encoding="utf-8")
    new = [("Ann", "sport", "chess"), ("Ann", "hums", "jazz")]
    rows, summary = make(
        SOMEONE, new, templates=Templates(file), paraphrases=2, dates=("2020", "2021"), source="a -> b"
    )
    assert [(row["prompt"], row["suffix"]) for row in rows] == [
        ("Ann hums", "."), ("The sport of Ann is", "."), ("", " is played by Ann."),
    ]  # fmt: skip
    assert rows[2]["id"] == f"{rows[1]['id']}:2"
    assert (rows[0]["date_old"], rows[0]["date"], rows[0]["source"]) == ("2020", "2021", "a -> b")
    assert (summary["object_not_last"], summary["without_template"]) == (1, 1)
    for text, message in (
        ("sport: only [Y]", "must have one"),
        ("- a", "one line for each relation"),
        ("a: [", "cannot"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            Templates(file)


def test_every_sentence_of_the_package_ends_in_its_object():
    from rewarm.probes.asking import asked, is_last
    from rewarm.probes.relations import built_in

    found = dict(built_in())
    assert len(found) == len(list(built_in())) > 150
    for sentences in found.values():
        for sentence in sentences:
            prompt, suffix = asked(sentence, "A")
            assert sentence.count("[X]") == sentence.count("[Y]") == 1
            assert is_last(suffix)
            assert "A" in prompt.split()
    assert found["P36"] == found["capital"]


def test_the_reader_reads_what_is_written(make, tmp_path, read):
    rows, _ = make(OLD, NEW)
    probes, tally = read(Jsonl(path=str(tmp_path / "out" / "probes.jsonl")))
    assert tally.rows == len(rows) == len(probes)
    assert [(probe.id, probe.kind) for probe in probes] == [(row["id"], row["label"]) for row in rows]


def test_a_stopped_building_goes_on_without_reading_again(make, tmp_path):
    def stop(label, done, total, unit):
        if label.startswith("new snapshot"):
            raise Stopped("stopped")

    with pytest.raises(Stopped):
        make(OLD, NEW, tell=stop)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["probes.jsonl.work"]
    labels = []
    rows, _ = make_again(tmp_path, lambda label, *rest: labels.append(label))
    assert labels == ["look for a fact", "look for a fact", "new snapshot: read", "compare"]
    assert rows == make(OLD, NEW)[0]


def make_again(tmp_path, tell):
    snapshots = [
        Triples(path=str(tmp_path / f"{name}.jsonl"), subject_id_field="subject_id") for name in ("old", "new")
    ]
    output = tmp_path / "out" / "probes.jsonl"
    summary = build(*snapshots, output, Building(), tell)
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()], summary


def test_many_runs_give_the_same_bytes(make, tmp_path, monkeypatch):
    output = tmp_path / "out" / "probes.jsonl"
    make(OLD, NEW)
    whole = output.read_bytes()
    monkeypatch.setattr(sorting, "RUN_BYTES", 200)
    make(list(reversed(OLD)), list(reversed(NEW)))
    assert output.read_bytes() == whole


def test_too_many_bad_rows_and_nothing_to_compare(make):
    with pytest.raises(UserError, match="corpus 'new': 1 of 2 rows"):
        make(OLD, [("Ann", "", "x"), OLD[0]])
    with pytest.raises(UserError, match=r"old: no fact in .*old.jsonl \(no row\), read as triples"):
        make([], NEW)
    with pytest.raises(UserError, match="hold no fact to compare"):
        make(SOMEONE, NEW, as_published=True)
    with pytest.raises(UserError, match="1 object of too many words"):
        make(SOMEONE, [("Ann", "motto", "one two three four five six")])
