"""Laws every schedule must pass, whatever its formula."""

import json
import subprocess
import sys
from typing import Any

import pytest

from rewarm.methods import build, known
from rewarm.schedules import Schedule
from rewarm.types import StreamState, UserError

PEAK = 3e-4
STEPS = (1, 2, 3, 10, 1000)
PASTS = (
    StreamState(),
    StreamState(stage=1, steps_before=500, last_rate=3e-5),
    StreamState(stage=2, steps_before=40, last_rate=0.0),
    StreamState(stage=3, steps_before=7, last_rate=3 * PEAK),
)
# Options beyond the defaults, to strain each schedule: no warmup, all warmup, other shapes, extreme floors.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "anneal": [{"shape": "linear", "floor": 0}, {"shape": "one-minus-sqrt", "floor": 1}, {"floor": "1%"}],
    "autoregressive": [{"warmup_steps": 50}, {"warmup": 1.0}, {"floor": 0}],
    "constant": [{"warmup": 1.0}, {"warmup_steps": 50}],
    "cosine": [{"form": "clamped"}, {"warmup_steps": 50}, {"warmup": 1.0, "form": "clamped"}, {"floor": 1}],
    "infinite": [{"cooldown_shape": "inverse-sqrt"}, {"cooldown": 0}, {"warmup_steps": 50, "constant": 0.01}],
    "inverse-sqrt": [{"cooldown": 0.2}, {"warmup": 0, "cooldown": 1}, {"warmup_steps": 50, "floor": 0}],
    "no-warmup": [{"floor": 0}, {"floor": 1}],
    "rewarm": [{"start": "zero"}, {"form": "clamped"}, {"warmup_steps": 50}, {"warmup": 1.0}],
    "wsd": [{"shape": "linear"}, {"shape": "exponential"}, {"decay": 1, "warmup": 0}, {"warmup_steps": 50}],
    "wsd-s": [{"shape": "exponential", "floor": "1%"}, {"warmup_steps": 50, "decay": 0.5}],
}
CASES = [(name, options) for name in known("schedules") for options in [{}, *OPTIONS.get(name, [])]]
# Where each schedule says it ends, as a share of the peak, in the first stage of a stream.
ENDS: dict[str, tuple[dict[str, Any], float]] = {
    "anneal": ({}, 0.1),
    "autoregressive": ({}, 0.1),
    "constant": ({}, 1.0),
    "cosine": ({}, 0.1),
    "infinite": ({}, 0.55),
    "inverse-sqrt": ({"cooldown": 0.2}, 0.03),
    "no-warmup": ({}, 0.01),
    "rewarm": ({}, 0.1),
    "wsd": ({}, 0.0),
    "wsd-s": ({"floor": 0.2}, 0.2),
}


def made(name: str, options: dict[str, Any]) -> Schedule:
    schedule = build("schedules", {"type": name, **options})
    assert isinstance(schedule, Schedule)
    return schedule


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("past", PASTS)
def test_the_rate_stays_between_zero_and_the_peak(name: str, options: dict[str, Any], past: StreamState) -> None:
    schedule = made(name, options)
    for steps in STEPS:
        rates = [schedule.rate(step, steps, PEAK, past) for step in range(steps)]
        assert all(0.0 <= rate <= PEAK * (1 + 1e-12) for rate in rates), (steps, min(rates), max(rates))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_schedule_is_pure(name: str, options: dict[str, Any]) -> None:
    schedule = made(name, options)
    before = schedule.model_dump()
    forward = [schedule.rate(step, 50, PEAK, PASTS[1]) for step in range(50)]
    schedule.rate(3, 7, 1.0, PASTS[2])
    backward = [schedule.rate(step, 50, PEAK, PASTS[1]) for step in reversed(range(50))]
    assert backward[::-1] == forward
    assert schedule.model_dump() == before


@pytest.mark.parametrize("name", known("schedules"))
@pytest.mark.parametrize("steps", STEPS)
def test_a_stage_ends_where_the_schedule_says(name: str, steps: int) -> None:
    assert name in ENDS, f"say in ENDS where {name} ends"
    options, share = ENDS[name]
    last = made(name, options).rate(steps - 1, steps, PEAK, StreamState())
    assert last == pytest.approx(share * PEAK, rel=1e-12, abs=0.0)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_first_update_of_a_stage_moves_the_model(name: str, options: dict[str, Any]) -> None:
    for past in PASTS:
        assert made(name, options).rate(0, 1000, PEAK, past) > 0.0


@pytest.mark.parametrize("name", known("schedules"))
@pytest.mark.parametrize(("step", "steps"), [(-1, 10), (10, 10), (11, 10), (0, 0)])
@pytest.mark.parametrize("past", PASTS[:2])
def test_a_step_outside_the_stage_is_refused(name: str, step: int, steps: int, past: StreamState) -> None:
    with pytest.raises(ValueError, match=f"step {step} is outside a stage of {steps} steps"):
        made(name, {}).rate(step, steps, PEAK, past)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_options_survive_the_round_trip_through_a_plan(name: str, options: dict[str, Any]) -> None:
    schedule = made(name, options)
    described = json.loads(json.dumps(schedule.described()))
    again = build("schedules", described)
    assert described["type"] == name
    assert type(again) is type(schedule)
    assert again == schedule
    assert again.described() == described


@pytest.mark.parametrize("name", known("schedules"))
def test_every_schedule_names_its_source(name: str) -> None:
    assert "arXiv" in known("schedules")[name].paper  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", known("schedules"))
def test_shares_outside_zero_and_one_are_refused(name: str) -> None:
    fields = known("schedules")[name].model_fields
    key = "floor" if "floor" in fields else "warmup"
    with pytest.raises(UserError, match=rf"schedules\.{name}\.{key}: .*less than or equal to 1"):
        made(name, {key: 1.5})


def test_parts_of_the_folder_are_no_methods() -> None:
    assert not {"shapes", "warming"} & set(known("schedules"))
    assert {"rewarm", "infinite", "wsd-s", "inverse-sqrt", "no-warmup"} <= set(known("schedules"))


def test_no_schedule_imports_torch() -> None:
    modules = [kind.__module__ for kind in known("schedules").values()]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
