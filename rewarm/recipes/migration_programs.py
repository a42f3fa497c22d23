"""What LLaMA-Factory and axolotl say each in their own words: base, stage, data, adapter, what is held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewarm.recipes.migration_data import Corpora, axolotl_corpus, dataset_info, llama_corpus, names_of
from rewarm.recipes.migration_given import Given
from rewarm.recipes.migration_keys import AXOLOTL, LLAMA_FACTORY
from rewarm.recipes.migration_training import lora
from rewarm.types import UserError

HOLDOUT = 0.02
"""What is held out of new text where the configuration holds out nothing."""
STAGES = {"pt": "pretrain", "sft": "instruct", "dpo": "align"}
_EVERY_LINEAR = "all-linear"


def program_of(values: Mapping[str, Any]) -> str:
    """Whose configuration it is, by the keys that only one has; UserError when that cannot be told."""
    llama = {"model_name_or_path", "cutoff_len", "finetuning_type", "dataset_dir", "per_device_train_batch_size"}
    axolotl = {"base_model", "sequence_len", "datasets", "pretraining_dataset", "micro_batch_size", "sample_packing"}
    counts = {LLAMA_FACTORY: len(llama & values.keys()), AXOLOTL: len(axolotl & values.keys())}
    if len(set(counts.values())) == 1:
        raise UserError(
            "this is no training configuration of LLaMA-Factory (model_name_or_path, dataset, cutoff_len) or axolotl "
            f"(base_model, datasets, sequence_len); its keys: {', '.join(map(str, list(values)[:12]))}"
        )
    return max(counts, key=lambda name: counts[name])


def base(given: Given) -> dict[str, Any]:
    """The model and its revision."""
    key, revision = {
        LLAMA_FACTORY: ("model_name_or_path", "model_revision"),
        AXOLOTL: ("base_model", "revision_of_model"),
    }[given.program]
    name = given.take(key, "base")
    if not isinstance(name, str) or not name:
        raise UserError(f"{key} is missing: name the model in the configuration")
    pinned = given.take(revision, "revision")
    return {"base": name, **({"revision": str(pinned)} if pinned not in (None, "main") else {})}


def kind(given: Given) -> str:
    """What the stage is: pt (text), sft (conversations) or dpo (pairs of answers); UserError for another."""
    if given.program == LLAMA_FACTORY:
        word = str(given.take("stage", "stages.objective and the corpora's type") or "sft")
        if word not in STAGES:
            raise UserError(f"stage '{word}' has no counterpart: pt, sft and dpo are translated")
        loss = given.take("pref_loss", "stages.objective: preference")
        if word == "dpo" and loss not in (None, "sigmoid"):
            raise UserError(f"pref_loss '{loss}' has no counterpart: the objective 'preference' is DPO's (sigmoid)")
        return word
    rl = given.take("rl", "stages.objective: preference")
    if rl not in (None, False, "dpo"):
        raise UserError(f"rl '{rl}' has no counterpart: dpo is translated")
    if rl:
        return "dpo"
    if given.values.get("pretraining_dataset"):
        return "pt"
    types = [one.get("type") for one in given.values.get("datasets") or () if isinstance(one, Mapping)]
    texts = [str(one).startswith(("completion", "pretrain")) for one in types]
    if any(texts) and not all(texts):
        raise UserError("datasets mix text (completion) and conversations: give each kind a configuration, and a stage")
    return "pt" if texts and all(texts) else "sft"


def objective(given: Given, word: str) -> dict[str, Any]:
    """The objective of pairs of answers; nothing for other stages."""
    if word != "dpo":
        return {}
    keys = ("pref_beta",) if given.program == LLAMA_FACTORY else ("rl_beta", "dpo_beta")
    found = [given.number(key, "stages.objective.beta") for key in keys]
    beta = next((one for one in found if one is not None), 0.1)
    made: dict[str, Any] = {"type": "preference", "beta": beta}
    sft = given.number("pref_ftx", "stages.objective.sft", 0.0) if given.program == LLAMA_FACTORY else 0.0
    smoothing = given.number("dpo_label_smoothing", "stages.objective.label_smoothing", 0.0)
    made |= {"sft": sft} if sft else {}
    return {"objective": made | ({"label_smoothing": smoothing} if smoothing else {})}


def adapter(given: Given) -> dict[str, Any]:
    """LoRA, where the configuration has it."""
    return _llama_adapter(given) if given.program == LLAMA_FACTORY else _axolotl_adapter(given)


def _llama_adapter(given: Given) -> dict[str, Any]:
    word = given.take("finetuning_type", "stages.adapter") or "lora"
    if given.values.get("finetuning_type") is None:
        given.defaults["adapter"] = "lora, as LLaMA-Factory has it"
    if word == "full":
        return {}
    if word != "lora":
        given.differ(
            "finetuning_type", f"'{word}' has no counterpart: all weights are trained; rewarm methods adapters"
        )
        return {}
    targets = names_of(given.take("lora_target", "stages.adapter.targets") or "all")
    keys = {"r": "lora_rank", "alpha": "lora_alpha", "dropout": "lora_dropout", "rslora": "use_rslora"}
    found = lora(given, keys, _EVERY_LINEAR if targets == ["all"] else targets)
    more = given.take("additional_target", "stages.adapter.embeddings")
    if more is not None and set(names_of(more)) <= {"embed_tokens", "lm_head"}:
        found["embeddings"] = True
    elif more is not None:
        given.differ("additional_target", "of modules trained whole, only embed_tokens and lm_head have a counterpart")
    return {"adapter": found}


def _axolotl_adapter(given: Given) -> dict[str, Any]:
    word = given.take("adapter", "stages.adapter")
    if word in (None, False, "", "none"):
        return {}
    if word not in ("lora", "qlora"):
        given.differ("adapter", f"'{word}' has no counterpart: all weights are trained; rewarm methods adapters")
        return {}
    if word == "qlora":
        given.notes.append("adapter: qlora becomes lora on the base in its own precision, which needs more memory")
    modules = given.take("lora_target_modules", "stages.adapter.targets")
    every = given.is_on("lora_target_linear", "stages.adapter.targets: all-linear")
    keys = {"r": "lora_r", "alpha": "lora_alpha", "dropout": "lora_dropout", "rslora": "peft_use_rslora"}
    return {"adapter": lora(given, keys, names_of(modules) if modules and not every else _EVERY_LINEAR)}


def corpora(given: Given, word: str, beside: Path) -> Corpora:
    """The corpora of the configuration; UserError when it names none."""
    found = (
        _llama_corpora(given, word, beside) if given.program == LLAMA_FACTORY else _axolotl_corpora(given, word, beside)
    )
    if not found.learned:
        raise UserError("the configuration names no data to train on")
    _hold_out(given, found)
    if word != "pt":
        _chat(given, found)
    packed = [given.take(key, "rows are always packed, and documents do not see each other")
              for key in ("packing", "neat_packing", "sample_packing", "pretraining_sample_concatenation")]  # fmt: skip
    if word != "pt" and not any(packed):
        given.notes.append(
            "packing: without it there, a row held one conversation; here it holds several, so an epoch has fewer steps"
        )
    return found


def _llama_corpora(given: Given, word: str, beside: Path) -> Corpora:
    named = names_of(given.take("dataset", "corpora and stages.data") or "")
    scored = names_of(given.take("eval_dataset", "watch") or "")
    found = Corpora()
    if not named:
        return found
    folder, entries = dataset_info(given, beside)
    limit = given.whole("max_samples", "corpora.limit")
    strategy = given.take("mix_strategy", "stages.data: weights by the size of the files")
    if strategy not in (None, "concat"):
        given.differ("mix_strategy", "several data sets are mixed by weight; set the weights in stages.data")
    given.take("eval_on_each_dataset", "every watched corpus is scored on its own")
    for name in dict.fromkeys([*named, *scored]):
        entry = entries.get(name)
        if not isinstance(entry, Mapping):
            raise UserError(f"dataset '{name}' is not in '{folder / 'dataset_info.json'}': correct its name, or add it")
        options, remark = llama_corpus(name, entry, folder, word)
        most = limit or entry.get("num_samples")
        options |= {"limit": most} if isinstance(most, int) and most > 0 else {}
        found.add(name, options, learned=name in named, comment=remark)
    return found


def _axolotl_corpora(given: Given, word: str, beside: Path) -> Corpora:
    found = Corpora()
    for key, learned in (("pretraining_dataset", True), ("datasets", True), ("test_datasets", False)):
        value = given.take(key, "corpora and stages.data" if learned else "watch")
        entries = value if isinstance(value, list) else [value] if value else []
        for number, entry in enumerate(entries):
            one = {"path": entry} if isinstance(entry, str) else entry
            if not isinstance(one, Mapping):
                raise UserError(f"{key}[{number}] is no data set: give a path, or a mapping with one")
            name, options, remark, used = axolotl_corpus(one, word, beside)
            found.add(name, options, learned, remark)
            given.unknown += [f"{key}[{number}].{part}" for part in one if part not in used and one[part] is not None]
    return found


def _hold_out(given: Given, found: Corpora) -> None:
    """Holds out of every learned corpus what was held out there; a corpus that is only scored, whole."""
    key = "val_size" if given.program == LLAMA_FACTORY else "val_set_size"
    share = given.number(key, "corpora.holdout, and watch")
    if share is not None and share >= 1:
        given.differ(key, f"a number of rows; holdout is a share, and {HOLDOUT:.0%} is held out: set another")
        share = None
    if not share:
        given.defaults["holdout"] = f"{HOLDOUT:.0%} of new text, so that what is learned is measured"
    for name in found.learned:
        found.options[name]["holdout"] = share or HOLDOUT
    for name in found.watched:
        if name not in found.learned:
            found.options[name]["holdout"] = 1.0


def _chat(given: Given, found: Corpora) -> None:
    """How turns become tokens, and which of them are learned."""
    key = "template" if given.program == LLAMA_FACTORY else "chat_template"
    if given.take(key, "corpora.template: auto, the tokenizer's own chat template") is not None:
        given.notes.append(f"{key}: rewarm check shows how a conversation is written; compare it with theirs")
    learned = "train_on_prompt" if given.program == LLAMA_FACTORY else "train_on_inputs"
    if given.is_on(learned, "corpora.learn: all"):
        for options in found.options.values():
            if options["type"] == "chat":
                options["learn"] = "all"
