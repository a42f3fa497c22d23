"""Laws of every way to score, whatever its formula."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rewarm.hashing import fraction, text_hash
from rewarm.methods import build, known
from rewarm.selection import Scene, Selection
from rewarm.selection.budget import Budget, choose

NAMES = [name for name, method in known("selection").items() if issubclass(method, Selection)]


def made(name: str) -> Selection:
    method = build("selection", name)
    assert isinstance(method, Selection)
    return method


def scene(words: object, count: int, first: int = 0) -> Scene:
    source = np.random.default_rng(first)
    texts = [words(first + number, 12) for number in range(count)]  # type: ignore[operator]
    return Scene(
        texts=texts,
        tokens_D=source.integers(5, 40, count),
        losses_D=source.uniform(1, 9, count),
        states_DE=source.normal(size=(count, 8)).astype(np.float32),
    )


def part_of(whole: Scene, places: slice) -> Scene:
    assert whole.losses_D is not None
    assert whole.states_DE is not None
    return Scene(whole.texts[places], whole.tokens_D[places], whole.losses_D[places], whole.states_DE[places])


@pytest.mark.parametrize("name", NAMES)
def test_documents_are_measured_one_by_one(name: str, words: object) -> None:
    """A scene's other documents change nothing, so any cut of a corpus into parts gives the same numbers."""
    whole, task = scene(words, 20), scene(words, 5, 100)
    for method in made(name).parts():
        learned = method.learn(task, iter(whole.texts))
        together = method.measure(whole, learned)
        apart = [method.measure(part_of(whole, slice(at, at + 4)), learned) for at in range(0, 20, 4)]
        assert together.shape == (20,)
        np.testing.assert_allclose(np.concatenate(apart), together, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("soft", [False, True])
def test_what_is_chosen_is_a_subset_in_order_and_the_seed_decides(name: str, soft: bool, words: object) -> None:
    method, whole, task = made(name), scene(words, 60), scene(words, 5, 100)
    hashes = np.array([text_hash(text) for text in whole.texts], np.uint64)
    values = [part.measure(whole, part.learn(task, iter(whole.texts))) for part in method.parts()]

    def chosen(seed: int) -> list[int]:
        draw = fraction(hashes, seed)
        judged = method.judge(values, draw)
        assert judged.score_D.shape == judged.aside_D.shape == (60,)
        found = choose(judged, hashes, whole.tokens_D, draw, Budget(share=0.3, soft=soft))
        assert sum(found.counts().values()) == 60
        assert sum(judged.counts().values()) == int((judged.aside_D > 0).sum())
        return found.documents.tolist()

    first = chosen(0)
    assert first == sorted(set(first)) == chosen(0)
    assert 0 < len(first) < 60
    if soft or not method.parts():
        assert chosen(1) != first


@pytest.mark.parametrize("name", NAMES)
def test_a_method_says_what_it_reads_and_what_it_is(name: str) -> None:
    method = made(name)
    assert method.reads() <= {"text", "losses", "states", "task"}
    assert frozenset().union(*(part.reads() for part in method.parts())) == method.reads()
    assert getattr(method, "paper", "")
    assert getattr(method, "cost", "")
    described = json.loads(json.dumps(method.described()))
    assert described["type"] == name
    assert build("selection", described) == method
    assert all(json.loads(json.dumps(part.measured())) == part.measured() for part in method.parts())
    assert not {"share", "soft", "gamma", "task", "tokens", "method"} & set(type(method).model_fields)
