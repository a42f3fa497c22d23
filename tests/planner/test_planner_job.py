"""Planning as a whole: pilots that resume and never read the final part, decisions, the plan, and the verb."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.plan import Plan, load
from rewarm.planner import job, pilots
from rewarm.planner.asked import Asked, Limits, asked
from rewarm.planner.design import PEAK_STEP, Point
from rewarm.planner.pilots import Pilot, Scales, pilot_plan, run_pilots
from rewarm.river.directory import RunDirectory
from rewarm.river.inputs import make_inputs
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.tokens.shards import Store
from rewarm.types import Stopped, UserError

CONFIG = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 128, "tie_word_embeddings": True,
}  # fmt: skip
Ask = Callable[..., Asked]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_folder: Path) -> Path:
    """A model folder whose config.json says the peak it was trained at."""
    from rewarm.models.load import make_model, save_model
    from rewarm.tokens.tokenizer import TextTokenizer

    folder = tmp_path_factory.mktemp("base") / "tiny"
    model = make_model(CONFIG, TextTokenizer(tiny_tokenizer_folder), 0)
    save_model(model, tiny_tokenizer_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"learning_rate": 3e-3}))
    return folder


@pytest.fixture
def ask(base: Path, tmp_path: Path, words: Any, write_jsonl: Any) -> Ask:
    """A function: **limits -> what is asked of a planning over two texts of 120 documents."""
    for place, name in enumerate(("old", "new")):
        write_jsonl(tmp_path / f"{name}.jsonl", [words(1000 * place + number, 40) for number in range(120)])
    values = {
        "base": str(base), "output_dir": str(tmp_path / "run"), "seq_len": 64, "batch_tokens": 256, "eval_tokens": 800,
        "precision": "fp32",
        "corpora": {name: {"path": str(tmp_path / f"{name}.jsonl"), "holdout": "10%"} for name in ("old", "new")},
        "stages": [{"name": "new", "data": "new", "tokens": 20_000, "learning_rate": 1e-3,
                    "replay": {"from": "old", "share": "5%"}}],
        "watch": ["old", "new"],
    }  # fmt: skip

    def make(**limits: Any) -> Asked:
        given = Limits(**({"max_forget": 0.02, "smallest": 0} | limits))
        return asked(values, given, tmp_path / "plan.yaml", tmp_path / "pilots")

    return make


def test_what_is_asked_is_made_ready(ask: Ask) -> None:
    made = ask()
    assert made.ending.peak == 3e-3
    assert made.plan.seq_len * 2 <= made.plan.batch_tokens <= made.design.lengths[0] // 12 or made.plan.seq_len == 32
    assert made.plan.corpora["new"].holdout == 0.2  # type: ignore[attr-defined]
    assert made.least(10**9) == 0
    assert dataclasses.replace(made, smallest=None).least(10**12) == 10_000_000
    assert dataclasses.replace(made, smallest=None).least(10**8) == 10**6
    with pytest.raises(UserError, match="raise --budget or --pilot-tokens"):
        ask(budget=2000)
    with pytest.raises(UserError, match="as long as the whole update"):
        ask(pilot_tokens=60_000)
    with pytest.raises(UserError, match=r"--max-forget -0\.1"):
        ask(max_forget=-0.1)


def test_pilots_share_prepared_tokens_resume_and_leave_the_final_part_alone(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every token of a store is read by `Store.ids`: no pilot asks it for a document of the final part.

    What the report counts of the vocabulary is of all text of a corpus, and no score: it is left out here.
    """
    monkeypatch.setattr("rewarm.river.outcome.vocabulary", lambda *given: None)
    made = ask()
    final = made.plan.model_copy(update={"watch": _part(made.plan, "final"), "output_dir": f"{made.plan.output_dir}-x"})
    inputs = make_inputs(final, RunDirectory.of(final))
    kept = {store.folder.name: set(inputs.watch_documents[name].tolist()) for name, store in inputs.stores.items()}
    assert all(kept.values())
    read: dict[str, set[int]] = {name: set() for name in kept}
    plain, runs = Store.ids, []

    def ids(store: Store, document: int, start: int = 0, stop: int | None = None) -> Any:
        read[store.folder.name].add(int(document))
        return plain(store, document, start, stop)

    def counted(plan: Plan, *given: Any, **more: Any) -> Any:
        runs.append(plan.directory.name)
        return run(plan, *given, **more)

    monkeypatch.setattr(Store, "ids", ids)
    monkeypatch.setattr(pilots, "run", counted)
    points = [Point(number, "grid", 3e-3, 0.1, 600) for number in (1, 2)]
    steps = []

    def stop() -> bool:
        steps.append(len(runs))
        return len(runs) == 2

    with pytest.raises(Stopped):
        run_pilots(made.plan, points, made.work, Hooks(stop=stop), " of 2")
    assert runs == [points[0].name, points[1].name]
    told: list[str] = []
    hooks = Hooks(lambda label, *rest: told.append(label.split(":")[0]))
    found = run_pilots(made.plan, points, made.work, hooks, " of 9", before=3)
    assert dict.fromkeys(told) == {"pilot 5 of 9": None}, "counted, whatever their numbers; the first was finished"
    assert runs == [points[0].name, points[1].name, points[1].name], "the finished one is not run again"
    assert {name: read[name] & kept[name] for name in kept} == {name: set() for name in kept}
    own = make_inputs(pilot_plan(made.plan, points[0], made.work), RunDirectory.of(final)).watch_documents
    scored = {name: set(documents.tolist()) for name, documents in own.items()}
    assert all(scored[name] <= read[inputs.stores[name].folder.name] for name in scored), "the spy sees what is scored"
    assert not list((made.work / "pilots").glob("*/stage-*")), "models are deleted"
    assert found[0].changes != found[1].changes, "each pilot has its own seed"
    assert all(0 < spread < 1 for one in found for spread in one.documents.values())


