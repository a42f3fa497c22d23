"""The sides of benchmarks/peers.py: what each is given, how it is started and gone on with, and where its results lie.

Every side gets the same base, files of text, number of updates, rows a batch, row length, peak rate, warm-up, cosine to
0, AdamW's numbers, weight decay and clipping. What it does with them is its own: how documents are packed into rows,
whether they see each other there, and in which order they come.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
ENVIRONMENTS = ROOT / ".venv-peers"
PLAIN, USED, TRAINER, FACTORY, AXOLOTL = "rewarm, plain", "rewarm, as meant", "Trainer", "LLaMA-Factory", "axolotl"
PACKAGES = {TRAINER: "transformers", FACTORY: "llamafactory", AXOLOTL: "axolotl"}


@dataclass(frozen=True, slots=True)
class Job:
    """The update that every side makes; files are JSON lines with a field `text`."""

    base: Path
    old: Path
    new: Path
    old_held_out: Path
    new_held_out: Path
    steps: int
    rows: int = 4
    seq_len: int = 256
    peak: float = 1e-3
    warmup: int = 4

    @property
    def save_steps(self) -> int:
        """A quarter of the updates."""
        return self.steps // 4

    @property
    def tokens(self) -> int:
        """Tokens of all updates."""
        return self.steps * self.rows * self.seq_len


@dataclass(frozen=True, slots=True)
class Start:
    """A started side: its command and environment, the model's file, the text or file that makes a report of it."""

    command: list[str]
    model: Path
    checkpoint: str
    reported: Callable[[str], bool]
    environment: dict[str, str] = field(default_factory=dict)


def start(side: str, job: Job, folder: Path, seed: int, resume: bool = False) -> Start:
    """What starts a side in a folder, or goes on there; the folder exists."""
    if side in (PLAIN, USED):
        return _rewarm(job, folder, seed, side == USED)
    return {TRAINER: _trainer, FACTORY: _factory, AXOLOTL: _axolotl}[side](job, folder, seed, resume)


def python_of(side: str) -> Path:
    """The interpreter of a side's environment; the running one for rewarm and Trainer."""
    if side in (FACTORY, AXOLOTL):
        return ENVIRONMENTS / PACKAGES[side] / "bin" / "python"
    return Path(sys.executable)


def _rewarm(job: Job, folder: Path, seed: int, as_meant: bool) -> Start:
    stage: dict[str, Any] = {"name": "new", "data": "new", "tokens": job.tokens, "learning_rate": job.peak}
    values: dict[str, Any] = {
        "base": str(job.base),
        "output_dir": str(folder / "run"),
        "seed": seed,
        "seq_len": job.seq_len,
        "batch_tokens": job.rows * job.seq_len,
        "corpora": {
            "new": {"type": "jsonl", "path": str(job.new)},
            "old-held-out": {"type": "jsonl", "path": str(job.old_held_out)},
            "new-held-out": {"type": "jsonl", "path": str(job.new_held_out)},
        },
        "stages": [stage],
        "watch": [{"corpus": "old-held-out", "role": "old"}, {"corpus": "new-held-out", "role": "new"}],
        "save_steps": job.save_steps,
    }
    if as_meant:
        values["corpora"]["old"] = {"type": "jsonl", "path": str(job.old)}
        stage["replay"] = {"from": "old", "share": 0.05}
    else:
        stage["schedule"] = {"type": "cosine", "warmup_steps": job.warmup, "floor": 0.0}
        values |= {"precision": "fp32", "compile": False, "eval_every": 0}
    plan = folder / "plan.yaml"
    plan.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    run = folder / "run"
    return Start(
        command=[sys.executable, "-m", "rewarm", "run", str(plan)],
        model=run / "stage-1-new" / "model.safetensors",
        checkpoint=f"run/training/stage-1-new/checkpoint-{2 * job.save_steps}",
        reported=lambda said: (run / "report.html").is_file(),
    )


def _trainer(job: Job, folder: Path, seed: int, resume: bool) -> Start:
    values = {
        "base": str(job.base), "new": str(job.new), "output": str(folder / "out"), "resume": resume, "seed": seed,
        "eval": {"old": str(job.old_held_out), "new": str(job.new_held_out)},
        "seq_len": job.seq_len, "arguments": _arguments(job),
    }  # fmt: skip
    file = folder / "trainer.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    return _peer(job, folder, [str(python_of(TRAINER)), str(HERE / "peers_trainer.py"), str(file)], "eval_old_loss")


