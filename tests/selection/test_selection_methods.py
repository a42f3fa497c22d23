"""What each way to score gives, by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from rewarm.methods import build
from rewarm.selection import UNSCORED, Scene, Selection
from rewarm.selection.combined import Combined
from rewarm.selection.entropy import Entropy, bits, coarse, tags
from rewarm.selection.loss import Loss
from rewarm.selection.ngram_importance import NgramImportance
from rewarm.selection.perplexity import Perplexity
from rewarm.selection.similarity import Similarity
from rewarm.types import UserError

NOTHING = np.zeros(0)


def of_texts(*texts: str, **known: Any) -> Scene:
    return Scene(texts=texts, tokens_D=np.array([len(text) for text in texts], np.int64), **known)


def of_states(*states: list[float]) -> Scene:
    return of_texts(*[""] * len(states), states_DE=np.array(states, np.float32))


def scores(method: Selection, *values: list[float]) -> list[float]:
    columns = [np.array(one, np.float64) for one in values]
    found: list[float] = method.judge(columns, np.linspace(0, 0.9, len(columns[0]))).score_D.tolist()
    return found


def best(method: Selection, values: list[float], count: int) -> set[int]:
    return set(np.argsort(scores(method, values))[::-1][:count].tolist())


def test_loss_keeps_the_top_the_bottom_or_both_sides_of_the_median() -> None:
    """Losses in order: 0.5 (4), 1 (1), 2 (3), 4 (0), 7 (5), 9 (2). The median lies between documents 3 and 0."""
    losses = [4.0, 1.0, 9.0, 2.0, 0.5, 7.0]
    assert best(Loss(keep="top"), losses, 2) == {2, 5}
    assert best(Loss(keep="bottom"), losses, 2) == {4, 1}
    assert best(Loss(keep="median"), losses, 2) == {3, 0}
    assert best(Loss(keep="median"), losses, 4) == {3, 0, 1, 5}
    assert scores(Loss(keep="median"), losses)[3] == scores(Loss(keep="median"), losses)[0]
    chance = build("selection", {"type": "loss", "keep": "random"})
    assert isinstance(chance, Selection)
    assert (chance.parts(), chance.reads()) == ((), frozenset())
    assert chance.judge([], np.array([0.3, 0.1])).score_D.tolist() == [0.3, 0.1]


def test_what_has_no_loss_is_set_aside() -> None:
    for keep in ("top", "bottom", "median"):
        judged = build("selection", {"type": "loss", "keep": keep}).judge([np.array([1, np.nan, 3.0])], NOTHING)  # type: ignore[attr-defined]
        assert (judged.aside_D.tolist(), judged.reasons, judged.counts()) == ([0, 1, 0], (UNSCORED,), {UNSCORED: 1})


def test_perplexity_is_per_token_and_its_guard_sets_both_ends_aside() -> None:
    scene = of_texts("a", "b", losses_D=np.array([np.log(8), np.nan]))
    measured = Perplexity().measure(scene, None)
    assert measured[0] == pytest.approx(8)
    assert np.isnan(measured[1])
    values = [np.arange(1.0, 22.0)]  # 1 to 21: the quantiles 5 % and 95 % are 2 and 20
    judged = Perplexity().judge(values, NOTHING)
    assert np.flatnonzero(judged.aside_D).tolist() == [0, 20]
    assert judged.counts() == {"perplexity below the guard band": 1, "perplexity above the guard band": 1}
    assert not build("selection", {"type": "perplexity", "guard": "none"}).judge(values, NOTHING).aside_D.any()  # type: ignore[attr-defined]
    assert Perplexity(guard=("25%", 0.75)).guard == (0.25, 0.75)
    assert Perplexity(prefer="low").judge(values, NOTHING).score_D.tolist() == (-values[0]).tolist()
    with pytest.raises(UserError, match="lower share first"):
        build("selection", {"type": "perplexity", "guard": [0.9, 0.1]})


def test_measures_that_are_the_same_are_kept_for_all_judgements() -> None:
    assert Perplexity(guard=None).measured() == Perplexity().measured()
    assert Loss(keep="top").measured() == Loss(keep="median").measured()
    assert Similarity(neighbours=3).measured() == Similarity().measured()
    assert Similarity(how="knn", neighbours=3).measured() != Similarity(how="knn").measured()


@pytest.mark.parametrize(
    ("how", "expected"),
    # Against the task's (1, 0) and (0, 2): their mean (0.5, 1) has the length sqrt(1.25).
    [("mean", [0.5 / 1.25**0.5, 1 / 1.25**0.5]), ("max", [1, 1]), ("knn", [0.5, 0.5])],
)
def test_similarity_is_the_cosine_with_the_task(how: Any, expected: list[float]) -> None:
    method = Similarity(how=how, neighbours=2)
    learned = method.learn(of_states([1, 0], [0, 2]), ())
    found = method.measure(of_states([3, 0], [0, 0.1], [0, 0], [-1, -1]), learned)
    assert found[:2].tolist() == pytest.approx(expected, abs=1e-6)
    assert np.isnan(found[2])
    assert found[3] < 0


def test_similarity_of_given_vectors() -> None:
    method = Similarity(column="vector")
    assert (method.fields(), method.reads()) == (("vector",), {"task", "text"})
    learned = method.learn(of_texts("t", fields={"vector": [[1.0, 0.0]]}), ())
    found = method.measure(of_texts("a", "b", "c", fields={"vector": [[2, 0], None, [0, 1]]}), learned)
    assert found[[0, 2]].tolist() == [1, 0]
    assert np.isnan(found[1])
    with pytest.raises(UserError, match="the pool have 3 numbers, those of the task 2"):
        method.measure(of_texts("a", fields={"vector": [[1, 2, 3]]}), learned)
    with pytest.raises(UserError, match="no vector in the field 'vector'"):
        method.learn(of_texts("t", fields={"vector": ["words"]}), ())
    with pytest.raises(UserError, match="give one of them"):
        build("selection", {"type": "similarity", "column": "vector", "folder": "x"})
    with pytest.raises(UserError, match="no vector to compare with"):
        Similarity().learn(of_states([0, 0]), ())


def test_an_encoder_that_is_not_installed_is_named() -> None:
    pytest.importorskip("numpy")
    with pytest.raises(UserError, match=r"rewarm\[embed\]|no sentence-transformers model"):
        Similarity(folder="nowhere").learn(of_texts("a"), ())


def test_entropy_of_classes_by_hand() -> None:
    """`The` is title, `cats` and `dogs` end in s, `sat` does not; 5 and the point have no letter: 1, 2, 1 of four."""
    assert coarse("The cats sat, 5 dogs.")[1] == ("cats", "lower-s")
    counted = tags("The cats sat, 5 dogs.", coarse)
    assert sorted(counted.values()) == [1, 1, 2]
    assert bits(counted) == 1.5
    found = Entropy(tagger="classes").measure(of_texts("The cats sat, 5 dogs.", "", "12 + 34", "sat sat"), None)
    assert found.tolist() == [1.5, 0, 0, 0]
    assert bits(Counter("abcd")) == 2
    kinds = dict(coarse("GPT2 GPT well-known McDonald running 3rd"))
    assert kinds == {
        "GPT2": "upper+digit-", "GPT": "upper-", "well-known": "lower+inner-", "McDonald": "mixed-",
        "running": "lower-ing", "3rd": "lower+digit-",
    }  # fmt: skip


def test_entropy_of_parts_of_speech_by_hand() -> None:
    """the/DT cat/NN sees/VBZ the/DT dog/NN: 2, 2, 1 of five."""
    pytest.importorskip("textblob")
    method = Entropy(tagger="textblob")
    expected = 2 * 0.4 * np.log2(1 / 0.4) + 0.2 * np.log2(1 / 0.2)
    assert method.measure(of_texts("the cat sees the dog . 12"), None).tolist() == pytest.approx([expected])
    assert "TextBlob" in str(method.note())
    assert method.measured()["tagger"] == Entropy().measured()["tagger"] == "textblob"


def test_entropy_says_what_stands_for_a_missing_tagger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewarm.selection.entropy.find_spec", lambda name: None)
    assert Entropy().measured() == {"type": "entropy", "tagger": "classes", "version": 1}
    assert str(Entropy().note()).endswith("no parts of speech; TextBlob is not installed")
    with pytest.raises(UserError, match=r"pip install 'rewarm\[tagger\]'"):
        Entropy(tagger="textblob").note()


def test_a_long_text_is_tagged_in_pieces_without_a_loss() -> None:
    text = "the cats are Running home " * 3000
    assert tags(text, coarse) == Counter({kind: 3000 * count for kind, count in tags(text[:26], coarse).items()})
    assert sum(tags("x" * 50_000, coarse).values()) == 3


def test_importance_by_hand() -> None:
    """One-word grams in two buckets that tell `yes` from `is`: the task has 3 yes, the pool 1 yes and 3 is."""
    method = NgramImportance(order=1, buckets=2)
    yes, is_ = (int(method.hashed(word)[0]) for word in ("yes", "is"))
    assert {yes, is_} == {0, 1}
    learned = method.learn(of_texts("yes yes", "YES"), ["yes is", "is is"])
    in_task, in_pool = {"yes": 4 / 5, "is": 1 / 5}, {"yes": 2 / 6, "is": 4 / 6}
    gain = {word: np.log(in_task[word] / in_pool[word]) for word in in_task}
    found = method.measure(of_texts("yes", "yes is is", " "), learned)
    assert found[:2].tolist() == pytest.approx([gain["yes"], (gain["yes"] + 2 * gain["is"]) / 3])
    assert np.isnan(found[2])
    summed = NgramImportance(order=1, buckets=2, per="document").measure(of_texts("yes is is"), learned)
    assert summed[0] == pytest.approx(gain["yes"] + 2 * gain["is"])
    assert len(NgramImportance(order=3).hashed("a b c d")) == 4 + 3 + 2
    assert NgramImportance().hashed("a b").tolist() != NgramImportance().hashed("b a").tolist()
    with pytest.raises(UserError, match="holds no word"):
        method.learn(of_texts(" "), ["yes"])


def test_combined_is_the_mean_of_ranks() -> None:
    """Losses rank 0, 1, 1/2; entropies 1/2, 1, 0. A document outside the guard band has rank 0 in perplexity alone."""
    method = Combined(of=[{"type": "loss", "keep": "top"}, {"type": "entropy", "tagger": "classes"}])
    assert scores(method, [1, 9, 5], [2, 3, 1]) == [0.25, 1.0, 0.25]
    assert [part.method_name() for part in method.parts()] == ["loss", "entropy"]
    assert method.reads() == {"losses", "text"}
    guarded = Combined(of=[{"type": "perplexity", "guard": [0, 0.6]}, "random"])
    judged = guarded.judge([np.array([1.0, 2.0, 900.0])], np.array([0.0, 0.1, 0.2]))
    assert judged.score_D.tolist() == [0.0, 0.75, 0.5]
    assert not judged.aside_D.any()
    assert Combined().reads() == {"text", "losses", "states", "task"}
    with pytest.raises(UserError, match="combined cannot hold combined"):
        build("selection", {"type": "combined", "of": ["combined"]})
