"""A whole run of several processes: the matrix of one, the first alone writes, refusals before work, a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from rewarm.plan import Plan, from_values
from rewarm.report.result import Result
from rewarm.river import beside
from rewarm.river.directory import RunDirectory
from rewarm.river.following import follow
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.training import world
from rewarm.training.world import World
from rewarm.types import Stopped, UserError

Together = Callable[..., list[Any]]
CLOSE = 1e-5


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, words: Any, write_jsonl: Any) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("texts")
    return {
        name: str(write_jsonl(folder / f"{name}.jsonl", [words(1000 * place + n, 20 + n % 60) for n in range(60)]))
        for place, name in enumerate(("old", "law"))
    }


def plan_in(root: Path, texts: dict[str, str], **changes: Any) -> Plan:
    """Eight steps of four rows, scored in their middle; each row is a pass where there are four processes."""
    config = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 128,
    }  # fmt: skip
    stage = {"name": "law", "data": "law", "tokens": 2048, "learning_rate": 2e-3, "retention": ["l2-sp"]}
    values = {
        "base": {"from": "scratch", "config": config, "tokenizer": {"vocab_size": 400}}, "output_dir": str(root),
        "seq_len": 64, "batch_tokens": 256, "save_steps": 3, "eval_tokens": 1000, "eval_every": 1024,
        "corpora": {name: {"path": path, "holdout": 0.1} for name, path in texts.items()},
        "stages": [stage | {"replay": {"from": "old", "share": 0.25}}], "watch": ["old", "law"], "precision": "fp32",
        "adam_epsilon": 1e-5,  # with less, a gradient that is nothing but rounding makes a whole step, either way
    }  # fmt: skip
    return from_values(values | changes)


def carry_out(plan: Plan, stop_after: int | None = None) -> Result | None:
    """What one process of a run does; the last one is asked to stop after so many steps."""
    here, asked = world.current(), 0

    def stop() -> bool:
        nonlocal asked
        asked += RunDirectory.of(plan).started("stage-1-law") is not None
        return stop_after is not None and asked > stop_after and here.rank == here.size - 1

    if here.is_first:
        return run(plan, Hooks(stop=lambda: here.asked_to_stop() or stop()))
    follow(plan, here, stop)
    return None


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str]) -> Path:
    root = tmp_path_factory.mktemp("alone") / "run"
    carry_out(plan_in(root, texts))
    return root


def same(root: Path, alone: Path) -> None:
    """Every model of a run, and what lies beside its weights, is that of one process."""
    files = sorted(file.relative_to(alone) for file in alone.glob("stage-*/*.safetensors"))
    assert files
    for name in files:
        found, wanted = load_file(root / name), load_file(alone / name)
        assert found.keys() == wanted.keys()
        away = max(float((found[key] - wanted[key]).abs().max()) for key in wanted)
        assert away <= CLOSE, (str(name), away)


@pytest.mark.parametrize(("size", "sharding"), [(2, "none"), (2, "full")])
def test_a_run_of_several_processes_is_that_of_one(
    alone: Path, texts: dict[str, str], tmp_path: Path, together: Together, size: int, sharding: str
) -> None:
    plan = plan_in(tmp_path / "run", texts, sharding=sharding)
    result, other = together(size, carry_out, plan)
    assert isinstance(other, world.Ended)
    assert other.code == 0
    same(tmp_path / "run", alone)
    events = [[entry["event"] for entry in RunDirectory(root).ledger()] for root in (tmp_path / "run", alone)]
    assert events[0] == events[1]
    before, row = carry_out(plan_in(alone, texts)).rows[1], result.rows[1]  # type: ignore[union-attr]
    for corpus, cell in before.cells.items():
        assert row.cells[corpus].loss == pytest.approx(cell.loss, abs=CLOSE)
        assert row.cells[corpus].tokens == cell.tokens


def test_a_stop_of_any_process_stops_all_and_others_go_on(
    alone: Path, texts: dict[str, str], tmp_path: Path, together: Together
) -> None:
    plan = plan_in(tmp_path / "run", texts, sharding="full")
    first, second = together(2, carry_out, plan, 4)
    assert isinstance(first, Stopped)
    assert "saved" in str(first)
    assert isinstance(second, world.Ended)
    assert list((tmp_path / "run" / "training" / "stage-1-law").glob("checkpoint-*/complete.json"))
    carry_out(plan)
    same(tmp_path / "run", alone)


T5 = {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
BERT = {
    "model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def stages(root: Path, texts: dict[str, str], kind: str, **changes: Any) -> Plan:
    """A plan of which a run comes to most of what a stage may have, for a kind of model."""
    plain = {"tokens": 1024, "learning_rate": 1e-3, "max_epochs": 50}
    text = {"type": "das", "rows": 4}, {"type": "distillation", "top_k": 8}
    own = {"from": "self", "share": 0.25, "tokens": 600}
    choice = {"type": "loss", "keep": "median", "share": "50%"}
    made: dict[str, list[dict[str, Any]]] = {
        "llama": [
            {"name": "law", "data": "law", "retention": list(text), "replay": own, "select": choice,
             "release": {"tokens": 512}},
            {"name": "more", "data": "law", "retention": [text[0], {"type": "a-gem", "text": "old", "rows": 4}]},
            {"name": "align", "data": "pairs", "objective": "preference", "adapter": "lora"},
            {"name": "beside", "data": "law", "adapter": "k-adapter", "retention": ["reptile"]},
        ],
        "bert": [{"name": "law", "data": "law", "objective": "masked"}],
        "t5": [{"name": "law", "data": "law", "objective": "span-corruption"}],
    }  # fmt: skip
    if kind != "llama":
        size = 500 if kind == "t5" else 400
        changes["base"] = {
            "from": "scratch", "config": T5 if kind == "t5" else BERT, "tokenizer": {"vocab_size": size},
        }  # fmt: skip
    changes |= {"eval_every": 0, "old_corpus": "old"}
    corpora = {name: {"path": texts[name], "holdout": 0.1} for name in ("old", "law")}
    if kind == "llama":
        corpora["pairs"] = {"path": texts["pairs"], "holdout": 0.1, "type": "preferences"}
    return plan_in(root, texts, stages=[plain | one for one in made[kind]], corpora=corpora, **changes)


@pytest.mark.parametrize(
    ("kind", "ways"), [("llama", ("none", "full")), ("bert", ("none", "full")), ("t5", ("none",))], ids=str
)
def test_stages_of_several_processes_are_those_of_one(
    texts: dict[str, str], tmp_path: Path, words: Any, together: Together, kind: str, ways: tuple[str, ...]
) -> None:
    """Samples, selection, teachers, importance, references and releases: the first makes them, and all go on alike."""
    pairs = [
        {"prompt": words(5000 + n, 5), "chosen": words(9000 + n, 3), "rejected": words(7000 + n, 3)} for n in range(60)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8")
    texts = texts | {"pairs": str(file)}
    carry_out(stages(tmp_path / "one", texts, kind))
    for way in ways:
        plan = stages(tmp_path / way, texts, kind, sharding=way)
        beside.check(plan, World(size=2))
        result, other = together(2, carry_out, plan)
        assert isinstance(result, Result), result
        assert isinstance(other, world.Ended), other
        same(tmp_path / way, tmp_path / "one")


def test_what_does_not_work_is_refused(texts: dict[str, str], tmp_path: Path) -> None:
    law = {"name": "law", "data": "law", "tokens": 2048, "learning_rate": 1e-3, "replay": {"from": "old", "share": 0.2}}
    plan = plan_in(tmp_path / "run", texts, stages=[law | {"retention": [{"type": "das", "contrast": 1.0}]}])
    beside.check(plan, World())
    with pytest.raises(UserError, match=r"stage 'law': retention 'das' with contrast 1 would depend .* contrast to 0"):
        beside.check(plan, World(size=2))
    spans = stages(tmp_path / "run", texts, "t5", sharding="auto")
    with pytest.raises(UserError, match=r"objective 'span-corruption' trains an encoder and a decoder.*sharding: none"):
        beside.check(spans, World(size=2))
    with pytest.raises(UserError, match="batch_tokens 256 are 4 rows of 64 tokens, too few for 8 processes: give 512"):
        beside.check(plan_in(tmp_path / "run", texts), World(size=8))


def test_micro_batches_are_cut_so_that_every_process_has_one() -> None:
    assert [beside.micro_rows(4, 10, World(size=size)) for size in (1, 2, 3, 4, 10)] == [4, 4, 4, 3, 1]
