"""From files to a result: cells, metrics and curves by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rewarm.evaluation.intervals import DocumentLosses
from rewarm.report.result import Result
from rewarm.river.directory import RunDirectory
from rewarm.river.outcome import row, scored
from rewarm.training import journal


def losses(*nats: float) -> DocumentLosses:
    """Documents of 10 bytes and 4 tokens each."""
    count = len(nats)
    return DocumentLosses(np.array(nats), np.full(count, 10, np.int64), np.full(count, 4, np.int64))


def test_a_row_holds_losses_per_byte_against_the_base() -> None:
    base = {"old": losses(10.0, 20.0, 30.0)}
    found = row("stage-1-a", "stage", {"old": losses(9.0, 18.0, 27.0)}, base, stage="a", tokens=7)
    cell = found.cells["old"]
    assert (found.name, found.kind, found.stage, found.tokens) == ("stage-1-a", "stage", "a", 7)
    assert cell.loss == pytest.approx(54 / 30)
    assert cell.delta == pytest.approx(-6 / 30)
    assert cell.relative == pytest.approx(-0.1)
    assert (cell.documents, cell.bytes, cell.tokens) == (3, 30, 12)
    assert cell.low < cell.delta < cell.high < 0
    assert cell.verdict == "better"
    assert row("base", "base", base, base).cells["old"].verdict == "base"


def test_metrics_are_those_of_the_matrix(stream: tuple[Path, Result]) -> None:
    """Two stages: with R = -loss, forgetting = max(R[0][1], R[1][1]) - R[2][1], and so on."""
    _, result = stream
    cells = {row.name: {corpus: cell.loss for corpus, cell in row.cells.items()} for row in result.rows}
    base, first, last = cells["base"], cells["stage-1-law"], cells["stage-2-code"]
    metrics = result.metrics
    assert metrics.average == pytest.approx(-(last["law"] + last["code"]) / 2)
    assert metrics.forgetting == pytest.approx(last["law"] - min(base["law"], first["law"]))
    assert metrics.backward_transfer == pytest.approx(first["law"] - last["law"])
    assert metrics.forward_transfer_gem == pytest.approx(base["code"] - first["code"])
    assert metrics.plasticity_gap == pytest.approx(cells["alone"]["code"] - last["code"])
    assert metrics.x_delta == pytest.approx(base["old"] - last["old"])
    assert metrics.x_delta_worst == ("old", pytest.approx(base["old"] - last["old"]))


def test_curves_and_probes_are_the_journals(stream: tuple[Path, Result]) -> None:
    root, result = stream
    curves = {(curve.run, curve.leg): curve for curve in result.curves}
    assert len(curves) == 3 + 2 + 1 + 2 + 1
    code = curves["", "stage-2-code"]
    assert code.tokens == [2048 + 256 * step for step in range(1, 9)]
    entries = journal.read(root / "training" / "stage-2-code" / "journal.jsonl")
    assert code.loss == [entry["loss"] for entry in entries]
    probes = [(probe.run, probe.leg, probe.tokens) for probe in result.probes if probe.run == ""]
    # Every quarter of 8 steps, but not at the end, which has scores of its own.
    assert probes[:3] == [("", "stage-1-law", 512), ("", "stage-1-law", 1024), ("", "stage-1-law", 1536)]
    scores = journal.read(root / "training" / "stage-1-law" / "scores.jsonl")
    assert [probe.losses for probe in result.probes[:3]] == [entry["losses"] for entry in scores]


def test_costs_and_hashes_come_from_the_ledger(stream: tuple[Path, Result]) -> None:
    root, result = stream
    directory = RunDirectory(root)
    base, machine = directory.recorded("base"), directory.recorded("machine")
    assert base is not None
    assert machine is not None
    finished = directory.finished()["stage-1-law"]
    cost = result.costs[0]
    assert (cost.leg, cost.tokens, cost.steps, cost.seconds) == ("stage-1-law", 2048, 8, finished["seconds"])
    assert cost.tokens_per_second == pytest.approx(2048 / finished["seconds"])
    assert cost.flops == pytest.approx(2048 * base["flops_per_token"])
    assert cost.matmul_share == pytest.approx(cost.flops / cost.seconds / machine["matmul_rate"])
    assert result.hashes["weights base"] == base["weights_sha256"]
    assert result.hashes["weights stage-1-law"] == finished["weights_sha256"]
    assert result.machine == machine["machine"]


def test_scores_that_are_not_there_are_left_out(stream: tuple[Path, Result]) -> None:
    root, _ = stream
    assert set(scored(RunDirectory(root), "base", ["old", "nothing"])) == {"old"}
