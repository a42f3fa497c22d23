"""Which answers an answer is ranked against."""

from __future__ import annotations

from rewarm.evaluation.candidates import right_answer, wrong_answers
from rewarm.evaluation.normalisation import normalised
from rewarm.probes import Probe


def probe(number: int, *answers: str, **more: object) -> Probe:
    return Probe(str(number), "unchanged", "The lake is", answers, relation="lake", **more)  # type: ignore[arg-type]


def test_all_other_objects_of_the_relation_and_only_those() -> None:
    probes = [
        probe(0, "a1", old_answers=("a0",)),
        probe(1, "b1", "B1.", "b2"),
        Probe("2", "new", "The king is", ("k1",), relation="king"),
        Probe("3", "new", "It is", ("x",)),
    ]
    found = wrong_answers(probes, 50, 0)
    assert [sorted(wrong) for wrong in found] == [["a0", "b1", "b2"], ["a0", "a1"], [], []]


def test_what_equals_an_accepted_answer_is_no_candidate() -> None:
    """After normalisation: case, articles and punctuation do not make another answer."""
    probes = [probe(0, "The North"), probe(1, "north."), probe(2, "south", old_answers=("South!", "west"))]
    found = wrong_answers(probes, 50, 0)
    assert [sorted(map(normalised, wrong)) for wrong in found] == [
        ["south", "west"],
        ["south", "west"],
        ["north", "west"],
    ]
    assert found[2][0] == "west"


def test_the_cap_keeps_the_old_answers_and_is_a_seeded_sample() -> None:
    probes = [probe(number, f"object {number}") for number in range(100)]
    probes.append(probe(100, "mine", old_answers=("old 1", "old 2", "old 3")))
    found = wrong_answers(probes, 10, 0)
    assert {len(wrong) for wrong in found} == {9}
    assert found[-1][:3] == ["old 1", "old 2", "old 3"]
    assert wrong_answers(probes, 10, 0) == found
    assert wrong_answers(probes, 10, 1) != found
    assert wrong_answers(probes, 2, 0)[-1] == ["old 1", "old 2", "old 3"]


def test_another_probe_changes_little() -> None:
    probes = [probe(number, f"object {number}") for number in range(100)]
    before, after = wrong_answers(probes, 10, 0), wrong_answers([*probes, probe(100, "another")], 10, 0)
    assert all(len({*first} - {*second}) <= 1 for first, second in zip(before, after, strict=False))


def test_a_question_with_choices_has_its_own() -> None:
    asked = probe(0, "new york", "NYC", choices=("Rome", "NYC", "Paris", "nyc."))
    assert right_answer(asked) == "NYC"
    assert wrong_answers([asked, probe(1, "lake")], 50, 0) == [["Rome", "Paris"], []]


def test_a_deleted_fact_has_nothing_to_rank() -> None:
    gone = Probe("0", "deleted", "The lake is", (), ("dry",), relation="lake")
    assert right_answer(gone) is None
    assert wrong_answers([gone, probe(1, "full")], 50, 0) == [[], ["dry"]]
