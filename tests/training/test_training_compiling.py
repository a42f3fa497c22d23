"""torch.compile: used where it pays, equal to eager passes, and given up without a trace where it is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._inductor import config as inductor

from rewarm.objectives.packed_loss import PackedLoss
from rewarm.training import compiling
from rewarm.training.compiling import _agree, pays, try_compiling
from rewarm.types import Batch, UserError

MakeTiny = Callable[..., Any]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs")
# Of the tiny Llama, as in test_training_machine.py: matrices of two layers and the head, attention over 64 positions.
FLOPS = 6 * (2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64) + 400 * 32) + 6 * 2 * 32 * 64


def batch(*starts: int, length: int = 24, seed: int = 3) -> Batch:
    """One row in which documents begin at these positions, and one that is one document."""
    tokens_BT = torch.randint(3, 400, (2, length + 1), generator=torch.Generator().manual_seed(seed))
    positions_BT = torch.arange(length).repeat(2, 1)
    for start in starts:
        positions_BT[0, start:] = torch.arange(length - start)
    return Batch(tokens_BT[:, :-1].contiguous(), tokens_BT[:, 1:].contiguous(), positions_BT, 2 * length)


def passed(objective: PackedLoss, given: Batch, seed: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    torch.manual_seed(seed)
    loss = objective.loss_sum(given, 1 / given.num_targets)
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: own.grad.clone() for name, own in objective.model.named_parameters() if own.grad is not None}
    objective.model.zero_grad()
    return float(loss.detach()), found


def assert_same(found: tuple[float, dict[str, torch.Tensor]], wanted: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        assert torch.allclose(found[1][name], gradient, atol=1e-6), name


@needs_compiler
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_compiled_passes_are_the_eager_ones(make_tiny: MakeTiny, name: str) -> None:
    """GPT-2 with its dropout, which draws the same numbers. Trying leaves weights, mode and random state alone."""
    model = make_tiny(name)
    before = {key: weight.clone() for key, weight in model.state_dict().items()}
    objective, notes = PackedLoss(model), list[str]()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    try_compiling(objective, batch(10), torch.float32, "auto", notes)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert all(own.grad is None for own in model.parameters())
    assert all(torch.equal(weight, before[key]) for key, weight in model.state_dict().items())
    assert (objective.compiled, notes) == (True, [])
    model.train()
    found = passed(objective, batch(4, 19))
    assert_same(found, passed(PackedLoss(make_tiny(name).train()), batch(4, 19)))


def test_another_number_of_documents_compiles_nothing_anew(
    make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 2 to 129 documents in a batch; another length of rows does, so that the count is one that can rise."""
    counter, compile_ = CompileCounterWithBackend("aot_eager"), torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, options: compile_(model, backend=counter))
    torch._dynamo.reset()
    objective = PackedLoss(make_tiny("llama").train())
    objective.compile()
    counts = []
    for length, starts in ((128, []), (128, [1]), (128, range(5, 70)), (128, range(1, 128)), (96, [])):
        passed(objective, batch(*starts, length=length))
        counts.append(counter.frame_count)
    assert 0 < counts[0] == counts[1] == counts[2] == counts[3] < counts[4]


# What does not work is not used


@needs_compiler
def test_passes_that_differ_are_given_up(make_tiny: MakeTiny) -> None:
    model, notes = make_tiny("llama"), list[str]()
    model.model.norm.register_forward_hook(
        lambda norm, given, out: out * 1.01 if torch.compiler.is_compiling() else out
    )
    objective = PackedLoss(model)
    try_compiling(objective, batch(10), torch.float32, "auto", notes)
    assert not objective.compiled
    assert len(notes) == 1
    assert notes[0].startswith("not compiled: torch.compile gave (")
    assert_same(passed(objective, batch(10)), passed(PackedLoss(make_tiny("llama")), batch(10)))
    with pytest.raises(UserError, match=r"compile: true cannot be had for LlamaForCausalLM: torch\.compile gave"):
        try_compiling(objective, batch(10), torch.float32, True, notes)
    assert not objective.compiled


