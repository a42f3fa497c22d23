"""The part of the report on languages, and transfers of arms side by side."""

from __future__ import annotations

from typing import Any

from rewarm.report.arm_transfers import ArmTransfer, each, table
from rewarm.report.language_parts import CorpusLanguages, Languages, Transfer
from rewarm.report.languages import contamination, parts, similarity, transfers
from rewarm.report.wording import NOISE


def corpus(name: str, shares: dict[str, float], **facts: Any) -> CorpusLanguages:
    facts = {"expected": None, "language": next(iter(shares), None), "detected": 100, "short": 0} | facts
    return CorpusLanguages(name=name, lines=200, shares=shares, **facts)


def test_every_language_of_a_corpus_has_a_column_and_rare_ones_share_one() -> None:
    found = contamination([corpus("dansk", {"da": 0.9, "no": 0.095, "nl": 0.005}), corpus("norsk", {"no": 1.0})])
    assert found.head == ["Corpus", "da", "no", "other", "lines"]
    assert [[entry.text for entry in line] for line in found.lines] == [
        ["dansk", "90.0%", "9.5%", "0.5%", "100"],
        ["norsk", "0.0%", "100.0%", "0.0%", "100"],
    ]


def test_a_corpus_without_a_line_has_no_shares() -> None:
    (line,) = contamination([corpus("code", {}, expected="en", language="en", detected=0, short=3)]).lines
    assert [entry.text for entry in line] == ["code", "–", "0.0%", "0"]
    assert line[0].note == "expected en"
    assert line[-1].note == "3 more are short"


def test_distances_are_a_square() -> None:
    found = similarity(["a", "b"], [[0.0, 0.25], [0.25, None]])
    assert [[entry.text for entry in line] for line in found.lines] == [["a", "0.000", "0.250"], ["b", "0.250", "–"]]


def test_transfers_say_their_sign_and_what_cannot_be_told_from_noise() -> None:
    values = {"stage": "no", "corpus": "da", "share": 0.1, "distance": 0.2}
    held = Languages(
        corpora=[],
        distances=[],
        transfers=[
            Transfer(kind="backward", value=1.25, low=1.0, high=1.5, verdict="better", **values),
            Transfer(kind="forward", value=-0.5, low=-1.0, high=0.1, verdict=NOISE, stage="no", corpus="no"),
        ],
        detector="d",
        sample=1,
    )
    first, second = transfers(held).lines
    assert [entry.text for entry in first] == ["no", "da", "backward", "+1.2500", "10.0%", "0.200"]
    assert (first[3].tone, first[3].note) == ("better", "[+1.0000, +1.5000]")
    assert [entry.text for entry in second][3:] == ["−0.5000 ≈", "–", "–"]
    assert [title for title, _, _ in parts(held)] == ["Transfer between stages"]


def arm(kind: str, stage: str, value: float, verdict: Any) -> ArmTransfer:
    return ArmTransfer(kind=kind, stage=stage, corpus="da", value=value, low=value, high=value, verdict=verdict)


def test_both_signs_of_backward_transfer_are_counted() -> None:
    first = (
        arm("forward", "is", 0.2, "better"), arm("forward", "no", 0.4, NOISE), arm("backward", "is", -1.0, "worse"),
        arm("backward", "no", 0.5, "better"), arm("backward", "sv", 0.2, NOISE),
    )  # fmt: skip
    arms = [("plan", first), ("order no-da", (arm("backward", "no", -2.0, "worse"),)), ("none", ())]
    lines = [[entry.text for entry in line] for line in table(arms).lines]
    assert lines == [
        ["plan", "+0.3000", "1 of 2", "−0.1000", "1 and 1 of 3"],
        ["order no-da", "–", "–", "−2.0000", "1 and 0 of 1"],
    ]
    side_by_side = each(arms)
    assert side_by_side.head == ["Transfer", "plan", "order no-da"]
    assert [entry.text for entry in side_by_side.lines[1]] == ["backward: no on da", "+0.5000", "−2.0000"]
