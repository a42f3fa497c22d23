"""Real snapshots: a Wikipedia dump with recorded edits, and two years of the World Factbook."""

from __future__ import annotations

import bz2
import os
import re
from pathlib import Path
from typing import Any

import pytest

from rewarm.corpora.wiki_text import convert
from rewarm.difference.editions import Article, editions
from rewarm.difference.sentences import key, paragraphs, sentences
from rewarm.types import BadRows

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(os.environ.get("REWARM_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("set REWARM_DATA to the folder of real data")
    return folder


def edited(dump: str, page: str, edit: Any) -> str:
    """The dump with the text of the page of that id changed by `edit`, which must change it."""
    pattern = re.compile(rf"(<id>{page}</id>\s*<revision>.*?<text[^>]*>)(.*?)(</text>)", re.DOTALL)
    match = pattern.search(dump)
    assert match is not None
    text = edit(match[2])
    assert text != match[2]
    return f"{dump[: match.start(2)]}{text}{dump[match.end(2) :]}"


def test_recorded_edits_of_a_real_dump_are_found_and_nothing_else(
    data: Path, diff: Any, read: Any, tmp_path: Path
) -> None:
    old = data / "base" / "enwiki_pages_articles_sample.xml.bz2"
    pages = [one for one in editions(str(old), str(old))[0].articles(BadRows()) if len(one.body) > 3000]
    head, tail, anew, gone, *others = pages
    number, context = next((page, found) for page in others if (found := dated(page)))
    with bz2.open(old, "rt", encoding="utf-8") as opened:
        dump = opened.read()
    dump = edited(dump, head.id, lambda text: f"A paragraph at the head names 12,345 things.\n\n{text}")
    dump = edited(dump, tail.id, lambda text: f"{text}\n\nA paragraph at the tail, of 31 May 2026.")
    dump = edited(dump, number.id, lambda text: text.replace(context, f"{context[:-4]}2091"))
    dump = edited(dump, anew.id, lambda text: "All of it is told again. It has two sentences.\n\nAnd a paragraph more.")
    start = dump.index("<page>", dump.index(f"<title>{gone.title}</title>") - 40)
    dump = dump[:start] + dump[dump.index("</page>", start) + len("</page>") :]
    with bz2.open(tmp_path / "new.xml.bz2", "wt", encoding="utf-8") as file:
        file.write(dump)
    summary = diff(old, tmp_path / "new.xml.bz2", tmp_path / "out")
    rows = {row["id"]: row for row in read(tmp_path / "out" / "diff.jsonl.zst")}
    deleted = {row["id"]: row for row in read(tmp_path / "out" / "deleted.jsonl.zst")}
    assert summary["articles"] == {"same": len_of(old) - 5, "changed": 4, "added": 0, "removed": 1}
    assert set(rows) == {head.id, tail.id, number.id, anew.id}
    assert rows[head.id]["text"] == f"{head.title}\nA paragraph at the head names 12,345 things."
    # A heading that had nothing below it so far is no part of the text; now it may be.
    lines = rows[tail.id]["text"].split("\n")
    assert (lines[0], lines[-1]) == (tail.title, "A paragraph at the tail, of 31 May 2026.")
    assert len(lines) <= 3
    assert (rows[head.id]["kinds"], rows[number.id]["kinds"]) == ({"new_paragraph": 1}, {"changed_sentence": 1})
    assert "2091" in rows[number.id]["text"]
    assert rows[anew.id]["text"].splitlines()[1:] == [
        "All of it is told again. It has two sentences.", "And a paragraph more.",
    ]  # fmt: skip
    assert set(deleted) == {number.id, anew.id, gone.id}
    assert deleted[gone.id]["kind"] == "article"
    assert deleted[number.id]["text"].replace(context, f"{context[:-4]}2091") == rows[number.id]["text"].split("\n")[1]


def dated(page: Article) -> str | None:
    """Words before a year and the year, which stand once in the page's mark-up and once in its text."""
    for match in re.finditer(r"[a-z]+ [a-z]+ in 1[89][0-9]{2}\b", page.body):
        if page.body.count(match[0]) == convert(page.title, page.body).text.count(match[0]) == 1:
            return match[0]
    return None


def len_of(dump: Path) -> int:
    return sum(1 for _ in editions(str(dump), str(dump))[0].articles(BadRows()))


def test_no_sentence_of_the_factbook_of_2021_is_lost(data: Path, diff: Any, read: Any, tmp_path: Path) -> None:
    old, new = (data / "temporal" / f"world_factbook_{year}.jsonl.zst" for year in (2017, 2021))
    pattern = "^factbook:[0-9]+:(.+)$"
    summary = diff(old, new, tmp_path / "out", pattern=pattern)
    sides = [
        {one.id: all_sentences(one.body) for one in side.articles(BadRows())}
        for side in editions(str(old), str(new), pattern=pattern)
    ]
    assert (summary["old"]["articles"], summary["new"]["articles"]) == (267, 260)
    assert summary["articles"]["added"] == len(sides[1].keys() - sides[0].keys())
    rows = {row["id"]: row["text"] for row in read(tmp_path / "out" / "diff.jsonl.zst")}
    deleted = {row["id"]: row["text"] for row in read(tmp_path / "out" / "deleted.jsonl.zst")}
    for name, said in sides[1].items():
        before = set(sides[0].get(name, ()))
        emitted = key(rows.get(name, ""))
        assert [one for one in said if one not in before and one not in emitted] == []
    for name, said in sides[0].items():
        after = set(sides[1].get(name, ()))
        gone = key(deleted.get(name, ""))
        assert [one for one in said if one not in after and one not in gone] == []


def all_sentences(text: str) -> list[str]:
    return [key(one) for paragraph in paragraphs(text) for one in sentences(paragraph)]
