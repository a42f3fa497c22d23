"""Facts one a row."""

from __future__ import annotations

import bz2
import gzip
import os
from pathlib import Path

import pytest
import zstandard

from rewarm.facts.naming import name_of, snapshot_of
from rewarm.facts.records import Records
from rewarm.facts.terms import Terms
from rewarm.facts.triples import Triples
from rewarm.facts.wikidata import Wikidata
from rewarm.types import UserError


def told(facts):
    return [(fact.subject, fact.relation, fact.object) for fact in facts]


def test_a_table_with_other_names_ids_and_titles(tmp_path, read):
    file = tmp_path / "a.csv"
    file.write_text('s,p,o,s_id,o_id,page\n"  New\n York ",mayor,"A, B",Q60,Q1,New York City\n', encoding="utf-8")
    snapshot = Triples(
        path=str(file), subject_field="s", relation_field="p", object_field="o", subject_id_field="s_id",
        object_id_field="o_id", title_field="page",
    )  # fmt: skip
    (fact,), _ = read(snapshot)
    assert (fact.subject, fact.relation, fact.object) == ("New York", "mayor", "A, B")
    assert (fact.subject_id, fact.object_id, fact.title) == ("Q60", "Q1", "New York City")


def test_a_table_without_a_header(tmp_path, read):
    (tmp_path / "a.tsv").write_text('A\t"capital\tB\n', encoding="utf-8")
    snapshot = Triples(path=str(tmp_path / "a.tsv"), columns=("subject", "relation", "object"))
    assert told(read(snapshot)[0]) == [("A", '"capital', "B")]


def test_a_list_is_several_facts_and_numbers_are_text(tmp_path, read):
    row = '{"subject": "A", "relation": "r", "object": ["B", 12, 1.5, null, true], "ids": ["b", "c", "d", "e", "f"]}\n'
    (tmp_path / "a.jsonl").write_text(row, encoding="utf-8")
    facts, tally = read(Triples(path=str(tmp_path), object_id_field="ids"))
    assert told(facts) == [("A", "r", "B"), ("A", "r", "12"), ("A", "r", "1.5")]
    assert [fact.object_id for fact in facts] == ["b", "c", "d"]
    assert dict(tally.counts) == {"no object": 2}


