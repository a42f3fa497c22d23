"""Faults between two starts of a run, and secrets in its environment: refused, and nothing that was made is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from rewarm.models.load import save_model
from rewarm.plan import from_values
from rewarm.river.comparison import finished
from rewarm.river.directory import RunDirectory
from rewarm.river.pinning import LOCK, pinned
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.types import Stopped, UserError

ScratchPlan = Callable[..., dict[str, Any]]
SECRETS = {
    "HF_TOKEN": "hf_QQsecretQQtoken", "HUGGING_FACE_HUB_TOKEN": "hf_QQsecretQQother",
    "WANDB_API_KEY": "QQsecretQQwandb",
    "AWS_SECRET_ACCESS_KEY": "QQsecretQQaws", "OPENAI_API_KEY": "sk-QQsecretQQ",
}  # fmt: skip


def stopped_in_training(values: dict[str, Any]) -> RunDirectory:
    """A run that was stopped after some steps, with a checkpoint."""
    plan, asked = from_values(values), iter(range(10_000))
    directory = RunDirectory.of(plan)
    with pytest.raises(Stopped):
        run(plan, Hooks(stop=lambda: next(asked) > 3 and any(directory.root.glob("training/*/checkpoint-*"))))
    return directory


def made(directory: RunDirectory) -> dict[str, bytes]:
    """Every file of checkpoints, scores and the ledger."""
    files = [directory.ledger_file, *directory.root.glob("training/**/*"), *directory.evaluations.rglob("*")]
    return {str(file): file.read_bytes() for file in files if file.is_file() and not file.name.endswith(".lock")}


def test_secrets_of_the_environment_are_written_nowhere(
    scratch_plan: ScratchPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    values = scratch_plan(controls=["new-only"], save_steps=3)
    directory = stopped_in_training(values)
    assert run(from_values(values)).complete
    files = [file for file in directory.root.rglob("*") if file.is_file()]
    assert {"report.html", "report.json", "ledger.jsonl", "journal.jsonl", "plan.resolved.json"} <= {
        one.name for one in files
    }
    assert [str(file) for file in files if b"QQsecretQQ" in file.read_bytes()] == []


def test_bad_shards_are_refused_and_what_was_made_stays(scratch_plan: ScratchPlan) -> None:
    values = scratch_plan(save_steps=2)
    directory = stopped_in_training(values)
    before = made(directory)
    assert any("checkpoint-" in name for name in before)
    store = next(directory.prepared.glob("new-*"))
    shard, manifest = store / "tokens-00000.bin", store / "manifest.json"
    ids, told = shard.read_bytes(), manifest.read_bytes()
    attacks = {
        "cut": (shard, ids[:-1]),
        "missing": (shard, None),
        "another type": (shard, np.frombuffer(ids, np.uint16).astype(np.uint32).tobytes()),
        "type of another": (manifest, told.replace(b'"uint16"', b'"int16"')),
        "manifest cut": (manifest, told[:100]),
    }
    for name, (file, content) in attacks.items():
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(UserError, match=r"damaged\. Delete the folder"):
            run(from_values(values))
        assert made(directory) == before, name
        shard.write_bytes(ids)
        manifest.write_bytes(told)
    shutil.rmtree(store)  # as the message says
    assert run(from_values(values)).complete


def test_a_corpus_changed_between_two_starts_is_refused_and_what_was_made_stays(
    scratch_plan: ScratchPlan, tmp_path: Path
) -> None:
    values = scratch_plan(save_steps=2)
    directory = stopped_in_training(values)
    before, file = made(directory), tmp_path / "new.jsonl"
    whole = file.read_bytes()
    for changed in (whole + b'{"text": "more"}\n', whole.replace(b" ba", b" ke", 1)):
        assert changed != whole
        file.write_bytes(changed)
        with pytest.raises(UserError, match=r"new: the text is not what .* began with.*Restore the files"):
            run(from_values(values))
        assert made(directory) == before
    file.write_bytes(whole)
    assert run(from_values(values)).complete


HUB_NAME = "owner/tiny"


def test_a_name_on_the_hub_is_pinned_to_the_commit_it_was(scratch_plan: ScratchPlan, hub: Callable[..., str]) -> None:
    first = hub(1)
    values = scratch_plan(base=HUB_NAME, save_steps=2)
    directory = stopped_in_training(values)
    resolved = json.loads((directory.root / "plan.resolved.json").read_text())
    assert resolved["revision"] == "1" * 40
    assert json.loads((directory.root / LOCK).read_text()) == {"base": HUB_NAME, "asked": None, "commit": "1" * 40}
    assert hub(2) != first
    result = run(from_values(values))
    assert result.complete
    assert result.hashes["weights base"] == first
    assert directory.resolved().revision == "1" * 40
    assert finished(from_values(values)) is not None  # a comparison reads it, and does not run it again
    with pytest.raises(UserError, match="changed: revision"):
        run(from_values(values | {"revision": "2" * 40}))
    other = from_values(values | {"revision": "main", "output_dir": values["output_dir"] + "-2"})
    assert pinned(other, RunDirectory.of(other)).revision == "2" * 40


def test_what_has_no_commit_stays_as_it_is(scratch_plan: ScratchPlan, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "none")
    for changes in ({}, {"base": str(tmp_path)}, {"base": HUB_NAME, "revision": "a" * 40}):
        plan = from_values(scratch_plan(**changes))
        assert pinned(plan, directory) is plan
    assert not directory.root.exists()


def test_weights_of_another_type_are_read_as_numbers_or_refused(
    tmp_path: Path, make_tiny: Any, tiny_tokenizer_folder: Path
) -> None:
    """Halves and doubles are numbers; whole numbers are none that can be trained."""
    import torch

    from rewarm.models.load import load_model

    save_model(make_tiny("llama"), tiny_tokenizer_folder, tmp_path / "base")
    file = tmp_path / "base" / "model.safetensors"
    weights = load_file(file)
    for kind in (torch.float64, torch.bfloat16, torch.float16):
        save_file({name: value.to(kind) for name, value in weights.items()}, file, metadata={"format": "pt"})
        assert {one.dtype for one in load_model(str(tmp_path / "base")).parameters()} == {torch.float32}
    whole = {name: (value * 100).to(torch.int8) for name, value in weights.items()}
    save_file(whole, file, metadata={"format": "pt"})
    with pytest.raises(UserError):
        load_model(str(tmp_path / "base"))
