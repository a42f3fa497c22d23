"""The heat map of layers: a cell for every layer of every model, darker the less is left."""

from __future__ import annotations

from typing import Any

from rewarm.report.layers import panel, tone
from rewarm.report.suite_parts import SuiteMeasure, SuiteRow, SuiteSet
from rewarm.report.svg import RAISED, TONES


def row(name: str, *values: float | None, **more: Any) -> SuiteRow:
    kind = "base" if name == "base" else "stage"
    extra = {"layers": [f"layer {place}" for place in range(len(values))], "cka": list(values)}
    return SuiteRow(name=name, row=kind, measures={"cka": SuiteMeasure(value=0.9, items=4)}, extra=extra | more)


def suite(kind: str, *rows: SuiteRow) -> SuiteSet:
    return SuiteSet(
        name="features", kind=kind, ability="general", headline="cka", items=4, better={"cka": "higher"},
        units={"cka": "CKA"}, rows=list(rows),
    )  # fmt: skip


def test_each_layer_of_each_model_has_its_cell() -> None:
    one = suite("similarity", row("base", 1.0, 1.0), row("stage-1-law", 0.999, 0.71), row("stage-2-code", 0.98, None))
    found = panel(one)
    assert found is not None
    assert found.about == "1 is the layer as it was. stage-1-law from 0.71 to 1.00; stage-2-code from 0.98 to 0.98"
    for text in (">1.00<", ">0.71<", ">0.98<", ">–<", ">stage-2-code<", ">layer 1<"):
        assert text in found.svg
    assert ">base<" not in found.svg
    assert found == panel(one)


def test_less_of_a_layer_is_a_darker_cell() -> None:
    tones = [tone(value) for value in (1.0, 0.98, 0.9, 0.6, 0.2)]
    assert tones == [RAISED, *TONES["worse"]]
    assert tone(None) == RAISED


def test_only_a_suite_of_similarity_with_a_trained_model_has_one() -> None:
    assert panel(suite("labelled", row("base"), row("stage-1-law", 0.9))) is None
    assert panel(suite("similarity", row("base", 1.0))) is None


def test_a_deep_model_and_a_long_stream_still_fit() -> None:
    many = suite("similarity", *(row(f"stage-{number}-a-long-name-of-a-stage", *[0.9] * 80) for number in range(40)))
    found = panel(many)
    assert found is not None
    assert ">0.90<" not in found.svg
