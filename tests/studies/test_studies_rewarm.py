"""The rule of studies/rewarm: held, not held and undecided on rows that are made up, and what a law must find."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies" / "rewarm"
MODULES = ("arms", "laws", "rows", "verdicts", "measures", "claims", "summary")


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, Any]]:
    """The study's modules; other studies have modules of the same names."""
    before = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    sys.path.insert(0, str(STUDY))
    yield {name: __import__(name) for name in MODULES}
    sys.path.remove(str(STUDY))
    for name in MODULES:
        del sys.modules[name]
    sys.modules.update(before)


def row(
    arm: str, seed: int, old: float, new: float, text: str = "german", curve: tuple[float, ...] = ()
) -> dict[str, Any]:
    """A finished update of 600 tokens, with losses of the new text along it."""
    return {
        "arm": arm, "seed": seed, "start": "base", "parameters": 1, "tokens": {"stage-1-update": 3072},
        "base": {"books": [4.0, 2.0], text: [6.0, 3.0]},
        "after": {"stage-1-update": {"books": [old, 2.0], text: [new, 3.0]}},
        "curve": [["stage-1-update", 512 * place, {"books": old, text: loss}] for place, loss in enumerate(curve, 1)],
    }  # fmt: skip


def runs(modules: dict[str, Any], values: dict[str, list[tuple[float, float]]]) -> dict[int, dict[str, Any]]:
    """Rows by seed and arm, from old and new losses of each seed."""
    rows = [row(arm, seed, *pair) for arm, pairs in values.items() for seed, pair in enumerate(pairs, 1)]
    return modules["summary"].by_seed(rows)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "differences", "verdict"),
    [
        ("below", (-0.30, -0.31, -0.29), "held"), ("below", (0.30, 0.31, 0.29), "not held"),
        ("below", (-0.30, 0.31, -0.29), "not decidable here"), ("above", (0.30, 0.31, 0.29), "held"),
        ("above", (-0.30, -0.31, -0.29), "not held"), ("above", (0.01, 0.30, 0.02), "not decidable here"),
        ("equal", (0.001, -0.001, 0.002), "held"), ("equal", (0.010, 0.0101, 0.0099), "held"),
        ("equal", (0.05, 0.051, 0.049), "not held"), ("equal", (-0.05, 0.06, 0.01), "not decidable here"),
        ("at most", (-0.5, -0.51, -0.49), "held"), ("at most", (0.010, 0.011, 0.009), "held"),
        ("at most", (0.05, 0.051, 0.049), "not held"), ("at most", (0.0, 0.05, -0.03), "not decidable here"),
    ],
)  # fmt: skip
def test_the_interval_of_paired_differences_decides(
    modules: dict[str, Any], kind: str, differences: tuple[float, ...], verdict: str
) -> None:
    # The seeds themselves lie far apart, which a difference within each seed does not see.
    pairs = {"german/a": [], "german/b": []}
    for seed, difference in enumerate(differences):
        pairs["german/a"].append((4.5, 5.0 + seed + difference))
        pairs["german/b"].append((4.5, 5.0 + seed))
    statement = modules["claims"].compared("new text", "german/a", "german/b", kind, "german")
    found = modules["verdicts"].find(statement, runs(modules, pairs))
    assert found.verdict == verdict
    assert found.mean == pytest.approx(np.mean(differences))
    assert found.low < found.mean < found.high


def test_a_missing_seed_or_arm_is_not_run_yet(modules: dict[str, Any]) -> None:
    find, compared = modules["verdicts"].find, modules["claims"].compared
    statement = compared("new text", "german/a", "german/b", "below", "german")
    three = {"german/a": [(4.0, 4.0)] * 3, "german/b": [(4.0, 5.0)] * 2}
    assert find(statement, runs(modules, three)).verdict == "not run yet"
    assert len(find(statement, runs(modules, three)).seeds) == 2
    assert find(statement, runs(modules, {"german/a": [(4.0, 4.0)] * 3})).seeds == ()


def test_what_a_claim_is_of_its_statements(modules: dict[str, Any]) -> None:
    verdicts, statement = modules["verdicts"], modules["verdicts"].Statement

    def of(*words: str, beside: str = "held") -> str:
        counted = [verdicts.Finding(statement("", "above", len), (), 0, 0, 0, word) for word in words]
        extra = verdicts.Finding(statement("", "above", len, True), (), 0, 0, 0, beside)
        return str(verdicts.of_claim([*counted, extra]))

    assert of("held", "held", beside="not held") == "held"
    assert of("held", "not decidable here") == "not decidable here"
    assert of("held", "not held", "not decidable here") == "not held"
    assert of("not held", "not run yet") == "not run yet"
    with pytest.raises(ValueError, match="a statement that counts"):
        of()


def test_a_whole_claim_held_and_not_held(modules: dict[str, Any]) -> None:
    """T2 on rows in which each peak learns and forgets 0.1 more than the one below it, and on rows turned round."""
    for sign, verdict in ((1.0, "held"), (-1.0, "not held")):
        rows = []
        for text in ("biology", "german", "code"):
            for place, name in enumerate(("half", "clamped", "double")):
                for seed in (1, 2, 3):
                    moved = sign * 0.1 * place * (1 + 0.01 * seed)
                    rows.append(row(f"{text}/{name}", seed, 4.5 + moved, 5.0 - moved, text))
        found = modules["summary"].by_seed(rows)
        findings = [modules["verdicts"].find(one, found) for one in modules["claims"].t2()]
        assert modules["verdicts"].of_claim(findings) == verdict


