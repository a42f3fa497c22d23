"""Ways that learn prompts: what a task brings to a pool, what they see of others, and what is forgotten."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation.answering import Answerer, Answers
from rewarm.evaluation.prompted import PromptedAnswerer
from rewarm.evaluation.tuning import Tuning, tune
from rewarm.methods import build
from rewarm.tasks import Arrived, Beginning, Way
from rewarm.tasks.prompt_pool import PromptPool
from rewarm.tasks.rows import Joined
from rewarm.types import UserError

BRIEF = Tuning(0.03, max_steps=3, batch_size=8)


def task(number: int, seed: int | None = None) -> Arrived:
    """A task of its own ten tokens, whose answer is the prompt's last token."""
    draw = np.random.default_rng(number if seed is None else seed)
    prompts = (draw.integers(10, size=(24, 4)) + 20 + 10 * number).tolist()
    rows = Joined([(number, Answers([[*row, row[-1], 1] for row in prompts], [[False] * 4 + [True] * 2] * 24))])
    return Arrived(number, f"task-{number}", rows, rows, Answers(prompts, [[True] * 4] * 24))


def unseen(one: Arrived) -> Arrived:
    """A task that has not arrived, as a way may see it: without labels."""
    return Arrived(one.number, one.name, None, None, one.text)


def beginnings(tasks: Sequence[Arrived], way: Way, seed: int = 0) -> list[Beginning]:
    """What a way finds when each task arrives."""
    past = tasks if way.reads_old_labels else [unseen(one) for one in tasks]
    return [
        Beginning(
            one, past[:place], [unseen(other) for other in tasks[place + 1 :]] if way.peeks_ahead else (), BRIEF, seed,
            Path(),
        )
        for place, one in enumerate(tasks)
    ]  # fmt: skip


def way(**options: Any) -> Any:
    """A way from the options of a plan."""
    return build("tasks", options)


def run(method: Way, tasks: Sequence[Arrived], body: Any, states: list[Any] | None = None) -> PromptedAnswerer:
    """The learner after all tasks in turn; states as they were before each task."""
    learner = method.learner(Answerer(copy.deepcopy(body)), 0)
    assert isinstance(learner, PromptedAnswerer)
    for beginning in beginnings(tasks, method):
        if states is not None:
            states.append(copy.deepcopy(learner.state_dict()))
        method.arrive(learner, beginning)
        tune(learner, method.rows(beginning), method.dev(beginning), beginning.tuning)
    return learner


def arrived(method: Way, tasks: Sequence[Arrived], body: Any) -> PromptedAnswerer:
    """The learner when the last task has arrived, without any training."""
    learner = method.learner(Answerer(body), 0)
    assert isinstance(learner, PromptedAnswerer)
    for beginning in beginnings(tasks, method):
        method.arrive(learner, beginning)
    return learner


@pytest.mark.parametrize("key_init", ["stream", "random", "upfront"])
def test_four_tasks_of_twenty_keys_that_share_two_in_pairs_make_68(
    key_init: str, make_tiny: Callable[..., Any]
) -> None:
    found = arrived(way(type="prompt-pool", key_init=key_init), [task(one) for one in range(4)], make_tiny("llama"))
    owners = Counter(tuple(sorted(pair)) for pair in found.pool.owners_K2.tolist())
    pairs = {(one, other): 2 for one in range(4) for other in range(one + 1, 4)}
    assert owners == {(one, one): 14 for one in range(4)} | pairs
    assert len(found.pool) == 68
    assert [len(found.pool.assigned(one)) for one in range(4)] == [20] * 4


def test_every_task_has_all_its_keys_when_it_arrives(make_tiny: Callable[..., Any]) -> None:
    method = way(type="prompt-pool", keys=5, length=2, shared=1)
    for count, size in ((1, 5), (2, 9), (3, 12)):
        found = arrived(method, [task(one) for one in range(count)], make_tiny("llama"))
        assert len(found.pool) == size
        assert [len(found.pool.assigned(one)) for one in range(count)] == [5] * count
    with pytest.raises(UserError, match="6 tasks that share 1 keys in pairs leave 0 of 5 keys"):
        arrived(method, [task(one) for one in range(6)], make_tiny("llama"))


@pytest.mark.parametrize(
    "options",
    [
        {"type": "shared-prompts"}, {"type": "task-prompts"}, {"type": "prompt-pool"},
        {"type": "prompt-pool", "teacher_forcing": True}, {"type": "prompt-pool", "key_init": "random", "pool": 24},
        {"type": "prompt-pool", "key_init": "upfront", "teacher_forcing": True},
        {"type": "prompt-pool", "key_init": "upfront", "pool": 24},
    ],
)  # fmt: skip
def test_a_task_to_come_matters_only_to_a_way_that_peeks_ahead(
    options: dict[str, Any], make_tiny: Callable[..., Any]
) -> None:
    method = way(**options)
    body = make_tiny("llama")
    first, others = [task(0), task(1)], (task(2), task(2, seed=99))
    states = []
    for other in others:
        learner = method.learner(Answerer(copy.deepcopy(body)), 0)
        for beginning in beginnings([*first, other], method)[:2]:
            method.arrive(learner, beginning)
            tune(learner, method.rows(beginning), method.dev(beginning), BRIEF)
        states.append(learner.pool.state_dict())
    same = all(torch.equal(one, states[1][name]) for name, one in states[0].items())
    assert same != method.peeks_ahead
    assert method.peeks_ahead == (options.get("key_init") == "upfront")
    assert method.knows_task == (options["type"] == "task-prompts")


