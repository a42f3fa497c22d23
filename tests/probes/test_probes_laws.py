"""What every set of probes must keep: a sample of each with two good rows and one bad."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.facts import Tally
from rewarm.methods import build, known
from rewarm.probes import KINDS, ProbeSet, load_set
from rewarm.probes.ckl import Ckl
from rewarm.probes.jsonl import Jsonl
from rewarm.probes.lama import Lama
from rewarm.probes.realtimeqa import Realtimeqa
from rewarm.probes.templama import Templama
from rewarm.probes.temporalwiki import Temporalwiki
from rewarm.probes.time_sensitive_qa import TimeSensitiveQa
from rewarm.types import BadRows, UserError


def lines(file: Path, *rows: Any) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def jsonl(folder: Path) -> ProbeSet:
    row = {"subject": "A", "relation": "capital", "object": "B", "label": "unchanged"}
    return Jsonl(path=lines(folder / "a.jsonl", row, row, {"label": "new"}, row | {"label": "damaged"}))


def temporalwiki(folder: Path) -> ProbeSet:
    (folder / "0801-0901_changed.csv").write_text("subject,relation,object\nA,capital,B\n,capital,B\n")
    (folder / "0801-0901_unchanged.csv").write_text("A,capital,C\n")
    return Temporalwiki(path=str(folder))


def ckl(folder: Path) -> ProbeSet:
    (folder / "invariantLAMA.csv").write_text("id,input,output\n1,The capital of A is <extra_id_0>.,B\n2,,C\n")
    (folder / "newLAMA_easy.csv").write_text("unique_id,question,answers\n1,Who leads A?,B;C\n")
    return Ckl(path=str(folder))


def lama(folder: Path) -> ProbeSet:
    row = {"sub_label": "A", "obj_label": "B", "predicate_id": "P36"}
    return Lama(
        path=lines(folder / "P36.jsonl", row, row | {"masked_sentences": ["[MASK] leads A."]}, {"obj_label": "B"})
    )


def templama(folder: Path) -> ProbeSet:
    row = {"query": "A plays for _X_.", "answer": [{"name": "B", "wikidata_id": "Q1"}], "relation": "P54"}
    dated = [row | {"date": date, "id": f"Q5_P54_{date}"} for date in ("2010", "2011", "2012")]
    other = row | {"date": "2011", "id": "Q6_P54_2011"}
    return Templama(
        path=lines(folder / "a.json", *dated, other, other | {"id": "Q7", "answer": []}), old=2010, new=2011
    )


def realtimeqa(folder: Path) -> ProbeSet:
    row = {"question_id": "1", "question_sentence": "Who leads A?", "choices": ["B", "C"], "answer": ["1"]}
    return Realtimeqa(
        path=lines(folder / "a.jsonl", row, row | {"question_id": "2"}, row | {"question_id": "3", "answer": ["2"]})
    )


def time_sensitive_qa(folder: Path) -> ProbeSet:
    asked = [{"q": "Who led A in 1990?", "answers": ["B"]}, {"q": "Who led A in 1991?", "answers": [""]}]
    asked += [{"q": "Who led A in 1992?", "answers": ["C"]}, {"q": "Who led A in 1993?"}]
    return TimeSensitiveQa(path=lines(folder / "a.jsonl", {"id": "A#P6", "relation": "P6", "questions": asked}))


SAMPLES: dict[str, Callable[[Path], ProbeSet]] = {
    "ckl": ckl,
    "jsonl": jsonl,
    "lama": lama,
    "realtimeqa": realtimeqa,
    "templama": templama,
    "temporalwiki": temporalwiki,
    "time-sensitive-qa": time_sensitive_qa,
}


@pytest.fixture(params=sorted(known("probes")))
def probe_set(request: pytest.FixtureRequest, tmp_path: Path) -> ProbeSet:
    return SAMPLES[request.param](tmp_path)


def test_reading_twice_gives_the_same(probe_set, read):
    assert read(probe_set) == read(probe_set)


def test_two_probes_and_one_bad_row(probe_set, read, tmp_path):
    probes, tally = read(probe_set)
    assert len({probe.id for probe in probes}) == len(probes) == 2
    assert tally.total == 1
    assert next(iter(tally.examples.values()))[0].startswith(str(tmp_path))


def test_probes_are_whole(probe_set, read, tmp_path):
    for probe in read(probe_set)[0]:
        assert probe.kind in KINDS
        assert probe.place.startswith(str(tmp_path))
        assert probe.answers
        assert all(answer and answer == " ".join(answer.split()) for answer in probe.answers)
        assert probe.prompt or probe.suffix
        assert probe.prompt == probe.prompt.strip()
        assert set(probe.choices) >= set(probe.answers if probe.choices else ())


def test_counts_add_up_whenever_the_reader_stops(probe_set):
    for stop in (1, 2):
        tally = Tally()
        probes = probe_set.read(tally)
        for _ in range(stop):
            next(probes)
        assert tally.rows == stop + tally.left_out.total() + tally.total


def test_a_relation_left_out_is_counted(probe_set, read):
    probes, _ = read(probe_set)
    relation = probes[0].relation
    left = probe_set.model_copy(update={"without_relations": (relation,)})
    found, tally = read(left)
    assert all(probe.relation != relation for probe in found)
    assert tally.left_out["another relation"] == 2 - len(found)


def test_any_counter_of_bad_rows_will_do(probe_set, read):
    bad = BadRows()
    assert list(probe_set.read(bad)) == read(probe_set)[0]
    assert bad.total == 1


def test_description_builds_the_same_set(probe_set):
    assert build("probes", probe_set.described()) == probe_set


def test_a_set_is_loaded_within_a_budget_of_bad_rows(probe_set, read):
    tally = Tally()
    assert load_set("facts", probe_set, 0.5, tally) == read(probe_set)[0]
    assert tally.total == 1
    with pytest.raises(UserError, match="corpus 'facts': 1 of "):
        load_set("facts", probe_set, 0.1)


def test_a_set_without_probes_is_refused(tmp_path):
    row = {"subject": "A", "relation": "capital", "object": "B", "label": "reworded"}
    with pytest.raises(UserError, match=r"probes 'facts' hold no probe: 1 rows of .*a.jsonl .1 label reworded"):
        load_set("facts", Jsonl(path=lines(tmp_path / "a.jsonl", row)), 0.0)


def test_looking_up_the_folder_imports_no_heavy_library():
    script = (
        "import sys; from rewarm.methods import known; assert len(known('probes')) >= 7; "
        "print([name for name in ('torch', 'transformers', 'datasets', 'pyarrow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
