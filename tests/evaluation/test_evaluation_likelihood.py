"""The likelihood of a continuation is what the model says of it alone, whatever it is computed beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rewarm.evaluation import prefixes
from rewarm.evaluation.likelihood import Likelihoods, Request, Scorer
from rewarm.evaluation.trees import shares_prefixes
from rewarm.types import UserError

LENGTH = 64
MakeTiny = Callable[..., Any]


def ids(source: np.random.Generator, low: int, high: int) -> list[int]:
    return [int(token) for token in source.integers(3, 400, source.integers(low, high + 1))]


def likelihoods(model: Any, requests: list[Request], *done: Callable[[int], None]) -> Likelihoods:
    return Scorer(model, LENGTH).score(requests, *done)


@pytest.fixture
def requests() -> list[Request]:
    """Questions behind one prefix, many candidates of one context, single facts, repeats, and what is too long."""
    source = np.random.default_rng(2)
    shots = ids(source, 30, 30)
    made = []
    for _ in range(4):
        question = shots + ids(source, 4, 8)
        made += [Request(question, ids(source, 1, 4)) for _ in range(4)]
    context = ids(source, 10, 10)
    made += [Request(context, ids(source, 1, 2)) for _ in range(30)]
    made += [Request(context, [7, 8, 9]), Request(context, [7, 8, 9]), Request(context, [7, 8]), Request(context, [7])]
    made += [Request(ids(source, 1, 12), ids(source, 1, 5)) for _ in range(12)]
    long = ids(source, LENGTH, LENGTH)
    made += [Request(long, ids(source, 1, 3)) for _ in range(3)]
    return made


def sharpen(model: Any) -> Any:
    """Larger weights: a fresh model gives every token nearly the same probability, whatever it has read."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D":
            module.weight.data *= 5
    return model


@torch.no_grad()
def alone(model: Any, request: Request, length: int = LENGTH) -> tuple[float, bool]:
    """A request by the model's own logits over its tokens, the context cut from the left."""
    tokens = torch.tensor([*request.context, *request.continuation])[-(length + 1) :]
    count = len(request.continuation)
    logprobs = model(input_ids=tokens[None, :-1], use_cache=False).logits[0, -count:].double().log_softmax(-1)
    chosen = logprobs.gather(1, tokens[-count:, None])
    return float(chosen.sum()), bool((logprobs.argmax(1) == tokens[-count:]).all())


def assert_same(found: Likelihoods, model: Any, requests: list[Request]) -> None:
    expected = [alone(model, request) for request in requests]
    assert found.logprob_N == pytest.approx([value for value, _ in expected], abs=1e-4)
    assert found.greedy_N.tolist() == [greedy for _, greedy in expected]
    assert found.tokens_N.tolist() == [len(request.continuation) for request in requests]


