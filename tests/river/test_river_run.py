"""The main job, small: every row of the matrix, honest shares, branches, and a report made again from files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import rewarm.river.train as river_train
from rewarm.plan import from_values, load
from rewarm.report.result import Result, read
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import read_inputs
from rewarm.river.run import report, run
from rewarm.schedules.rewarm import Rewarm
from rewarm.tokens.shards import Store
from rewarm.training import journal
from rewarm.training.loop import Leg, Outcome
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


def test_a_release_anneals_while_the_trunk_goes_on(values_in: MakeValues, tmp_path: Path) -> None:
    infinite = {"type": "infinite", "warmup": 0.25, "cooldown": 0.5}
    law = {"name": "law", "data": "law", "schedule": infinite}
    code = {"name": "code", "data": "code", "schedule": infinite, "optimizer_state": "keep"}
    result = run(from_values(values_in(tmp_path / "branched", [law | {"release": {"tokens": 1024}}, code])))
    rates = {curve.leg: curve.rate for curve in result.curves}
    assert rates["stage-1-law"][-1] == pytest.approx(0.55 * 2e-3)
    assert rates["stage-1-law-release"][-1] == pytest.approx(0.1 * 2e-3)
    assert rates["stage-2-code"] == pytest.approx([0.55 * 2e-3] * 8)
    run(from_values(values_in(tmp_path / "trunk", [law, code])))
    branched, trunk = (RunDirectory(tmp_path / name).finished() for name in ("branched", "trunk"))
    assert list(branched) == ["stage-1-law", "stage-1-law-release", "stage-2-code"]
    for leg, entry in trunk.items():
        assert branched[leg]["weights_sha256"] == entry["weights_sha256"]
    assert branched["stage-1-law-release"]["weights_sha256"] != trunk["stage-1-law"]["weights_sha256"]
    # Every optimizer state was taken over, and none is left on the disk.
    assert not list((tmp_path / "branched" / "training").glob("*/checkpoint-*"))


def test_a_stage_may_start_from_any_earlier_one(make_values: MakeValues, tmp_path: Path) -> None:
    stages = [
        {"name": "law", "data": "law", "release": {"tokens": 512}},
        {"name": "from-release", "data": "code", "from": "law-release"},
        {"name": "again", "data": "law", "from": "base"},
    ]
    result = run(from_values(make_values(stages, watch=["law"])))
    hashes = {name: entry["weights_sha256"] for name, entry in RunDirectory(tmp_path / "run").finished().items()}
    # The same corpus, steps and rates from the same weights: a branch from the base repeats the first stage's bits.
    assert hashes["stage-3-again"] == hashes["stage-1-law"]
    starts = {name: entry["start"] for name, entry in RunDirectory(tmp_path / "run").finished().items()}
    assert starts["stage-2-from-release"] == "stage-1-law-release"
    assert {row.name: row.tokens for row in result.rows} == {
        "base": 0, "stage-1-law": 2048, "stage-1-law-release": 2560, "stage-2-from-release": 4608,
        "stage-3-again": 2048,
    }  # fmt: skip
    annealed = next(curve.rate[-1] for curve in result.curves if curve.leg == "stage-1-law-release")
    after = next(curve.rate[0] for curve in result.curves if curve.leg == "stage-2-from-release")
    assert after == pytest.approx(annealed + (2e-3 - annealed) / 2)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Leg, torch.Tensor]]:
    """Fills with each leg that is trained, and the logits that its model then gives for 32 ids."""
    seen: list[tuple[Leg, torch.Tensor]] = []
    honest = river_train.train

    def train(model: Any, optimizer: Any, leg: Leg, *rest: Any) -> Outcome:
        outcome = honest(model, optimizer, leg, *rest)
        model.eval()
        with torch.no_grad():
            seen.append((leg, model(torch.arange(32)[None]).logits))
        return outcome

    monkeypatch.setattr(river_train, "train", train)
    return seen


def test_a_saved_stage_gives_the_logits_of_the_model_that_was_trained(
    make_values: MakeValues, tmp_path: Path, trained: list[tuple[Leg, torch.Tensor]]
) -> None:
    run(from_values(make_values([{"name": "law", "data": "law"}], watch=["old"])))
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "stage-1-law").eval()
    with torch.no_grad():
        assert torch.equal(saved(torch.arange(32)[None]).logits, trained[0][1])
    assert saved.config.use_cache


def test_what_is_trained_on_is_what_the_ledger_says_and_never_watched(
    make_values: MakeValues, tmp_path: Path, trained: list[tuple[Leg, torch.Tensor]]
) -> None:
    """Every document in every row of every batch is looked up in the corpus it is said to be from.

    `law` holds a copy of every text of `old`, so what is held out of `old` must be missing from `law` too.
    """
    stages = [
        {"name": "law", "data": "law", "replay": REPLAY, "tokens": 8192},
        {"name": "code", "data": "code", "replay": REPLAY},
    ]
    values = make_values(stages)
    values["corpora"]["law"]["holdout"] = 0.02  # at equal shares a copy is held out by its own corpus already
    run(from_values(values))
    directory = RunDirectory(tmp_path / "run")
    begun = directory.recorded("inputs")
    assert begun is not None
    stores = {name: Store(directory.prepared / known["store"]) for name, known in begun["corpora"].items()}
    inputs = read_inputs(from_values(values), directory)
    watched = {
        store.ids(document).tobytes()
        for store in stores.values()
        for document in range(store.documents)
        if int(store.hashes[document]) in set(map(int, inputs.watched_hashes))
    }
    allowed = {
        name: [store.ids(document).tobytes() for document in inputs.train_documents[name]]
        for name, store in stores.items()
    }
    assert len(watched) > 20
    assert not watched & {document for documents in allowed.values() for document in documents}
    assert inputs.copies["law"] > 5
    for leg, _ in trained:
        assert _walked(leg, allowed) == directory.finished()[leg.name]["rows"]


def _walked(leg: Leg, allowed: dict[str, list[bytes]]) -> dict[str, int]:
    """Rows of each corpus, each piece of each row found in a training document of that corpus."""
    joined = {name: b"\xff\xff".join(documents) for name, documents in allowed.items()}
    counts = dict.fromkeys((source.name for source in leg.rows.sources), 0)
    for step, batches in enumerate(leg.rows.iterate(0)):
        rows = [row for batch in batches for row in zip(batch.tokens_BT, batch.positions_BT, strict=True)]
        for source, (tokens, positions) in zip(leg.rows.source_SR[step], rows, strict=True):
            name = leg.rows.sources[source].name
            counts[name] += 1
            starts = [*torch.nonzero(positions == 0)[:, 0].tolist(), len(tokens)]
            for start, end in pairwise(starts):
                piece = tokens[start:end].numpy().astype("uint16").tobytes()
                assert piece in joined[name], (leg.name, step, name)
    return counts


def test_resumed_legs_do_not_repeat_rows_of_a_corpus(
    make_values: MakeValues, trained: list[tuple[Leg, torch.Tensor]]
) -> None:
    """Two stages that replay the same corpus take its rows one after the other."""
    run(from_values(make_values([{"name": name, "data": name, "replay": REPLAY} for name in ("law", "code")])))
    first, second = (leg.rows for leg, _ in trained)
    assert [source.first_row for source in first.sources] == [0, 0]
    assert [(source.name, source.first_row) for source in second.sources] == [("code", 0), ("old", 8)]


def test_other_models_do_not_pass_for_a_finished_stage(make_values: MakeValues, tmp_path: Path, base: Path) -> None:
    plan = from_values(make_values([{"name": "law", "data": "law"}, {"name": "code", "data": "code"}], watch=[]))
    run(plan)
    for name in ("stage-1-law", "stage-2-code"):
        shutil.rmtree(tmp_path / "run" / name)
    shutil.copytree(base, tmp_path / "run" / "stage-1-law")
    with pytest.raises(UserError, match="are not those that stage-1-law ended with"):
        run(plan)


def test_a_deleted_stage_is_trained_again_to_the_same_weights(make_values: MakeValues, tmp_path: Path) -> None:
    stages = [{"name": "law", "data": "law"}, {"name": "code", "data": "code", "optimizer_state": "keep"}]
    plan = from_values(make_values(stages, watch=["code"]))
    run(plan)
    before = {name: entry["weights_sha256"] for name, entry in RunDirectory(tmp_path / "run").finished().items()}
    shutil.rmtree(tmp_path / "run" / "stage-2-code")
    with pytest.raises(UserError, match=r"optimizer_state: keep needs .*stage-1-law.checkpoint-8"):
        run(plan)
    shutil.rmtree(tmp_path / "run" / "stage-1-law")
    assert run(plan).complete
    after = {name: entry["weights_sha256"] for name, entry in RunDirectory(tmp_path / "run").finished().items()}
    assert after == before
    ledger = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    assert [entry["leg"] for entry in ledger if entry["event"] == "leg finished"] == ["stage-1-law", "stage-2-code"] * 2
