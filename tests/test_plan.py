"""The plan: what it takes, and that nothing of it is lost on the way to disk."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewarm.corpora.jsonl import Jsonl
from rewarm.kinds import corpus_options
from rewarm.plan import Plan, Scratch, Watch, from_values, load
from rewarm.schedules.wsd import Wsd
from rewarm.stages import Portion, Release, Replay, Stage

STAGE: dict[str, Any] = {"name": "june", "data": "new", "tokens": "1M", "learning_rate": 1e-3}
VALUES: dict[str, Any] = {
    "base": "some/model",
    "output_dir": "run",
    "corpora": {"old": "old.jsonl", "new": "new.jsonl"},
    "stages": [STAGE],
}
SCRATCH = {"from": "scratch", "config": {"model_type": "llama"}}
WHOLE: dict[str, Any] = {
    "base": {**SCRATCH, "tokenizer": {"vocab_size": 300, "sample_bytes": "1M"}},
    "output_dir": "run",
    "prepared_dir": "tokens",
    "corpora": {
        "old": {"path": ["old.jsonl", "older.jsonl"], "holdout": "1%", "text_field": "body"},
        "new": "new.parquet",
        "papers": {"path": "papers", "type": "text", "limit": "1k"},
    },
    "stages": [
        {"name": "june", "data": "new", "tokens": "1M", "learning_rate": "3e-4", "schedule": "wsd_s",
         "replay": {"from": "old", "share": "5%", "mode": "additive", "proxy": True}, "release": {"tokens": "10k"}},
        {"name": "july", "data": ["new", {"corpus": "papers", "weight": 2}], "epochs": 1.5, "learning_rate": 1e-4,
         "schedule": {"type": "rewarm", "warmup": "2%"}, "replay": {"from": "self"}, "from": "june-release",
         "optimizer_state": "keep", "mixture": {"type": "fixed"}},
    ],
    "watch": ["old", {"corpus": "new", "role": "old", "tokens": "2k"}],
    "controls": ["base", "new-only"],
    "adam_betas": [0.9, 0.99],
}  # fmt: skip


def values(stage: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(VALUES) | changes
    if stage is not None:
        made["stages"] = [{**STAGE, **stage}]
    return made


def test_the_least_plan_and_its_defaults() -> None:
    plan = from_values(VALUES)
    stage = plan.stages[0]
    assert (plan.seq_len, plan.batch_tokens, plan.seed, plan.watch, plan.controls) == (512, 16_384, 0, (), ())
    assert stage.data == (Portion(corpus="new"),)
    assert stage.tokens == 1_000_000
    assert (stage.mixture.method_name(), stage.schedule.method_name()) == ("fixed", "rewarm")
    assert stage.replay is None
    assert type(plan.corpora["old"]) is Jsonl
    assert plan.directory == Path("run")


def test_a_resolved_plan_is_the_same_plan() -> None:
    for given in (VALUES, WHOLE):
        plan = from_values(given)
        resolved = plan.resolved()
        assert from_values(json.loads(json.dumps(resolved))) == plan
        assert from_values(yaml.safe_load(yaml.safe_dump(resolved))) == plan
        assert from_values(resolved).resolved() == resolved


def test_a_resolved_plan_hides_no_default() -> None:
    resolved = from_values(VALUES).resolved()
    assert resolved["stages"][0]["schedule"] == {
        "type": "rewarm",
        **from_values(VALUES).stages[0].schedule.model_dump(),
    }
    assert resolved["corpora"]["old"]["type"] == "jsonl"
    assert resolved["corpora"]["old"]["holdout"] == 0.02
    assert set(Plan.model_fields) == set(resolved)
    assert "from" in resolved["stages"][0]
    assert "from_" not in json.dumps(from_values(WHOLE).resolved())


def test_numbers_as_yaml_gives_them(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as text, 20_000 as a number, and 5% as text."""
    text = yaml.safe_dump(values()).replace("learning_rate: 0.001", "learning_rate: 1e-3").replace("1M", "20_480")
    (tmp_path / "plan.yaml").write_text(text + "\nadam_epsilon: 1e-9\nbad_rows: 5%\nbatch_tokens: 1e+3\nseq_len: 100\n")
    plan = load(tmp_path / "plan.yaml")
    assert plan.stages[0].learning_rate == 0.001
    assert plan.stages[0].tokens == 20_480
    assert (plan.adam_epsilon, plan.bad_rows, plan.batch_tokens) == (1e-9, 0.05, 1000)


