import pytest

from rewarm.methods import build
from rewarm.schedules.cosine import Cosine
from rewarm.types import UserError


def test_a_share_is_rounded_to_whole_updates() -> None:
    assert Cosine(warmup=0.01).warmup_updates(132_366, room=132_366) == 1_324
    assert Cosine(warmup=0.005).warmup_updates(132_366, room=132_366) == 662
    assert Cosine(warmup=0.01).warmup_updates(10, room=10) == 0


def test_warmup_steps_override_the_share() -> None:
    assert Cosine(warmup=0.5, warmup_steps=7).warmup_updates(100, room=100) == 7
    assert Cosine(warmup=0.5, warmup_steps=0).warmup_updates(100, room=100) == 0


def test_a_warmup_longer_than_the_stage_is_cut() -> None:
    assert Cosine(warmup_steps=50).warmup_updates(10, room=10) == 10
    assert Cosine(warmup=1.0).warmup_updates(10, room=8) == 8


def test_percentages_are_shares() -> None:
    assert build("schedules", {"type": "cosine", "warmup": "2%", "floor": "5%"}) == Cosine(warmup=0.02, floor=0.05)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("warmup_ratio", "warmup"), ("num_warmup_steps", "warmup_steps"), ("min_lr_rate", "floor")],
)
def test_words_of_other_tools_are_led_to_ours(word: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"{word}: unknown key\. Did you mean '{meant}'\?"):
        build("schedules", {"type": "cosine", word: 0.1})


def test_negative_warmup_is_refused() -> None:
    with pytest.raises(UserError, match=r"warmup_steps: .*greater than or equal to 0"):
        build("schedules", {"type": "cosine", "warmup_steps": -1})


@pytest.mark.parametrize(("name", "phase"), [("wsd", "decay"), ("infinite", "cooldown"), ("inverse-sqrt", "cooldown")])
def test_phases_that_do_not_fit_the_stage_are_refused(name: str, phase: str) -> None:
    with pytest.raises(UserError, match=rf"warmup 0\.5 and {phase} 0\.6 are shares of a stage and exceed 1"):
        build("schedules", {"type": name, "warmup": 0.5, phase: 0.6})
    build("schedules", {"type": name, "warmup": 0.4, phase: 0.6})
