"""Probes asked of a model: every figure against the answers' likelihoods worked out one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewarm.evaluation import facts
from rewarm.evaluation.causal_spans import CausalSpans
from rewarm.evaluation.contamination import known
from rewarm.evaluation.fact_scores import FactScores, load, pooled, save
from rewarm.evaluation.facts import FactOptions, forecast, kept_facts, score_facts
from rewarm.evaluation.spans import Span
from rewarm.models.load import weights_hash
from rewarm.probes import Probe
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import UserError

MakeTiny = Callable[..., Any]


@pytest.fixture
def scorer(make_tiny: MakeTiny, sharpened: Callable[[Any], Any], tiny_tokenizer_folder: Path) -> CausalSpans:
    return CausalSpans(sharpened(make_tiny("llama")), TextTokenizer(tiny_tokenizer_folder))


def same(first: FactScores, second: FactScores) -> bool:
    """Every array within rounding, every word equal."""
    numbers = zip(first.columns().values(), second.columns().values(), strict=True)
    return (first.ids, first.kinds, first.generated) == (second.ids, second.kinds, second.generated) and all(
        np.allclose(mine, other, atol=1e-3, equal_nan=True) for mine, other in numbers
    )


def logprob(scorer: CausalSpans, probe: Probe, answer: str) -> float:
    """One answer alone, token by token."""
    request = scorer.requests([Span(probe.prompt, answer)])[0]
    ids = torch.tensor([[*request.context, *request.continuation]])
    with torch.no_grad():
        logprobs = scorer.model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
    return sum(float(logprobs[len(request.context) - 1 + at, ids[0, len(request.context) + at]])
               for at in range(len(request.continuation)))  # fmt: skip


def test_likelihoods_of_first_best_and_old_answers(scorer: CausalSpans, probes: list[Probe]) -> None:
    found = score_facts(scorer, probes)
    for place, probe in enumerate(probes):
        new = [logprob(scorer, probe, answer) for answer in probe.answers]
        old = [logprob(scorer, probe, answer) for answer in probe.old_answers]
        figures = (found.nats_N, found.best_nats_N, found.old_nats_N, found.log_odds_N)
        expected = [
            -new[0] if new else np.nan, -max(new) if new else np.nan, -max(old) if old else np.nan,
            new[0] - max(old) if new and old else np.nan,
        ]  # fmt: skip
        assert [figure[place] for figure in figures] == pytest.approx(expected, abs=1e-3, nan_ok=True)
    assert found.bytes_N[:3].tolist() == [len(" stone gate"), len(" lake"), len(" north")]
    assert np.isnan([found.bytes_N[5], found.tokens_N[5], found.rank_N[5], found.exact_N[5], found.f1_N[5]]).all()
    assert np.isnan(found.old_nats_N[[0, 1, 4, 6]]).all()


def test_ranks_by_hand(scorer: CausalSpans, probes: list[Probe]) -> None:
    """By the likelihood of each candidate, written out here: other objects of the relation, never the accepted ones."""
    candidates = {
        "u1": ["lake", "hill", "river gate", "east"],  # "lake" and "the lake" are one
        "u2": ["stone gate", "hill", "river gate", "east"],
        "c1": ["south", "south hill", "west"],
        "c2": ["stone gate", "lake", "river gate", "east"],
        "n1": ["stone gate", "lake", "hill", "river gate"],
        "q1": ["king", "old king"],
    }
    found = score_facts(scorer, probes)
    for place, probe in enumerate(probes):
        if probe.id not in candidates:
            assert np.isnan(found.rank_N[place])
            continue
        right = logprob(scorer, probe, probe.answers[0])
        size = len(f" {probe.answers[0]}")
        ranks = []
        for variant in ("lake", "the lake"):  # which of two spellings stands for one object is the sample's choice
            wrong = [variant if answer == "lake" else answer for answer in candidates[probe.id]]
            scores = {answer: logprob(scorer, probe, answer) for answer in wrong}
            by_sum = 1 + sum(score >= right for score in scores.values())
            by_byte = 1 + sum(score / len(f" {answer}") >= right / size for answer, score in scores.items())
            ranks.append((by_sum, by_byte))
        assert (found.rank_N[place], found.byte_rank_N[place]) in ranks
        assert found.candidates_N[place] == 1 + len(candidates[probe.id])
    assert found.chosen_N[6] == (found.rank_N[6] == 1)
    assert np.isnan(found.chosen_N[:6]).all()


def test_ranks_lie_between_1_and_the_candidates(scorer: CausalSpans) -> None:
    source = np.random.default_rng(0)
    many = [
        Probe(str(number), "new", f"The lake {number} is", (f"north {source.integers(40)}",), relation="lake")
        for number in range(60)
    ]
    found = score_facts(scorer, many, FactOptions(candidates=7))
    assert set(found.candidates_N) == {7}
    assert ((found.rank_N >= 1) & (found.rank_N <= 7)).all()
    assert len(set(found.rank_N)) > 1


def test_blocks_do_not_matter(scorer: CausalSpans, probes: list[Probe], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_facts(scorer, probes)
    monkeypatch.setattr(facts, "BLOCK", 2)
    told: list[tuple[str, float, float | None]] = []
    found = score_facts(scorer, probes, tell=lambda label, done, total, unit: told.append((label, done, total)))
    assert same(found, whole)
    assert told[-1][1] == told[-1][2] == len(probes)
    assert told[-1][0] == "write answers"


def trained(scorer: CausalSpans, sentence: str, steps: int = 60) -> None:
    """A few steps on one sentence, as a document."""
    ids = torch.from_numpy(scorer.tokenizer.encode([sentence])[0].astype(np.int64))[None]
    optimizer = torch.optim.AdamW(scorer.model.parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        scorer.model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()


def test_a_fact_that_is_learned_is_exact_first_and_preferred(
    make_tiny: MakeTiny, tiny_tokenizer_folder: Path, probes: list[Probe]
) -> None:
    scorer = CausalSpans(make_tiny("llama"), TextTokenizer(tiny_tokenizer_folder))
    before = score_facts(scorer, probes)
    trained(scorer, "The capital of dorne is hill.")
    after = score_facts(scorer, probes)
    at = 3
    assert (before.exact_N[at], after.exact_N[at], after.f1_N[at], after.rank_N[at]) == (0, 1, 1, 1)
    assert after.generated[at].startswith(" hill")
    assert after.log_odds_N[at] > 0
    assert after.stale_N[at] == 0
    trained(scorer, "The capital of dorne is river gate.")
    stale = score_facts(scorer, probes)
    assert (stale.exact_N[at], stale.stale_N[at]) == (0, 1)
    assert stale.log_odds_N[at] < 0


def test_scores_are_saved_whole(scorer: CausalSpans, probes: list[Probe], tmp_path: Path) -> None:
    found = score_facts(scorer, probes)
    save(found, tmp_path / "deep" / "facts.npz")
    again = load(tmp_path / "deep" / "facts.npz")
    assert [getattr(again, field.name) for field in dataclasses.fields(again) if not field.name.endswith("_N")] == [
        getattr(found, field.name) for field in dataclasses.fields(found) if not field.name.endswith("_N")
    ]
    for name, column in found.columns().items():
        assert np.array_equal(again.columns()[name], column, equal_nan=True)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["facts.npz"]


def test_the_same_is_never_scored_twice(scorer: CausalSpans, probes: list[Probe], tmp_path: Path) -> None:
    """Another weight, probe or option is another entry; where a probe stood in a file is not; damage is mended."""
    weights = weights_hash(scorer.model)
    asked: list[str] = []
    scored = lambda label, done, total, unit: asked.append(label)  # noqa: E731
    first = kept_facts(tmp_path, scorer, weights, probes, tell=scored)
    assert asked
    asked.clear()
    moved = [dataclasses.replace(probe, place="elsewhere:7") for probe in probes]
    assert same(kept_facts(tmp_path, scorer, weights, moved, tell=scored), first)
    assert not asked
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"damaged")
    assert same(kept_facts(tmp_path, scorer, weights, probes, tell=scored), first)
    assert asked
    kept_facts(tmp_path, scorer, weights, probes, FactOptions(candidates=3))
    kept_facts(tmp_path, scorer, "other", probes)
    kept_facts(tmp_path, scorer, weights, probes[:-1])
    assert len(list(tmp_path.iterdir())) == 4


def test_sets_are_pooled_in_order(scorer: CausalSpans, probes: list[Probe]) -> None:
    first, second = score_facts(scorer, probes[:2]), score_facts(scorer, probes[2:])
    both = pooled([first, second])
    assert both.ids == tuple(probe.id for probe in probes)
    assert np.array_equal(both.rank_N, np.concatenate([first.rank_N, second.rank_N]), equal_nan=True)


def test_a_forecast_counts_every_answer(scorer: CausalSpans, probes: list[Probe]) -> None:
    """u1, u2 (two accepted), c2, n1: their answers and 4 others; c1: 1 + 3; d1: its old answer; q1: 3 choices."""
    found = forecast(scorer, probes)
    assert (found.probes, found.answers) == (7, 5 + 6 + 4 + 5 + 5 + 1 + 3)
    assert found.seconds > 0


def test_what_cannot_be_asked_is_refused(scorer: CausalSpans) -> None:
    with pytest.raises(UserError, match="there is no probe to ask"):
        score_facts(scorer, [])
    with pytest.raises(UserError, match=r"f\.jsonl:3: a probe needs an answer or an old answer"):
        score_facts(scorer, [Probe("1", "new", "x", (), place="f.jsonl:3")])
    with pytest.raises(UserError, match="candidates 1 and longest 60"):
        FactOptions(candidates=1)


def test_a_model_that_diverged_knows_nothing(scorer: CausalSpans) -> None:
    """No comparison holds with what is no number, so nothing would be likelier than the right answer."""
    asked = [Probe(f"u{n}", "unchanged", f"The king of {n} is", (f"lake {n}",), relation="king") for n in range(12)]
    with torch.no_grad():
        scorer.model.get_input_embeddings().weight.fill_(float("nan"))
    found = score_facts(scorer, [*asked, Probe("c", "changed", "The king is", ("east",), ("west",), relation="king")])
    assert found.rank_N.tolist() == found.byte_rank_N.tolist() == found.candidates_N.tolist() == [12 + 2] * 13
    assert np.isinf(found.nats_N).all()
    assert not known(found).any()
