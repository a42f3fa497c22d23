"""How a model is trained, from the keys of the Hugging Face Trainer that LLaMA-Factory and axolotl share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarm.recipes.migration_given import Given
from rewarm.recipes.migration_keys import AXOLOTL, LLAMA_FACTORY
from rewarm.types import UserError

_ADAMW = re.compile(r"adamw(_torch|_torch_fused|_hf|_apex_fused|_torch_xla)?$")
_LATEST_DECAY = 0.97
MOST_EPOCHS = 4.0
"""What a plan allows without being told."""
MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Names:
    """What a program calls what both have, and what it does where nothing is said."""

    seq_len: str
    rows: str
    epochs: str
    schedule: str
    optimizer: str
    default_rows: int
    default_seq_len: int
    default_epochs: float
    default_schedule: str
    default_rate: float | None
    default_warmup: float


NAMES = {
    LLAMA_FACTORY: Names(
        "cutoff_len", "per_device_train_batch_size", "num_train_epochs", "lr_scheduler_type", "optim", 8, 2048, 3.0,
        "linear", 5e-5, 0.0,
    ),
    AXOLOTL: Names(
        "sequence_len", "micro_batch_size", "num_epochs", "lr_scheduler", "optimizer", 1, 512, 1.0, "cosine", None, 0.03
    ),
}  # fmt: skip
_SHARED = (
    "gradient_accumulation_steps max_steps learning_rate lr_scheduler_kwargs warmup_ratio warmup_steps weight_decay "
    "adam_beta1 adam_beta2 adam_epsilon max_grad_norm bf16 fp16 gradient_checkpointing deepspeed fsdp fsdp_config "
    "save_steps save_total_limit seed eval_steps eval_strategy torch_compile output_dir"
)
TAKEN = {
    LLAMA_FACTORY: set(
        f"{_SHARED} cutoff_len per_device_train_batch_size num_train_epochs lr_scheduler_type optim pure_bf16 "
        "disable_gradient_checkpointing packing neat_packing val_size eval_dataset eval_on_each_dataset dataset "
        "dataset_dir max_samples model_name_or_path model_revision stage finetuning_type template train_on_prompt "
        "lora_rank lora_alpha lora_dropout lora_target use_rslora additional_target pref_beta pref_ftx pref_loss "
        "dpo_label_smoothing mix_strategy".split()
    ),
    AXOLOTL: set(
        f"{_SHARED} sequence_len micro_batch_size num_epochs lr_scheduler optimizer batch_size bfloat16 float16 "
        "float32 sample_packing val_set_size test_datasets datasets pretraining_dataset base_model revision_of_model "
        "adapter lora_r lora_alpha lora_dropout lora_target_modules lora_target_linear peft_use_rslora chat_template "
        "train_on_inputs rl rl_beta dpo_beta dpo_label_smoothing cosine_min_lr_ratio evaluation_strategy "
        "pretraining_sample_concatenation".split()
    ),
}
"""For each program, every key that a translation asks for."""


def rows_and_batch(given: Given, devices: int) -> dict[str, Any]:
    """seq_len and batch_tokens: rows of each device, times accumulation, times devices."""
    names = NAMES[given.program]
    seq_len = given.whole(names.seq_len, "seq_len", names.default_seq_len, "seq_len")
    rows = given.whole(names.rows, "batch_tokens", names.default_rows, "rows of a batch")
    accumulated = given.whole("gradient_accumulation_steps", "batch_tokens", 1)
    if given.program == AXOLOTL and given.values.get("gradient_accumulation_steps") is None:
        whole = given.whole("batch_size", "batch_tokens")
        accumulated = max(1, whole // rows) if whole and rows else accumulated
    assert seq_len is not None
    assert rows is not None
    assert accumulated is not None
    if min(seq_len, rows, accumulated) < 1:
        raise UserError(f"{names.seq_len}, {names.rows} and gradient_accumulation_steps must be 1 or more")
    given.notes.append(
        f"batch_tokens: {rows} rows of {seq_len} tokens x {accumulated} accumulated x {devices} "
        f"device{'s' if devices > 1 else ''}; --devices says of how many"
    )
    return {"seq_len": seq_len, "batch_tokens": seq_len * rows * accumulated * devices}


def budget(given: Given, batch_tokens: int) -> dict[str, Any]:
    """epochs, or the tokens of max_steps; max_epochs where that is more than a plan allows without being told."""
    names = NAMES[given.program]
    steps = given.whole("max_steps", "stages.tokens")
    if steps is not None and steps > 0:
        if given.values.get(names.epochs) is not None:
            given.idle[names.epochs] = "max_steps goes before it"
        return {"tokens": steps * batch_tokens}
    if steps is not None:
        given.translated["max_steps"] = "none: epochs say how long"
    epochs = given.number(names.epochs, "stages.epochs", names.default_epochs, "epochs")
    assert epochs is not None
    return {"epochs": epochs, **({"max_epochs": epochs} if epochs > MOST_EPOCHS else {})}


def rate(given: Given, steps: int | None) -> dict[str, Any]:
    """learning_rate and schedule; `steps` are those of max_steps, None where they are not known."""
    names = NAMES[given.program]
    peak = given.number("learning_rate", "stages.learning_rate", names.default_rate, "learning_rate")
    if peak is None:
        raise UserError("learning_rate is missing: name it in the configuration")
    return {"learning_rate": peak, "schedule": _schedule(given, names, peak, steps)}


def _schedule(given: Given, names: Names, peak: float, steps: int | None) -> dict[str, Any]:
    word = str(given.take(names.schedule, "stages.schedule") or names.default_schedule)
    if given.values.get(names.schedule) is None:
        given.defaults["schedule"] = f"{word}, as {given.program} has it"
    extra = given.take("lr_scheduler_kwargs", "stages.schedule")
    extra = extra if isinstance(extra, Mapping) else {}
    warmup = _warmup(given, names)
    if word in ("constant", "constant_with_warmup"):
        return {"type": "constant", **(warmup if word != "constant" else {"warmup": 0.0})}
    if word == "linear":
        return _linear(given, warmup, steps)
    if word == "warmup_stable_decay" and steps and extra.get("num_decay_steps"):
        return {"type": "wsd", **warmup, "decay": float(extra["num_decay_steps"]) / steps, "floor": 0.0}
    floor = given.number("cosine_min_lr_ratio", "stages.schedule.floor") if given.program == AXOLOTL else None
    if word == "cosine_with_min_lr":
        floor = float(extra.get("min_lr_rate") or float(extra.get("min_lr") or 0) / peak)
    elif word != "cosine":
        given.differ(
            names.schedule, f"'{word}' has no counterpart: the plan has a cosine to 0; rewarm methods schedules"
        )
    return {"type": "cosine", **warmup, "floor": floor or 0.0}


def _warmup(given: Given, names: Names) -> dict[str, Any]:
    steps = given.number("warmup_steps", "stages.schedule.warmup_steps")
    share = given.number("warmup_ratio", "stages.schedule.warmup")
    if steps is not None and 0 < steps < 1:
        share, steps = steps, None
    if steps:
        if share is not None:
            given.translated.pop("warmup_ratio", None)
            given.idle["warmup_ratio"] = "warmup_steps goes before it"
        return {"warmup_steps": int(steps)}
    if share is None and steps is None:
        share = names.default_warmup
        given.defaults["warmup"] = f"{share:g}, as {given.program} has it"
    return {"warmup": share or 0.0}


def _linear(given: Given, warmup: Mapping[str, Any], steps: int | None) -> dict[str, Any]:
    """A straight line to 0 after the warm-up: wsd whose decay is all that the warm-up leaves."""
    share = warmup.get("warmup")
    if share is None and steps:
        share = min(1.0, warmup["warmup_steps"] / steps)
    if share is None:
        given.notes.append(
            f"schedule: the straight line to 0 takes the last {_LATEST_DECAY:.0%} of the steps; what the warm-up's "
            "steps leave is not known before the text is counted"
        )
        return {"type": "wsd", **warmup, "decay": _LATEST_DECAY, "shape": "linear", "floor": 0.0}
    return {"type": "wsd", "warmup": share, "decay": max(0.001, 1 - share), "shape": "linear", "floor": 0.0}


def optimizer(given: Given) -> dict[str, Any]:
    """Weight decay, betas, epsilon and clipping of AdamW, with the values that the program has for what is not said."""
    names = NAMES[given.program]
    word = given.take(names.optimizer, "AdamW, the only optimizer of a plan")
    if word is not None and not _ADAMW.match(str(word)):
        given.differ(names.optimizer, f"'{str(word)[:40]}' has no counterpart: AdamW with its state in 32 bits is used")
    first = given.number("adam_beta1", "adam_betas", 0.9)
    second = given.number("adam_beta2", "adam_betas", 0.999, "adam_betas")
    found: dict[str, Any] = {
        "weight_decay": given.number("weight_decay", "weight_decay", 0.0, "weight_decay"),
        "adam_betas": [first, second],
        "adam_epsilon": given.number("adam_epsilon", "adam_epsilon", 1e-8),
    }
    clip = given.number("max_grad_norm", "max_grad_norm", 1.0)
    if clip is not None and clip <= 0:
        given.differ("max_grad_norm", "gradients are always clipped here: at 1.0")
        clip = 1.0
    return {**found, "max_grad_norm": clip}


def machine(given: Given, beside: Path) -> dict[str, Any]:
    """precision, gradient checkpointing, compilation and sharding."""
    found: dict[str, Any] = {}
    half = [given.take(key, "precision") for key in ("bf16", "bfloat16", "pure_bf16")]
    fp16 = [given.take(key, "precision") for key in ("fp16", "float16")]
    if any(one is True for one in half):
        found["precision"] = "bf16"
        if given.values.get("pure_bf16"):
            given.differ("pure_bf16", "weights and optimizer stay in 32 bits; products are made in bf16")
    elif any(one is True for one in fp16):
        for key in ("fp16", "float16"):
            if given.values.get(key):
                given.differ(key, "there is no fp16 here: precision auto takes bf16 where the machine has it")
    elif any(one is False for one in (*half, *fp16)) or given.take("float32", "precision"):
        found["precision"] = "fp32" if "auto" not in half else "auto"
    kept = given.take("disable_gradient_checkpointing", "gradient_checkpointing")
    asked = given.take("gradient_checkpointing", "gradient_checkpointing")
    if kept or asked is not None:
        found["gradient_checkpointing"] = bool(asked) and not kept
    compiled = given.take("torch_compile", "compile")
    if compiled is not None:
        found["compile"] = "auto" if compiled == "auto" else bool(compiled)
    sharding = _sharding(given, beside)
    return {**found, **({"sharding": sharding} if sharding else {})}


def _sharding(given: Given, beside: Path) -> str | None:
    fsdp, config = given.take("fsdp", "sharding"), given.take("fsdp_config", "sharding: its details are chosen here")
    deepspeed = given.take("deepspeed", "sharding")
    if fsdp or config:
        return "full"
    if deepspeed is None:
        return None
    stage = _zero_stage(deepspeed, beside)
    if stage is None:
        given.differ("deepspeed", "the ZeRO stage could not be read off it: sharding is auto")
        return "auto"
    return "full" if stage == 3 else "auto"


def _zero_stage(deepspeed: Any, beside: Path) -> int | None:
    """The stage of a DeepSpeed configuration, from its values, its file or the file's usual name."""
    values = deepspeed if isinstance(deepspeed, Mapping) else None
    if isinstance(deepspeed, str):
        file = next((one for one in (beside / deepspeed, Path(deepspeed)) if one.is_file()), None)
        if file is not None and file.stat().st_size <= MOST_BYTES:
            try:
                values = json.loads(file.read_text(encoding="utf-8"))
            except (ValueError, OSError, RecursionError):
                values = None
        elif (named := re.search(r"(?:z|zero_?)([0-3])", Path(deepspeed).name)) is not None:
            return int(named[1])
    part = values.get("zero_optimization") if isinstance(values, Mapping) else None
    stage = part.get("stage") if isinstance(part, Mapping) else None
    return stage if isinstance(stage, int) and 0 <= stage <= 3 else None


