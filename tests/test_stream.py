"""Streams of dated files become stages, and a stage that is added later is like those before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import Plan, from_values
from rewarm.stream import date_in, expanded, grown, stage_name, without_last_stage
from rewarm.types import UserError

Texts = Callable[..., None]
STAGE: dict[str, Any] = {"tokens": 6400, "learning_rate": 1e-3}


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    """A function: names -> files of one row each in `tmp_path`."""

    def write(*names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(json.dumps({"text": name}) + "\n", encoding="utf-8")

    return write


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Plan]:
    """A function: stages, **changes -> a plan around them."""

    def make(stages: Any, **changes: Any) -> Plan:
        values = {"base": "./model", "output_dir": "run", "seq_len": 64, "batch_tokens": 640, "stages": stages}
        return from_values({**values, "corpora": {"old": str(tmp_path / "old.jsonl")}, **changes})

    return make


@pytest.mark.parametrize(
    ("path", "date"),
    [
        ("a/2021.jsonl", "2021"), ("news-2021-09.jsonl.zst", "2021-09"), ("2021-09-14/", "2021-09-14"),
        ("dump_20210914.xml.bz2", "2021-09-14"), ("202109.txt", "2021-09"), ("2020-01_to_2021-09.jsonl", "2021-09"),
        ("2021-13.jsonl", "2021"), ("wiki12345.jsonl", None), ("law.jsonl", None), ("2021-09/part.jsonl", "2021-09"),
        ("2021-09/a/part.jsonl", None),
    ],
)  # fmt: skip
def test_the_last_date_in_a_name_counts(path: str, date: str | None) -> None:
    assert date_in(path) == date


def test_every_date_becomes_a_corpus_a_stage_and_a_watch(texts: Texts, plan: Any, tmp_path: Path) -> None:
    texts("b/2021-10.jsonl", "a/2021-09.jsonl", "a/2021-10-extra.jsonl")
    each = {
        "each": [str(tmp_path / "a/*.jsonl"), str(tmp_path / "b/*.jsonl")], "stream": "wiki",
        "corpus": {"holdout": "5%"},
    }  # fmt: skip
    made = plan([{**each, **STAGE, "replay": {"from": "earlier", "share": "1/2"}}], watch=["old"])
    assert [(stage.name, stage.date, stage.data[0].corpus) for stage in made.stages] == [
        ("wiki-2021-09", "2021-09", "wiki-2021-09"), ("wiki-2021-10", "2021-10", "wiki-2021-10"),
    ]  # fmt: skip
    first, second = (made.corpora[f"wiki-2021-{month}"].described() for month in ("09", "10"))
    assert first["path"] == str(tmp_path / "a/2021-09.jsonl")
    # Two files of one date are one corpus.
    assert second["path"] == [str(tmp_path / "a/2021-10-extra.jsonl"), str(tmp_path / "b/2021-10.jsonl")]
    assert first["holdout"] == second["holdout"] == 0.05
    assert [(watch.corpus, watch.role) for watch in made.watch] == [
        ("old", None), ("wiki-2021-09", "new"), ("wiki-2021-10", "new"),
    ]  # fmt: skip
    assert all(stage.replay is not None and stage.replay.share == 0.5 for stage in made.stages)
    assert from_values(made.resolved()) == made


def test_files_may_be_ordered_by_name_and_unwatched(texts: Texts, plan: Any, tmp_path: Path) -> None:
    texts("law.jsonl", "code v2.jsonl")
    made = plan({"each": str(tmp_path / "*.jsonl"), "by": "name", "watch": False, **STAGE})
    assert [(stage.name, stage.date) for stage in made.stages] == [("code-v2", None), ("law", None)]
    assert made.watch == ()


def test_a_stream_stands_among_other_stages(texts: Texts, plan: Any, tmp_path: Path) -> None:
    texts("2021.jsonl", "2020.jsonl")
    stages = [{"name": "warm", "data": "old", **STAGE}, {"each": str(tmp_path / "20*.jsonl"), **STAGE}]
    made = plan([*stages, {"name": "last", "data": "old", **STAGE}])
    assert [stage.name for stage in made.stages] == ["warm", "2020", "2021", "last"]


def test_probes_are_paired_by_date(texts: Texts, tmp_path: Path) -> None:
    texts("text/2021.jsonl", "text/2022.jsonl", "facts/2022-people.jsonl", "facts/2022-places.jsonl")
    each = {"each": str(tmp_path / "text/*"), "probes": str(tmp_path / "facts/*"), "stream": "book", **STAGE}
    made = expanded({"stages": each})
    assert made["probes"] == {
        "book-2022": {"path": str(tmp_path / "facts/2022-people.jsonl"), "stage": "book-2022"},
        "book-2022-2022-places": {"path": str(tmp_path / "facts/2022-places.jsonl"), "stage": "book-2022"},
    }
    texts("more/2022.jsonl", "most/2022.jsonl", "much/2022.jsonl")
    several = expanded({"stages": {**each, "probes": str(tmp_path / "m*/2022.jsonl")}})["probes"]
    assert {name: Path(one["path"]).parent.name for name, one in several.items()} == {
        "book-2022": "more", "book-2022-2022": "most", "book-2022-2022-3": "much",
    }  # fmt: skip
    texts("facts/2023.jsonl")
    with pytest.raises(UserError, match=r"stages\.probes: probes for 2023 have no text of the same date"):
        expanded({"stages": each})


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ({"each": "nowhere/*.jsonl"}, "nothing matches 'nowhere/"),
        ({"each": "{}/*.jsonl"}, "has no date in its name. Name files by date"),
        ({"each": "{}/20*", "by": "dat"}, r"by: .*'date' or 'name'"),
        ({"each": "{}/20*", "name": "wiki"}, "'name' is given for each stage by 'each' itself"),
        ({"each": "{}/20*", "stream": "a b"}, "a name is made of letters"),
        ({"each": "{}/20*", "watch": "perhaps"}, r"watch: .*boolean"),
    ],
)
def test_a_stream_that_cannot_be_says_why(texts: Texts, plan: Any, tmp_path: Path, stage: Any, error: str) -> None:
    texts("2020.jsonl", "law.jsonl")
    with pytest.raises(UserError, match=error):
        plan([{**stage, "each": stage["each"].replace("{}", str(tmp_path)), **STAGE}])


def test_a_name_is_not_taken_twice(texts: Texts, plan: Any, tmp_path: Path) -> None:
    texts("2020.jsonl")
    corpora = {"2020": str(tmp_path / "2020.jsonl")}
    with pytest.raises(UserError, match=r"corpora\.2020: a stage of 'each' has this name: rename it, or set 'stream'"):
        plan({"each": str(tmp_path / "20*"), **STAGE}, corpora=corpora)
    assert stage_name("wiki", "2020") == "wiki-2020"


@pytest.fixture
def stream(texts: Texts, plan: Any, tmp_path: Path) -> dict[str, Any]:
    """The resolved values of a stream of two months, with replay and probes."""
    texts("text/2021-09.jsonl", "text/2021-10.jsonl", "facts/2021-10.jsonl")
    each = {"each": str(tmp_path / "text/*"), "probes": str(tmp_path / "facts/*"), "stream": "wiki"}
    corpus = {"holdout": "5%", "keep_fields": ["title"]}
    stages = {**each, "corpus": corpus, **STAGE, "replay": {"from": "earlier"}}
    resolved: dict[str, Any] = plan(stages, watch=["old"]).resolved()
    return resolved


def test_an_added_stage_is_what_the_stream_would_have_made(
    stream: dict[str, Any], texts: Texts, plan: Any, tmp_path: Path
) -> None:
    texts("text/2021-11.jsonl", "facts/2021-11.jsonl")
    each = {"each": str(tmp_path / "text/*"), "probes": str(tmp_path / "facts/*"), "stream": "wiki"}
    corpus = {"holdout": "5%", "keep_fields": ["title"]}
    whole = plan({**each, "corpus": corpus, **STAGE, "replay": {"from": "earlier"}}, watch=["old"])
    added = grown(stream, str(tmp_path / "text/2021-11.jsonl"), None, {}, str(tmp_path / "facts/2021-11.jsonl"))
    assert from_values(added) == whole
    assert without_last_stage(added) == stream


def test_an_added_set_of_probes_takes_the_place_of_no_other(
    stream: dict[str, Any], texts: Texts, tmp_path: Path
) -> None:
    texts("text/2021-11.jsonl", "facts/2021-11.jsonl", "all.jsonl")
    text, facts = str(tmp_path / "text/2021-11.jsonl"), str(tmp_path / "facts/2021-11.jsonl")
    own = {
        **stream,
        "probes": {**stream["probes"], "wiki-2021-11": {"path": str(tmp_path / "all.jsonl"), "stage": None}},
    }
    with pytest.raises(ValueError, match="'wiki-2021-11' is in the plan already"):
        grown(own, text, None, {}, facts)
    assert grown(own, text, None, {})["probes"] == own["probes"]


def test_an_added_stage_changes_as_asked(stream: dict[str, Any], texts: Texts, tmp_path: Path) -> None:
    texts("2021-11/part.jsonl")
    changes = {"epochs": 2, "replay.share": "1/t", "corpus.holdout": "10%", "retention": "ema"}
    made = from_values(grown(stream, str(tmp_path / "2021-11/part.jsonl"), None, changes))
    last = made.stages[-1]
    assert (last.name, last.tokens, last.epochs, last.learning_rate) == ("wiki-2021-11", None, 2, 1e-3)
    assert last.replay is not None
    assert (last.replay.share, last.replay.from_) == ("1/t", "earlier")
    assert [method.method_name() for method in last.retention] == ["ema"]
    assert made.corpora["wiki-2021-11"].described()["holdout"] == 0.1
    assert made.stages[-2].replay is not None
    assert made.stages[-2].replay.share == 0.05


def test_a_stage_is_named_in_the_style_of_the_others(stream: dict[str, Any], plan: Any, tmp_path: Path) -> None:
    named = grown(stream, "new.jsonl", "extra", {})["stages"][-1]
    assert (named["name"], named["date"]) == ("extra", None)
    plain = plan([{"name": "law", "data": "old", **STAGE}], watch=["old"]).resolved()
    undated = grown(plain, "texts/code-2021.jsonl", None, {})
    assert (undated["stages"][-1]["name"], undated["stages"][-1]["date"]) == ("code-2021", "2021")
    assert undated["watch"][-1] == {**plain["watch"][-1], "corpus": "code-2021"}
    dated = plan([{"name": "2021", "date": "2021", "data": "old", **STAGE}]).resolved()
    assert grown(dated, "2022.parquet", None, {})["stages"][-1]["name"] == "2022"
    # Another type of file takes over what it has, too.
    assert grown(dated, "2022.parquet", None, {"corpus.limit": 5})["corpora"]["2022"]["type"] == "parquet"


def test_the_start_of_an_added_stage_follows_the_last_one(plan: Any) -> None:
    def start(*stages: dict[str, Any]) -> Any:
        return grown(plan([{"data": "old", **STAGE, **one} for one in stages]).resolved(), "x.jsonl", None, {})[
            "stages"
        ][-1]["from"]

    release = {"tokens": 640}
    assert start({"name": "a"}, {"name": "b"}) is None
    assert start({"name": "a"}, {"name": "b", "from": "base"}) == "base"
    assert (
        start({"name": "a", "release": release}, {"name": "b", "from": "a-release", "release": release}) == "b-release"
    )
    assert start({"name": "a"}, {"name": "b", "from": "a"}) is None


@pytest.mark.parametrize(
    ("path", "name", "changes", "error"),
    [
        ("new.jsonl", None, {}, "'new.jsonl' has no date in its name"),
        ("2021-10.jsonl", None, {}, "'wiki-2021-10' is in the plan already"),
        ("2021-11.jsonl", "old", {}, "'old' is in the plan already"),
        ("2021-11.jsonl", None, {"release.tokens": 5}, "'release' holds no options here: set it whole"),
    ],
)
def test_what_cannot_be_added_says_why(
    stream: dict[str, Any], path: str, name: str | None, changes: dict[str, Any], error: str
) -> None:
    with pytest.raises(UserError, match=error):
        grown(stream, path, name, changes)


def test_a_stage_of_several_corpora_needs_its_own(plan: Any, tmp_path: Path) -> None:
    corpora = {"old": "old.jsonl", "law": "law.jsonl"}
    values = plan([{"name": "both", "data": ["old", "law"], **STAGE}], corpora=corpora).resolved()
    with pytest.raises(UserError, match="stage 'both' learns several corpora"):
        grown(values, "code.jsonl", None, {})
    data = [{"corpus": "code", "weight": 3.0}, {"corpus": "law"}]
    made = from_values(grown(values, "code.jsonl", None, {"data": data}))
    assert [(portion.corpus, portion.weight) for portion in made.stages[-1].data] == [("code", 3.0), ("law", 1.0)]
