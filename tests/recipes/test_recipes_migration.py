"""Configurations of LLaMA-Factory and axolotl as plans: what becomes of each kind of key; none is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewarm.plan import from_values
from rewarm.recipes.migration import Migration, migrated
from rewarm.recipes.migration_keys import DIFFERS, IDLE
from rewarm.recipes.migration_training import TAKEN
from rewarm.types import UserError

LLAMA: dict[str, Any] = {
    "model_name_or_path": "org/model", "stage": "pt", "finetuning_type": "full", "dataset": "docs", "cutoff_len": 128,
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "learning_rate": 1e-4, "num_train_epochs": 2.0,
    "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "output_dir": "saves/x",
}  # fmt: skip
AXOLOTL: dict[str, Any] = {
    "base_model": "org/model", "sequence_len": 128, "micro_batch_size": 2, "gradient_accumulation_steps": 4,
    "learning_rate": "2e-5", "num_epochs": 1, "datasets": [{"path": "docs.jsonl", "type": "completion"}],
    "optimizer": "adamw_torch_fused", "lr_scheduler": "cosine", "output_dir": "out", "warmup_steps": 10,
}  # fmt: skip
SETS = {
    "docs": {"file_name": "docs.jsonl", "columns": {"prompt": "text"}},
    "more": {"file_name": "more.jsonl", "columns": {"prompt": "text"}, "num_samples": 7},
    "talks": {"file_name": "talks.json"},
    "turns": {"file_name": "turns.jsonl", "formatting": "sharegpt", "tags": {"user_tag": "me"}},
    "pairs": {"file_name": "pairs.jsonl", "formatting": "sharegpt", "ranking": True},
    "remote": {"hf_hub_url": "org/set", "subset": "en", "columns": {"prompt": "body"}},
    "table": {"file_name": "table.csv"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(SETS), encoding="utf-8")
    (tmp_path / "data" / "docs.jsonl").write_text('{"text": "one"}\n' * 3, encoding="utf-8")
    (tmp_path / "data" / "more.jsonl").write_text('{"text": "two"}\n', encoding="utf-8")
    return tmp_path


def translated(folder: Path, values: dict[str, Any], old: tuple[str, ...] = (), devices: int = 1) -> Migration:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return migrated(file, old, None, devices)


def plan(made: Migration) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(made.text)
    from_values(values)
    return values


def test_a_pretraining_configuration_becomes_a_plan(folder: Path) -> None:
    values = plan(translated(folder, {**LLAMA, "val_size": 0.1, "max_samples": 5, "seed": 3}, devices=2))
    assert (values["base"], values["output_dir"], values["seq_len"]) == ("org/model", "saves/x", 128)
    assert (values["batch_tokens"], values["seed"]) == (2 * 4 * 2 * 128, 3)
    assert values["corpora"]["docs"] == {
        "type": "jsonl", "path": str(folder / "data" / "docs.jsonl"), "text_field": "text", "limit": 5, "holdout": 0.1,
    }  # fmt: skip
    (stage,) = values["stages"]
    assert (stage["epochs"], stage["learning_rate"]) == (2.0, 1e-4)
    assert stage["schedule"] == {"type": "cosine", "warmup": 0.1, "floor": 0.0}
    assert values["watch"] == ["docs"]
    assert (values["weight_decay"], values["adam_betas"]) == (0.0, [0.9, 0.999])


def test_every_key_is_translated_meaningless_different_or_unknown(folder: Path) -> None:
    more = {
        "report_to": "wandb", "plot_loss": True, "use_dora": True, "use_muon": False, "frobnicate": 1,
        "resume_from_checkpoint": None, "max_grad_norm": None, "bf16": True, "optim": "adamw_8bit",
    }  # fmt: skip
    made = translated(folder, {**LLAMA, **more})
    told = made.described()
    kinds = [told["translated"], told["meaningless"], told["differs"], told["unknown"]]
    assert sorted(key for kind in kinds for key in kind) == sorted({**LLAMA, **more})
    assert told["unknown"] == ["frobnicate"]
    assert {"report_to", "plot_loss", "use_muon", "resume_from_checkpoint", "max_grad_norm"} <= told[
        "meaningless"
    ].keys()
    assert told["meaningless"]["use_muon"] == "turned off"
    assert told["differs"].keys() == {"use_dora", "optim"}
    assert "frobnicate" in made.text
    assert told["defaults"]["weight_decay"] == "0, as LLaMA-Factory has it"


def test_the_tables_of_keys_do_not_overlap() -> None:
    for program, taken in TAKEN.items():
        assert not IDLE[program].keys() & DIFFERS[program].keys()
        assert not taken & (IDLE[program].keys() | DIFFERS[program].keys())


def test_old_text_has_a_place_and_given_old_text_is_replayed(folder: Path) -> None:
    bare = translated(folder, LLAMA)
    assert any("names no old text" in note for note in bare.given.notes)
    assert "replay" not in plan(bare)["stages"][0]
    # The lines behind "old text" make a plan with replay once their '#' is gone.
    lines, marked = [], False
    for line in bare.text.splitlines():
        marked = line.startswith("# old text") or (marked and line.startswith("#"))
        lines.append(line[1:] if marked and not line.startswith("# old text") else line)
    filled = yaml.safe_load("\n".join(lines))
    from_values(filled)
    assert (filled["watch"], filled["corpora"]["old-text"]) == (["docs", "old-text"], {"path": "old/*.jsonl"})
    assert filled["stages"][0]["replay"] == {"from": "old-text", "share": 0.05}
    values = plan(translated(folder, LLAMA, old=("old/*.jsonl",)))
    assert values["stages"][0]["replay"] == {"from": ["old-text"], "share": 0.05}
    assert (values["watch"], values["controls"]) == (["old-text", "docs"], ["new-only"])


def test_conversations_and_pairs_have_their_corpora(folder: Path) -> None:
    values = plan(translated(folder, {**LLAMA, "stage": "sft", "dataset": "talks, turns", "template": "qwen3"}))
    assert values["corpora"]["talks"]["columns"] == {"prompt": "instruction", "input": "input", "response": "output"}
    assert values["corpora"]["turns"]["columns"] == {"messages": "conversations", "role": "from", "content": "value"}
    assert values["corpora"]["turns"]["roles"] == {"function_call": "assistant", "me": "user"}
    more = {"stage": "dpo", "dataset": ["pairs"], "pref_beta": 0.2, "train_on_prompt": False}
    values = plan(translated(folder, {**LLAMA, **more}))
    assert values["corpora"]["pairs"]["type"] == "preferences"
    assert values["corpora"]["pairs"]["columns"]["prompt"] == "conversations"
    assert values["stages"][0]["objective"] == {"type": "preference", "beta": 0.2}


def test_several_sets_are_weighted_by_size_and_remote_ones_are_marked(folder: Path) -> None:
    values = plan(translated(folder, {**LLAMA, "dataset": "docs,more"}))
    assert values["stages"][0]["data"] == [{"corpus": "docs", "weight": 0.75}, {"corpus": "more", "weight": 0.25}]
    assert values["corpora"]["more"]["limit"] == 7
    made = translated(folder, {**LLAMA, "dataset": "remote", "eval_dataset": "docs"})
    values = plan(made)
    assert values["corpora"]["remote"] == {
        "type": "hub", "name": "org/set", "config": "en", "text_field": "body", "holdout": 0.02,
    }  # fmt: skip
    assert values["corpora"]["docs"]["holdout"] == 1.0
    assert "pin a revision" in made.text
    assert "files of type .csv are not read" in translated(folder, {**LLAMA, "dataset": "table"}).text


@pytest.mark.parametrize(
    ("more", "schedule"),
    [
        (
            {"lr_scheduler_type": "linear"},
            {"type": "wsd", "warmup": 0.1, "decay": 0.9, "shape": "linear", "floor": 0.0},
        ),
        ({"lr_scheduler_type": "constant"}, {"type": "constant", "warmup": 0.0}),
        ({"lr_scheduler_type": "constant_with_warmup"}, {"type": "constant", "warmup": 0.1}),
        ({"warmup_steps": 20}, {"type": "cosine", "warmup_steps": 20, "floor": 0.0}),
        ({"warmup_steps": 0.05}, {"type": "cosine", "warmup": 0.05, "floor": 0.0}),
        (
            {"lr_scheduler_type": "linear", "warmup_steps": 20, "max_steps": 100},
            {"type": "wsd", "warmup": 0.2, "decay": 0.8, "shape": "linear", "floor": 0.0},
        ),
        (
            {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-5}},
            {"type": "cosine", "warmup": 0.1, "floor": 0.1},
        ),
    ],
)
def test_schedules(folder: Path, more: dict[str, Any], schedule: dict[str, Any]) -> None:
    (stage,) = plan(translated(folder, {**LLAMA, **more}))["stages"]
    assert stage["schedule"] == pytest.approx(schedule)
    assert stage.get("tokens") == (100 * 1024 if "max_steps" in more else None)


def test_axolotl(folder: Path) -> None:
    (folder / "docs.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    more = {
        "wandb_project": "x", "load_in_8bit": True, "load_in_4bit": False, "zzz": 1, "bf16": "auto", "save_steps": 0.5,
        "gradient_checkpointing": True, "deepspeed": "deepspeed_configs/zero3_bf16.json", "flash_attention": True,
        "cosine_min_lr_ratio": 0.2, "val_set_size": 0.05, "sample_packing": True,
    }  # fmt: skip
    made = translated(folder, {**AXOLOTL, **more})
    values, told = plan(made), made.described()
    assert values["corpora"]["docs"] == {
        "type": "jsonl", "path": str(folder / "docs.jsonl"), "text_field": "text", "holdout": 0.05,
    }  # fmt: skip
    assert values["stages"][0]["schedule"] == {"type": "cosine", "warmup_steps": 10, "floor": 0.2}
    assert (values["gradient_checkpointing"], values["sharding"], values["batch_tokens"]) == (True, "full", 1024)
    assert told["unknown"] == ["zzz"]
    assert told["differs"].keys() == {"load_in_8bit", "save_steps"}
    assert told["meaningless"]["load_in_4bit"] == "turned off"


def test_axolotl_chat_pairs_and_pretraining(folder: Path) -> None:
    chat = {"path": "./talks.jsonl", "type": "chat_template", "field_messages": "turns", "odd": 1,
            "message_property_mappings": {"role": "who", "content": "what"},
            "roles": {"assistant": ["bot9"]}}  # fmt: skip
    made = translated(folder, {**AXOLOTL, "datasets": [chat], "train_on_inputs": True})
    (corpus,) = plan(made)["corpora"].values()
    assert corpus["columns"] == {"messages": "turns", "role": "who", "content": "what"}
    assert (corpus["type"], corpus["roles"], corpus["learn"]) == ("chat", {"bot9": "assistant"}, "all")
    assert made.described()["unknown"] == ["datasets[0].odd"]
    pairs = {**AXOLOTL, "rl": "dpo", "datasets": [{"path": "./p.jsonl", "type": "chatml.intel"}], "rl_beta": 0.3}
    assert plan(translated(folder, pairs))["stages"][0]["objective"] == {"type": "preference", "beta": 0.3}
    remote = {**AXOLOTL, "datasets": None, "pretraining_dataset": [{"path": "org/web", "name": "en", "skip": 9}]}
    remote["max_steps"] = 50
    made = translated(folder, remote)
    assert plan(made)["corpora"]["web"] == {
        "type": "hub", "name": "org/web", "config": "en", "text_field": "text", "holdout": 0.02,
    }  # fmt: skip
    assert plan(made)["stages"][0]["tokens"] == 50 * 1024
    assert made.described()["unknown"] == ["pretraining_dataset[0].skip"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**LLAMA, "stage": "ppo"}, "stage 'ppo' has no counterpart"),
        ({**LLAMA, "stage": "dpo", "pref_loss": "orpo"}, "pref_loss 'orpo'"),
        ({**LLAMA, "dataset": "nothing"}, "'nothing' is not in"),
        ({**LLAMA, "dataset": None}, "names no data"),
        ({**LLAMA, "learning_rate": "fast"}, "'fast' is no number"),
        ({**LLAMA, "cutoff_len": 12.5}, "no whole number"),
        ({**LLAMA, "gradient_accumulation_steps": 0}, "must be 1 or more"),
        ({**LLAMA, "model_name_or_path": None}, "model_name_or_path is missing"),
        ({**AXOLOTL, "rl": "grpo"}, "rl 'grpo'"),
        ({**AXOLOTL, "datasets": [3]}, r"datasets\[0\] is no data set"),
        ({"base": "x", "stages": []}, "no training configuration"),
        ({**AXOLOTL, "datasets": [*AXOLOTL["datasets"], {"path": "x.jsonl", "type": "alpaca"}]}, "mix text"),
    ],
)
def test_what_cannot_be_said_in_a_plan_is_refused(folder: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        translated(folder, values)


def test_a_file_that_cannot_be_read_is_refused(folder: Path) -> None:
    (folder / "data" / "dataset_info.json").write_text("[", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        translated(folder, LLAMA)
    (folder / "data" / "dataset_info.json").unlink()
    with pytest.raises(UserError, match=r"no dataset_info\.json"):
        translated(folder, LLAMA)
    with pytest.raises(UserError, match="does not exist"):
        migrated(folder / "missing.yaml", (), None, 1)


def test_lora_and_text_that_would_leave_its_comment(folder: Path) -> None:
    more = {
        "finetuning_type": "lora",
        "lora_rank": 4,
        "lora_target": "q_proj,v_proj",
        "additional_target": "embed_tokens",
    }
    made = translated(folder, {**LLAMA, **more, "odd\nbase: stolen": 1})
    assert plan(made)["stages"][0]["adapter"] == {
        "type": "lora", "r": 4, "alpha": 8.0, "targets": ["q_proj", "v_proj"], "embeddings": True,
    }  # fmt: skip
    assert plan(made)["base"] == "org/model"


def test_the_documentation_names_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
    parts = dict(zip(("", *TAKEN), text.split("\n## "), strict=True))
    for program, taken in TAKEN.items():
        keys = taken | IDLE[program].keys() | DIFFERS[program].keys()
        assert {key for key in keys if f"`{key}`" not in parts[program]} == set()