def test_what_is_not_of_a_task_stays_with_teacher_forcing(make_tiny: Callable[..., Any]) -> None:
    method = way(type="prompt-pool", keys=4, length=2, shared=1, teacher_forcing=True)
    body, tasks = make_tiny("llama"), [task(0), task(1)]
    before, after = run(method, tasks[:1], body).pool, run(method, tasks, body).pool
    assert after.owners_K2.tolist() == [[0, 0]] * 3 + [[0, 1]] + [[1, 1]] * 3
    stayed = (after.prompts_KLD[:4] == before.prompts_KLD).flatten(1).all(1) & (
        after.keys_KD[:4] == before.keys_KD
    ).all(1)
    assert stayed.tolist() == [True, True, True, False]


def test_replayed_rows_train_the_prompts_of_their_own_task(make_tiny: Callable[..., Any]) -> None:
    method = way(type="prompt-pool", keys=4, length=2, shared=0, teacher_forcing=True, replay={"rows": 6})
    assert method.reads_old_labels
    body, tasks = make_tiny("llama"), [task(0), task(1)]
    rows = method.rows(beginnings(tasks, method)[1])
    assert Counter(rows.padded(range(len(rows.lengths)), 0).task_B) == {0: 6, 1: 24}
    before, after = run(method, tasks[:1], body).pool, run(method, tasks, body).pool
    assert not (after.prompts_KLD[:4] == before.prompts_KLD).flatten(1).all(1).any()


def test_task_prompts_forget_nothing(make_tiny: Callable[..., Any]) -> None:
    method, body, tasks = way(type="task-prompts", tokens=4), make_tiny("llama"), [task(0), task(1)]
    before, after = run(method, tasks[:1], body), run(method, tasks, body)
    assert torch.equal(after.pool.prompts_KLD[0], before.pool.prompts_KLD[0])
    prompts = [[20, 21, 22], [23, 24]]
    assert after.write(prompts, 3, [1], [0, 0]) == before.write(prompts, 3, [1], [0, 0])
    # A task that has not arrived has no prompts yet: it is the base that answers.
    bare = method.learner(Answerer(copy.deepcopy(body)), 0)
    assert isinstance(bare, PromptedAnswerer)
    assert after.write(prompts, 3, [1], [0, 7])[1] == bare.write(prompts, 3, [1], [7, 7])[1]


@pytest.mark.parametrize("options", [{"shared": 1}, {"key_init": "upfront"}, {"key_init": "random", "pool": 9}])
def test_resumed_is_unbroken(options: dict[str, Any], make_tiny: Callable[..., Any]) -> None:
    method = way(type="prompt-pool", keys=4, length=2, **{"shared": 0, **options})
    body, tasks = make_tiny("llama"), [task(one) for one in range(3)]
    states: list[Any] = []
    whole = run(method, tasks, body, states)
    resumed = method.learner(Answerer(copy.deepcopy(body)), 0)
    found = beginnings(tasks, method)
    for beginning, state in zip(found, states, strict=True):
        resumed.load_state_dict(state)
        method.arrive(resumed, beginning)
    tune(resumed, method.rows(found[2]), method.dev(found[2]), BRIEF)
    assert all(torch.equal(one, resumed.state_dict()[name]) for name, one in whole.state_dict().items())


def test_prompts_begin_as_long_as_embeddings_or_of_unit_length(make_tiny: Callable[..., Any]) -> None:
    body = make_tiny("llama")
    mean = body.get_input_embeddings().weight.norm(dim=-1).mean().item()
    for options, length in (({}, mean), ({"scale": "unit"}, 1.0), ({"init": "random"}, mean)):
        found = arrived(way(type="shared-prompts", tokens=3, **options), [task(0)], body).pool.prompts_KLD
        assert found.shape[:2] == (1, 3)
        assert found.detach().norm(dim=-1).flatten().tolist() == pytest.approx([length] * 3, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"teacher_forcing": "both"}, "Use type: task-prompts"),
        ({"pool": 30}, "set key_init to random or upfront"),
        ({"pool": 30, "key_init": "random", "teacher_forcing": True}, "leave pool out"),
        ({"pool": 10, "key_init": "random"}, "raise it or lower keys"),
        ({"shared": 20}, "must be below keys"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        way(type="prompt-pool", **options)


def test_train_is_teacher_forcing_as_the_published_option_says_it() -> None:
    assert PromptPool(teacher_forcing="train").teacher_forcing is True  # type: ignore[arg-type]
