"""Runs of masked models: the same loop, resume, reports and suites as for decoders; what does not work is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from rewarm.plan import from_values
from rewarm.report.page import html
from rewarm.report.result import Result
from rewarm.river.forecast import forecast
from rewarm.river.run import run
from rewarm.training import journal
from rewarm.types import UserError

MASKED = {"objective": {"type": "masked"}, "learning_rate": 5e-3, "schedule": "constant"}
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert", **SHAPE, "max_position_embeddings": 64},
    "roberta": {"model_type": "roberta", **SHAPE, "max_position_embeddings": 67},
}
Values = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def masked_values(texts: dict[str, Path]) -> Values:
    """A function: run directory, model type, stages, **changes -> values of a plan that trains a masked model."""

    def make(root: Path, name: str, stages: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
        values = {
            "base": {"from": "scratch", "config": CONFIGS[name], "tokenizer": {"vocab_size": 400}},
            "output_dir": str(root),
            "seq_len": 64,
            "batch_tokens": 512,
            "eval_tokens": 1500,
            "eval_every": 0,
            "corpora": {name: {"path": str(path), "holdout": 0.1} for name, path in texts.items()},
            "stages": [MASKED | {"tokens": 2048} | stage for stage in stages],
            "watch": ["old", "law"],
            "precision": "fp32",
        }
        return values | changes

    return make


@pytest.fixture(scope="session")
def stream_of_bert(
    masked_values: Values, tmp_path_factory: pytest.TempPathFactory, words: Any, write_probes: Any
) -> tuple[Path, Result]:
    """Directory and result of a run of two stages with both read-outs, CKA and probes: Cossu's setting. Read only."""
    folder = tmp_path_factory.mktemp("bert")
    rows = [{"text": f"{words(seed, 6)} {('ba', 'zu')[seed % 2] * 3}", "label": seed % 2} for seed in range(90)]
    (folder / "kinds.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    kinds = {"type": "labelled", "path": str(folder / "kinds.jsonl"), "read": ["linear", "full"], "epochs": 1}
    suites = {
        "kinds": {**kinds, "train_limit": 40, "ability": "domain"},
        "features": {"type": "similarity", "path": str(folder / "kinds.jsonl"), "batch": 16},
    }
    stages = [
        {"name": "law", "data": "law", "tokens": 24_576, "max_epochs": 9, "replay": {"from": "old", "share": 0.25}},
        {"name": "code", "data": "code"},
    ]
    probes = {"laws": {"path": str(write_probes(folder / "laws.jsonl", 1)), "stage": "law"}}
    values = masked_values(folder / "run", "bert", stages, suites=suites, probes=probes)
    return folder / "run", run(from_values(values))


def test_the_loss_falls_on_what_is_trained_and_what_is_held_out(stream_of_bert: tuple[Path, Result]) -> None:
    root, result = stream_of_bert
    losses = [entry["loss"] for entry in journal.read(root / "training" / "stage-1-law" / "journal.jsonl")]
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
    law = {row.name: row.cells["law"] for row in result.rows}
    assert law["stage-1-law"].verdict == "better"
    assert law["stage-1-law"].loss < 0.85 * law["base"].loss


def test_columns_and_notes_say_that_losses_are_masked(stream_of_bert: tuple[Path, Result]) -> None:
    root, result = stream_of_bert
    assert [(column.name, column.words) for column in result.columns] == [
        ("old", "old, masked loss"), ("law", "new, masked loss"),
    ]  # fmt: skip
    assert any("cannot be compared with those of causal models" in note for note in result.notes)
    assert "masked loss: not comparable" in html(result)
    assert "(old, masked loss)" in (root / "report.md").read_text(encoding="utf-8")


def test_a_stage_is_a_masked_model_that_loads(stream_of_bert: tuple[Path, Result]) -> None:
    folder = stream_of_bert[0] / "stage-2-code"
    model, found = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == "BertForMaskedLM"
    assert not found["missing_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(f"ba kelo {tokenizer.mask_token}", return_tensors="pt")
    assert tokenizer.mask_token_id in ids["input_ids"][0].tolist()
    assert torch.isfinite(model(**ids).logits).all()


def test_suites_and_probes_work_on_masked_models(stream_of_bert: tuple[Path, Result]) -> None:
    result = stream_of_bert[1]
    assert result.suites is not None
    kinds, features = result.suites.sets
    for row in kinds.rows:
        assert set(row.measures) == {"linear_accuracy", "full_accuracy"}
    assert features.rows[0].measures["cka"].value == pytest.approx(1)
    assert features.rows[2].measures["cka"].value < 1
    assert result.facts is not None
    assert [row.name for row in result.facts.sets[0].rows][:2] == ["base", "stage-1-law"]


def test_a_stopped_run_is_the_unbroken_one(masked_values: Values, tmp_path: Path, run_with_stops: Any) -> None:
    stages = [{"name": "law", "data": "law", "tokens": 4096}]
    whole = masked_values(tmp_path / "whole", "roberta", stages, save_steps=2)
    result = run(from_values(whole))
    stopped = run_with_stops(from_values(whole | {"output_dir": str(tmp_path / "stopped")}), 30)
    assert stopped > 0
    again = run(from_values(whole | {"output_dir": str(tmp_path / "stopped")}))
    assert again.hashes["weights stage-1-law"] == result.hashes["weights stage-1-law"]
    assert again.hashes["weights base"] == result.hashes["weights base"]
    model, found = AutoModelForMaskedLM.from_pretrained(tmp_path / "whole" / "stage-1-law", output_loading_info=True)
    assert type(model).__name__ == "RobertaForMaskedLM"
    assert not found["missing_keys"]


def test_a_finished_model_is_a_base_and_methods_on_weights_hold(
    stream_of_bert: tuple[Path, Result], masked_values: Values, tmp_path: Path
) -> None:
    held: list[Any] = [
        ["freeze"],
        ["l2-sp"],
        ["recadam"],
        [{"type": "ema", "horizon": 2}],
        ["reptile"],
        ["lr-adjust"],
    ]
    stages = [
        {"name": f"s{number}", "data": "law", "tokens": 1024, "retention": methods}
        for number, methods in enumerate(held)
    ]
    stages.append({"name": "lora", "data": "code", "tokens": 1024, "adapter": "lora"})
    base = str(stream_of_bert[0] / "stage-1-law")
    values = masked_values(tmp_path / "run", "bert", stages, base=base, watch=["law"])
    found = forecast(from_values(values), timed=True)
    assert found.seconds["train"] > 0
    result = run(from_values(values))
    weights = [result.hashes[f"weights stage-{number + 1}-{stage['name']}"] for number, stage in enumerate(stages)]
    assert len(set(weights)) == len(stages)
    before, after = (
        AutoModelForMaskedLM.from_pretrained(tmp_path / "run" / name) for name in ("stage-6-s5", "stage-7-lora")
    )
    assert before.state_dict().keys() == after.state_dict().keys()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"retention": "ewc"}, r"objective masked cannot be had with retention ewc.*such as l2-sp"),
        ({"retention": ["l2-sp", "distillation"], "replay": {"from": "old"}}, r"retention distillation, which reads"),
        ({"retention": "a-gem"}, r"retention a-gem"),
        ({"adapter": "k-adapter"}, r"adapter k-adapter, which is made for decoders\. Choose lora"),
        ({"replay": {"from": "self"}}, r"replay from self: only decoders write text"),
        ({"select": {"type": "loss", "share": 0.5}}, r"select loss, which reads losses"),
    ],
)
def test_what_is_made_for_decoders_is_refused(
    change: dict[str, Any], reason: str, masked_values: Values, tmp_path: Path
) -> None:
    values = masked_values(tmp_path / "run", "bert", [{"name": "law", "data": "law"} | change], old_corpus="old")
    with pytest.raises(UserError, match=reason):
        from_values(values)


