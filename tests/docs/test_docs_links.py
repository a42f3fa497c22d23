"""Links of README, docs and notes lead somewhere: files, anchors, and pages that are named in passing."""

from __future__ import annotations

import re
from pathlib import Path

import methods
import nav
import pytest
from documentation import DOCS, PAGES, ROOT

NOTES = sorted(methods.NOTES.rglob("*.md"))
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MENTION = re.compile(r"\b((?:docs|studies|benchmarks)/[\w./-]+\.(?:md|py|json|svg|png))\b")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as both GitHub and the site make them of plain words."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    wrong = []
    for link in _LINK.findall(text):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize(
    "page", [*PAGES, *NOTES, ROOT / "CONTRIBUTING.md"], ids=lambda page: f"{page.parent.name}-{page.name}"
)
def test_files_that_are_named_exist(page: Path) -> None:
    """A repository's own files; what a study writes into its output folder is not among them."""
    named = dict.fromkeys(_MENTION.findall(page.read_text(encoding="utf-8")))
    assert [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()] == []


def test_notes_link_to_methods_of_their_own_kind() -> None:
    for note in NOTES:
        for link in _LINK.findall(note.read_text(encoding="utf-8")):
            assert (note.parent / link).is_file(), f"{note.name}: {link}"


def test_every_claim_is_in_the_navigation_in_order() -> None:
    held = [name for entry in nav.claims() for name in entry]
    assert held[:12] == [f"T{number}" for number in range(1, 13)]
    assert sorted(held) == sorted(file.stem for file in (nav.DOCS / nav.CLAIMS).glob("*.md"))


def test_every_page_is_in_the_navigation_once() -> None:
    names = ["index", *(file.stem for file in DOCS.glob("*.md"))]
    held = [name for group in nav.grouped(names).values() for name in group]
    assert sorted(held) == sorted(names)


def test_a_page_that_no_group_names_is_found_under_more() -> None:
    found = nav.grouped(["index", "log", "something-new"])
    assert found["Start"] == ["index"]
    assert found["Evidence"] == ["log"]
    assert found[nav.MORE] == ["something-new"]


def test_titles_are_the_first_headings() -> None:
    assert nav.titles(["merging", "suites"]) == {"merging": "Merging after training", "suites": "Suites"}
