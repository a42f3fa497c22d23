"""Runs of encoder-decoder models: the same loop, resume and reports as for decoders; what does not work is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from rewarm.plan import from_values
from rewarm.report.page import html
from rewarm.report.result import Result
from rewarm.river.forecast import forecast
from rewarm.river.run import run
from rewarm.training import journal
from rewarm.types import UserError

SPANS = {"objective": "span-corruption", "learning_rate": 1e-2, "schedule": "constant"}
CONFIG = {
    "model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.1,
}  # fmt: skip
Values = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def span_values(texts: dict[str, Path]) -> Values:
    """A function: run directory, stages, **changes -> values of a plan that trains a T5."""

    def make(root: Path, stages: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
        values = {
            "base": {"from": "scratch", "config": CONFIG, "tokenizer": {"vocab_size": 500}},
            "output_dir": str(root),
            "seq_len": 64,
            "batch_tokens": 512,
            "eval_tokens": 1500,
            "eval_every": 0,
            "corpora": {name: {"path": str(path), "holdout": 0.1} for name, path in texts.items()},
            "stages": [SPANS | {"tokens": 2048} | stage for stage in stages],
            "watch": ["old", "law"],
            "precision": "fp32",
        }
        return values | changes

    return make


@pytest.fixture(scope="session")
def stream_of_t5(
    span_values: Values, tmp_path_factory: pytest.TempPathFactory, words: Any, write_probes: Any
) -> tuple[Path, Result]:
    """Directory and result of a run of two stages with CKA and probes. Read only."""
    folder = tmp_path_factory.mktemp("t5")
    rows = [{"text": words(seed, 6), "label": seed % 2} for seed in range(40)]
    (folder / "texts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    suites = {"features": {"type": "similarity", "path": str(folder / "texts.jsonl"), "batch": 16}}
    stages = [
        {"name": "law", "data": "law", "tokens": 32_768, "max_epochs": 9, "replay": {"from": "old", "share": 0.25}},
        {"name": "code", "data": "code", "objective": {"type": "span-corruption", "rate": 0.3, "mean_length": 2}},
    ]
    probes = {"laws": {"path": str(write_probes(folder / "laws.jsonl", 1)), "stage": "law"}}
    values = span_values(folder / "run", stages, suites=suites, probes=probes)
    return folder / "run", run(from_values(values))


def test_the_loss_falls_on_what_is_trained_and_what_is_held_out(stream_of_t5: tuple[Path, Result]) -> None:
    root, result = stream_of_t5
    losses = [entry["loss"] for entry in journal.read(root / "training" / "stage-1-law" / "journal.jsonl")]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    law = {row.name: row.cells["law"] for row in result.rows}
    assert law["stage-1-law"].verdict == "better"
    assert law["stage-1-law"].loss < 0.85 * law["base"].loss


def test_columns_and_notes_say_what_the_losses_are(stream_of_t5: tuple[Path, Result]) -> None:
    root, result = stream_of_t5
    assert [(column.name, column.words) for column in result.columns] == [
        ("old", "old, span loss"), ("law", "new, span loss"),
    ]  # fmt: skip
    assert any("cannot be compared with those of causal models" in note for note in result.notes)
    assert any("have a single token" in note for note in result.notes)
    assert "span loss: not comparable" in html(result)
    assert "(old, span loss)" in (root / "report.md").read_text(encoding="utf-8")


def test_a_stage_is_an_encoder_decoder_that_loads(stream_of_t5: tuple[Path, Result]) -> None:
    folder = stream_of_t5[0] / "stage-2-code"
    model, found = AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == "T5ForConditionalGeneration"
    assert not found["missing_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("ba <extra_id_0> kelo", return_tensors="pt")
    written = model.generate(input_ids=ids["input_ids"], max_new_tokens=8)[0].tolist()
    assert written[:2] == [tokenizer.pad_token_id, tokenizer.convert_tokens_to_ids("<extra_id_0>")]


def test_similarity_and_probes_work(stream_of_t5: tuple[Path, Result]) -> None:
    result = stream_of_t5[1]
    assert result.suites is not None
    assert result.suites.sets[0].rows[0].measures["cka"].value == pytest.approx(1)
    assert result.suites.sets[0].rows[2].measures["cka"].value < 1
    assert result.facts is not None
    assert [row.name for row in result.facts.sets[0].rows][:2] == ["base", "stage-1-law"]


def test_a_stopped_run_is_the_unbroken_one(span_values: Values, tmp_path: Path, run_with_stops: Any) -> None:
    stages = [{"name": "law", "data": "law", "tokens": 4096}]
    whole = span_values(tmp_path / "whole", stages, save_steps=2)
    result = run(from_values(whole))
    stopped = run_with_stops(from_values(whole | {"output_dir": str(tmp_path / "stopped")}), 30)
    assert stopped > 0
    again = run(from_values(whole | {"output_dir": str(tmp_path / "stopped")}))
    assert again.hashes["weights stage-1-law"] == result.hashes["weights stage-1-law"]
    assert again.hashes["weights base"] == result.hashes["weights base"]


def test_a_finished_model_is_a_base_and_methods_on_weights_hold(
    stream_of_t5: tuple[Path, Result], span_values: Values, tmp_path: Path
) -> None:
    held: list[Any] = [["l2-sp", "lr-adjust"], ["recadam", "reptile", {"type": "ema", "horizon": 2}], ["freeze"]]
    stages = [
        {"name": f"s{number}", "data": "law", "tokens": 1024, "retention": methods}
        for number, methods in enumerate(held)
    ]
    stages.append({"name": "lora", "data": "code", "tokens": 1024, "adapter": "lora"})
    values = span_values(tmp_path / "run", stages, base=str(stream_of_t5[0] / "stage-1-law"), watch=["law"])
    assert forecast(from_values(values), timed=True).seconds["train"] > 0
    result = run(from_values(values | {"gradient_checkpointing": True}))
    weights = [result.hashes[f"weights stage-{number + 1}-{stage['name']}"] for number, stage in enumerate(stages)]
    assert len(set(weights)) == len(stages)
    before, after = (
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run" / name) for name in ("stage-3-s2", "stage-4-lora")
    )
    assert before.state_dict().keys() == after.state_dict().keys()
    start = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run" / "stage-2-s1")
    same = {name for name, weight in start.named_parameters() if torch.equal(weight, before.get_parameter(name))}
    assert {name.split(".")[0] for name in same} == {"shared", "encoder"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"retention": "ewc"}, r"objective span-corruption cannot be had with retention ewc.*such as l2-sp"),
        ({"retention": "distillation", "replay": {"from": "old"}}, r"retention distillation, which reads"),
        ({"retention": "das"}, r"retention das, which reads"),
        ({"adapter": "k-adapter"}, r"adapter k-adapter, which is made for decoders\. Choose lora"),
        ({"replay": {"from": "self"}}, r"replay from self: only decoders write text"),
        ({"select": {"type": "loss", "share": 0.5}}, r"select loss, which reads losses"),
        (
            {"select": {"type": "similarity", "task": "old", "share": 0.5}},
            r"select similarity, which reads a model's st",
        ),
    ],
)
def test_what_is_made_for_decoders_is_refused(
    change: dict[str, Any], reason: str, span_values: Values, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=reason):
        from_values(span_values(tmp_path / "run", [{"name": "law", "data": "law"} | change], old_corpus="old"))


def test_stages_of_two_heads_and_compiling_are_refused(span_values: Values, tmp_path: Path) -> None:
    stages = [{"name": "law", "data": "law"}, {"name": "code", "data": "code", "objective": "masked"}]
    with pytest.raises(UserError, match=r"different kinds: span-corruption \(seq2seq\) and masked \(masked\)"):
        from_values(span_values(tmp_path / "run", stages))
    with pytest.raises(UserError, match=r"span-corruption is never compiled"):
        from_values(span_values(tmp_path / "run", stages[:1], compile=True))


def test_other_models_tokenizers_and_lengths_are_refused_before_work(
    span_values: Values, base: Path, tmp_path: Path
) -> None:
    stages = [{"name": "law", "data": "law"}]
    with pytest.raises(UserError, match=r"has 0 of them|sequence-to-sequence language model"):
        run(from_values(span_values(tmp_path / "run", stages, base=str(base))))
    scratch = {"from": "scratch", "config": CONFIG, "tokenizer": str(base)}
    with pytest.raises(UserError, match="the tokenizer has 0 of them"):
        run(from_values(span_values(tmp_path / "other", stages, base=scratch)))
    long = {"name": "law", "data": "law", "objective": {"type": "span-corruption", "rate": 0.5, "mean_length": 1}}
    with pytest.raises(UserError, match=r"stage-1-law: span-corruption: a document of seq_len 256.*Set seq_len to 196"):
        run(from_values(span_values(tmp_path / "long", [long], seq_len=256)))
    assert not list(tmp_path.glob("*/stage-*"))


def test_conversations_are_refused(span_values: Values, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "ba"}, {"role": "assistant", "content": "ke"}]}
    (tmp_path / "chat.jsonl").write_text(f"{json.dumps(row)}\n" * 30, encoding="utf-8")
    values = span_values(tmp_path / "run", [{"name": "law", "data": "law", "replay": {"from": "chat"}}])
    values["corpora"]["chat"] = {
        "type": "chat",
        "path": str(tmp_path / "chat.jsonl"),
        "template": "plain",
        "holdout": 0.1,
    }
    with pytest.raises(UserError, match=r"holds conversations.*objective span-corruption"):
        run(from_values(values))
