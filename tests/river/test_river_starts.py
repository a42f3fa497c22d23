"""Adapters in a run: one for a stage or one for all, merged or beside the weights, stopped and gone on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from rewarm.adapters.beside import load_with_adapters
from rewarm.cli import call
from rewarm.models.load import weights_hash
from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.river.run import run
from rewarm.training import journal
from rewarm.types import UserError

MakeValues = Callable[..., dict[str, Any]]
MATRIX = "model.layers.1.mlp.up_proj"
LORA = {"type": "lora", "r": 4, "alpha": 12}


def _stages(adapter: dict[str, Any] | str, **second: Any) -> list[dict[str, Any]]:
    """Two stages with the same adapter."""
    code = {"name": "code", "data": "code", "adapter": adapter}
    return [{"name": "law", "data": "law", "adapter": adapter}, code | second]


def _weight(folder: Path) -> Tensor:
    return load_file(folder / "model.safetensors")[f"{MATRIX}.weight"]


def _product(run_folder: Path, leg: str) -> Tensor:
    """3 x B A, alpha / r being 3, from the tensors that the run kept of a leg's LoRA."""
    kept = load_file(run_folder / "training" / leg / "kept" / "adapter.safetensors")
    return 3 * kept[f"{MATRIX}.lora_B.default.weight"] @ kept[f"{MATRIX}.lora_A.default.weight"]


def test_each_stage_gets_a_new_adapter_on_top_of_the_merged_one(
    make_values: MakeValues, base: Path, tmp_path: Path
) -> None:
    result = run(from_values(make_values(_stages(LORA | {"one_for": "stage"}, optimizer_state="keep"))))
    folder = tmp_path / "run"
    first, second = (_product(folder, leg) for leg in ("stage-1-law", "stage-2-code"))
    assert float(first.abs().max()) > 1e-4
    assert torch.allclose(_weight(folder / "stage-1-law"), _weight(base) + first, atol=1e-6)
    assert torch.allclose(_weight(folder / "stage-2-code"), _weight(base) + first + second, atol=1e-6)
    plain = AutoModelForCausalLM.from_pretrained(folder / "stage-2-code")
    assert weights_hash(plain) == RunDirectory(folder).finished()["stage-2-code"]["weights_sha256"]
    assert any("trains other parameters, without optimizer state" in note for note in result.notes)


def test_one_adapter_goes_through_the_run(make_values: MakeValues, base: Path, tmp_path: Path) -> None:
    """Each export is the base plus the one product at that time; a release goes on from its own stage."""
    stages = _stages(LORA | {"one_for": "run"}, optimizer_state="keep", release={"tokens": 512})
    result = run(from_values(make_values(stages)))
    folder = tmp_path / "run"
    products = []
    for leg in ("stage-1-law", "stage-2-code", "stage-2-code-release"):
        products.append(_product(folder, leg))
        assert torch.allclose(_weight(folder / leg), _weight(base) + products[-1], atol=1e-6)
    apart = [float((one - other).norm() / other.norm()) for one, other in zip(products[1:], products[:2], strict=True)]
    assert all(0.001 < distance < 2 for distance in apart)
    assert not any("optimizer state" in note for note in result.notes)


def test_a_part_of_the_adapter_that_was_frozen_for_a_stage_is_not_lost(
    make_values: MakeValues, base: Path, tmp_path: Path
) -> None:
    """The upper layer's pairs are trained by the first stage only; the later ones keep them as they are."""
    lora = LORA | {"one_for": "run"}
    freeze = {"type": "freeze", "layers": "upper-half", "embeddings": False}
    later = [{"name": name, "data": "code", "adapter": lora, "retention": freeze} for name in ("second", "third")]
    run(from_values(make_values([_stages(lora)[0], *later])))
    first, second, third = (
        _weight(tmp_path / "run" / leg) for leg in ("stage-1-law", "stage-2-second", "stage-3-third")
    )
    assert not torch.equal(first, _weight(base))
    assert torch.equal(second, first)
    assert torch.equal(third, first)


def test_moments_are_taken_over_with_the_adapter_they_belong_to(values_in: MakeValues, tmp_path: Path) -> None:
    """The same second stage with kept and with reset moments ends elsewhere when one adapter goes on, else not."""
    ends = {}
    for one_for in ("stage", "run"):
        for policy in ("keep", "reset"):
            stages = _stages(LORA | {"one_for": one_for}, optimizer_state=policy)
            run(from_values(values_in(tmp_path / one_for / policy, stages)))
            finished = RunDirectory(tmp_path / one_for / policy).finished()
            ends[one_for, policy] = finished["stage-2-code"]["weights_sha256"]
    assert ends["stage", "keep"] == ends["stage", "reset"]
    assert ends["run", "keep"] != ends["run", "reset"]


