"""Mark-up of our own, and the text that stands in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.corpora import wiki_text
from rewarm.corpora.wiki_text import convert, is_tangled, pieces, without_notes


def body(markup: str) -> str:
    title, empty, text = convert("Title", markup).text.partition("\n\n")
    assert (title, bool(empty)) == ("Title", bool(text))
    return text


ARTICLE = """\
{{Short description|A town of this test}}
{{Infobox town
| name        = Nordholm <!-- as it is spelled -->
| image       = Nordholm harbour.jpg
| image_size  = 250px
| mayor       = [[Anna Berg|A. Berg]]<ref>{{cite web|title=Mayors|year=2019}}</ref>
| founded     = {{start date|1204|5|17}}
| population  = {{formatnum:18742}}
| twins       = {{plainlist|
* [[Lund]]
* [[Kiel]]
}}
| motto       =
}}
[[File:Harbour.jpg|thumb|The [[harbour]] in 1999]]
'''Nordholm''' ({{lang|da|Nordholm}}; {{IPAc-en|n|o}}) is a [[town]] about {{convert|12|km|mi}} north of
[[Lund (city)|Lund]].<ref name="a" /> In May 2021 it had 18,742 people{{citation needed|date=May 2021}}, ''most'' of
them in 3 [[parish]]es&nbsp;&ndash; see {{as of|2021|5|lc=y}}.

