"""Pages of dumps written by hand."""

import bz2
import gzip
import tracemalloc
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from rewarm.corpora.wiki_pages import Page, pages
from rewarm.types import BadRows


def revision(number: int, text: str, timestamp: str = "2021-09-01T00:00:00Z", attributes: str = "") -> str:
    return (
        f"<revision><id>{number}</id><timestamp>{timestamp}</timestamp><contributor><username>U</username><id>9</id>"
        f"</contributor><model>wikitext</model><text{attributes}>{escape(text)}</text></revision>"
    )


def page(number: int, *revisions: str, title: str = "T", namespace: int = 0, more: str = "") -> str:
    inside = f"<title>{escape(title)}</title><ns>{namespace}</ns><id>{number}</id>{more}{''.join(revisions)}"
    return f"  <page>{inside}</page>\n"


def dump(*given: str) -> bytes:
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/"><siteinfo><sitename>W</sitename></siteinfo>\n'
    return (head + "".join(given) + "</mediawiki>\n").encode()


def read(path: Path, content: bytes, **options: object) -> tuple[list[Page], BadRows]:
    path.write_bytes(content)
    bad = BadRows()
    return list(pages([path], bad, **options)), bad  # type: ignore[arg-type]


def test_every_field_of_a_page(tmp_path):
    content = dump(
        page(12, revision(7, "Käse & <ref>x</ref>\nß"), title="A & B"), page(13, revision(8, "#REDIRECT [[T]]"))
    )
    found, bad = read(tmp_path / "a.xml", content)
    place = f"{tmp_path / 'a.xml'}:"
    assert found == [
        Page("12", "A & B", 0, False, "7", "2021-09-01T00:00:00Z", "wikitext", "Käse & <ref>x</ref>\nß", f"{place}2"),
        Page("13", "T", 0, True, "8", "2021-09-01T00:00:00Z", "wikitext", "#REDIRECT [[T]]", f"{place}4"),
    ]
    assert (bad.rows, bad.total) == (0, 0)


def test_redirect_is_known_by_its_element_in_any_language(tmp_path):
    found, _ = read(
        tmp_path / "a.xml", dump(page(1, revision(1, "#WEITERLEITUNG [[B]]"), more='<redirect title="B"/>'))
    )
    assert found[0].redirect


def test_namespaces_are_chosen(tmp_path):
    content = dump(*(page(number, revision(1, f"text {number}"), namespace=number) for number in (0, 1, 4, 14)))
    assert [item.id for item in read(tmp_path / "a.xml", content)[0]] == ["0", "1", "4", "14"]
    assert [item.markup for item in read(tmp_path / "a.xml", content, namespaces={0, 14})[0]] == ["text 0", "text 14"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_history_gives_the_newest_revision_with_a_text(tmp_path, order):
    revisions = [
        revision(1, "first", "2001-01-01T00:00:00Z"),
        revision(2, "newest", "2021-12-31T23:59:59Z"),
        revision(3, "", "2022-01-01T00:00:00Z", ' deleted="deleted"'),
    ]
    found, _ = read(tmp_path / "a.xml", dump(page(1, *(revisions[place] for place in order))))
    assert [(item.markup, item.revision, item.timestamp) for item in found] == [("newest", "2", "2021-12-31T23:59:59Z")]


def test_text_of_another_slot_is_not_the_article(tmp_path):
    slot = "<content><role>extra</role><model>json</model><text>{}</text></content>"
    two = revision(1, "article").replace("</revision>", f"{slot}</revision>")
    found, _ = read(tmp_path / "a.xml", dump(page(1, two)))
    assert (found[0].markup, found[0].model) == ("article", "wikitext")


def streams(*given: str) -> bytes:
    """As multistream dumps are: the head, each block of pages and the end are bzip2 streams of their own."""
    whole = dump(*given).decode()
    cuts = whole.split("  <page>")
    parts = [cuts[0], *("  <page>" + cut for cut in cuts[1:])]
    return b"".join(bz2.compress(part.encode()) for part in parts)


PAGES = [page(number, revision(number, f"text {number} " + "é" * 1000)) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xml", dump(*PAGES)), ("a.xml.gz", gzip.compress(dump(*PAGES))), ("a.xml.bz2", bz2.compress(dump(*PAGES))),
        ("a.xml.BZ2", streams(*PAGES)), ("a.xml", b"\xef\xbb\xbf" + dump(*PAGES)),
    ],
)  # fmt: skip
def test_packings_read_alike(tmp_path, name, content):
    found, bad = read(tmp_path / name, content)
    assert [item.id for item in found] == ["1", "2", "3", "4", "5"]
    assert all(item.markup == f"text {item.id} " + "é" * 1000 for item in found)
    assert bad.total == 0


