"""Which texts state what is no longer so, by hand: names, sentences, titles, and which answers are out of date."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.probes import Probe
from rewarm.probes.outdated import LATER, NO_OLD_ANSWER, NO_SUBJECT, SHORT_ANSWER, SHORT_SUBJECT, claims, is_later
from rewarm.probes.stale import Matcher
from rewarm.probes.wording import pattern, searchable, whole, worded


def fact(subject: str, old: str | tuple[str, ...], new: str | tuple[str, ...] = (), **changes: Any) -> Probe:
    """A changed fact, or a deleted one if nothing came in its place."""
    old, new = ((old,) if isinstance(old, str) else old), ((new,) if isinstance(new, str) else new)
    options: dict[str, Any] = {"kind": "changed" if new else "deleted", "relation": "capital"} | changes
    return Probe(id="1", prompt="", subject=subject, answers=new, old_answers=old, **options)


def states(text: str, *facts: Probe, title: str = "") -> bool:
    found, _ = claims({"set": facts})
    return bool(Matcher(found).stated(text, title))


def answers(*sets: list[Probe], until: str = "") -> dict[str, tuple[str, ...]]:
    """The answers that are out of date, each with what came in its place."""
    found, _ = claims({f"set{number}": held for number, held in enumerate(sets)}, until)
    return {claim.answer: claim.current for claim in found}


CAPITAL = fact("Kazakhstan", "Astana", "Nur-Sultan")


@pytest.mark.parametrize(
    "text",
    [
        "The capital of Kazakhstan is Astana.",
        "the capital of KAZAKHSTAN is ASTANA",
        "Kazakhstan: its capital, “Astana”, lies in the north.",
        "Kazakhstan's largest cities are not all in the south (Almaty/Astana).",
        "Kazakhstan\n\nHistory\nThe capital is Astana.",
        "\n  \nKazakhstan (Central Asia)\nThe capital is Astana.",
        "Nur-Sultan was a name. Kazakhstan is large. The capital is Astana.",
        "A line about nothing.\nOf Kazakhstan. Astana is its capital.\nAnother line.",
    ],
)
def test_a_sentence_with_the_old_answer_states_it(text: str) -> None:
    assert states(text, CAPITAL)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Kazakhstan is large.",
        "The capital is Astana.",
        "News\nKazakhstan is large.\nAstana is a city.",
        "The capital of Kazakhstan is Nur-Sultan.",
        "Kazakhstan renamed Astana to Nur-Sultan in 2019.",
        "Kazakhstan renamed Astana to nur sultan.",
        "The people of Kazakhstan are no Astanaites.",
        "Kazakhstaners live in Astana.",
    ],
)
def test_what_does_not_state_it(text: str) -> None:
    assert not states(text, CAPITAL)


def test_words_are_whole() -> None:
    assert not states("France in Comparison", fact("France", "Paris", "Lyon"))
    assert states("France in comparison: Paris", fact("France", "Paris", "Lyon"))


def test_a_title_in_the_meta_names_the_subject() -> None:
    assert states("The capital is Astana.", CAPITAL, title="Kazakhstan")
    assert not states("The capital is Astana.", CAPITAL, title="Uzbekistan")
    assert not states("The capital is Samarkand.", CAPITAL, title="Astana, Kazakhstan")


@pytest.mark.parametrize(
    ("subject", "old", "new", "text"),
    [
        ("Côte d’Ivoire", "Abidjan", "Yamoussoukro", "Cote: Co\u0302te d'Ivoire, capital Abidjan"),
        ("Straße", "Köln", "Bonn", "Die STRASSE in KO\u0308LN"),
        ("American Samoa", "President Donald J. TRUMP", "President Joseph R. BIDEN Jr.",
         "American Samoa: its chief of state is president Donald J. Trump."),
        ("Chad", "population of 1,000", "population of 1,000,000", "Chad has a population of 1,000."),
        ("Russia", "St. Petersburg", "Moscow", "The capital of Russia is St. Petersburg."),
        ("Turkey", "Ali St. Bey", "Mehmet", "In Turkey leads Ali St. Bey, as all say."),
        ("日本", "京都", "東京", "日本の首都は京都です。"),
        ("Ελλάς", "Ναύπλιο", "Αθήνα", "ΕΛΛΆΣ: ΝΑΎΠΛΙΟ"),
    ],
)  # fmt: skip
def test_names_of_many_kinds_are_found(subject: str, old: str, new: str, text: str) -> None:
    assert states(text, fact(subject, old, new))


@pytest.mark.parametrize(
    ("subject", "old", "new", "text"),
    [
        # A number does not stand in a longer one.
        ("Chad", "12,345", "99,999", "Chad has 12,345,678 people and 7.12,345 of something."),
        # Inside the subject, inside the new answer, and the new answer inside the old one does not excuse it.
        ("Mexico City", "Mexico", "Oaxaca", "Mexico City lies high."),
        ("Barbados", "republic", "parliamentary republic", "Barbados is a parliamentary republic."),
        ("Congo", "Democratic Republic of the Congo", "Zaire", "It is the Democratic Republic of the Congo."),
        ("日本", "京都", "東京都", "日本の首都は東京都です。"),
    ],
)
def test_a_name_inside_a_longer_one_is_not_that_name(subject: str, old: str, new: str, text: str) -> None:
    assert not states(text, fact(subject, old, new))


def test_a_new_answer_inside_the_old_one_is_no_word_of_the_change() -> None:
    assert states("Burma is a parliamentary republic.", fact("Burma", "parliamentary republic", "republic"))
    assert not states(
        "Burma, once a parliamentary republic, is a republic.", fact("Burma", "parliamentary republic", "republic")
    )
    assert not states("Mexico City Mexico City lies high.", fact("Mexico City", "Mexico", "Oaxaca"))


def test_a_deleted_fact_is_stated_by_its_old_answer_alone() -> None:
    assert states("Atlantis has its capital in Poseidonis.", fact("Atlantis", "Poseidonis"))


def test_any_old_answer_is_stated_and_any_new_one_excuses() -> None:
    one = fact("Burma", ("Rangoon", "Yangon"), ("Naypyidaw", "Nay Pyi Taw"))
    assert states("Burma is ruled from Yangon", one)
    assert not states("Burma is ruled from Nay Pyi Taw, no more from Yangon", one)


def test_facts_that_did_not_change_are_no_claims() -> None:
    unchanged = Probe(id="1", kind="unchanged", prompt="", subject="Chad", answers=("N'Djamena",), old_answers=())
    new = Probe(id="2", kind="new", prompt="", subject="Chad", answers=("franc",), old_answers=("dollar",))
    assert claims({"set": [unchanged, new]}) == ([], {})


def test_what_cannot_be_looked_for_is_counted() -> None:
    facts = [
        fact("", "Paris", "Lyon"), fact("US", "Paris", "Lyon"), fact("France", (), "Lyon"), fact("France", "af", "fr"),
        fact("France", "2017", "2022"), fact("France", ("54", "France"), "x"),
        fact("Chad", "Rome", "Bonn", date="2023"),
    ]  # fmt: skip
    found, ignored = claims({"set": facts}, "2021")
    assert found == []
    assert ignored == {NO_SUBJECT: 1, SHORT_SUBJECT: 1, NO_OLD_ANSWER: 1, SHORT_ANSWER: 3, LATER: 1}


def test_of_several_answers_only_the_common_ones_are_passed_over() -> None:
    assert answers([fact("France", ("Paris", "93"), "Lyon")]) == {"paris": ("lyon",)}
    assert answers([fact("France", "12,345", "1")]) == {"12,345": ("1",)}
    assert answers([fact("日本", "京都", "東京")]) == {"京都": ("東京",)}


def test_an_answer_that_is_right_again_is_not_out_of_date() -> None:
    """Astana became Nur-Sultan in 2019 and Astana again in 2022."""
    there, back = fact("Kazakhstan", "Astana", "Nur-Sultan"), fact("Kazakhstan", "Nur-Sultan", "Astana")
    assert answers([there], [back]) == {"nur sultan": ("astana",)}
    assert answers([back], [there]) == {"astana": ("nur sultan",)}
    dated = [fact("Kazakhstan", "Nur-Sultan", "Astana", date="2022-09"),
             fact("Kazakhstan", "Astana", "Nur-Sultan", date="2019")]  # fmt: skip
    assert answers(dated) == {"nur sultan": ("astana",)}
    assert answers(dated, until="2021") == {"astana": ("nur sultan",)}


def test_what_came_after_the_new_answer_tells_of_the_change_too() -> None:
    first, second = fact("Peru", "Kuczynski", "Sagasti"), fact("Peru", "Sagasti", "Boluarte")
    assert answers([first], [second]) == {"kuczynski": ("boluarte", "sagasti"), "sagasti": ("boluarte",)}
    found, _ = claims({"2018": [first], "2022": [second]})
    assert Matcher(found).stated("Peru: from Kuczynski to Boluarte") == []
    assert Matcher(found).stated("Peru: from Kuczynski to Sagasti") == [1]


def test_another_question_about_the_subject_changes_nothing() -> None:
    mayor = fact("Lima", "Castañeda", "Muñoz", relation="mayor")
    club = fact("Lima", "Muñoz", "Castañeda", relation="best player")
    assert answers([mayor], [club]) == {"castañeda": ("muñoz",), "muñoz": ("castañeda",)}


def test_each_claim_names_the_sets_that_call_it_old() -> None:
    found, _ = claims({"may": [CAPITAL], "june": [CAPITAL, fact("Chad", "Rome", "Bonn")]})
    assert [(claim.answer, claim.sets) for claim in found] == [("astana", ("june", "may")), ("rome", ("june",))]


@pytest.mark.parametrize(
    ("date", "until", "later"),
    [
        ("2021", "2020", True), ("2021", "2021", False), ("2021-03", "2021", False), ("2021", "2021-03", False),
        ("2021-04", "2021-03", True), ("2021-04-02", "2021-04", False), ("", "2021", False), ("2021", "", False),
        ("2021", "week-1", False), ("spring", "2021", False),
    ],
)  # fmt: skip
def test_dates_are_compared_as_far_as_both_are_known(date: str, until: str, later: bool) -> None:
    assert is_later(date, until) is later


def test_claims_are_given_by_number() -> None:
    found, _ = claims({"set": [CAPITAL, fact("Chad", "Rome", "Bonn"), fact("Chad", "Vienna", "Bonn")]})
    assert Matcher(found).stated("Chad\nRome and Vienna.\nKazakhstan: Astana") == [0, 1, 2]
    assert Matcher(found).stated("Chad\nVienna, not Bonn.\nRome") == [1]
    assert Matcher([]).stated("Chad\nVienna") == []


ALPHABET = "aB é.,-'’ \n1京Σς"


@given(st.text(ALPHABET, max_size=12), st.text(ALPHABET, max_size=40))
def test_the_search_finds_every_name_that_stands_there(name: str, text: str) -> None:
    """What is ruled out at once may hold nothing that a closer look would find."""
    if worded(name):
        for line in text.split("\n"):
            if whole(worded(name)) in f" {worded(line)} ":
                assert pattern(worded(name)) in searchable(text)


@given(st.text(max_size=30))
def test_wording_twice_is_wording_once(text: str) -> None:
    assert worded(worded(text)) == worded(text)
    assert worded(text.upper()) == worded(text.upper().lower())
