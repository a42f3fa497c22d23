"""A frozen model that learns by prompts: what it reads, what moves, and what it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rewarm.evaluation.answering import Answers
from rewarm.evaluation.learners import IGNORED, Padded
from rewarm.evaluation.prompted import Choice, PromptedAnswerer, from_rows, sources
from rewarm.evaluation.tuning import Tuning, tune
from rewarm.models.load import weights_hash
from rewarm.types import UserError

QUERY = Choice("query", top=2)
NEVER = 10_000
"""An end beyond the vocabulary."""


def answers(tasks: tuple[int, ...] = (), count: int = 8) -> Answers:
    """Prompts of 3 to 5 tokens, each with an answer of two and an end."""
    tokens = [[20 + row, 9, 30 + row, *([5] * (row % 3)), 40, 41, 1] for row in range(count)]
    return Answers(tokens, [[False] * (len(row) - 3) + [True] * 3 for row in tokens])


def told(rows: Padded, *tasks: int) -> Padded:
    """Rows that know their tasks."""
    return Padded(rows.tokens_BT, rows.real_BT, rows.labels, tasks)


def learner(body: Any, choice: Choice = QUERY, prompts: int = 4, length: int = 2) -> PromptedAnswerer:
    """One with prompts drawn at random: the first half of them task 0's, the others task 1's."""
    made = PromptedAnswerer(body, length, choice)
    draw = torch.Generator().manual_seed(3)
    width = made.pool.keys_KD.shape[1]
    made.pool.add(
        torch.randn(prompts, width, generator=draw),
        torch.randn(prompts, length, width, generator=draw),
        [(2 * place // prompts, 2 * place // prompts) for place in range(prompts)],
    )
    return made


def test_the_source_is_what_comes_before_the_first_asked_token() -> None:
    rows = answers().padded([0, 2], 0)
    assert sources(rows.real_BT, rows.labels).sum(1).tolist() == [3, 5]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt-neox"])
def test_prompts_are_read_before_the_row_and_padding_does_not_matter(kind: str, make_tiny: Callable[..., Any]) -> None:
    body = make_tiny(kind)
    prompted = learner(body).eval()
    rows = answers()
    with torch.no_grad():
        both = prompted.read(rows.padded([0, 2], 0)).logits_NC
        alone = [prompted.read(rows.padded([row], 0)).logits_NC for row in (0, 2)]
        # By hand: the embeddings of the closest prompts and of the row, all read by the plain model.
        tokens_BT = torch.tensor([rows.tokens[2]])
        hidden_D = body.base_model(tokens_BT[:, :5]).last_hidden_state.mean(1)
        near = torch.nn.functional.cosine_similarity(hidden_D, prompted.pool.keys_KD).topk(2).indices.sort().values
        given = torch.cat([*prompted.pool.prompts_KLD[near], body.get_input_embeddings()(tokens_BT)[0]])[None]
        by_hand = body(inputs_embeds=given).logits[0, 4 + 4 : 4 + 7]
    assert torch.allclose(both, torch.cat(alone), atol=1e-5)
    assert torch.allclose(alone[1], by_hand, atol=1e-5)


def test_the_query_does_not_depend_on_the_answer(make_tiny: Callable[..., Any]) -> None:
    prompted = learner(make_tiny("llama"))
    rows = answers().padded([0, 2], 0)
    other = torch.where(rows.labels.roll(1, 1) == IGNORED, rows.tokens_BT, 7)
    assert not torch.equal(other, rows.tokens_BT)
    source_BT = sources(rows.real_BT, rows.labels)
    assert torch.equal(prompted.queries(rows.tokens_BT, source_BT), prompted.queries(other, source_BT))


@pytest.mark.parametrize("choice", [QUERY, Choice("query", top=2, forced=True), Choice("all"), Choice("task")])
def test_only_prompts_and_keys_move_and_the_base_stays_bit_for_bit(
    choice: Choice, make_tiny: Callable[..., Any]
) -> None:
    prompted = learner(make_tiny("llama"), choice)
    before = weights_hash(prompted.body)

    class Told(Answers):
        def padded(self, chosen: Any, pad: int) -> Padded:
            return told(super().padded(chosen, pad), *[0] * len(chosen))

    rows = Told(answers().tokens, answers().asked)
    prompted.train()
    passed = prompted.read(rows.padded([0, 1], 0))
    (passed.logits_NC.sum() + (passed.extra if passed.extra is not None else 0)).backward()
    reached = {name for name, one in prompted.named_parameters() if one.grad is not None and one.grad.any()}
    assert reached == {"pool.prompts_KLD", *(("pool.keys_KD",) if choice.by == "query" else ())}
    prompted.zero_grad()
    state = {name: one.clone() for name, one in prompted.pool.state_dict().items()}
    course = tune(prompted, rows, rows, Tuning(0.03, max_steps=10, batch_size=4, decay="none"))
    assert course.best.loss < course.readings[0].loss
    assert weights_hash(prompted.body) == before
    assert not torch.equal(state["prompts_KLD"], prompted.pool.prompts_KLD)


def test_the_pull_brings_keys_closer_to_queries(make_tiny: Callable[..., Any]) -> None:
    prompted = learner(make_tiny("llama"), Choice("query", top=2, pull=0.5))
    rows = answers().padded([0, 1, 2], 0)
    source_BT = sources(rows.real_BT, rows.labels)
    query_BD = prompted.queries(rows.tokens_BT, source_BT)
    chosen_BC = prompted.pool.closest(query_BD, 2)
    prompted.train()
    extra = prompted.read(rows).extra
    before = prompted.pool.likeness(query_BD, chosen_BC).detach()
    assert extra is not None
    assert extra.item() == pytest.approx(-0.5 * before.sum(1).mean().item(), abs=1e-6)
    extra.backward()
    with torch.no_grad():
        prompted.pool.keys_KD -= 0.1 * prompted.pool.keys_KD.grad
    assert bool((prompted.pool.likeness(query_BD, chosen_BC) > before).all())
    assert prompted.eval().read(rows).extra is None


def test_teacher_forcing_gives_rows_the_prompts_of_their_tasks_in_training_alone(
    make_tiny: Callable[..., Any],
) -> None:
    prompted = learner(make_tiny("llama"), Choice("query", top=2, forced=True))
    rows = answers().padded([0, 1], 0)
    for tasks, moved in (((0, 0), [0, 1]), ((1, 1), [2, 3]), ((0, 1), [0, 1, 2, 3])):
        prompted.train().zero_grad()
        passed = prompted.read(told(rows, *tasks))
        assert passed.extra is not None
        (passed.logits_NC.square().sum() + passed.extra).backward()
        for gradient in (prompted.pool.prompts_KLD.grad, prompted.pool.keys_KD.grad):
            assert gradient.flatten(1).any(1).nonzero()[:, 0].tolist() == moved
    prompted.eval()
    assert torch.equal(prompted.read(told(rows, 0, 0)).logits_NC, prompted.read(rows).logits_NC)
    with pytest.raises(UserError, match="do not say which task"):
        prompted.train().read(rows)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("choice", [QUERY, Choice("all"), Choice("task")])
def test_what_is_written_is_what_reading_it_finds_likeliest(
    kind: str, choice: Choice, make_tiny: Callable[..., Any]
) -> None:
    prompted = learner(make_tiny(kind), choice).train()
    prompts = [row[:-3] for row in answers().tokens]
    tasks = [row % 2 for row in range(len(prompts))]
    written = prompted.write(prompts, 5, [NEVER], tasks)
    assert len({tuple(row) for row in written}) > 1
    assert prompted.training
    prompted.eval()
    for prompt, made, task in zip(prompts, written, tasks, strict=True):
        assert made
        row = Answers([[*prompt, *made]], [[False] * len(prompt) + [True] * len(made)])
        assert prompted.read(told(row.padded([0], 0), task)).logits_NC.argmax(1).tolist() == made


def test_an_end_is_not_returned(make_tiny: Callable[..., Any]) -> None:
    prompted = learner(make_tiny("llama"))
    prompt = answers().tokens[0][:-3]
    first = prompted.write([prompt], 4, [NEVER], [0])[0]
    assert prompted.write([prompt], 4, [first[2]], [0])[0] == first[: first.index(first[2])]
    with pytest.raises(UserError, match="a prompt without a token"):
        prompted.write([prompt, []], 4, [NEVER], [0, 0])


def test_rows_that_do_not_fit_behind_their_prompts_are_refused(make_tiny: Callable[..., Any]) -> None:
    prompted = learner(make_tiny("gpt2"), length=30)
    most = prompted.body.config.max_position_embeddings
    prompted.check_length(most - 60)
    with pytest.raises(UserError, match=f"takes {most + 1:,} positions, and the base has {most:,}"):
        prompted.check_length(most - 59)
    with pytest.raises(UserError, match="lower max_length"):
        prompted.write([[5] * 4], most - 60, [1], [0])


def test_prompts_of_rows_are_the_mean_embeddings_of_their_sources_and_keys_a_query_of_theirs(
    make_tiny: Callable[..., Any],
) -> None:
    prompted = learner(make_tiny("llama"))
    one = Answers(answers().tokens[2:3], answers().asked[2:3])
    keys_ND, prompts_NLD = from_rows(prompted, one, 3, seed=1)
    source_T = torch.tensor(one.tokens[0][:5])
    unit = torch.nn.functional.normalize
    mean_D = unit(prompted.body.get_input_embeddings()(source_T).mean(0), dim=0)
    query_D = unit(prompted.body.base_model(source_T[None]).last_hidden_state[0].mean(0), dim=0)
    assert torch.allclose(prompts_NLD, mean_D.expand(3, 2, -1), atol=1e-6)
    assert torch.allclose(keys_ND, query_D.expand(3, -1), atol=1e-6)
    bare = Answers([row[:5] for row in one.tokens], [[True] * 5])
    assert torch.equal(from_rows(prompted, bare, 3, seed=1, whole=True)[0], keys_ND)