@pytest.mark.parametrize("packed", [False, True])
def test_every_cut_is_seen_and_the_pages_before_it_are_kept(tmp_path, packed):
    content = streams(*PAGES) if packed else dump(*PAGES).rstrip()
    for end in range(0, len(content), 97):
        found, bad = read(tmp_path / ("a.xml.bz2" if packed else "a.xml"), content[:end])
        assert bad.counts == {"truncated file": 1}, end
        assert bad.rows == 1
        assert [item.id for item in found] == [str(number + 1) for number in range(len(found))]
    assert len(found) >= 4


def test_a_multistream_dump_cut_between_two_streams_is_cut(tmp_path):
    whole = streams(*PAGES)
    last = whole.rfind(b"BZh9")
    found, bad = read(tmp_path / "a.xml.bz2", whole[:last])
    assert (len(found), bad.counts) == (4, {"truncated file": 1})


BOMB = b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><mediawiki>&b;</mediawiki>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "XML with a document type"),
        (b"<!DOCTYPE html><html></html>", "XML with a document type"),
        (b"<feed><page/></feed>", "not a MediaWiki dump"),
        (b"plain words", "broken XML"),
        (b"<mediawiki>&unknown;</mediawiki>", "broken XML"),
        (b"<mediawiki><page></mediawiki>", "broken XML"),
        (b"<mediawiki>\xff</mediawiki>", "broken XML"),
        (b"", "truncated file"),
    ],
)
def test_what_is_no_dump_is_one_bad_row(tmp_path, content, reason):
    (tmp_path / "b.xml").write_bytes(dump(*PAGES))
    (tmp_path / "a.xml").write_bytes(content)
    bad = BadRows()
    found = list(pages([tmp_path / "a.xml", tmp_path / "b.xml"], bad))
    assert (len(found), bad.counts) == (5, {reason: 1})


def test_broken_xml_keeps_the_pages_before_it(tmp_path):
    content = dump(*PAGES).replace(b"text 4", b"text \x01")
    found, bad = read(tmp_path / "a.xml", content)
    assert [item.id for item in found] == ["1", "2", "3"]
    assert bad.examples == {"broken XML": [f"{tmp_path / 'a.xml'}:5"]}


def test_pages_that_are_too_long_or_have_no_id_are_bad_rows(tmp_path):
    long = page(2, revision(1, "é" * 51))
    nameless = page(3, revision(1, "x")).replace("<id>3</id>", "", 1)
    found, bad = read(tmp_path / "a.xml", dump(page(1, revision(1, "é" * 50)), long, nameless), max_bytes=100)
    assert [item.id for item in found] == ["1"]
    place = f"{tmp_path / 'a.xml'}:"
    assert bad.examples == {"row longer than max_row_bytes": [f"{place}3"], "no id": [f"{place}4"]}
    assert bad.rows == 2


def test_memory_is_flat_in_the_size_of_a_history_and_of_a_page_too_long(tmp_path):
    texts = [revision(number, f"{number} " + "words " * 20_000) for number in range(100)]
    (tmp_path / "a.xml").write_bytes(dump(page(1, *texts), page(2, revision(1, "x" * 12_000_000))))
    bad = BadRows()
    tracemalloc.start()
    found = list(pages([tmp_path / "a.xml"], bad, None, 1_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [item.revision for item in found] == ["99"]
    assert bad.counts == {"row longer than max_row_bytes": 1}
    assert peak < 5_000_000
