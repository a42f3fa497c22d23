"""From scores on disk to what a result says of facts, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarm.evaluation.fact_scores import FactScores, save
from rewarm.plan import Plan, from_values
from rewarm.report.fact_parts import FactCell, Facts
from rewarm.report.facts import about
from rewarm.river.directory import RunDirectory
from rewarm.river.fact_rows import Stream, facts_of, facts_of_another
from rewarm.river.legs import legs

MakeValues = Callable[..., dict[str, Any]]
LEGS = ("base", "stage-1-law", "stage-2-code")
LAWS = [("u", "a"), ("u", "b"), ("c", "d")]
CODES = [("u", "e"), ("c", "f")]
KINDS = {"u": "unchanged", "c": "changed", "n": "new"}
# What each model writes right, in the order of the facts.
RIGHT = {
    "laws": {"base": (1, 1, 0), "stage-1-law": (1, 0, 1), "stage-2-code": (0, 0, 1)},
    "codes": {"base": (1, 0), "stage-1-law": (1, 0), "stage-2-code": (0, 1)},
}


def scores(facts: Sequence[tuple[str, str]], right: Sequence[float], relation: str = "mayor") -> FactScores:
    """Facts by the first letter of their kind and their subject; answers of 4 bytes and 2 tokens, at a nat each."""
    count = len(facts)
    values: dict[str, Any] = {field.name: np.full(count, np.nan) for field in fields(FactScores)}
    values |= {"nats_N": np.ones(count), "bytes_N": np.full(count, 4.0), "tokens_N": np.full(count, 2.0)}
    values |= {
        "ids": tuple(f"{kind}-{subject}" for kind, subject in facts),
        "kinds": tuple(KINDS[kind] for kind, _ in facts),
        "subjects": tuple(subject for _, subject in facts),
        "relations": (relation,) * count,
        "generated": ("",) * count,
        "exact_N": np.array(right, float),
        "truncated": 0,
    }
    return FactScores(**values)


def found(plan: Plan, root: Path, right: dict[str, dict[str, Sequence[float]]], codes: Any = CODES) -> Facts:
    """The facts of a run whose three models wrote the right answers that are given."""
    run = RunDirectory(root)
    for name, facts in (("laws", LAWS), ("codes", codes)):
        for model in LEGS:
            if model in right[name]:
                save(scores(facts, right[name][model]), run.evaluations / model / "facts" / f"{name}.npz")
    for leg in LEGS[1:]:
        run.record("leg finished", leg=leg)
    facts = facts_of(plan, run, legs(plan, lambda corpus: 10**6), [], {})
    assert facts is not None
    return facts


@pytest.fixture
def plan(asking: MakeValues, tmp_path: Path) -> Plan:
    """Stages law and code, each with a set of probes."""
    return from_values(asking(tmp_path / "run"))


def cell(facts: Facts, place: int, model: str, kind: str) -> FactCell:
    return next(row for row in facts.sets[place].rows if row.name == model).cells[kind]


def test_what_is_kept_and_learned(plan: Plan, tmp_path: Path) -> None:
    facts = found(plan, tmp_path / "made", RIGHT)
    assert facts.sets[0].base_knows == {"unchanged": 2, "changed": 0}
    unchanged, changed = (cell(facts, 0, "stage-1-law", kind) for kind in ("unchanged", "changed"))
    assert unchanged.held is not None
    assert changed.held is not None
    assert (unchanged.held.value, unchanged.held.facts) == (0.5, 2)
    assert (changed.held.value, changed.held.facts) == (1.0, 1)
    assert unchanged.known == 0.5
    assert unchanged.measures["exact"].value == 0.5
    assert unchanged.measures["exact"].delta == -0.5
    assert unchanged.measures["nats_per_byte"].value == 0.25
    assert unchanged.apart["exact"] == 0.5


def test_what_the_base_knew_measures_no_learning_and_what_it_did_not_no_loss(plan: Plan, tmp_path: Path) -> None:
    """The base writes one of the two unchanged facts, and the changed one already."""
    right = {**RIGHT, "laws": {"base": (1, 0, 1), "stage-1-law": (0, 1, 1), "stage-2-code": (0, 1, 1)}}
    facts = found(plan, tmp_path / "made", right)
    assert facts.sets[0].base_knows == {"unchanged": 1, "changed": 1}
    unchanged, changed = (cell(facts, 0, "stage-1-law", kind) for kind in ("unchanged", "changed"))
    assert unchanged.held is not None
    assert (unchanged.held.value, unchanged.held.facts) == (0.0, 1)
    assert unchanged.measures["exact"].delta == 0.0
    assert changed.held is None


def test_fuar_since_the_base_and_along_the_path(plan: Plan, tmp_path: Path) -> None:
    """After two stages, all of three unchanged facts are lost and both changed ones won: 1 / 1.

    Along the path: LM_0 knew both unchanged facts of the first set, lost 1; LM_1 knew two of the three of both sets,
    lost 2/3; both saw the second set's changed fact go from 0 to 1. (1 + 2/3) / (1 + 1).
    """
    totals = {total.name: total for total in found(plan, tmp_path / "made", RIGHT).totals}
    last = totals["stage-2-code"]
    assert last.ratios["exact"].value == pytest.approx(1.0)
    assert last.ratios["exact"].invariant == [(1.0, 0.0)]
    along = last.along["exact"]
    assert along.value == pytest.approx(5 / 6)
    assert along.invariant == [(1.0, 0.0), (pytest.approx(2 / 3), 0.0)]
    assert along.updated == [(0.0, 1.0), (0.0, 1.0)]
    assert along.new == [None, None]
    first = totals["stage-1-law"]
    # One stage has one model before it: since the base says it all, of the sets that the stage has reached.
    assert first.along == {}
    assert first.ratios["exact"].value == pytest.approx(0.5)
    assert last.held["unchanged"].facts == 3
    assert last.held["changed"].value == 1.0


def test_no_gain_and_no_rank(plan: Plan, tmp_path: Path) -> None:
    still = {name: dict.fromkeys(LEGS, right["base"]) for name, right in RIGHT.items()}
    total = found(plan, tmp_path / "made", still).totals[-1]
    assert total.ratios["exact"].value is None
    assert total.ratios["exact"].vacuous
    # No probe was ranked, so there is nothing that FUAR by rank could be made of.
    assert total.ratios["rank_1"].invariant == [None]


def test_what_changes_again_is_neither_forgotten_nor_learned(plan: Plan, tmp_path: Path) -> None:
    """The second set changes `b` and `d`: of the first set `a` alone is left."""
    codes = [("c", "b"), ("c", "d")]
    right = {**RIGHT, "codes": {"base": (0, 0), "stage-1-law": (0, 0), "stage-2-code": (1, 1)}}
    facts = found(plan, tmp_path / "made", right, codes)
    assert facts.sets[0].again == 2
    assert {kind: one.facts for kind, one in facts.sets[0].rows[0].cells.items()} == {"unchanged": 1}
    last = facts.totals[-1]
    assert last.ratios["exact"].invariant == [(1.0, 0.0)]
    assert last.held["changed"].facts == 2
    # Where the first stage ended, nothing had changed again.
    assert facts.totals[1].held["unchanged"].facts == 2


def test_only_a_later_stage_of_the_same_path_makes_a_fact_out_of_date() -> None:
    first, second = scores([("u", "a"), ("u", "b")], (1, 1)), scores([("c", "a"), ("u", "b")], (1, 1))
    stream = Stream({"one": first, "two": second}, {"one": "s1", "two": "s2"})
    assert stream.still("one", ("s1", "s2")).tolist() == [False, True]
    assert stream.still("two", ("s1", "s2")).tolist() == [True, True]
    assert stream.still("one", ("s1", "s3")).tolist() == [True, True]
    assert stream.still("one", ("s2", "s1")).tolist() == [True, True]
    unnamed = Stream({"one": scores([("u", "")], (1,)), "two": scores([("c", "")], (1,))}, stream.stage_of)
    assert unnamed.still("one", ("s1", "s2")).tolist() == [True]
    other = Stream({"one": first, "two": scores([("c", "a")], (1,), "capital")}, stream.stage_of)
    assert other.still("one", ("s1", "s2")).tolist() == [True, True]


def test_a_model_that_was_not_asked_has_no_row_there(plan: Plan, tmp_path: Path) -> None:
    """Its folder was gone when a stage with a set of its own was added: what needs both sets is left out."""
    right = {"laws": RIGHT["laws"], "codes": {name: RIGHT["codes"][name] for name in ("base", "stage-2-code")}}
    facts = found(plan, tmp_path / "made", right)
    assert [row.name for row in facts.sets[1].rows] == ["base", "stage-2-code"]
    assert facts.totals[-1].along == {}
    assert facts.totals[-1].ratios["exact"].value == pytest.approx(1.0)


def test_nothing_asked_is_nothing_found(make_values: MakeValues, plan: Plan, tmp_path: Path) -> None:
    none = from_values(make_values([{"name": "law", "data": "law"}]))
    assert facts_of(none, RunDirectory(tmp_path / "made"), [], [], {}) is None
    assert facts_of(plan, RunDirectory(tmp_path / "made"), [], [], {}) is None


def test_another_model_stands_beside_the_base(plan: Plan) -> None:
    base = {"laws": scores(LAWS, (1, 1, 0)), "codes": scores(CODES, (1, 0))}
    other = {"laws": scores(LAWS, (1, 1, 1)), "codes": scores(CODES, (0, 0))}
    laws, codes = facts_of_another(plan, base, "other", other)
    assert [row.name for row in laws.rows] == ["base", "other"]
    assert laws.rows[1].cells["changed"].known == 1.0
    assert codes.rows[1].cells["unchanged"].measures["exact"].delta == -1.0


def test_a_set_of_which_everything_changed_again_has_no_cell(plan: Plan, tmp_path: Path) -> None:
    right = {**RIGHT, "codes": {"base": (0, 0, 0), "stage-1-law": (0, 0, 0), "stage-2-code": (1, 1, 1)}}
    one = found(plan, tmp_path / "made", right, [("c", "a"), ("c", "b"), ("c", "d")]).sets[0]
    assert (one.again, one.rows[0].cells, one.base_knows) == (3, {}, {})
    assert about(one).startswith("0 facts")


def test_all_or_none_of_few_facts_is_no_certainty(plan: Plan, tmp_path: Path) -> None:
    """Draws from what is always right are always right: 2 of 2 subjects exclude no share above 0.025 ^ (1/2)."""
    held = cell(found(plan, tmp_path / "made", RIGHT), 0, "base", "unchanged").held
    assert held is not None
    assert (held.value, held.low, held.high) == (1.0, pytest.approx(0.1581, abs=1e-4), 1.0)
    lost = cell(found(plan, tmp_path / "again", RIGHT), 0, "stage-2-code", "unchanged").held
    assert lost is not None
    assert (lost.value, lost.low, lost.high) == (0.0, 0.0, pytest.approx(0.8419, abs=1e-4))


def test_without_a_set_of_its_own_a_stage_has_no_fuar_along_its_path(asking: MakeValues, tmp_path: Path) -> None:
    values = asking(tmp_path / "run")
    sets = {name: {**held, "stage": None} for name, held in values["probes"].items()}
    facts = found(from_values({**values, "probes": sets}), tmp_path / "made", RIGHT)
    assert [total.along for total in facts.totals] == [{}, {}, {}]
    assert facts.totals[-1].ratios["exact"].value == pytest.approx(1.0)
