"""Wikis as corpora; the pages of this file are written by hand."""

import bz2
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from rewarm.corpora.wiki import Wiki
from rewarm.methods import build
from rewarm.types import BadRows, Document, UserError

INFOBOX = """{{Infobox country
| capital = [[Tirana]]
| leader_name1 = '''Old President'''
}}
The '''Republic''' had 2,886,026 people in 2016."""


def write(path: Path, *given: tuple[int, str, str], model: str = "wikitext") -> Path:
    pages = "".join(
        f"<page><title>{title}</title><ns>0</ns><id>{number}</id><revision><id>5</id><timestamp>2016-04-22T10:19:33Z"
        f"</timestamp><model>{model}</model><text>{text}</text></revision></page>\n"
        for number, title, text in given
    )
    content = f"<mediawiki>\n{pages}</mediawiki>".encode()
    path.write_bytes(bz2.compress(content) if path.suffix.startswith((".bz2", ".BZ2")) else content)
    return path


def test_an_article_is_a_document(tmp_path, collect):
    write(tmp_path / "a.xml", (12, "Albania", INFOBOX))
    documents, _ = collect(Wiki(path=str(tmp_path)))
    text = "Albania\n\ncapital: Tirana\nleader name1: Old President\nThe Republic had 2,886,026 people in 2016."
    meta = {"title": "Albania", "date": "2016-04-22T10:19:33Z", "revision": "5"}
    assert documents == [Document("12", text, f"{tmp_path / 'a.xml'}:2", meta)]


def test_parts_of_a_dump_are_one_corpus(tmp_path, collect):
    write(tmp_path / "w-pages-articles1.xml-p1p2.bz2", (1, "A", "one"), (2, "B", "two"))
    write(tmp_path / "w-pages-articles2.xml-p3p9.bz2", (3, "C", "three"), (2, "B", "two again"))
    (tmp_path / "w-pages-articles-multistream-index.txt.bz2").write_bytes(bz2.compress(b"597:10:A"))
    documents, bad = collect(Wiki(path=str(tmp_path)))
    assert [document.id for document in documents] == ["1", "2", "3"]
    assert bad.examples == {"duplicate id": [f"{tmp_path / 'w-pages-articles2.xml-p3p9.bz2'}:3"]}


def test_what_is_passed_over_is_counted_by_kind(tmp_path):
    write(tmp_path / "a.xml", (1, "A", "#REDIRECT [[B]]"), (2, "B", "text"), (3, "C", "[[a|" * 3000))
    write(tmp_path / "b.xml", (4, "Q1", "{}"), model="wikibase-item")
    corpus = Wiki(path=str(tmp_path))
    bad = BadRows()
    found = [corpus.document(page, bad) for page in corpus.articles(bad)]
    assert [document.id for document in found] == ["2", "3"]
    assert (bad.rows, bad.total) == (2, 0)
    assert bad.left_out == {
        "redirect": 1, "no wikitext": 1, "mark-up too tangled to parse, brackets taken out": 1,
    }  # fmt: skip


def test_pages_without_text_are_bad_rows(tmp_path, collect):
    write(tmp_path / "a.xml", (1, "A", ""), (2, "B", " \n"), (3, "C", "x"))
    documents, bad = collect(Wiki(path=str(tmp_path)))
    assert (len(documents), bad.counts) == (1, {"empty text": 2})


def test_only_known_fields_hold_out():
    assert Wiki(path="x", holdout_by="title").holdout_by == "title"
    with pytest.raises(UserError, match="held out by title, date, revision"):
        build("corpora", {"type": "wiki", "path": "x", "holdout_by": "author"})


def sample() -> Wiki:
    folder = Path(os.environ.get("REWARM_DATA") or Path(__file__).parents[3] / "shared" / "data")
    file = folder / "base" / "enwiki_pages_articles_sample.xml.bz2"
    if not file.is_file():
        pytest.skip("set REWARM_DATA to the folder of real data")
    return Wiki(path=str(file))


@pytest.mark.data
def test_real_pages_are_all_read_and_leave_no_mark_up():
    corpus = sample()
    bad = BadRows()
    texts = [corpus.document(page, bad).text for page in corpus.articles(bad)]
    assert (len(texts), bad.left_out, bad.total) == (106, {"redirect": 99}, 0)
    formulas = re.compile(r"\\[a-zA-Z]|[_^]\{")  # TeX has {{ and }} of its own
    for remnant in ("[[", "]]", "{{", "}}", "{|", "|}", "''", "<ref", "</", "<br", "&nbsp;", "&amp;", "\2", "\1", "__"):
        lines = [line for text in texts for line in text.split("\n") if remnant in line and not formulas.search(line)]
        assert len(lines) <= 3, (remnant, lines)


@pytest.mark.data
def test_numbers_in_the_sentences_of_real_articles_survive():
    seen = lost = 0
    for page in sample().articles(BadRows()):
        counted = Counter(re.findall(r"\d{3,}", sample().document(page, BadRows()).text))
        for number, times in Counter(re.findall(r"\d{3,}", visible(page.markup))).items():
            seen += times
            lost += max(0, times - counted[number])
    assert seen > 7_000
    assert lost < 0.002 * seen


def visible(markup: str) -> str:
    """What is certainly read of an article: words outside templates, tables, notes, tags and files."""
    markup = re.sub(r"<!--.*?-->|<ref[^<>]*/>|<ref\b[^<>]*>.*?</ref>", "", markup, flags=re.DOTALL)
    markup = re.sub(r"<(gallery|timeline|imagemap|math|references)\b.*?</\1>", "", markup, flags=re.DOTALL)
    for _ in range(8):
        markup = re.sub(r"\{\{[^{}]*\}\}|\{\|(?:(?!\{\|).)*?\n\|\}", "", markup, flags=re.DOTALL)
    markup = re.sub(r"\[\[(?!File:|Image:|Category:)[^\[\]|]*\|([^\[\]]*)\]\]", r"\1", markup)
    markup = re.sub(r"\[\[(?!File:|Image:|Category:|[a-z-]{2,}:)([^\[\]|]*)\]\]", r"\1", markup)
    markup = re.sub(r"\[\[[^\[\]]*\]\]|\[?https?://\S*|<[^<>]*>|&#\d+;", "", markup)
    return "\n".join(line for line in markup.split("\n") if "{" not in line and "}" not in line)
