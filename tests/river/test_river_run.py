"""The main job, small: every row of the matrix, honest shares, branches, and a report made again from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarm.plan import from_values, load
from rewarm.report.result import Result, read
from rewarm.river.directory import RunDirectory
from rewarm.river.run import report, run
from rewarm.schedules.rewarm import Rewarm
from rewarm.training import journal
from rewarm.types import StreamState, UserError

MakeValues = Callable[..., dict[str, Any]]
REPLAY = {"from": "old", "share": 0.25}
NOT_COMPARED = {"created", "command"}


def test_every_model_has_its_row_against_the_base(stream: tuple[Path, Result]) -> None:
    _, result = stream
    assert result.complete
    assert [(row.name, row.kind, row.tokens) for row in result.rows] == [
        ("base", "base", 0), ("stage-1-law", "stage", 2048), ("stage-2-code", "stage", 4096),
        ("stage-2-code-release", "release", 4608), ("new-only", "control", 4096), ("joint", "control", 8192),
        ("same-data", "control", 4096), ("alone", "control", 2048),
    ]  # fmt: skip
    for row in result.rows:
        assert set(row.cells) == {"old", "law", "code"}
    base, law = result.rows[0].cells, result.rows[1].cells
    for corpus, cell in law.items():
        assert base[corpus].delta == 0
        assert cell.delta == pytest.approx(cell.loss - base[corpus].loss)
        assert (cell.documents, cell.bytes, cell.tokens) == (
            base[corpus].documents, base[corpus].bytes, base[corpus].tokens
        )  # fmt: skip
    assert {column.name: column.role for column in result.columns} == {"old": "old", "law": "new", "code": "new"}
    assert result.metrics.plasticity_gap is not None
    assert result.metrics.x_delta == pytest.approx(base["old"].loss - result.rows[2].cells["old"].loss)


def test_the_base_is_scored_before_anything_is_trained(make_values: MakeValues, tmp_path: Path) -> None:
    run(from_values(make_values([{"name": "law", "data": "law"}])))
    events = [entry["event"] for entry in RunDirectory(tmp_path / "run").ledger()]
    assert events == ["inputs", "base", "machine", "started", "leg started", "leg finished"]
    scored = (tmp_path / "run" / "evaluations" / "base" / "code.npz").stat().st_mtime_ns
    assert scored < (tmp_path / "run" / "training" / "stage-1-law" / "journal.jsonl").stat().st_ctime_ns
    assert sorted(file.name for file in (tmp_path / "run" / "evaluations" / "base").iterdir()) == [
        "code.npz", "law.npz", "old.npz",
    ]  # fmt: skip


def test_shares_are_what_was_planned(stream: tuple[Path, Result]) -> None:
    root, result = stream
    for share in result.shares:
        assert share.realised == pytest.approx(share.planned, abs=0.005), (share.run, share.stage, share.corpus)
    shares = {(share.stage, share.corpus): share for share in result.shares if share.run == ""}
    assert shares["stage-1-law", "old"].tokens == 512
    assert shares["stage-1-law", "law"].tokens == 1536
    assert shares["stage-2-code", "self@code"].replay
    labels = {corpus.name: corpus.label for corpus in result.corpora}
    assert labels["self@code"] == "sampled from the model itself"
    trainable = RunDirectory(root).finished()["stage-1-law"]["trainable"]["old"]
    assert shares["stage-1-law", "old"].passes == pytest.approx(512 / trainable)


@pytest.mark.parametrize(
    ("mode", "share", "tokens", "new"),
    [("substitutive", 0.25, 2048, 1536), ("additive", 0.25, 2560, 2048), ("substitutive", 0.05, 2048, 1945.6)],
)
def test_additive_replay_comes_on_top(
    make_values: MakeValues, mode: str, share: float, tokens: int, new: float
) -> None:
    """2048 tokens are 8 steps of 4 rows of 64; rows are whole, so a corpus is at most one row off."""
    stages = [{"name": "law", "data": "law", "replay": {"from": "old", "share": share, "mode": mode}}]
    result = run(from_values(make_values(stages, watch=["old"])))
    assert sum(part.tokens for part in result.shares) == tokens
    assert next(part for part in result.shares if part.corpus == "law").tokens == pytest.approx(new, abs=64)


def test_a_report_needs_the_runs_files_alone(
    values_in: MakeValues, stream: tuple[Path, Result], base: Path, texts: dict[str, Path]
) -> None:
    """The corpora and the base are out of reach, and still it is the report that the run wrote."""
    root, result = stream
    written = read(root)
    hidden = [path.rename(path.with_name(path.name + ".away")) for path in (base, *texts.values())]
    try:
        again = report(root)
    finally:
        for path in hidden:
            path.rename(path.with_name(path.name.removesuffix(".away")))
    assert again.model_dump(exclude=NOT_COMPARED) == result.model_dump(exclude=NOT_COMPARED)
    assert written.model_dump(exclude=NOT_COMPARED) == result.model_dump(exclude=NOT_COMPARED)


def test_a_resumed_run_reports_the_same(stream: tuple[Path, Result]) -> None:
    root, result = stream
    before = RunDirectory(root).ledger()
    again = run(load(root / "plan.resolved.json"))
    assert again.model_dump(exclude=NOT_COMPARED) == result.model_dump(exclude=NOT_COMPARED)
    assert RunDirectory(root).ledger() == before


def test_there_is_no_report_before_the_base_is_scored(make_values: MakeValues, tmp_path: Path) -> None:
    plan = from_values(make_values([{"name": "law", "data": "law"}]))
    with pytest.raises(UserError, match="is no run directory"):
        report(tmp_path / "run")
    RunDirectory(tmp_path / "run").claim(plan)
    with pytest.raises(UserError, match="has not begun"):
        report(tmp_path / "run")


def test_without_a_watch_list_there_is_nothing_to_score(make_values: MakeValues) -> None:
    result = run(from_values(make_values([{"name": "law", "data": "law"}], watch=[])))
    assert result.complete
    assert [(row.name, row.cells) for row in result.rows] == [("base", {}), ("stage-1-law", {})]
    assert result.probes == []
    assert all(value is None for value in result.metrics.model_dump().values())


def test_the_journal_holds_the_schedules_rate_at_every_step(stream: tuple[Path, Result]) -> None:
    root, _ = stream
    schedule = Rewarm(warmup=0.25)
    law = journal.read(root / "training" / "stage-1-law" / "journal.jsonl")
    assert [entry["step"] for entry in law] == list(range(1, 9))
    assert [entry["rate"] for entry in law] == [schedule.rate(step, 8, 2e-3, StreamState()) for step in range(8)]
    assert law[0]["rate"] == pytest.approx(1e-3)
    assert law[-1]["rate"] == pytest.approx(2e-4)
    past = StreamState(stage=1, steps_before=8, last_rate=law[-1]["rate"])
    code = journal.read(root / "training" / "stage-2-code" / "journal.jsonl")
    assert [entry["rate"] for entry in code] == [schedule.rate(step, 8, 2e-3, past) for step in range(8)]
    assert code[0]["rate"] == pytest.approx(2e-4 + 0.5 * (2e-3 - 2e-4))
