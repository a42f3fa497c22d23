"""The index of methods, and what a user reads when an option is wrong."""

from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, model_validator

from rewarm.methods import Faults, Method, Options, build, checked, find, known, nearest
from rewarm.mixtures.fixed import Fixed
from rewarm.schedules.wsd_s import WsdS
from rewarm.types import UserError


class Inner(Options):
    depth: Annotated[int, Field(ge=1)] = 1
    kind: Literal["flat", "steep"] = "flat"


class Outer(Options):
    SYNONYMS: ClassVar[dict[str, str]] = {"width": "size"}
    METHODS: ClassVar[dict[str, str]] = {"plan": "schedules"}

    size: int
    plan: str = ""
    inner: str | Inner = "flat"
    several: tuple[Inner, ...] = ()
    from_: str = Field(default="", alias="from")

    @model_validator(mode="after")
    def _even(self) -> "Outer":
        if self.size % 2:
            raise ValueError("size is odd\ntwice wrong")
        return self


def message(**fields: object) -> str:
    with pytest.raises(UserError) as caught:
        checked(Outer, fields)
    return str(caught.value)


def test_a_folder_is_its_own_index() -> None:
    assert known("mixtures")["fixed"] is Fixed
    assert "draw" not in known("mixtures")
    assert known("schedules")["wsd-s"] is WsdS
    assert list(known("schedules")) == sorted(known("schedules"))


def test_every_method_is_found_by_its_own_name() -> None:
    for folder in ("corpora", "mixtures", "schedules"):
        for name, kind in known(folder).items():
            assert kind.method_name() == name
            assert find(folder, name) is kind
    assert find("schedules", "wsd_s") is WsdS


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no schedules method is called 'cosin'\. Did you mean 'cosine'"):
        find("schedules", "cosin")
    with pytest.raises(UserError, match=r"called 'zzz'\. Allowed: fixed"):
        find("mixtures", "zzz")


def test_nearest_words() -> None:
    assert nearest("leng", ["length", "depth"]) == "Did you mean 'length'?"
    assert nearest("Seq-Len", ["seq_len", "depth"]) == "Did you mean 'seq_len'?"
    assert nearest("lr", ["rate", "depth"], {"lr": "rate"}) == "Did you mean 'rate'?"
    assert nearest("xyz", ["rate", "depth"], {"lr": "rate"}) == "Allowed: depth, rate."


def test_a_method_from_a_name_a_mapping_or_itself() -> None:
    assert build("schedules", "wsd-s") == WsdS()
    assert build("schedules", {"type": "wsd-s", "warmup": "2%"}) == WsdS(warmup=0.02)
    schedule = WsdS()
    assert build("schedules", schedule) is schedule
    assert build("schedules", schedule.described()) == schedule


def test_the_path_of_a_wrong_option() -> None:
    wrong = {"type": "wsd", "warmpu": 1}
    for where, path in (
        (None, "schedules.wsd.warmpu"),
        ("", "warmpu"),
        ("stages.0.schedule", "stages.0.schedule.warmpu"),
    ):
        with pytest.raises(Faults) as caught:
            build("schedules", wrong, where)
        assert caught.value.faults == [(path, "unknown key. Did you mean 'warmup'?")]
        assert str(caught.value) == f"{path}: unknown key. Did you mean 'warmup'?"


def test_a_value_that_names_no_method() -> None:
    with pytest.raises(UserError, match=r"mixtures: give a name or a mapping with 'type', got 3\. Known: fixed"):
        build("mixtures", 3)
    with pytest.raises(UserError, match=r"here: give a name or a mapping with 'type', got \{'warmup': 1\}"):
        build("schedules", {"warmup": 1}, "here")


def test_every_fault_is_one_sentence_with_its_path() -> None:
    assert message(inner={"depth": 0, "kind": "round"}, several=[{}, {"depht": 1}]) == (
        "size: required, and not given.\n"
        "inner.depth: Input should be greater than or equal to 1 (given: 0).\n"
        "inner.kind: Input should be 'flat' or 'steep' (given: 'round').\n"
        "several.1.depht: unknown key. Did you mean 'depth'?"
    )


def test_faults_of_a_whole_have_no_path_and_a_line_each() -> None:
    assert message(size=3) == "size is odd.\ntwice wrong."


def test_a_choice_of_types_is_one_fault() -> None:
    assert message(size=2, inner=3) == "inner: give text or a mapping with the keys depth, kind (given: 3)."
    assert message(size=2, several=[3]) == "several.0: give a mapping with the keys depth, kind (given: 3)."
    assert message(size=2, several=3) == "several: give a list (given: 3)."


def test_an_unknown_key_is_sent_where_it_belongs() -> None:
    assert message(size=2, width=3) == "width: unknown key. Did you mean 'size'?"
    assert (
        message(size=2, depth=3)
        == "depth: unknown key. It belongs inside 'inner', as inner.depth, or inside 'several', as several[].depth."
    )
    assert message(size=2, inner={"size": 3}) == "inner.size: unknown key. It belongs at the top level, as size."
    assert "among the options of plan (type infinite)" in message(size=2, cooldown_shape=1)
    assert message(size=2, zzz=1) == "zzz: unknown key. Allowed: from, inner, plan, several, size."


def test_a_python_word_is_written_either_way() -> None:
    assert checked(Outer, {"size": 2, "from": "x"}) == Outer(size=2, from_="x")


def test_values_are_frozen_and_finite() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer(size=2).size = 4  # type: ignore[misc]
    for value in (float("inf"), float("nan")):
        with pytest.raises(UserError, match=r"warmup: .*finite number"):
            build("schedules", {"type": "wsd", "warmup": value})


def test_a_method_describes_itself_by_the_keys_of_a_plan() -> None:
    class Aliased(Method):
        from_: str = Field(default="here", alias="from")

    described = Aliased().described()
    assert described.pop("type") == "test-methods"
    assert described == {"from": "here"}