def test_stages_of_two_heads_are_refused(masked_values: Values, tmp_path: Path) -> None:
    stages = [{"name": "law", "data": "law"}, {"name": "code", "data": "code", "objective": "causal"}]
    with pytest.raises(UserError, match=r"different kinds: masked \(masked\) and causal \(causal\)"):
        from_values(masked_values(tmp_path / "run", "bert", stages))


def test_a_decoder_or_its_tokenizer_is_refused_before_work(
    masked_values: Values, base: Path, tmp_path: Path, write_jsonl: Any
) -> None:
    stages = [{"name": "law", "data": "law"}]
    with pytest.raises(UserError, match=r"names none|masked language model"):
        run(from_values(masked_values(tmp_path / "run", "bert", stages, base=str(base))))
    scratch = {"from": "scratch", "config": CONFIGS["bert"], "tokenizer": str(base)}
    with pytest.raises(UserError, match="hides tokens behind a mask token, and the tokenizer names none"):
        run(from_values(masked_values(tmp_path / "other", "bert", stages, base=scratch)))
    assert not list((tmp_path / "other").glob("stage-*"))


def test_an_encoder_is_not_trained_as_a_decoder(
    stream_of_bert: tuple[Path, Result], masked_values: Values, tmp_path: Path
) -> None:
    base = str(stream_of_bert[0] / "stage-1-law")
    values = masked_values(tmp_path / "run", "bert", [{"name": "law", "data": "law", "objective": "causal"}], base=base)
    with pytest.raises(UserError, match="objective: masked"):
        run(from_values(values))


def test_conversations_are_refused(masked_values: Values, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "ba"}, {"role": "assistant", "content": "ke"}]}
    (tmp_path / "chat.jsonl").write_text(f"{json.dumps(row)}\n" * 30, encoding="utf-8")
    chat = {"type": "chat", "path": str(tmp_path / "chat.jsonl"), "template": "plain", "holdout": 0.1}
    values = masked_values(tmp_path / "run", "bert", [{"name": "law", "data": "law", "replay": {"from": "chat"}}])
    values["corpora"]["chat"] = chat
    with pytest.raises(UserError, match="holds conversations"):
        run(from_values(values))