@pytest.mark.parametrize("compiler", ["forward", "backward"])
def test_a_compiler_that_fails_is_given_up(make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    """Also in the backward pass, when the head has its gradient already: the first step must not start with it."""

    def refuses(graph: Any, inputs: Any) -> Any:
        raise NotImplementedError("no such operator")

    def backend(graph: Any, inputs: Any) -> Any:
        from torch._dynamo.backends.common import aot_autograd

        others = {f"{name}_compiler": lambda graph, inputs: graph for name in ("fw", "bw")}
        return aot_autograd(**{**others, f"{compiler[0]}w_compiler": refuses})(graph, inputs)

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, options: compile_(model, backend=backend))
    torch._dynamo.reset()
    model, notes = make_tiny("llama").train(), list[str]()
    objective = PackedLoss(model)
    state = torch.get_rng_state()
    try_compiling(objective, batch(10), torch.float32, "auto", notes)
    assert not objective.compiled
    assert len(notes) == 1
    assert notes[0].startswith("not compiled: torch.compile failed: ")
    assert "\n" not in notes[0]
    assert all(own.grad is None for own in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert_same(passed(objective, batch(10)), passed(PackedLoss(make_tiny("llama").train()), batch(10)))
    with pytest.raises(UserError, match=r"compile: true cannot be had for LlamaForCausalLM: torch\.compile failed"):
        try_compiling(objective, batch(10), torch.float32, True, notes)


@needs_compiler
def test_without_a_working_compiler_it_is_a_note(make_tiny: MakeTiny) -> None:
    torch._dynamo.reset()
    objective, notes = PackedLoss(make_tiny("llama")), list[str]()
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}), torch.compiler.config.patch(force_disable_caches=True):
        try_compiling(objective, batch(10), torch.float32, "auto", notes)
    assert (objective.compiled, len(notes)) == (False, 1)


def test_what_fails_eagerly_too_is_no_fault_of_the_compiler(make_tiny: MakeTiny) -> None:
    """An error of the model itself comes through as it is, and is not called a missing compiler."""
    model = make_tiny("llama")
    objective = PackedLoss(model)

    def out_of_memory(*arguments: Any) -> None:
        raise RuntimeError("not enough memory")

    model.model.norm.register_forward_hook(out_of_memory)
    notes = list[str]()
    with pytest.raises(RuntimeError, match="not enough memory"):
        try_compiling(objective, batch(10), torch.float32, "auto", notes)
    assert notes == []


@pytest.mark.parametrize(
    ("found", "wanted", "agree"),
    [
        ((2.0, 0.5), (2.0, 0.5), True),
        ((2.0001, 0.5), (2.0, 0.5), True),  # 5e-5 of it
        ((2.0003, 0.5), (2.0, 0.5), False),
        ((2.0, 0.50004), (2.0, 0.5), True),
        ((2.0, 0.50006), (2.0, 0.5), False),
        ((0.0, 0.0), (0.0, 0.0), True),
        ((float("nan"), float("nan")), (float("nan"), float("nan")), True),  # the loop stops for that, with its reason
        ((float("nan"), 0.5), (2.0, 0.5), False),
        ((2.0, float("inf")), (2.0, 0.5), False),
    ],
)
def test_what_counts_as_equal(found: tuple[float, float], wanted: tuple[float, float], agree: bool) -> None:
    assert _agree(found, wanted, 1e-4) is agree


# Where it pays


def test_it_pays_from_ten_minutes_on(make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """At half of 1 GFLOP/s in fp32, and of 3 in bf16."""
    monkeypatch.setattr(compiling, "has_compiler", lambda: True)
    monkeypatch.setattr(compiling, "measured", lambda: {"fp32": 1e9, "rates": {"bf16": 3e9}})
    model = make_tiny("llama")
    for precision, rate in ((torch.float32, 1e9), (torch.bfloat16, 3e9)):
        least = -int(-600 * 0.5 * rate // FLOPS)
        assert pays("auto", model, least, 64, precision)
        assert not pays("auto", model, least - 1, 64, precision)
    assert not pays(False, model, 10**15, 64, torch.float32)
    assert pays(True, model, 1, 64, torch.float32)


def test_without_a_compiler_it_never_pays(make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert pays("auto", make_tiny("llama"), 10**15, 64, torch.float32) is torch.cuda.is_available()