def test_block_expansion_grows_the_model_once_in_a_run(make_values: MakeValues, base: Path, tmp_path: Path) -> None:
    run(from_values(make_values(_stages("block-expansion"))))
    before = load_file(base / "model.safetensors")
    ends = []
    for leg in ("stage-1-law", "stage-2-code"):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / leg)
        assert len(model.model.layers) == model.config.num_hidden_layers == 3
        own = dict(model.named_parameters())
        assert all(torch.equal(own[name], value) for name, value in before.items())
        ends.append(own["model.layers.2.mlp.down_proj.weight"].detach())
    assert ends[0].any()
    assert not torch.equal(ends[0], ends[1])


@pytest.mark.parametrize("adapter", ["k-adapter", "modular"])
def test_what_cannot_merge_is_carried_through_the_run(
    adapter: str, make_values: MakeValues, base: Path, tmp_path: Path
) -> None:
    """A second stage has a second adapter beside the first; alone, the folder's weights are those of the base."""
    replay = {"from": "self", "share": 0.25, "tokens": 1200}
    stages = _stages({"type": adapter, "scale": 5.0}, replay=replay, release={"tokens": 512})
    result = run(from_values(make_values(stages)))
    folder, finished = tmp_path / "run", RunDirectory(tmp_path / "run").finished()
    for leg, count in (("stage-1-law", 1), ("stage-2-code", 2), ("stage-2-code-release", 2)):
        assert torch.equal(_weight(folder / leg), _weight(base))
        assert len(json.loads((folder / leg / "adapter.json").read_text())) == count
        assert weights_hash(load_with_adapters(str(folder / leg))) == finished[leg]["weights_sha256"]
    tensors = [load_file(folder / leg / "adapter.safetensors") for leg in ("stage-1-law", "stage-2-code")]
    assert all(torch.equal(tensors[1][name], value) for name, value in tensors[0].items())
    assert result.rows[1].cells["law"].loss < result.rows[0].cells["law"].loss
    assert any("AutoModelForCausalLM alone loads the model without the adapter" in note for note in result.notes)


def test_evaluate_gives_a_model_with_an_adapter_the_row_of_its_run(
    make_values: MakeValues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REWARM_TUNED", "off")  # the verb would start this process again in its tuned environment
    result = run(from_values(make_values(_stages({"type": "k-adapter", "scale": 5.0})[:1])))
    folder = tmp_path / "run"
    assert call(["evaluate", str(folder / "stage-1-law"), "--on", str(folder), "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    for corpus, cell in result.rows[1].cells.items():
        assert cells[corpus]["loss"] == pytest.approx(cell.loss, rel=1e-6)
        assert cell.delta != 0


@pytest.mark.parametrize(
    "adapter",
    [LORA | {"one_for": "run", "dropout": 0.1}, "block-expansion", "k-adapter", "modular"],
    ids=["lora", "block-expansion", "k-adapter", "modular"],
)
def test_a_run_that_was_stopped_ends_as_the_unbroken_one(
    adapter: Any, values_in: MakeValues, run_with_stops: Callable[..., int], tmp_path: Path
) -> None:
    stages = _stages(adapter, optimizer_state="keep", release={"tokens": 512})
    run(from_values(values_in(tmp_path / "whole", stages)))
    stopped = run_with_stops(from_values(values_in(tmp_path / "broken", stages)), 4)
    assert stopped > 2
    whole, broken = (RunDirectory(tmp_path / name).finished() for name in ("whole", "broken"))
    assert len(whole) == 3
    assert {leg: entry["weights_sha256"] for leg, entry in broken.items()} == {
        leg: entry["weights_sha256"] for leg, entry in whole.items()
    }


def test_retention_acts_on_what_the_adapter_trains(make_values: MakeValues, base: Path, tmp_path: Path) -> None:
    """A pull so strong that LoRA's matrices hardly leave where they began, B at 0: the model stays nearly the base."""
    folder = tmp_path / "run"
    pull = {"type": "l2-sp", "strength": 1e4}
    run(from_values(make_values([_stages(LORA)[0], _stages(LORA, retention=pull, **{"from": "base"})[1]])))
    free, held = (float(_product(folder, leg).norm()) for leg in ("stage-1-law", "stage-2-code"))
    assert held < 0.2 * free
    entries = journal.read(folder / "training" / "stage-2-code" / "journal.jsonl")
    assert entries[-1]["retention"]["l2-sp"]["reached"] == 1


def test_an_adapter_that_is_gone_is_missed(make_values: MakeValues, tmp_path: Path) -> None:
    plan = from_values(make_values(_stages(LORA | {"one_for": "run"})))
    run(plan)
    shutil.rmtree(tmp_path / "run" / "stage-2-code")
    (tmp_path / "run" / "training" / "stage-1-law" / "kept" / "adapter.safetensors").unlink()
    with pytest.raises(UserError, match="is gone, and the adapter goes on from it"):
        run(plan)
