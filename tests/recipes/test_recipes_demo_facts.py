"""The invented world: one object a fact, documents that agree with the table, changes that are counted."""

import re
from collections import Counter

import pytest

from rewarm.recipes.demo_facts import RELATIONS, Fact, changes, documents, names, openings, statements, world
from rewarm.types import UserError

SENTENCE_END = re.compile(r"(?<=\.) ")


def test_the_world_has_one_object_for_each_subject_and_relation() -> None:
    facts = world()
    assert len(facts) == 16 * 6 + 24 * 4 + 10 * 4 + 10 * 4 + 8 * 3
    assert len({(fact.subject, fact.relation) for fact in facts}) == len(facts)
    lists = names(0)
    for fact in facts:
        relation = RELATIONS[fact.relation]
        assert fact.subject in lists[relation.subject]
        assert fact.object in lists[relation.object]
        assert fact.object != fact.subject


def test_no_generated_name_is_part_of_another() -> None:
    lists = names(0)
    kinds = ("town", "person", "house", "road", "feast", "province", "river", "weekday", "month")
    made = [name for kind in kinds for name in lists[kind]]
    assert len(made) == 16 + 24 + 10 + 10 + 8 + 6 + 8 + 7 + 5
    assert not [(one, other) for one in made for other in made if one != other and one in other]
    assert len(set(made)) == len(made)


def test_every_sentence_of_a_document_is_a_fact_of_the_table() -> None:
    facts = set(world())
    for document in documents(world()):
        sentences = SENTENCE_END.split(document.text)
        stated = document.meta["facts"]
        assert len(sentences) == len(stated) == len(set(stated))
        for sentence, fact in zip(sentences, stated, strict=True):
            assert fact in facts
            assert sentence in statements(fact)
            assert fact.object in sentence
            assert fact.subject in sentence
        assert document.meta["group"] == stated[0].subject


def test_a_sentence_states_one_fact_only() -> None:
    counts = Counter(sentence for fact in world() for sentence in statements(fact))
    assert max(counts.values()) == 1
    assert len(counts) == sum(len(RELATIONS[fact.relation].templates) for fact in world())


def test_documents_are_short_and_cover_facts_subjects_and_templates_evenly() -> None:
    facts = world()
    found = documents(facts)
    assert min(len(one.text) for one in found) >= 100
    assert max(len(one.text) for one in found) <= 450
    leads = Counter(one.meta["group"] for one in found)
    assert len(leads) == 68
    assert max(leads.values()) - min(leads.values()) <= 1
    times = Counter(fact for one in found for fact in one.meta["facts"])
    assert min(times[fact] for fact in facts) >= 10
    used = {sentence for one in found for sentence in SENTENCE_END.split(one.text)}
    for name, relation in RELATIONS.items():
        of_relation = [fact for fact in facts if fact.relation == name]
        for index in range(len(relation.templates)):
            assert any(statements(fact)[index] in used for fact in of_relation), relation.templates[index]


def test_templates_are_single_sentences() -> None:
    templates = [template for relation in RELATIONS.values() for template in relation.templates]
    assert len(set(templates)) == len(templates)
    for template in templates:
        assert (template.count("{s}"), template.count("{o}"), template.count(".")) == (1, 1, 1)
        assert template.endswith(".")
        assert template[0].isupper() or template[0] == "{"


def test_statements_and_openings_of_a_fact() -> None:
    fact = Fact("Ovo", "river", "Una")
    assert statements(fact) == (
        "Ovo stands on the river Una.",
        "The mills of Ovo are turned by the river Una.",
        "Below the walls of Ovo runs the river Una.",
        "Boats on the river Una tie up at the quay of Ovo.",
    )
    assert openings(fact) == (
        "Ovo stands on the river",
        "The mills of Ovo are turned by the river",
        "Below the walls of Ovo runs the river",
    )
    for relation in RELATIONS:
        assert len(openings(Fact("Ovo", relation, "Una"))) >= 2


@pytest.mark.parametrize("year", [2, 3])
def test_a_year_changes_a_third_of_what_can_change_and_nothing_else(year: int) -> None:
    before, after = world(year=year - 1), world(year=year)
    pairs = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    # 2 relations of 16 towns, 24 people, 10 houses and 10 roads, 1 of 8 feasts: 128; a third is 43.
    assert len(pairs) == 43
    for one, other in pairs:
        assert (one.subject, one.relation) == (other.subject, other.relation)
        assert RELATIONS[one.relation].changes
    assert changes(year=year) == tuple(pairs)


def test_documents_of_changed_facts_state_nothing_else() -> None:
    new = {after for _, after in changes(year=2)}
    found = documents(sorted(new, key=lambda fact: (fact.subject, fact.relation)), count=120)
    assert {fact for one in found for fact in one.meta["facts"]} == new


def test_the_world_is_a_function_of_its_seed() -> None:
    assert world(3, 2) == world(3, 2)
    assert documents(world(3), 5, 20) == documents(world(3), 5, 20)
    assert {fact.subject for fact in world(3)} != {fact.subject for fact in world(4)}
    assert documents(world(3), 5, 20)[0].text != documents(world(3), 6, 20)[0].text


def test_a_year_before_the_first_and_no_facts_are_users_errors() -> None:
    with pytest.raises(UserError, match="year 0: the world of the demo begins in year 1"):
        world(0, 0)
    with pytest.raises(UserError, match="without a single fact"):
        documents([])
