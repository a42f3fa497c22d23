"""Every method has a page of the site: its note is there and whole, and its options come out of the registry."""

from __future__ import annotations

import methods
import pytest

from rewarm.cli.methods import MERGING, slots

ENTRIES = methods.entries()
by_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")


def test_every_method_has_a_note_and_every_note_a_method() -> None:
    noted = {file.relative_to(methods.NOTES).with_suffix("").as_posix() for file in methods.NOTES.rglob("*.md")}
    assert noted == {f"{entry.kind}/{entry.name}" for entry in ENTRIES}


def test_every_kind_has_its_place_on_the_site() -> None:
    assert set(methods.KINDS) == {*slots(), MERGING}


@by_entry
def test_a_note_has_its_four_parts(entry: methods.Entry) -> None:
    found = methods.parts(entry.note.read_text(encoding="utf-8"))
    assert tuple(found) == methods.PARTS
    assert [part for part, text in found.items() if len(text) < 10] == []
    assert found["Formula"].startswith("```text\n")


@by_entry
def test_a_page_shows_every_option_with_its_default(entry: methods.Entry) -> None:
    shown = methods.page(entry)
    rows = [line for line in methods.options_table(entry).splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [name for name, _, _ in entry.options]
    assert all(row.count("|") - row.count("\\|") == 4 for row in rows)
    assert all(row in shown for row in rows)


def test_options_follow_the_registry() -> None:
    ewc = next(entry for entry in ENTRIES if (entry.kind, entry.name) == ("retention", "ewc"))
    table = methods.options_table(ewc)
    assert "| `strength` | number | `0.1` |" in table
    assert "| `importance` | fisher, shuffled | `fisher` |" in table
    assert "| `online` | true or false | `true` |" in table


def test_lists_of_methods_name_all_of_their_kind() -> None:
    pages = dict(methods.pages())
    for kind in methods.KINDS:
        names = [entry.name for entry in ENTRIES if entry.kind == kind]
        assert all(f"[{name}]({name}.md)" in pages[f"methods/{kind}/index.md"] for name in names)
        assert all(f"methods/{kind}/{name}.md" in pages for name in names)
