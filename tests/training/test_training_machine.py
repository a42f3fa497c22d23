"""Sizes, costs and number formats, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rewarm.objectives.products import measured
from rewarm.plan import Plan, from_values
from rewarm.training.journal import Journal
from rewarm.training.machine import (
    CPU_MICRO_TOKENS,
    choose_precision,
    describe,
    flops_per_token,
    matmul_parameters,
    matmul_rate,
    micro_batch_tokens,
    seconds_of,
)


def plan(**changes: Any) -> Plan:
    """A plan that is never run."""
    values = {
        "base": "somewhere",
        "output_dir": "nowhere",
        "corpora": {"a": {"type": "text", "path": "a.txt"}},
        "stages": [{"name": "a", "data": "a", "tokens": 10**6, "learning_rate": 1e-3}],
    }
    return from_values(values | changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="micro-batches are larger on a GPU")
@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"seq_len": 512, "batch_tokens": 16_384}, CPU_MICRO_TOKENS),
        ({"seq_len": 512, "batch_tokens": 1024}, 1024),
        # 7 rows of 1024: a micro-batch of 4 rows would not divide them.
        ({"seq_len": 1024, "batch_tokens": 7168}, 1024),
        ({"seq_len": 8192, "batch_tokens": 16_384}, 8192),
        ({"seq_len": 512, "batch_tokens": 16_384, "micro_batch_tokens": 512}, 512),
    ],
)
def test_micro_batches_divide_the_batch(changes: dict[str, Any], tokens: int) -> None:
    assert micro_batch_tokens(plan(**changes)) == tokens


def test_number_formats() -> None:
    assert choose_precision("fp32") == torch.float32
    assert choose_precision("bf16") == torch.bfloat16
    if not torch.cuda.is_available():
        assert choose_precision("auto") == (torch.bfloat16 if measured()["bf16"] else torch.float32)


def test_flops_count_every_matrix_product_once(make_tiny: Callable[..., Any]) -> None:
    """Width 32, inner width 64, two layers, keys and values of half the width, a head of 400 rows."""
    layer = 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64
    assert matmul_parameters(make_tiny("llama")) == 2 * layer + 400 * 32
    tied = 2 * (32 * 32 * 4 + 3 * 32 * 64) + 400 * 32
    assert matmul_parameters(make_tiny("llama-tied")) == tied
    assert flops_per_token(make_tiny("llama"), 64) == 6 * (2 * layer + 400 * 32) + 6 * 2 * 32 * 64


def test_a_decoder_beside_an_encoder_counts_for_what_it_writes(make_seq2seq: Callable[..., Any]) -> None:
    """Width 32, inner width 64, two layers in each stack, 4 heads with biases of 32 distances, a tied head of 500."""
    encoder = 2 * (4 * 32 * 32 + 2 * 32 * 64) + 4 * 32
    decoder = 2 * (8 * 32 * 32 + 2 * 32 * 64) + 4 * 32
    assert matmul_parameters(make_seq2seq("t5")) == encoder + (decoder + 500 * 32) / 4


def test_the_rate_of_matrix_products_is_a_rate() -> None:
    """Measured between two steps it does not change what dropout draws in the second."""
    state = torch.get_rng_state()
    assert matmul_rate(64, 64, torch.float32, seconds=0.01) > 1e6
    assert torch.equal(torch.get_rng_state(), state)


def test_seconds_are_those_of_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", 0)
    for step, speed in ((1, 100.0), (2, 50.0), (5, 300.0)):
        journal.write({"step": step, "tokens": 100 * step, "tokens_per_second": speed})
    assert seconds_of(tmp_path) == pytest.approx(1.0 + 2.0 + 1.0)
    assert seconds_of(tmp_path / "nothing") == 0.0


def test_the_machine_in_words() -> None:
    machine = describe()
    assert machine["torch"] == torch.__version__
    assert all(machine.values())
    if not torch.cuda.is_available():
        assert machine["products"] == ("oneDNN" if measured()["onednn"] else "as torch does")
