"""Summaries of a stream of tasks, worked out by hand."""

from __future__ import annotations

import pytest

from rewarm.report.tasks import ArmResult, Learned, Stage, WayFacts, cells, spread, summarised
from rewarm.report.tasks_page import html

ORDER = ("da", "sv", "de")
NAIVE = {0: [[0.2, 0.1, 0.1], [0.9, 0.3, 0.2], [0.6, 0.8, 0.3], [0.5, 0.4, 0.7]],
         1: [[0.2, 0.1, 0.1], [0.8, 0.3, 0.2], [0.9, 0.8, 0.3], [0.5, 0.6, 0.7]]}  # fmt: skip
KEPT = {seed: [*rows[:3], [value + 0.2 for value in rows[3]]] for seed, rows in NAIVE.items()}
ALONE = {seed: [[0.2, 0.1, 0.1], [0.9, 0, 0], [0, 0.7, 0], [0, 0, 0.9]] for seed in (0, 1)}


def way(name: str, peeks: bool = False) -> WayFacts:
    """A way of the type of its name."""
    return WayFacts(
        name=name, type=name, about="about", options={}, reads_old_labels=False, starts_afresh=name == "alone",
        knows_task=False, peeks_ahead=peeks,
    )  # fmt: skip


def result() -> Learned:
    """Three ways, two seeds, one order."""
    arms = [
        ArmResult(
            way=name,
            order=ORDER,
            seed=seed,
            stages=tuple(
                Stage(after=after, scores={task: {"accuracy": value} for task, value in zip(ORDER, row, strict=True)})
                for after, row in zip(("", *ORDER), rows, strict=True)
            ),
        )
        for name, found in (("naive", NAIVE), ("kept", KEPT), ("alone", ALONE))
        for seed, rows in found.items()
    ]
    return Learned(
        rewarm="0", base="<base>", kind="classes", classes=("a", "b"), measure="accuracy", tasks=(),
        ways=(way("naive"), way("kept", peeks=True), way("alone")), orders=(ORDER,), seeds=(0, 1), plan={},
        arms=tuple(arms),
    )  # fmt: skip


def test_transfer_and_forgetting_by_hand() -> None:
    """Seed 0: final (.5 + .4 + .7) / 3; backward (.5 - .9 + .4 - .8) / 2; forgotten (.9 - .5 + .8 - .4) / 2; forward,
    of sv and de, (.8 - .7 + .7 - .9) / 2. Seed 1: da is best after sv, with .9; neither base nor last count."""
    naive = summarised(result()).lines[0]
    assert naive.final.seeds == pytest.approx((1.6 / 3, 1.8 / 3))
    assert naive.backward.seeds == pytest.approx((-0.4, -0.25))
    assert naive.forget.seeds == pytest.approx((0.4, 0.3))
    assert naive.forward is not None
    assert naive.forward.seeds == pytest.approx((-0.05, -0.05))
    assert naive.forward_of["da"].seeds == pytest.approx((0.0, -0.1))
    assert naive.backward_of["da"].seeds == pytest.approx((-0.4, -0.3))
    assert naive.against_naive is None


def test_ways_are_held_against_naive_seed_by_seed() -> None:
    found = summarised(result())
    kept = found.lines[1]
    assert kept.against_naive is not None
    assert kept.against_naive.mean == pytest.approx(0.2)
    assert kept.against_naive.high - kept.against_naive.low == pytest.approx(0, abs=1e-9)
    assert found.verdict == (
        "Along da > sv > de, the mean accuracy at the end is: naive 56.7 and kept 76.7. Better than naive over 2 "
        "seeds: kept. kept looked at tasks to come, and can not be compared with the others."
    )


def test_cells_say_hundredths_and_alone_is_scored_on_its_own_tasks() -> None:
    found = summarised(result())
    assert cells(found, found.lines[0])[0] == "56.7 ± 42.4"
    assert cells(found, found.lines[2]) == ["83.3 ± 0.0", "", "", "", ""]
    assert spread(None) == ""


def test_the_page_escapes_marks_and_draws() -> None:
    page = html(summarised(result()))
    assert "&lt;base&gt;" in page
    assert '<span class="note warn">looks at tasks to come</span>' in page
    assert page.count("<svg") == 3
    assert page.count('<table class="heat">') == 3
