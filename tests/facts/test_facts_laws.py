"""What every source of facts must keep: a sample of each with three facts, one row left out where it can, one bad."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rewarm.facts import Snapshot, Tally
from rewarm.facts.records import Records
from rewarm.facts.terms import Terms
from rewarm.facts.triples import Triples
from rewarm.facts.wikidata import Wikidata
from rewarm.methods import build, known


def triples(folder: Path) -> Snapshot:
    (folder / "a.csv").write_text("subject,relation,object\nA,capital,B\nA,,C\nD,capital,E\n", encoding="utf-8")
    (folder / "b.jsonl").write_text('{"subject": "F", "relation": "r", "object": "G"}\n', encoding="utf-8")
    return Triples(path=str(folder))


def terms(folder: Path) -> Snapshot:
    rows = ["A\toffice\tB\t2020-01-01\t", "A\toffice\tC\t2010\t2019", "\toffice\tC\t\t", "D\toffice\tE\t\t2021"]
    rows += ["F\toffice\tG\t2021-01-03\t2021-01-04"]
    (folder / "a.tsv").write_text("\n".join(["subject\trelation\tobject\tstart\tend", *rows]) + "\n", encoding="utf-8")
    return Terms(path=str(folder / "a.tsv"), at="2021-01-03")


def records(folder: Path) -> Snapshot:
    (folder / "a.csv").write_text("name,date,capital,chief_of_state\nA,2021,B,C\nA,2020,X,Y\nD,2021,E,\n,2021,E,F\n")
    return Records(path=str(folder / "a.csv"), subject_field="name", at="2021")


def wikidata(folder: Path) -> Snapshot:
    value = '{"mainsnak": {"datavalue": {"value": {"id": "%s"}}}, "rank": "%s"}'
    label = '"labels": {"en": {"value": "%s"}}'
    lines = [
        '{"id": "Q1", ' + label % "A" + ', "claims": {"P36": [' + value % ("Q2", "normal") + "]}}",
        '{"id": "Q2", ' + label % "B" + ', "claims": {"P36": [' + value % ("Q1", "deprecated") + "]}}",
        '{"id": "Q3", ' + label % "C" + ', "claims": {"P36": [' + ", ".join([value % ("Q1", "normal")] * 2) + "]}}",
        "{broken",
    ]
    (folder / "dump.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    return Wikidata(path=str(folder / "dump.json"))


SAMPLES: dict[str, Callable[[Path], Snapshot]] = {
    "records": records,
    "terms": terms,
    "triples": triples,
    "wikidata": wikidata,
}


@pytest.fixture(params=sorted(known("facts")))
def snapshot(request: pytest.FixtureRequest, tmp_path: Path) -> Snapshot:
    return SAMPLES[request.param](tmp_path)


def test_reading_twice_gives_the_same(snapshot, read):
    assert read(snapshot) == read(snapshot)


def test_facts_are_whole_and_one_row_is_bad(snapshot, read, tmp_path):
    facts, tally = read(snapshot)
    assert len(facts) == 3
    assert tally.total == 1
    assert next(iter(tally.examples.values()))[0].startswith(str(tmp_path))
    for fact in facts:
        assert fact.place.startswith(str(tmp_path))
        texts = (fact.subject, fact.relation, fact.object, fact.subject_id, fact.object_id)
        assert all(text and text == " ".join(text.split()) for text in texts)


def test_counts_add_up_whenever_the_reader_stops(snapshot):
    for stop in range(1, 4):
        tally = Tally()
        facts = snapshot.read(tally)
        for _ in range(stop):
            next(facts)
        assert tally.rows == stop + tally.left_out.total() + tally.total


def test_a_sample_writes_nothing_and_counts_as_many_facts(snapshot, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    tally = Tally()
    assert len(list(snapshot.sample(tally))) == 3
    assert sorted(tmp_path.rglob("*")) == before
    assert tally.bytes_read == sum(file.stat().st_size for file in snapshot.files())


def test_description_builds_the_same_snapshot(snapshot):
    assert build("facts", snapshot.described()) == snapshot


def test_looking_up_the_folder_imports_no_heavy_library():
    script = (
        "import sys; from rewarm.methods import known; assert len(known('facts')) >= 4; "
        "print([name for name in ('torch', 'transformers', 'datasets', 'pyarrow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