def _part(plan: Plan, part: str) -> Any:
    return tuple(watch.model_copy(update={"part": part}) for watch in plan.watch)


def test_areas_of_a_schedule(ask: Ask) -> None:
    """Twice the peak is twice the area, and S1 of the budget at the reference peak is 1."""
    made = ask()
    scales = Scales(made.plan, 1e-3, made.budget)
    whole = scales.settings(np.array([1e-3, 2e-3]), np.array([0.1, 0.1]), np.array([20_000.0, 20_000.0]))
    assert whole.area_N == pytest.approx([1.0, 2.0])
    assert whole.annealed_N[1] == pytest.approx(2 * whole.annealed_N[0])
    assert 0 < whole.annealed_N[0] < 1


Changes = Callable[[Point], dict[str, float]]


def pretend(monkeypatch: pytest.MonkeyPatch, changes: Changes) -> list[Point]:
    """Pilots that end as a formula says, in the place of hours of training; the points that were asked for."""
    asked_for: list[Point] = []

    def run_pilots(plan: Plan, points: Sequence[Point], *rest: Any) -> list[Pilot]:
        asked_for.extend(points)
        spread = {"old": 0.0005, "new": 0.0005}
        return [Pilot(one, changes(one), spread, one.tokens / 1000, one.tokens) for one in points]

    monkeypatch.setattr(job, "run_pilots", run_pilots)
    return asked_for


def learns(point: Point, forgets: float = 0.01, gains: float = 0.2) -> dict[str, float]:
    """Gain by the square root of tokens; forgetting by the peak, less for each replay."""
    wave = 0.0005 * np.sin(37 * point.number)
    old = forgets * (point.peak / 3e-3) * (1 - 2 * point.share) + wave
    return {
        "old": old,
        "new": -gains * (1 - point.share) ** 0.2 * (point.tokens / 20_000) ** 0.5 * (point.peak / 3e-3) ** 0.3 + wave,
    }


