"""What passes hold in memory against a count of it, what is chosen where memory is short, and the same numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

import rewarm.recipes
from rewarm.objectives.packed_loss import PackedLoss
from rewarm.objectives.span_loss import SpanLoss
from rewarm.plan import Plan, from_values
from rewarm.tokens.spans import Spans, lay
from rewarm.training import activations
from rewarm.training.activations import OutOfMemory, Passes, checkpoint_layers, choose, explained, kept_bytes, needed
from rewarm.types import Batch, UserError

ROWS, LENGTH = 4, 64
MakeTiny = Callable[..., Any]


def batch(documents: int = 2) -> Batch:
    """Four rows of as many documents each."""
    torch.manual_seed(5)
    tokens_BT = torch.randint(3, 400, (ROWS, LENGTH + 1))
    positions_BT = torch.arange(LENGTH).remainder(LENGTH // documents).repeat(ROWS, 1)
    return Batch(tokens_BT[:, :-1].contiguous(), tokens_BT[:, 1:].contiguous(), positions_BT, ROWS * LENGTH)


def counted(model: Any, precision: torch.dtype = torch.float32) -> int:
    """Bytes that one pass up to the head keeps for its backward pass, the model's own weights left out."""
    objective, whole = PackedLoss(model), batch(documents=1)
    model.train()
    return kept_by(model, precision, lambda: objective._body(**objective._inputs(whole)).last_hidden_state)