def test_bad_rows_of_a_table_are_counted_with_their_places(tmp_path, read):
    rows = [
        b"subject,relation,object",
        b"A,capital,B",
        b"A,capital",
        b"\xff,capital,C",
        b'"a"b,capital,D',
        b"D,capital,E",
    ]
    (tmp_path / "a.csv").write_bytes(b"\n".join(rows))
    facts, tally = read(Triples(path=str(tmp_path / "a.csv")))
    assert told(facts) == [("A", "capital", "B"), ("D", "capital", "E")]
    assert dict(tally.counts) == {"wrong number of fields": 1, "not UTF-8": 1, "broken CSV": 1}
    assert tally.examples["wrong number of fields"] == [f"{tmp_path}/a.csv: row 3"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_packed_tables_and_how_far_they_are_read(tmp_path, read, suffix, pack):
    file = tmp_path / f"a.csv{suffix}"
    file.write_bytes(pack(b"subject,relation,object\nA,capital,B\n"))
    facts, tally = read(Triples(path=str(file)))
    assert told(facts) == [("A", "capital", "B")]
    assert tally.bytes_read == file.stat().st_size


def test_a_header_without_names_is_refused(tmp_path, read):
    (tmp_path / "a.csv").write_text(",,\nA,B,C\n", encoding="utf-8")
    with pytest.raises(UserError, match="the first row names no field"):
        read(Triples(path=str(tmp_path / "a.csv")))


def test_a_header_that_is_broken_is_refused(tmp_path, read):
    (tmp_path / "a.csv").write_text('"sub"ject,relation,object\nA,B,C\nD,E,F\n', encoding="utf-8")
    with pytest.raises(UserError, match="the row that names the fields is broken"):
        read(Triples(path=str(tmp_path / "a.csv")))


def test_every_row_that_an_open_quote_swallows_is_counted(tmp_path, read):
    rows = ["subject,relation,object", "A,capital,B", 'C,capital,"D', *(f"E{n},capital,F{n}" for n in range(40))]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    facts, tally = read(Triples(path=str(tmp_path / "a.csv")))
    assert told(facts) == [("A", "capital", "B")]
    assert (tally.rows, dict(tally.counts)) == (42, {"broken CSV": 41})
    assert tally.examples["broken CSV"][0] == f"{tmp_path}/a.csv: row 3"


def test_dates_as_yaml_reads_them(tmp_path):
    (tmp_path / "a.csv").touch()
    for kind, option in (("triples", "date"), ("wikidata", "date"), ("records", "at")):
        suffix = "jsonl" if kind == "wikidata" else "csv"
        (tmp_path / f"a.{suffix}").touch()
        given = f"{{type: {kind}, path: {tmp_path}/a.{suffix}, {option}: 2021-01-03}}"
        assert snapshot_of(given).held() == "2021-01-03"


def test_what_a_user_types_for_a_snapshot(tmp_path):
    for name in ("a.csv", "a.jsonl", "a.json"):
        (tmp_path / name).touch()
    assert type(snapshot_of(f"{tmp_path}/a.csv")) is Triples
    assert type(snapshot_of(f"{tmp_path}/a.json")) is Wikidata
    terms = snapshot_of(f"{{type: terms, path: {tmp_path}/a.jsonl, at: 2021-01-03}}")
    assert isinstance(terms, Terms)
    assert terms.held() == "2021-01-03"
    assert snapshot_of(f"{{type: records, path: {tmp_path}/a.csv, at: 2021}}").held() == "2021"
    assert name_of(f"{{path: {tmp_path}/a.csv}}") == name_of(f"{tmp_path}/a.csv") == "a.csv"
    with pytest.raises(UserError, match="no mapping"):
        snapshot_of("{type: [}")
    with pytest.raises(UserError, match="does not exist"):
        snapshot_of(f"{tmp_path}/b.csv")
    with pytest.raises(UserError, match="Did you mean 'subject_field'"):
        snapshot_of(f"{{path: {tmp_path}/a.csv, subject_feild: x}}")


@pytest.mark.parametrize(
    ("start", "end", "holds"),
    [
        ("2021-01-03", "", True),
        ("2021-01-04", "", False),
        ("", "", True),
        ("2019-01-03", "2021-01-03", False),  # the day it ended is the next one's
        ("2019-01-03", "2021-01-04", True),
        ("2019", "2021", True),
        ("2019", "2021-01", True),
        ("2019", "2020", False),
        ("2022", "", False),
        ("+2019-01-03T00:00:00Z", "+2021-01-03T00:00:00Z", False),
        ("+2019-01-03T00:00:00Z", "+2021-00-00T00:00:00Z", True),
        ("-0044-03-15T00:00:00Z", "", True),
    ],
)
def test_what_held_on_a_day(tmp_path, read, start, end, holds):
    (tmp_path / "a.csv").write_text(f"subject,relation,object,start,end\nA,r,B,{start},{end}\n", encoding="utf-8")
    assert len(read(Terms(path=str(tmp_path / "a.csv"), at="2021-01-03"))[0]) == holds


def test_a_term_without_a_readable_date_is_bad(tmp_path, read):
    rows = ['"start": "Jan 3, 2019"', '"end": "3/1/2023"', '"from": "2019"', '"start": "2019"']
    lines = (f'{{"subject": "A", "relation": "r", "object": "B", {row}}}\n' for row in rows)
    (tmp_path / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    facts, tally = read(Terms(path=str(tmp_path / "a.jsonl"), at="2021-01-03"))
    assert len(facts) == 1
    assert dict(tally.counts) == {"start or end is not written as 2021-01-03": 2, "neither start nor end": 1}


def test_records_give_a_fact_for_each_field(tmp_path, read):
    (tmp_path / "a.jsonl").write_text(
        '{"subject": "A", "date": "2021-05", "head_of_state": ["B", "C"], "area": 12, "code": {"x": 1}, "note": []}\n'
        '{"subject": "A", "date": "2022", "area": 13}\n',
        encoding="utf-8",
    )
    facts, tally = read(Records(path=str(tmp_path), at=2021))
    assert told(facts) == [("A", "head of state", "B"), ("A", "head of state", "C"), ("A", "area", "12")]
    assert dict(tally.left_out) == {"empty field": 1, "another time": 1}
    assert dict(tally.counts) == {"field is no text, number or list of them": 1}
    chosen = Records(path=str(tmp_path), relations=("area",))
    assert told(read(chosen)[0]) == [("A", "area", "12"), ("A", "area", "13")]
    with pytest.raises(UserError, match="no row has a field 'aera'"):
        read(Records(path=str(tmp_path), relations=("aera",)))


@pytest.mark.data
def test_seats_of_congress_before_and_after_an_election(read):
    folder = Path(os.environ.get("REWARM_DATA") or Path(__file__).parents[3] / "shared" / "data")
    file = folder / "probes" / "us_congress_terms.jsonl.zst"
    if not file.is_file():
        pytest.skip("set REWARM_DATA to the folder of real data")
    facts, tally = read(Terms(path=str(file), at="2023-02-01"))
    assert tally.rows == 2792
    assert (len(facts), dict(tally.left_out), tally.total) == (447, {"not begun": 485, "over": 1860}, 0)
