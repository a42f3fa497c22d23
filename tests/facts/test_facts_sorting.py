"""Sorting on disk: the order, several levels of runs, and going on after a stop."""

from __future__ import annotations

import random

import pytest

from rewarm.facts import sorting
from rewarm.facts.sorting import merged, sort_facts
from rewarm.facts.triples import Triples
from rewarm.types import StorageError, silent


def written(file, triples):
    file.write_text("\n".join(["subject\trelation\tobject", *("\t".join(one) for one in triples)]), encoding="utf-8")
    return Triples(path=str(file))


def test_runs_of_several_levels_come_back_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "RUN_BYTES", 400)
    monkeypatch.setattr(sorting, "AT_ONCE", 2)
    source = random.Random(1)
    triples = [(f"s{source.randrange(30)}", f"r{source.randrange(3)}", f"o{source.randrange(9)}") for _ in range(300)]
    triples += [("a", "r", "é"), ("ab", "r", "o"), ("a b", "r", "o")]
    runs, tally = sort_facts(written(tmp_path / "a.tsv", triples), tmp_path / "work", silent)
    assert len(runs) <= 2
    assert tally.rows == 303
    found = [(line[0], line[1], line[2]) for line in merged(runs)]
    assert found == sorted(triples, key=lambda one: sorting.SEPARATOR.join(one))
    assert sorted(path.name for path in (tmp_path / "work").glob("*.zst")) == sorted(run.name for run in runs)


def test_a_finished_sort_is_not_done_again(tmp_path):
    snapshot = written(tmp_path / "a.tsv", [("b", "r", "o"), ("a", "r", "o"), ("", "r", "o")])
    first = sort_facts(snapshot, tmp_path / "work", silent)
    told = []
    again = sort_facts(snapshot, tmp_path / "work", lambda *what: told.append(what))
    assert told == []
    assert again[0] == first[0]
    assert (again[1].rows, again[1].counts, again[1].examples) == (3, first[1].counts, first[1].examples)
    sort_facts(written(tmp_path / "a.tsv", [("c", "r", "o")]), tmp_path / "work", lambda *what: told.append(what))
    assert told


def test_a_full_disk_says_so(mount_disk, tmp_path):
    source = random.Random(0)
    snapshot = written(tmp_path / "a.tsv", [(source.randbytes(40).hex(), "r", "o") for _ in range(60_000)])
    with pytest.raises(StorageError, match="could not write sorted facts"):
        sort_facts(snapshot, mount_disk(1) / "work", silent)