def kept_by(model: Any, precision: torch.dtype, work: Callable[[], Tensor]) -> int:
    """Bytes that some work keeps for its backward pass, the model's own weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        if value.untyped_storage().data_ptr() not in weights:
            kept[value.untyped_storage().data_ptr()] = value
        return value

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
        torch.autocast("cpu", precision, enabled=precision != torch.float32),
    ):
        made = work()
    assert made.requires_grad
    return sum(value.untyped_storage().nbytes() for value in kept.values())


def gradients(objective: PackedLoss, seed: int = 1) -> dict[str, Tensor]:
    objective.model.train()
    torch.manual_seed(seed)
    objective.loss_sum(batch()).backward()  # type: ignore[no-untyped-call]
    found = {
        name: parameter.grad.clone()
        for name, parameter in objective.model.named_parameters()
        if parameter.grad is not None
    }
    objective.model.zero_grad()
    return found


def plan(**changes: Any) -> Plan:
    values = {
        "base": "somewhere", "output_dir": "nowhere", "corpora": {"a": {"type": "text", "path": "a.txt"}},
        "stages": [{"name": "a", "data": "a", "tokens": 10**6, "learning_rate": 1e-3}],
        "seq_len": 256, "batch_tokens": 8192, "precision": "fp32",
    }  # fmt: skip
    return from_values(values | changes)


def total(known: Plan, model: Any, tokens: int, checkpointed: bool) -> int:
    return sum(needed(known, model, Passes(tokens, checkpointed)).values())


# The estimate


@pytest.mark.skipif(torch.cuda.is_available(), reason="counted as a CPU keeps it")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_the_estimate_is_near_the_count(make_tiny: MakeTiny, family: str, precision: torch.dtype) -> None:
    model = make_tiny(family)
    estimate = ROWS * LENGTH * kept_bytes(model, LENGTH, precision, checkpointed=False)
    assert 1 / 1.5 < estimate / counted(model, precision) < 1.5


@pytest.mark.skipif(torch.cuda.is_available(), reason="counted as a CPU keeps it")
def test_the_estimate_is_near_the_count_of_the_demo_base() -> None:
    folder = Path(rewarm.recipes.__file__).parent / "demo_base"
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    estimate = ROWS * LENGTH * kept_bytes(model, LENGTH, torch.float32, checkpointed=False)
    assert 1 / 1.2 < estimate / counted(model) < 1.2


@pytest.mark.skipif(torch.cuda.is_available(), reason="counted as a CPU keeps it")
def test_the_estimate_is_near_the_count_of_an_encoder_and_a_decoder(make_seq2seq: Callable[..., Any]) -> None:
    """With dropout, as T5 has it; without it, less is kept of attention."""
    model = make_seq2seq("t5", feed_forward_proj="gated-gelu", d_model=64, d_ff=256, dropout_rate=0.1)
    spans = Spans(tuple(range(3, 103)), (), 1)
    made = [spans.example(torch.arange(110, 110 + 4 * LENGTH).numpy(), row) for row in range(ROWS)]
    objective, rows = SpanLoss(model), lay([[one] for one in made if one is not None])
    found = kept_by(model.train(), torch.float32, lambda: objective.loss_sum(rows))
    kept = kept_bytes(model, 4 * LENGTH, torch.float32, checkpointed=False)
    logits = 500  # a fourth of the vocabulary, 4 bytes each
    assert 1 / 1.3 < ROWS * 4 * LENGTH * (kept + logits) / found < 1.3


def test_the_estimate_by_hand(make_tiny: MakeTiny) -> None:
    """Llama: width 32, inner width 64, 2 layers, 400 ids; passes of 512 tokens."""
    model, known = make_tiny("llama"), plan()
    parameters = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32) + 2 * 400 * 32 + 32
    layer = 4 * (10 * 32 + 4 * 64)
    head = 4 * (2 * 512 * 400 + 400 * 32)
    assert needed(known, model, Passes(512, False)) == {
        "weights and optimizer": 16 * parameters,
        "activations": 512 * (2 * layer + 3 * 4 * 32 + layer),
        "logits": head,
    }
    assert needed(known, model, Passes(512, True))["activations"] == 512 * (2 * 4 * 32 + 3 * 4 * 32 + layer)


# The choice


def test_micro_batches_shrink_before_layers_are_checkpointed(make_tiny: MakeTiny) -> None:
    """Usual are 4096 tokens, of which 2048, 1024 and 512 come before recomputing, and 256, one row, comes last."""
    known, model = plan(), make_tiny("llama")
    ways = [Passes(4096, False), Passes(2048, False), Passes(1024, False), Passes(512, False), Passes(512, True)]
    ways.append(Passes(256, True))
    if torch.cuda.is_available():
        pytest.skip("other sizes are usual on a GPU")
    rooms = [total(known, model, way.micro_batch_tokens, way.checkpointed) / activations.USABLE + 1 for way in ways]
    assert [choose(known, model, int(room)) for room in rooms] == ways
    assert choose(known, model, int(rooms[0]) - 2) == ways[1]
    assert choose(known, model, 0) == Passes(256, True)


def test_the_plan_has_the_last_word(make_tiny: MakeTiny) -> None:
    model = make_tiny("llama")
    assert choose(plan(gradient_checkpointing=True), model, 1 << 40).checkpointed
    assert not choose(plan(gradient_checkpointing=False), model, 0).checkpointed
    assert choose(plan(micro_batch_tokens=2048), model, 0) == Passes(2048, True)
    assert choose(plan(micro_batch_tokens=2048), model, 1 << 40) == Passes(2048, False)


def test_a_model_that_cannot_be_checkpointed(make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_tiny("llama")
    monkeypatch.setattr(type(model), "supports_gradient_checkpointing", False)
    with pytest.raises(UserError, match="gradient_checkpointing: true cannot be had: LlamaForCausalLM"):
        choose(plan(gradient_checkpointing=True), model, 1 << 40)
    assert choose(plan(), model, 0) == Passes(256, False)


def test_what_memory_changed_is_said() -> None:
    known = plan()
    usual = activations.micro_batches(known)[0]
    assert activations.described(Passes(usual, False), known) is None
    assert activations.described(Passes(256, False), known) == (
        f"to fit into memory, a pass takes 256 tokens instead of {usual}"
    )
    assert activations.described(Passes(512, True), plan(gradient_checkpointing=True, micro_batch_tokens=512)) is None
    assert "twice (gradient_checkpointing)" in str(activations.described(Passes(usual, True), known))


# Recomputing


def test_gradients_are_the_same_bits_and_less_is_kept(make_tiny: MakeTiny, family: str) -> None:
    """Also with the dropout of GPT-2, whose random numbers are drawn again."""
    model = make_tiny(family)
    wanted, whole = gradients(PackedLoss(model)), counted(model)
    checkpoint_layers(model)
    found, less = gradients(PackedLoss(model)), counted(model)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert torch.equal(found[name], gradient), name
    assert less < whole / 5
    assert less <= ROWS * LENGTH * kept_bytes(model, LENGTH, torch.float32, checkpointed=True)


def test_scoring_is_untouched(make_tiny: MakeTiny) -> None:
    model = make_tiny("gpt2")
    wanted = PackedLoss(model).token_losses(batch())
    checkpoint_layers(model)
    assert torch.equal(PackedLoss(model).token_losses(batch()), wanted)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs")
def test_it_works_through_the_compiler(make_tiny: MakeTiny) -> None:
    model = make_tiny("llama")
    objective = PackedLoss(model)
    assert objective.names_documents
    wanted = gradients(objective)
    checkpoint_layers(model)
    objective.compile()
    found = gradients(objective)
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max())), name


# No memory left


def without_a_device() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize("allocate", [lambda: torch.empty(1 << 58), without_a_device], ids=["host", "device"])
def test_the_error_says_what_to_lower(allocate: Callable[[], object]) -> None:
    """What an allocator of torch raises itself, and the type that it has for devices."""
    message = r"(?s)leg: out of memory: .*gradient_checkpointing: true or lower"
    with pytest.raises(OutOfMemory, match=message), explained("leg"):
        allocate()


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied"), explained("leg"):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
