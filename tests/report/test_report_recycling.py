"""The words and the figures of a recycling, and the height of a barrier."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rewarm.report.frontier import barrier
from rewarm.report.recycle_page import cells, html
from rewarm.report.recycling import Against, Arm, Path, Point, Recycled, verdict


def test_barriers_by_hand() -> None:
    """Between -1 and 1, (w^2 - 1)^2 rises from 0 to 1 and falls back; w^2 from 1 to 4 lies below its line; and from 2
    to 0 on a line with a bump of 0.5 at a quarter, where the line is at 1.5."""
    places = np.linspace(0, 1, 5).tolist()
    weights = [2 * place - 1 for place in places]
    assert barrier(places, [(weight**2 - 1) ** 2 for weight in weights]) == 1.0
    assert barrier(places, [(1 + place) ** 2 for place in places]) == 0.0
    assert barrier(places, [2.0, 2.0, 1.0, 0.5, 0.0]) == 0.5
    assert barrier(places, [0.7] * 5) == 0.0


def point(accuracy: float, step: int = 0) -> Point:
    return Point(step=step, loss=1 - accuracy, accuracy=accuracy, macro_f1=accuracy)


def result() -> Recycled:
    better = Against(delta=0.1, low=0.05, high=0.15, verdict="better")
    arms = (
        Arm(way="direct", model="out/direct", readings=(point(0.7),), best=point(0.7), test=point(0.65)),
        Arm(
            way="init", model="out/init", readings=(point(0.7), point(0.9, 8)), best=point(0.9, 8), test=point(0.85),
            steps_to_target=8, against_fresh=better,
        ),
        Arm(
            way="fresh", model="out/fresh", readings=(point(0.5), point(0.6, 8), point(0.8, 16)), best=point(0.8, 16),
            test=point(0.75), steps_to_target=16,
        ),
    )  # fmt: skip
    return Recycled(
        rewarm="0", old="o", tuned="<t>", new="n", adapter=False, scale=1.0, kind="labels", classes=("a", "b"),
        rows={"train": 3, "dev": 2, "test": 1}, target=0.8, teacher=point(0.9), arms=arms,
        paths=(Path(way="init", places=[0.0, 0.5, 1.0], losses=[0.1, 0.5, 0.3], accuracies=[1, 0, 1], barrier=0.3),),
    )  # fmt: skip


def test_the_verdict_says_who_came_first_and_how_sure_that_is() -> None:
    assert verdict(result()) == (
        "The target of 80.0% on the development rows was reached by init after 8 steps and fresh after 16 steps; not "
        "by direct. On the test rows, against the fresh start: init is better (+10.0 points [+5.0, +15.0]). Carried "
        "over without training, the task weights give 65.0% on the test rows. The barrier on the straight line from "
        "the old task model to 'init' is 0.3000 nats."
    )


def test_a_page_of_its_own_that_escapes_names() -> None:
    found = result()
    page = html(found.model_copy(update={"verdict": verdict(found)}))
    assert page.count("<svg") == 2
    assert "<t>" not in page
    assert "&lt;t&gt;" in page
    assert cells(found, found.arms[1]) == ["70.0%", "8", "90.0% after 8 steps", "85.0%", "+10.0 [+5.0, +15.0]"]
    assert cells(found, found.arms[0])[1] == "not reached"


def test_a_diverged_path_is_drawn_without_its_holes() -> None:
    found = result()
    broken = found.paths[0].model_copy(update={"losses": [0.1, math.inf, 0.3], "barrier": math.inf})
    page = html(found.model_copy(update={"paths": (broken,)}))
    assert page.count("<svg") == 2
    assert "no finite height" in verdict(found.model_copy(update={"paths": (broken,)}))


@pytest.mark.parametrize("way", ["direct"])
def test_without_a_task_nothing_is_claimed(way: str) -> None:
    arm = Arm(way="direct", model="out")
    found = Recycled(rewarm="0", old="o", tuned="t", new="n", adapter=False, scale=1.0, kind=None, arms=(arm,))
    assert "nothing of it is known" in verdict(found)
    assert cells(found, arm)[0] == "not scored"
    assert html(found).count("<svg") == 0
