"""The invented wiki: the same pages in every snapshot but for what changed, and what the package makes of two."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rewarm.probes.asking import Templates
from rewarm.recipes.demo_facts import RELATIONS, Fact, statements
from rewarm.recipes.demo_wiki import FACTS, facts, pages, subjects, write_templates
from rewarm.recipes.small_texts import month, write_wiki
from rewarm.types import silent

SENTENCE_END = re.compile(r"(?<=\.) ")


@pytest.fixture(scope="module")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wiki")
    write_wiki(folder, 2, silent, lambda: False)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_towns_houses_and_roads_have_pages() -> None:
    # 16 towns of 6 relations, 10 houses and 10 roads of 4.
    assert len(subjects()) == 16 + 10 + 10
    assert len(facts(1, subjects())) == 16 * 6 + 10 * 4 + 10 * 4


@pytest.mark.parametrize("snapshot", [1, 2, 3])
def test_a_page_states_facts_of_its_snapshot_and_nothing_else(snapshot: int) -> None:
    about = subjects()
    held = set(facts(snapshot, about))
    for page in pages(snapshot, about, count=60):
        sentences, stated = SENTENCE_END.split(page.text), page.meta["facts"]
        assert 1 <= len(sentences) == len(stated) <= FACTS
        assert page.meta["group"] == stated[0].subject
        for sentence, fact in zip(sentences, stated, strict=True):
            assert fact in held
            assert sentence in statements(fact)


def test_pages_of_two_snapshots_differ_in_the_sentences_of_changed_facts_alone() -> None:
    about = subjects()
    changed = {
        (before.subject, before.relation)
        for before, after in zip(facts(1, about), facts(2, about), strict=True)
        if before != after
    }
    assert len(changed) == 42
    seen = 0
    for before, after in zip(pages(1, about, 200), pages(2, about, 200), strict=True):
        assert (before.id, before.meta["group"]) == (after.id, after.meta["group"])
        pairs = zip(SENTENCE_END.split(before.text), SENTENCE_END.split(after.text), before.meta["facts"], strict=True)
        for old, new, fact in pairs:
            assert (old != new) == ((fact.subject, fact.relation) in changed)
            seen += old != new
    assert seen > 42


def test_subjects_that_are_left_out_lead_no_page() -> None:
    about = subjects()[5:]
    assert {page.meta["group"] for page in pages(1, about, 200)} <= set(about)


def test_templates_ask_with_the_wordings_that_end_with_the_object(tmp_path: Path) -> None:
    found = Templates(write_templates(tmp_path / "templates.yaml"))
    assert found.of("river") == (
        "[X] stands on the river [Y].",
        "The mills of [X] are turned by the river [Y].",
        "Below the walls of [X] runs the river [Y].",
    )
    fact = Fact("Ovo", "toll", "3 coppers")
    assert found.ask(fact.subject, fact.relation) == ("The toll on the Ovo is", ".")
    assert all(found.knows(relation) for relation in RELATIONS)


def test_the_difference_states_every_changed_fact_and_the_probes_ask_for_it(wiki: Path) -> None:
    about = subjects()
    before, after = facts(1, about), facts(2, about)
    told = rows(wiki / "probes" / f"{month(2)}.jsonl")
    changed = {
        (row["subject"], row["relation"]): (row["object_old"], row["object"])
        for row in told
        if row["label"] == "changed"
    }
    expected = {
        (new.subject, new.relation): (old.object, new.object)
        for old, new in zip(before, after, strict=True)
        if old != new
    }
    assert changed == expected
    # 176 facts, 42 of them changed, and texts state all of them.
    assert [row["label"] for row in told].count("unchanged") == 134
    summary = json.loads((wiki / "differences" / month(2) / "summary.json").read_text(encoding="utf-8"))
    sentences = sum(
        fact in expected_facts
        for expected_facts in [{new for old, new in zip(before, after, strict=True) if old != new}]
        for page in pages(2, about)
        for fact in page.meta["facts"]
    )
    assert summary["sentences"]["new"] == sentences


def test_writing_again_changes_nothing(wiki: Path) -> None:
    def listed() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(wiki.rglob("*")) if path.is_file()}

    first = listed()
    write_wiki(wiki, 2, silent, lambda: False)
    assert listed() == first