def test_names_that_yaml_reads_as_numbers_or_dates(tmp_path: Path) -> None:
    text = (
        "base: b\noutput_dir: o\ncorpora: {2024: a.jsonl, 2025-06-01: b.jsonl}\n"
        "stages: [{name: 2025, data: [2025-06-01], replay: {from: 2024}, tokens: 1M, learning_rate: 1e-3}]\n"
        "watch: [2024]\n"
    )
    (tmp_path / "plan.yaml").write_text(text)
    plan = load(tmp_path / "plan.yaml")
    assert list(plan.corpora) == ["2024", "2025-06-01"]
    assert (plan.stages[0].name, plan.stages[0].data[0].corpus, plan.watch[0].corpus) == ("2025", "2025-06-01", "2024")


def test_one_thing_stands_for_a_list_of_one() -> None:
    one = from_values(values(watch="old", controls="base"))
    assert one == from_values(values(watch=["old"], controls=["base"]))
    assert one.watch == (Watch(corpus="old"),)


def test_objects_and_mappings_give_the_same_plan() -> None:
    stage = Stage(
        name="june", data=("new",), tokens="1M", learning_rate=1e-3, schedule=Wsd(warmup=0.02),  # type: ignore[arg-type]
        replay=Replay(from_="old", share=0.1), release=Release(tokens=10_000), from_="base",
    )  # fmt: skip
    corpora = {"old": Jsonl(path="old.jsonl"), "new": Path("new.jsonl")}
    objects = from_values(values(stages=[stage], corpora=corpora, watch=[Watch(corpus="old")]))
    mappings = from_values(
        values(
            {"schedule": {"type": "wsd", "warmup": "2%"}, "replay": {"from": "old", "share": "10%"},
             "release": {"tokens": "10k"}, "from": "base"},
            watch=["old"],
        )
    )  # fmt: skip
    assert objects == mappings
    assert objects.resolved() == mappings.resolved()
    assert Plan(base="some/model", output_dir="run", corpora=corpora, stages=(stage,), watch=("old",)) == objects  # type: ignore[arg-type]
    assert from_values(values(base=Scratch(from_="scratch", config={"model_type": "llama"}))) == from_values(
        values(base=SCRATCH)
    )


def test_roles_and_uses() -> None:
    plan = from_values(WHOLE)
    assert (plan.role("old"), plan.role("new"), plan.role("papers")) == ("old", "old", "new")
    assert [plan.watched(name) for name in ("old", "new", "papers")] == [True, True, False]
    assert [plan.trained(name) for name in ("old", "new", "papers")] == [True, True, True]
    assert not from_values(VALUES).trained("old")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.jsonl", "jsonl"), ("a.json.gz", "jsonl"), ("a.ndjson.zst", "jsonl"), ("a.parquet", "parquet"),
        ("notes.md", "text"), ("data/**/*.txt", "text"), ("src/main.py", "code"), ("nowhere", "text"),
        (["x.parquet", "y.jsonl"], "parquet"), (Path("v1.2/a.jsonl"), "jsonl"),
        ("enwiki-pages-articles1.xml-p1p41242.bz2", "wiki"), ("dump.xml", "wiki"), ("a.jsonl.bz2", "jsonl"),
    ],
)  # fmt: skip
def test_the_kind_of_a_corpus_from_its_path(path: Any, kind: str) -> None:
    assert corpus_options(path)["type"] == kind
    assert corpus_options({"path": path, "holdout": 0.5}) == {**corpus_options(path), "holdout": 0.5}
    assert corpus_options({"path": path, "type": "code"})["type"] == "code"


def test_the_kind_of_a_folder_is_that_of_most_of_its_visible_files(tmp_path: Path) -> None:
    for name in (".git/a", ".git/b", ".git/c", "src/x.py", "src/y.py", "README.md", ".hidden.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert corpus_options(str(tmp_path))["type"] == "code"
    (tmp_path / "CHANGES.md").touch()
    # Two of each: the first in the alphabet, whatever order sets have in this process.
    code = f"from rewarm.kinds import corpus_options; print(corpus_options({str(tmp_path)!r})['type'])"
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert done.stdout == "code\n"


def test_reading_a_plan_imports_no_model_library() -> None:
    code = f"import sys; from rewarm.plan import from_values; from_values({WHOLE!r}); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