== History ==
{{Main|History of Nordholm}}
* First [[mayor]]: ''Ole'' (1204–1230)
* Second: Per
=== Fires ===
== Numbers ==
{| class="wikitable"
|+ People
! Year !! People
|-
| 1900 || 1,204
|-
| 2000 || colspan="2" | [[estimate|about]]<br>17,000
|}
== References ==
{{reflist}}
[[Category:Towns]] [[de:Nordholm]]
"""

TEXT = """\
name: Nordholm
mayor: A. Berg
founded: 17 May 1204
population: 18742
twins: Lund, Kiel
Nordholm (Nordholm; no) is a town about 12 km north of
Lund. In May 2021 it had 18,742 people, most of
them in 3 parishes – see as of May 2021.
History
First mayor: Ole (1204–1230)
Second: Per
Numbers
People
Year | People
1900 | 1,204
2000 | about, 17,000"""


def test_an_article():
    assert body(ARTICLE) == TEXT


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("[[a]], [[a|b]], [[a (x)|]], [[a#b]], [[:Category:C|c]], [[:Category:C]]", "a, b, a (x), a#b, c, Category:C"),
        ("x [[File:a.png|thumb|a [[b]] c]] y", "x y"),
        ("x [[Datei:a.png]] [[Kategorie:K]] [[wikt:word]] [[fr:Mot]]", "x wikt:word"),
        ("[http://a.example a site], [http://a.example] and http://b.example", "a site, and http://b.example"),
        ("'''b''' ''i'' '''''bi''''' o'clock ''''q''''", "b i bi o'clock 'q'"),
        ("a&nbsp;b &amp; &lt;c&gt; &eacute; &#233; &amp;lt; AT&T &unknown;", "a b & <c> é é &lt; AT&T &unknown;"),
        ("x<ref>a {{b|c}}</ref> y<ref name=z/>.<!-- c -->", "x y."),
        ("x<ref>never closed\ny", "xnever closed\ny"),
        ("a\n<!-- note\nof two lines -->\nb", "a\nb"),
        ("x <!-- open to the end\n== h ==", "x"),
        ("<nowiki>[[not a link]] <!-- kept --></nowiki> x", "[[not a link]] <!-- kept --> x"),
        ("10<sup>6</sup> m<sup>2</sup> 19<sup>th</sup> H<sub>2</sub>O 10<sup>−3</sup>", "10^6 m^2 19th H2O 10^−3"),
        ("<div>a</div><span style='display: none'>gone</span><p>b", "a\nb"),
        ("a<br/>b<br>c", "a\nb\nc"),
        ("<math>x^{2} < 300</math>", "x^{2} < 300"),
        ("<math>\\left\\{ a</math> {{lang|fr|b}}\n* c", "\\left\\{ a b\nc"),
        ("<gallery>\nFile:a.jpg|caption\n</gallery>x", "x"),
        ("# one\n## two\n: three\n; term : four", "one\ntwo\nthree\nterm : four"),
        ("__NOTOC__\n----\na_b __init__", "a_b __init__"),
        ("x {{unknown|in|words|key=gone}} y", "x in words y"),
        ("x ({{unknown}}) y ({{unknown}}; z) f()", "x y (z) f()"),
        ("x {{unknown}}, y", "x, y"),
        ("{{a|{{b|{{c|deep}}}}}}", "deep"),
        ("{{{argument|default}}} {{#if:a|b}}", "default"),
        ("{{PAGENAME}} {{formatnum:1234567}}", "Title 1234567"),
        ("== A ==\n=== B ===\nx\n== C ==\n=== D ===", "A\nB\nx"),
        ("== [[A|B]] {{small|c}} ==\nx", "B c\nx"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a | b"),
        ("{|\n| a || || c\n|-\n|\n|-\n|\n* x\n* y\n|}", "a | | c\nx, y"),
        ("日本語は[[言語]]です。", "日本語は言語です。"),
        ("a {{ b [[ c", "a {{ b [[ c"),
        ("{{nothing}}", ""),
    ],
)  # fmt: skip
def test_rules(markup, expected):
    assert body(markup) == expected


def test_sheets_of_facts_that_are_no_infobox_count_in_the_lead_only():
    sheet = "{{Company facts\n| chief = Ada\n| staff = 4,200\n| seat = Bern\n}}\n"
    assert body(sheet + "x") == "chief: Ada\nstaff: 4,200\nseat: Bern\nx"
    assert body("x\n== h ==\n" + sheet + "y") == "x\nh\ny"
    assert body("x\n== h ==\n" + sheet.replace("Company facts", "Infobox company")).endswith("seat: Bern")


def test_labels_and_data_of_an_infobox_belong_together():
    assert body("{{infobox\n| label1 = President\n| data1 = Ida\n| bodystyle = width:22em\n}}x") == "President: Ida\nx"


FRAGMENTS = st.sampled_from(
    [
        "word 123 ", "[[a]]", "[[a|b c]]", "[[File:x.jpg|thumb|c [[d]]]]", "'''bold''' ", "''i''", "\n", "\n\n", "\n* ",
        "\n== Heading ==\n", "\n=== [[H]] ===\n", "{{t|a|b=c}}", "{{lang|fr|mot}}", "<ref>r</ref>", "<ref name=x/>",
        "\n{{infobox x\n| a = 1\n| b = [[c]]\n}}\n", "\n{|\n! a !! b\n|-\n| c || d\n|}\n", "<!-- c -->", "<br>",
        "<b>x</b>", "<div>\ny\n</div>", "&nbsp;", "&amp;", "[http://a.example b]", " = ", "(", ")", "\u00a0", "é日",
        "__TOC__", "a < b", "[[:Category:K]]", "[[Category:K]]", "[[de:K]]", "\n----\n", "<nowiki>[[n]]</nowiki>",
        "10<sup>3</sup>", "{{cn|date=May 2021}}", "\n* {{cite book|title=[[T]]|year=1999}}", "{{!}}",
        "[[a|{{nowrap|b c}}]]", "{{nowrap|1=b=c}}", "{{as of|2016|4|lc = y}}", "{{ t | a | 2 = b }}",
        "{{small|[[x|y]]}}", "{{x|{{small|a}}}}", "{{nothing}}",
        "{{quote|a}}", "<math>{{10}}</math>", "{{hlist|a|b}}", "{{convert|5|km|mi}}", "{{url|a.example/?a=b}}", "{{=}}",
    ]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=25).map("".join))
def test_the_fast_way_gives_the_text_of_the_parser(markup):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiki_text, "pieces", lambda whole: [(False, whole)])
        patch.setattr(wiki_text, "with_flat_templates_said", lambda piece, title: piece)
        parsed = convert("T", markup).text
    assert convert("T", markup).text == parsed


@given(st.text(alphabet="ab1 \n[]{}|<>/'=*#&;!-", max_size=80))
def test_any_mark_up_is_converted_and_pieces_are_all_of_it(markup):
    text = convert("T", markup).text
    assert text == "T" or text.startswith("T\n\n")
    assert not {"\0", "\1", "\2"} & set(text)
    assert "\n".join(piece for _, piece in pieces(markup)) == markup


@given(st.lists(st.sampled_from(["[[a 1234]] ", "5678\n", "'''90125'''", "* 1999", "== 2001 ==\n"]), max_size=20))
def test_digits_of_plain_mark_up_are_kept_in_order(given_fragments):
    markup = "x".join(given_fragments) + "\nend"
    digits = [c for c in markup if c.isdigit()]
    assert [c for c in convert("T", markup).text if c.isdigit()] == digits


@pytest.mark.parametrize("opener", ["{{a|", "[[a|", "<div>", "{|\n|", "<ref>", "<!--", "{{a|[[b|<i>", "[http://a "])
def test_mark_up_that_is_never_closed_is_cut_short(opener):
    converted = convert("T", "first words\n" + opener * 5000 + "last words 1234")
    assert converted.text.startswith("T\n\nfirst words")
    assert converted.stripped == (0 if opener.startswith(("<ref", "<!--")) else 1)
    assert opener == "<!--" or "last words 1234" in converted.text


def test_deep_but_closed_mark_up_is_bounded():
    assert is_tangled("{{a|" * 3000 + "x" + "}}" * 3000)
    assert convert("T", "{{a|" * 3000 + "x" + "}}" * 3000).stripped == 1
    assert not is_tangled("{{a|b}} [[c|d]] <b>e</b> " * 20_000)


def test_many_notes_and_many_that_are_never_closed():
    assert without_notes("<ref>" * 200_000 + "x") == "x"
    assert without_notes("a<ref>b</ref>" * 100_000) == "a" * 100_000
