"""The site of many runs: what is found, compared and chained, and that the folder is replaced whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.evaluation.loss import save
from rewarm.report.result import Column, Metrics, Result
from rewarm.report.site_parts import Site, labels
from rewarm.river import site as building
from rewarm.river.ledger import Ledger
from rewarm.river.outcome import row
from rewarm.river.site import build, planned
from rewarm.river.site_find import find, slugs
from rewarm.river.site_pairs import arranged
from rewarm.river.site_read import Limits, read_run
from rewarm.types import StorageError, UserError

DOCUMENTS = 40
Shifts = dict[str, dict[str, float]]


def losses(corpus: str, shift: float) -> DocumentLosses:
    """Losses of a corpus's documents, the same but for a shift and a little noise of their own."""
    random = np.random.default_rng(len(corpus))
    bytes_D = random.integers(80, 120, DOCUMENTS)
    noise = np.random.default_rng(round(1000 * abs(shift))).normal(0, 0.01, DOCUMENTS)
    return DocumentLosses(bytes_D * (1 + shift + noise * (shift != 0)), bytes_D, bytes_D // 4)


def made(folder: Path, base: str, models: Shifts, digests: dict[str, str] | None = None, **more: Any) -> Path:
    """A run by hand: `models` maps its stages to the shift of each corpus's loss; `base` is the digest it starts from.
    The base's own shift is 0 unless `start` says otherwise."""
    corpora = list(next(iter(models.values())))
    start = more.pop("start", dict.fromkeys(corpora, 0.0))
    names = {
        "base": start,
        **{f"stage-{number}-{name}": found for number, (name, found) in enumerate(models.items(), 1)},
    }
    held = {name: {corpus: losses(corpus, shift) for corpus, shift in found.items()} for name, found in names.items()}
    for name, found in held.items():
        for corpus, one in found.items():
            save(one, folder / "evaluations" / name / f"{corpus}.npz")
    first = held["base"]
    rows = [row("base", "base", first, first)]
    stages = list(models)
    for number, (name, found) in enumerate(list(held.items())[1:], 1):
        rows.append(row(name, "stage", found, first, stage=stages[number - 1], tokens=1000 * number))
    weights = {f"weights {one}": f"{folder.name}/{one}" for one in list(names)[1:]}
    plan = {"seq_len": more.pop("seq_len", 64), "stages": [{"name": name, "date": more.get("date")} for name in stages]}
    result = Result(
        rewarm="0.1.0", created=more.pop("created", "2026-01-01"), command="x", plan=plan, base="models/base",
        parameters=9, complete=True, rows=rows, metrics=Metrics(),
        columns=[Column(name=one, role="old" if one == "web" else "new") for one in corpora],
        hashes={"weights base": base, **weights, **{f"corpus {one}": (digests or {}).get(one, one) for one in corpora}},
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(result.model_dump_json(), encoding="utf-8")
    (folder / "plan.resolved.json").write_text(json.dumps(plan), encoding="utf-8")
    for name in list(names)[1:]:
        Ledger(folder / "ledger.jsonl").append("leg finished", {"leg": name})
    return folder


def sited(folder: Path, limits: Limits = Limits()) -> Site:  # noqa: B008
    return arranged([read_run(found, limits)[0] for found in find([folder])], "")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs of one base, and one that goes on from the first."""
    folder = tmp_path / "runs"
    made(folder / "first", "w0", {"law": {"web": 0.02, "law": -0.1}, "code": {"web": 0.03, "law": -0.08}})
    made(folder / "second", "w0", {"law": {"web": 0.01, "law": -0.05}}, created="2026-02-01")
    made(folder / "third", "first/stage-2-code", {"news": {"web": 0.05, "news": -0.2}}, start={"web": 0.03, "news": 0})
    return folder


def test_runs_are_found_below_a_folder_and_each_is_taken_once(runs: Path) -> None:
    (runs / "first" / "controls" / "joint").mkdir(parents=True)
    (runs / "first" / "controls" / "joint" / "plan.resolved.json").write_text("{}", encoding="utf-8")
    found = find([runs / "second", runs])
    assert [one.name for one in found] == ["second", "first", "third"]
    with pytest.raises(UserError, match="holds no run"):
        find([runs / "first" / "evaluations"])
    with pytest.raises(UserError, match="is no folder"):
        find([runs / "missing"])


def test_slugs_are_file_names_that_differ_also_without_case() -> None:
    assert slugs(["a/b", "A/B", "<script>", "..", "", "x" * 99]) == ["a-b", "A-B-2", "script", "run", "run-2", "x" * 60]


def test_runs_of_one_base_are_compared_on_the_same_documents(runs: Path) -> None:
    (one,) = sited(runs).comparisons
    assert (one.reference.name, [run.name for run in one.runs]) == ("first", ["first", "second"])
    assert [column.name for column in one.columns] == ["web", "law"]
    web, law = one.differences["second"]
    assert web.change is not None
    assert law.change is not None
    assert web.verdict == "better"
    assert law.change.low < 0.03 < law.change.high


def test_what_cannot_be_compared_is_said_with_the_reason(runs: Path) -> None:
    made(runs / "other-text", "w0", {"law": {"web": 0.01, "law": 0}}, {"law": "changed"})
    made(runs / "long-rows", "w0", {"law": {"web": 0.01, "law": 0}}, seq_len=128)
    made(runs / "no-digest", "w0", {"law": {"web": 0.01}}, {"web": ""})
    made(runs / "moved-base", "w0", {"law": {"web": 0.01}}, start={"web": 0.2})
    for file in (runs / "second" / "evaluations").rglob("law.npz"):
        file.unlink()
    (one,) = sited(runs).comparisons
    apart = {(run.name, corpus): reason for run, corpus, reason in one.apart}
    assert "other prepared text" in apart["other-text", "law"]
    assert "rows of 128 and 64 tokens" in apart["long-rows", "web"]
    assert apart["no-digest", "web"] == "no digest of the text is recorded"
    assert "another loss" in apart["moved-base", "web"]
    assert one.differences["second"][1].reason == "its losses per document are gone"
    assert [run.name for run, _ in sited(runs).alone] == ["third"]


def test_a_text_that_differs_is_no_text_that_is_not_watched(runs: Path) -> None:
    """Two runs with another 'law', and two that watch 'news', are compared on it; the reference has neither."""
    for name in ("a", "b"):
        made(runs / f"law-{name}", "w0", {"law": {"web": 0.01, "law": 0}}, {"law": "changed"}, created="2026-03-01")
        made(runs / f"news-{name}", "w0", {"news": {"web": 0.01, "news": 0}}, created="2026-03-01")
    made(runs / "long-rows", "w0", {"law": {"web": 0.01, "law": 0}}, seq_len=128)
    made(runs / "moved-base", "w0", {"law": {"web": 0.01, "law": 0}}, start={"web": 0.2, "law": 0})
    (one,) = sited(runs).comparisons
    assert one.reference.name == "first"
    assert labels(one.columns) == ["web", "law, law", "law, changed", "news"]  # by their digests
    reasons = {name: [difference.reason for difference in found] for name, found in one.differences.items()}
    assert reasons["second"] == ["", "", "other text", "not watched"]
    assert reasons["law-a"] == ["", "other text", "first: other text", "not watched"]
    assert reasons["news-a"] == ["", "not watched", "not watched", "first: not watched"]
    assert reasons["long-rows"][:2] == ["rows of 128 and 64 tokens"] * 2
    assert reasons["moved-base"][0] == "the base has another loss on it"


def test_a_run_that_goes_on_from_another_continues_its_lines(runs: Path) -> None:
    (one,) = sited(runs).histories
    assert [moment.model.name for moment in one.moments] == ["base", "stage-1-law", "stage-2-code", "stage-1-news"]
    assert [moment.tokens for moment in one.moments] == [0, 1000, 2000, 3000]
    web, law, news = one.lines
    assert [round(change.point, 2) for change in web.changes if change] == [0.0, 0.02, 0.03, 0.05]
    assert all(web.paired)
    last = web.changes[-1]
    assert last is not None
    assert last.low < 0.05 < last.high  # across two runs, from the losses that both kept
    assert (law.losses[-1], news.start, news.losses[:2]) == (None, 2, [None, None])
    assert all(moment.model.date for moment in one.moments[1:])  # the day each stage was finished


def test_runs_that_lead_to_each_other_end(tmp_path: Path) -> None:
    made(tmp_path / "a", "b/stage-1-x", {"x": {"web": 0.1}})
    made(tmp_path / "b", "a/stage-1-x", {"x": {"web": 0.1}})
    assert all(len(one.runs) <= 2 for one in sited(tmp_path).histories)


def test_states_and_faults_are_told(runs: Path) -> None:
    (runs / "empty").mkdir()
    (runs / "empty" / "plan.resolved.json").write_text('{"base": "m", "stages": []}', encoding="utf-8")
    for name, text in (("text", "{"), ("newer", '{"version": 2, "rewarm": "9.9"}'), ("list", "[1]")):
        (runs / name).mkdir()
        (runs / name / "report.json").write_text(text, encoding="utf-8")
    plan = json.loads((runs / "second" / "plan.resolved.json").read_text(encoding="utf-8"))
    plan["stages"].append({"name": "more"})
    (runs / "second" / "plan.resolved.json").write_text(json.dumps(plan), encoding="utf-8")
    (runs / "third" / "ledger.jsonl").write_text("no event\n", encoding="utf-8")
    with (runs / "first" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = {run.name: run for run in sited(runs).runs}
    assert {name: run.state for name, run in found.items()} == {
        "empty": "stopped", "first": "running", "list": "unreadable", "newer": "unreadable", "second": "failed",
        "text": "unreadable", "third": "unreadable",
    }  # fmt: skip
    assert "no report yet" in found["empty"].fault
    assert "of rewarm 9.9, format 2" in found["newer"].fault
    assert "is no event" in found["third"].fault
    Ledger(runs / "second" / "ledger.jsonl").append("stopped", {"leg": "stage-2-more", "step": 3})
    assert {run.name: run.state for run in sited(runs).runs}["second"] == "stopped"


def test_limits_judge_every_run(runs: Path) -> None:
    found = {run.name: run.gate for run in sited(runs, Limits(max_forget=0.02, min_gain=0.01)).runs}
    assert found["first"] is not None
    assert found["second"] is not None
    assert (found["first"].passed, found["second"].passed) == (False, True)


def test_a_site_is_written_again_byte_for_byte_and_pages_are_taken_over(runs: Path, tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    output = tmp_path / "site"
    first = build([runs], output, Limits())
    before = files(output)
    again = build([runs], output, Limits())
    assert (first.reused, again.reused) == (0, 3)
    assert files(output) == before
    assert set(before) == {
        "index.html", "compare.html", "history.html", "site.json", "compare/w0.html", "history/third.html",
        "runs/first/index.html", "runs/second/index.html", "runs/third/index.html",
    }  # fmt: skip
    assert b'href="../../index.html"' in before["runs/first/index.html"]
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


def test_a_site_that_was_not_finished_leaves_the_old_one(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "site"
    build([runs / "second"], output, Limits())
    before = (output / "index.html").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(building, "_write_pages", full)
    with pytest.raises(StorageError, match="No space left"):
        build([runs], output, Limits())
    assert (output / "index.html").read_bytes() == before
    monkeypatch.undo()
    monkeypatch.setattr(building, "_exchanged", lambda one, other: False)  # a file system that cannot
    build([runs], output, Limits())
    assert b"first" in (output / "index.html").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["runs", "site"]


def test_a_folder_that_is_no_site_is_never_replaced(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="is no site of ours"):
        build([runs], tmp_path / "mine", Limits())
    for inside in (runs / "first" / "site", runs):
        with pytest.raises(UserError, match=r"lie in each other|is no site"):
            planned([runs], inside)


def test_a_run_whose_page_cannot_be_made_is_listed(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(result: Result, home: str) -> str:
        raise KeyError("rows")

    monkeypatch.setattr(building.page, "html", fails)
    site = build([runs], tmp_path / "site", Limits()).site
    assert all("its page could not be made: 'rows'" in run.fault for run in site.runs)