@pytest.mark.parametrize("row_tokens", [24, 256])
def test_each_request_as_if_it_were_alone(
    make_tiny: MakeTiny, family: str, requests: list[Request], row_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways of sharing: trees of whole questions, and rows behind a kept prefix."""
    monkeypatch.setattr(prefixes, "ROW_TOKENS", row_tokens)
    model = sharpen(make_tiny(family))
    found = likelihoods(model, requests)
    assert_same(found, model, requests)
    assert found.truncated == sum(len(request.continuation) > 1 for request in requests[-3:])


def test_every_family_can_share(make_tiny: MakeTiny, family: str) -> None:
    """So that the test above says something about trees; windows shorter than a query are left out query by query."""
    assert shares_prefixes(sharpen(make_tiny(family)))


def test_a_model_that_sees_through_the_mask_shares_nothing(
    make_tiny: MakeTiny, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention that follows no mask: trees would be wrong, and are not used."""
    model = sharpen(make_tiny("llama"))
    expected = likelihoods(model, requests)
    before = model.base_model.forward

    def deaf(*, attention_mask: Any = None, position_ids: Any = None, past_key_values: Any = None, **more: Any) -> Any:
        return before(position_ids=position_ids, past_key_values=past_key_values, **more)

    monkeypatch.setattr(model.base_model, "forward", deaf)
    assert not shares_prefixes(model)
    assert likelihoods(model, requests).logprob_N == pytest.approx(expected.logprob_N, abs=1e-4)


@pytest.mark.parametrize("name", ["mamba", "jamba", "bloom", "opt", "granite", "gemma3_text"])
def test_other_kinds_of_models_are_scored_right_too(name: str, requests: list[Request]) -> None:
    """Recurrent ones, both kinds of layers, positions of other kinds, scaled logits: shared where that is safe."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    more = {"opt": {"word_embed_proj_dim": 32, "ffn_dim": 64}, "granite": {"logits_scaling": 2.0},
            "jamba": {"num_experts": 2, "num_key_value_heads": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
            "gemma3_text": {"head_dim": 8, "sliding_window": 16}}  # fmt: skip
    torch.manual_seed(0)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(name, vocab_size=400, **sizes, **more.get(name, {}), **special)
    model = sharpen(AutoModelForCausalLM.from_config(config).eval())
    assert_same(likelihoods(model, requests), model, requests)
    assert shares_prefixes(model) == (name in {"granite", "gemma3_text", "opt"})


def test_shared_tokens_are_read_once(make_tiny: MakeTiny) -> None:
    """40 tokens of examples and five answers to each of two questions: the model reads far less than 10 requests."""
    model = make_tiny("llama")
    source = np.random.default_rng(0)
    shots = ids(source, 40, 40)
    questions = [shots + ids(source, 6, 6) for _ in range(2)]
    requests = [Request(question, ids(source, 2, 2)) for question in questions for _ in range(5)]
    scorer = Scorer(model, LENGTH)
    read: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    scorer.score(requests)
    hook.remove()
    assert sum(read) == 40 + 2 * (6 + 5 * 1)
    assert sum(len(request.context) + 1 for request in requests) == 470


def test_order_and_company_do_not_matter(make_tiny: MakeTiny, requests: list[Request]) -> None:
    model = sharpen(make_tiny("gpt-neox"))
    whole = likelihoods(model, requests)
    again = likelihoods(model, requests)
    assert np.array_equal(whole.logprob_N, again.logprob_N)
    order = np.random.default_rng(0).permutation(len(requests))
    for some in (order, order[:9], order[20:21]):
        found = likelihoods(model, [requests[number] for number in some])
        assert found.logprob_N == pytest.approx(whole.logprob_N[some], rel=1e-5)
        assert found.greedy_N.tolist() == whole.greedy_N[some].tolist()


def test_greedy_is_what_greedy_decoding_gives(make_tiny: MakeTiny) -> None:
    model = sharpen(make_tiny("qwen2"))
    context = [5, 9, 23, 11]
    decoded = list(context)
    for _ in range(3):
        decoded.append(int(model(input_ids=torch.tensor([decoded]), use_cache=False).logits[0, -1].argmax()))
    best = decoded[4:]
    other = [best[0], best[1], (best[2] + 1) % 400]
    found = likelihoods(model, [Request(context, best), Request(context, other), Request(context, best[:1])])
    assert found.greedy_N.tolist() == [True, False, True]
    assert found.logprob_N[0] > found.logprob_N[1]
    assert found.logprob_N[2] > found.logprob_N[0]


def test_probabilities_of_all_next_tokens_add_up_to_one(make_tiny: MakeTiny) -> None:
    found = likelihoods(sharpen(make_tiny("gemma2")), [Request([4, 5], [token]) for token in range(400)])
    assert np.exp(found.logprob_N).sum() == pytest.approx(1.0, rel=1e-5)
    assert found.greedy_N.sum() == 1


def test_progress_counts_every_request(make_tiny: MakeTiny, requests: list[Request]) -> None:
    told: list[int] = []
    likelihoods(make_tiny("llama"), requests, told.append)
    assert sum(told) == len(requests)
    assert len(told) > 1


def test_nothing_asked_is_nothing_found(make_tiny: MakeTiny) -> None:
    found = likelihoods(make_tiny("llama"), [])
    assert found.logprob_N.shape == found.tokens_N.shape == found.greedy_N.shape == (0,)
    assert found.truncated == 0


def test_the_mode_and_the_attention_come_back(make_tiny: MakeTiny) -> None:
    model = make_tiny("llama").train()
    model.set_attn_implementation("flex_attention")
    first, second = (likelihoods(model, [Request([3], [4, 5]), Request([3], [4, 6])]) for _ in range(2))
    assert np.array_equal(first.logprob_N, second.logprob_N)
    assert model.training
    assert model.config._attn_implementation == "flex_attention"


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        (Request([], [3]), "request 1 has 0 tokens of context and 1 to score"),
        (Request([3], []), "request 1 has 1 tokens of context and 0 to score"),
        (Request([3], [4] * (LENGTH + 1)), f"request 1 has 1 tokens of context and {LENGTH + 1} to score"),
    ],
)
def test_what_cannot_be_scored_is_refused(make_tiny: MakeTiny, request_: Request, wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        likelihoods(make_tiny("llama"), [Request([3], [4]), request_])