def test_a_plan_is_written_that_loads_and_says_what_to_expect(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, learns)
    found = job.plan_update(ask(max_forget=0.03))
    assert found.refusal is None
    written = load(found.asked.out)
    assert written.forecast is not None
    assert {watch.part for watch in written.watch} == {"final"}
    expected = written.forecast.changes
    assert expected["old"].high <= 0.03
    assert expected["new"].high < 0
    stage = written.stages[0]
    truth = learns(Point(0, "long", stage.learning_rate, stage.replay.share, stage.tokens or 0))  # type: ignore[union-attr,arg-type]
    assert all(expected[name].low <= truth[name] <= expected[name].high for name in ("old", "new"))
    assert written.prepared_dir == str(found.asked.work / "prepared")
    kept = json.loads((found.asked.work / job.RESULT).read_text())
    assert (kept["decision"], kept["plan"]) == ("train", str(found.asked.out))
    assert sum(law["chosen"] for law in kept["laws"]["old"]) == 1


@pytest.mark.parametrize(
    ("kind", "changes", "limits", "says"),
    [
        ("forgets", {"forgets": 1.0}, {}, "keeps old within 2 % for sure"),
        ("gain", {"gains": 0.05}, {"min_gain": 0.5}, "50 % were asked for"),
        ("noise", {"gains": 0.0}, {}, "cannot be told from no gain"),
    ],
)
def test_each_refusal_says_why_and_what_would_serve(
    kind: str, changes: dict[str, float], limits: dict[str, float], says: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for = pretend(monkeypatch, lambda point: learns(point, **changes))
    found = job.plan_update(ask(**limits))
    assert found.refusal is not None
    assert found.refusal.kind == kind
    assert says in found.refusal.text
    assert asked_for[-1].why == "adapter"
    assert "A pilot with LoRA over " in found.refusal.advice
    assert not found.asked.out.exists()
    assert json.loads((found.asked.work / job.RESULT).read_text())["decision"] == "do not CPT"


def test_a_small_corpus_is_refused_before_any_pilot(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = pretend(monkeypatch, learns)
    found = job.plan_update(ask(smallest=1_000_000))
    assert found.refusal is not None
    assert found.refusal.kind == "small"
    assert found.refusal.advice.startswith("Retrieval would serve")
    assert asked_for == []


def test_pilots_without_a_finite_loss_are_told_and_left_out(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def some(point: Point) -> dict[str, float]:
        return {"old": float("inf"), "new": float("inf")} if point.number == lost else learns(point)

    lost = 11  # at the highest peak, with the least replay
    pretend(monkeypatch, some)
    found = job.plan_update(ask(max_forget=0.03))
    assert found.left_out == [f"{one}: its loss is no number" for one in found.left_out[0].split(":")[:1]]
    assert len(found.pilots) == found.asked.design.pilots - 1
    assert any(one.startswith("left out: 11-grid-") for one in found.notes)
    assert found.solved is not None
    assert found.solved.peak <= 3e-3 / PEAK_STEP * 1.001, "a peak at which a pilot diverged is not chosen"


def test_where_the_lowest_peak_diverges_no_peak_is_sure(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"old": float("nan"), "new": float("nan")}
    pretend(monkeypatch, lambda point: nothing if point.number == 6 else learns(point))
    found = job.plan_update(ask(max_forget=0.03))
    assert found.refusal is not None
    assert found.refusal.kind == "diverged"
    assert "at no peak did all pilots end with a finite loss (06-grid-0.0003-0.1-" in found.refusal.text


def test_old_text_that_pilots_would_read_too_often_is_refused_before_any(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: Any, write_jsonl: Any
) -> None:
    asked_for = pretend(monkeypatch, learns)
    made = ask(pilot_tokens=45_000)
    write_jsonl(tmp_path / "old.jsonl", [words(number, 12) for number in range(16)])
    with pytest.raises(UserError, match=r"% of them replayed, would go through 'old' [0-9.]+ times, more than max_epo"):
        job.plan_update(made)
    assert asked_for == []
