"""What a command names as OLD and NEW: paths, options in braces, ids and their rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rewarm.difference.editions import editions
from rewarm.types import BadRows, UserError


def articles(old: Any, new: Any, **rules: Any) -> list[list[tuple[str, ...]]]:
    return [
        [tuple(article) for article in edition.articles(BadRows())] for edition in editions(str(old), str(new), **rules)
    ]


def write(file: Path, *rows: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_rows_are_told_apart_by_their_field_id_and_keep_title_and_date(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl", {"id": 7, "text": "T", "title": "A  b", "date": "2026-01"}, {"id": "x", "text": "U"}
    )
    assert articles(file, file)[0] == [("7", "A b", "2026-01", "T"), ("x", "", "", "U")]


def test_options_in_braces_are_those_of_a_plan(tmp_path: Path) -> None:
    old = write(tmp_path / "a.jsonl", {"page": 1, "body": "T"})
    new = write(tmp_path / "b.jsonl", {"key": 1, "text": "U"})
    given = f"{{path: {old}, id_field: page, text_field: body}}"
    assert articles(given, f"{{type: jsonl, path: {new}, id_field: key}}") == [
        [("1", "", "", "T")],
        [("1", "", "", "U")],
    ]
    with pytest.raises(UserError, match="id_feild"):
        editions(f"{{path: {old}, id_feild: page}}", str(new))
    with pytest.raises(UserError, match="is no mapping"):
        editions(f"{{path: {old}", str(new))


def test_files_of_a_folder_have_their_paths_for_ids(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version / "sub").mkdir(parents=True)
        (tmp_path / version / "sub" / "a.md").write_text(version, encoding="utf-8")
        (tmp_path / version / "b.txt").write_text("b", encoding="utf-8")
    found = articles(tmp_path / "one", tmp_path / "two")
    assert found[0] == [("b.txt", "b.txt", "", "b"), ("sub/a.md", "sub/a.md", "", "one")]
    assert [article[0] for article in found[1]] == ["b.txt", "sub/a.md"]


def test_a_pattern_picks_the_part_of_an_id_that_stays(tmp_path: Path) -> None:
    old = write(tmp_path / "a.jsonl", {"id": "book:2017:Peru", "text": "T"})
    new = write(tmp_path / "b.jsonl", {"id": "book:2021:Peru", "text": "U"}, {"id": "odd", "text": "V"})
    assert articles(old, new, pattern="^book:[0-9]+:(.+)") == [[("Peru", "Peru", "", "T")], [("Peru", "Peru", "", "U")]]
    bad = BadRows()
    assert len([*editions(str(old), str(new), pattern="^book:[0-9]+:(.+)")[1].articles(bad)]) == 1
    assert (bad.rows, dict(bad.counts)) == (2, {"id without --id-pattern": 1})


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("book", "has no group: put the part of an id that both snapshots share into brackets"),
        ("(book", "is no regular expression"),
        ("^page:(.+)", "OLD: none of its 1 rows has an id that --id-pattern '^page:(.+)' fits"),
    ],
)
def test_a_wrong_pattern_is_refused_before_any_work(tmp_path: Path, pattern: str, message: str) -> None:
    file = write(tmp_path / "a.jsonl", {"id": "book:1", "text": "T"})
    with pytest.raises(UserError, match=re.escape(message)):
        editions(str(file), str(file), pattern=pattern)


def test_rows_without_the_field_are_refused_with_the_remedy(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"text": "T"}, {"text": "U"})
    with pytest.raises(UserError, match=r"none of its 2 rows has a field 'id' .* Name the field with --id-field"):
        editions(str(file), str(file))
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    with pytest.raises(UserError, match="text, which has no fields"):
        editions(str(tmp_path / "a.txt"), str(tmp_path / "a.txt"), id_field="page")


def dump(file: Path, *pages: tuple[int, str]) -> Path:
    """A MediaWiki dump of pages: id and mark-up."""
    inner = "".join(
        f"<page><title>Page {name}</title><ns>0</ns><id>{name}</id><revision><id>{name}1</id>"
        f"<timestamp>2026-01-01T00:00:00Z</timestamp><model>wikitext</model><text>{text}</text></revision></page>"
        for name, text in pages
    )
    space = "http://www.mediawiki.org/xml/export-0.11/"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'<mediawiki xmlns="{space}" version="0.11">{inner}</mediawiki>', encoding="utf-8")
    return file


def test_parts_of_a_dump_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for part in (1, 2, 10):
        dump(tmp_path / "old" / f"wiki{part}.xml", (part, f"Text {part}."))
    found = articles(tmp_path / "old", tmp_path / "old")
    assert [article[0] for article in found[0]] == ["1", "2", "10"]


def test_pages_keep_their_mark_up_only_where_both_snapshots_are_dumps(tmp_path: Path) -> None:
    old = dump(tmp_path / "old.xml", (1, "It is [[big|large]]."))
    assert articles(old, old)[0][0] == ("1", "Page 1", "2026-01-01T00:00:00Z", "It is [[big|large]].")
    rows = write(tmp_path / "a.jsonl", {"id": "1", "text": "It is large."})
    assert articles(old, rows)[0][0][3] == "Page 1\n\nIt is large."
    with pytest.raises(UserError, match="have their numbers for ids"):
        editions(str(old), str(rows), pattern="(.+)")


def test_dumps_give_text_and_mark_up_that_reads_alike_is_no_change(tmp_path: Path, diff: Any, read: Any) -> None:
    old = dump(tmp_path / "old.xml", (1, "It has [[people]]."), (2, "It is 5."), (3, "Gone."))
    new = dump(tmp_path / "new.xml", (1, "It has [[folk|people]]."), (2, "It is '''6'''."), (4, "New [[page]]."))
    summary = diff(old, new, tmp_path / "out")
    assert summary["articles"] == {"same": 1, "changed": 1, "added": 1, "removed": 1}
    rows = [(row["id"], row["text"]) for row in read(tmp_path / "out" / "diff.jsonl.zst")]
    assert rows == [("2", "Page 2\nIt is 6."), ("4", "Page 4\n\nNew page.")]