def _factory(job: Job, folder: Path, seed: int, resume: bool) -> Start:
    texts = {"new": job.new, "old_held_out": job.old_held_out, "new_held_out": job.new_held_out}
    index = {name: {"file_name": str(path), "columns": {"prompt": "text"}} for name, path in texts.items()}
    (folder / "dataset_info.json").write_text(json.dumps(index), encoding="utf-8")
    arguments = {key: value for key, value in _arguments(job).items() if key != "report_to"}
    values = arguments | {
        "model_name_or_path": str(job.base), "stage": "pt", "do_train": True, "finetuning_type": "full",
        "dataset_dir": str(folder), "dataset": "new", "eval_dataset": "old_held_out,new_held_out",
        "eval_on_each_dataset": True, "template": "empty", "cutoff_len": job.seq_len, "packing": True,
        "output_dir": str(folder / "out"), "seed": seed, "report_to": "none", "preprocessing_num_workers": 1,
    }  # fmt: skip
    if resume:
        values["resume_from_checkpoint"] = _newest(folder)
    file = folder / "factory.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [str(python_of(FACTORY)), "-m", "llamafactory.cli", "train", str(file)]
    return _peer(job, folder, command, "eval_old_held_out_loss")


def _axolotl(job: Job, folder: Path, seed: int, resume: bool) -> Start:
    texts = {"ds_type": "json", "type": "completion", "field": "text"}
    values = {
        "base_model": str(job.base), "datasets": [{"path": str(job.new), **texts}],
        "test_datasets": [{"path": str(job.old_held_out), "split": "train", **texts}],
        "dataset_prepared_path": str(folder / "prepared"), "output_dir": str(folder / "out"), "seed": seed,
        "sequence_len": job.seq_len, "sample_packing": True, "eval_sample_packing": True, "pad_to_sequence_len": True,
        "attn_implementation": "sdpa", "special_tokens": {"pad_token": "<|pad|>"}, "val_set_size": 0,
        "micro_batch_size": job.rows, "eval_batch_size": job.rows, "gradient_accumulation_steps": 1,
        "num_epochs": 4, "max_steps": job.steps, "optimizer": "adamw_torch", "adam_beta1": 0.9, "adam_beta2": 0.95,
        "adam_epsilon": 1e-8, "max_grad_norm": 1.0, "weight_decay": 0.1, "learning_rate": job.peak,
        "lr_scheduler": "cosine", "warmup_steps": job.warmup, "bf16": False, "fp16": False, "tf32": False,
        "gradient_checkpointing": False, "logging_steps": 8, "save_steps": job.save_steps, "save_total_limit": 2,
        "eval_steps": job.steps, "dataset_processes": 1, "dataset_num_proc": 1, "use_cpu": True,
        "auto_resume_from_checkpoints": resume,
    }  # fmt: skip
    file = folder / "axolotl.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return _peer(job, folder, [str(python_of(AXOLOTL)), "-m", "axolotl.cli.train", str(file)], "eval_loss")


def _arguments(job: Job) -> dict[str, Any]:
    """Hugging Face's TrainingArguments of the common recipe, and an evaluation before and after."""
    return {
        "per_device_train_batch_size": job.rows, "per_device_eval_batch_size": job.rows, "max_steps": job.steps,
        "learning_rate": job.peak, "lr_scheduler_type": "cosine", "warmup_steps": job.warmup, "weight_decay": 0.1,
        "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-8, "max_grad_norm": 1.0, "logging_steps": 8,
        "save_strategy": "steps", "save_steps": job.save_steps, "save_total_limit": 2, "eval_strategy": "steps",
        "eval_steps": job.steps, "eval_on_start": True, "report_to": "none", "use_cpu": True, "disable_tqdm": True,
    }  # fmt: skip


def _peer(job: Job, folder: Path, command: list[str], word: str) -> Start:
    """A peer's report is the second loss on old text that it prints: the first is the base's."""
    quiet = {
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "CUDA_VISIBLE_DEVICES": "",
        "WANDB_MODE": "disabled", "AXOLOTL_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    return Start(
        command=command,
        model=folder / "out" / "model.safetensors",
        checkpoint=f"out/checkpoint-{2 * job.save_steps}",
        reported=lambda said: said.count(f"'{word}'") >= 2,
        environment={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | quiet,
    )


def _newest(folder: Path) -> str:
    steps = [int(found.name.partition("-")[2]) for found in (folder / "out").glob("checkpoint-*")]
    return str(folder / "out" / f"checkpoint-{max(steps)}")
