"""The demo's two plans: a wiki is learned, then what changed in it, with replay of nothing that has become untrue."""

from __future__ import annotations

import pytest

from rewarm.plan import Plan
from rewarm.recipes.demo import BASE, FIRST, first_plan, plan, write
from rewarm.river.forecast import forecast


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Plan]:
    folder = tmp_path_factory.mktemp("demo")
    text = write(folder / "text")
    return first_plan(text, folder / "first"), plan(text, folder / "run", BASE)


def test_the_first_run_teaches_the_wiki_with_replay_of_the_documentation(plans: tuple[Plan, Plan]) -> None:
    (stage,) = plans[0].stages
    assert (plans[0].base, stage.name, stage.tokens) == (str(BASE), FIRST, 360_000)
    assert stage.replay is not None
    assert stage.replay.sources == ("documentation",)


def test_the_main_job_learns_what_changed_and_then_code(plans: tuple[Plan, Plan]) -> None:
    changes, code = plans[1].stages
    assert [changes.name, code.name] == ["changes", "code"]
    for stage in (changes, code):
        assert stage.replay is not None
        assert (stage.replay.sources, stage.replay.stale) == (("documentation", "wiki", "earlier"), True)
    assert plans[1].probes["changes"].stage == "changes"
    assert plans[1].controls == ("new-only",)


@pytest.mark.parametrize("number", [0, 1])
def test_both_fit_their_text(number: int, plans: tuple[Plan, Plan]) -> None:
    assert forecast(plans[number]).faults() == []