def test_pages_say_what_is_not_run_yet_and_show_what_is(modules: dict[str, Any], tmp_path: Path) -> None:
    rows = []
    for text in ("biology", "german", "code"):
        for place, name in enumerate(("half", "clamped", "double")):
            rows += [row(f"{text}/{name}", s, 4.5 + place, 5 - place - s / 99, text, (6, 5.5, 5.2)) for s in (1, 2, 3)]
    rows = [one for one in rows if (one["arm"], one["seed"]) != ("code/half", 3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows) + '{"cut', encoding="utf-8")
    read = modules["summary"].read(tmp_path)
    assert len(read) == len(rows)
    modules["summary"].write(read, tmp_path, tmp_path / "results.json")
    page = (tmp_path / "studies" / "rewarm" / "T2.md").read_text(encoding="utf-8")
    assert page.startswith("# T2: not run yet")
    assert "![T2](T2.svg)" in page
    assert page.count("| held |") == 10
    assert page.count("not run yet |") == 2  # new and old text of the arm that is missing
    assert len((tmp_path / "studies" / "rewarm" / "T2.svg").read_bytes()) < 60_000
    assert not (tmp_path / "studies" / "rewarm" / "T9.svg").exists()
    index = (tmp_path / "rewarm-study.md").read_text(encoding="utf-8")
    assert index.count("| not run yet |") == 14
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["verdicts"]["T1"] == "not run yet"


def test_the_pages_that_are_kept_are_those_of_the_results(modules: dict[str, Any], tmp_path: Path) -> None:
    modules["summary"].write(modules["summary"].read(None), tmp_path, tmp_path / "results.json")
    for made in [tmp_path / "rewarm-study.md", *sorted((tmp_path / "studies" / "rewarm").glob("*.md"))]:
        kept = ROOT / "docs" / made.relative_to(tmp_path)
        assert made.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8")


def test_every_arm_that_a_statement_needs_is_run_and_has_a_plan(modules: dict[str, Any], tmp_path: Path) -> None:
    """Every measure reads rows by arm: a name that no claim runs would wait for ever."""
    arms, size = modules["arms"], modules["arms"].Size()
    made = {arm.name: arm for found in arms.claims(size).values() for arm in found}
    asked: set[str] = set()

    class Asking(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            asked.add(name)
            return {
                "base": {text: [1.0, 1.0] for text in arms.TEXTS},
                "after": {leg: {text: [1.0, 1.0] for text in arms.TEXTS} for leg in legs_of(made.get(name))},
                "curve": [[leg, 1 << 30, dict.fromkeys(arms.TEXTS, 1.0)] for leg in legs_of(made.get(name))],
                "tokens": {"one": size.update},
            }  # fmt: skip

    def legs_of(arm: Any) -> list[str]:
        return [f"stage-{place}-{stage['name']}" for place, stage in enumerate(arm.stages, 1)] if arm else ["x"]

    for claim in modules["claims"].all_claims({}):
        for statement in claim.statements:
            try:
                statement.value(Asking())
            except (KeyError, IndexError):  # the laws want seeds and real curves; they have asked for their arms first
                assert claim.name == "T12"
        asked.update(claim.shown)
    asked.update(f"{text}/replay-{share:g}" for text in arms.SHIFTS for share in arms.REPLAYS)
    assert asked <= set(made)
    for arm in made.values():
        if arm.start != "branch":
            assert arms.plan(tmp_path, tmp_path, size, 1, arm, "base").stages


def test_the_laws_find_what_they_describe(modules: dict[str, Any]) -> None:
    laws = modules["laws"]
    shares = (0.0, 0.005, 0.01, 0.1, 0.25, 0.5)
    old = [2.0 + 0.05 * (share + 0.003) ** -0.5 for share in shares]
    assert laws.old_of_replay(shares, old, 0.05) == pytest.approx(2.0 + 0.05 * 0.053**-0.5, abs=1e-3)
    new = [1.0 + 0.5 * (1 - share) ** -0.4 for share in shares]
    assert laws.new_of_replay(shares, new, 0.05) == pytest.approx(1.0 + 0.5 * 0.95**-0.4, abs=1e-3)
    curves = [laws.areas(laws.rates_of({"type": "cosine", "floor": 0.1}, peak, 60)) for peak in (1e-3, 3e-3, 6e-3)]
    pilots = [(one, two, 2.0 + 0.3 * (one + 0.01) ** -0.5 - 0.8 * two) for one, two in curves]
    found = laws.of_annealing([pilots[0], pilots[2]], pilots[1][0], pilots[1][1])
    assert np.abs(found - pilots[1][2]).max() < 2e-3


def test_areas_of_rates(modules: dict[str, Any]) -> None:
    first, second = modules["laws"].areas([0.0, 2.0, 1.0, 1.0])
    assert first.tolist() == [0.0, 2.0, 3.0, 4.0]
    assert second.tolist() == pytest.approx([0.0, 0.0, 1.0, 1.999])  # the rise counts for nothing, the fall fades


def test_a_row_is_added_behind_whole_lines_only(modules: dict[str, Any], tmp_path: Path) -> None:
    rows = modules["rows"].Rows(tmp_path / "rows.jsonl")
    rows.add({"arm": "a", "seed": 1})
    with rows.file.open("ab") as file:
        file.write(b'{"arm": "b", "se')
    assert rows.read() == [{"arm": "a", "seed": 1}]
    rows.add({"arm": "c", "seed": 1})
    assert [one["arm"] for one in rows.read()] == ["a", "c"]