def saving(given: Given, batch_tokens: int) -> dict[str, Any]:
    """How often is saved and scored, and the seed."""
    found: dict[str, Any] = {}
    saved = given.number("save_steps", "save_steps")
    if saved is not None and saved >= 1:
        found["save_steps"] = int(saved)
    elif saved is not None:
        given.differ("save_steps", "a share of the steps: saves are placed by time here")
    limit = given.whole("save_total_limit", "save_total_limit")
    if limit is not None:
        found["save_total_limit"] = max(2, limit)
    seed = given.whole("seed", "seed", 42, "seed")
    found["seed"] = seed
    scored = given.number("eval_steps", "eval_every, in tokens")
    for key in ("eval_strategy", "evaluation_strategy"):
        given.take(key, "eval_every")
    if scored is not None and scored >= 1:
        found["eval_every"] = int(scored) * batch_tokens
    elif scored is not None:
        given.differ("eval_steps", "a share of the steps: eval_every is in tokens, and chosen here")
    return found


def lora(given: Given, keys: Mapping[str, str], targets: Any) -> dict[str, Any]:
    """The adapter, from the keys of `r`, `alpha`, `dropout` and `rslora`; `targets` as a plan writes them."""
    rank = given.whole(keys["r"], "stages.adapter.r", 8, "adapter.r")
    assert rank is not None
    alpha = given.number(keys["alpha"], "stages.adapter.alpha", 2.0 * rank, "adapter.alpha")
    dropout = given.number(keys["dropout"], "stages.adapter.dropout", 0.0)
    found: dict[str, Any] = {"type": "lora", "r": rank, "alpha": alpha, "targets": targets}
    found |= {"dropout": dropout} if dropout else {}
    return found | ({"rslora": True} if given.is_on(keys["rslora"], "stages.adapter.rslora") else {})
