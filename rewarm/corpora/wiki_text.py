"""The text of a wiki page.

Most lines of an article are words and links, which a substitution turns into text; only what has templates, tables
or tags goes through the parser, in pieces in which every bracket is closed. Both ways give the same text.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rewarm.corpora.wiki_markup import HEADING, link_text, raw_text, with_flat_templates_said
from rewarm.corpora.wiki_templates import DROPPED

MOST_WORK = 10_000_000
"""Open brackets times characters of a piece: the parser reads on to the end for each of them, 16 million a second."""
MOST_DEPTH = 40

# The parser takes NUL for the end; the others are marks of ours.
_NOT_OF_XML = re.compile(rf"[\0{HEADING}{DROPPED}]")
_NOTE = re.compile(r"<!--|<nowiki\s*>|<ref\b[^<>]*>|</ref\s*>", re.IGNORECASE)
_END_OF_REF = re.compile(r"</ref\s*>", re.IGNORECASE)
_END_OF_NOWIKI = re.compile(r"</nowiki\s*>", re.IGNORECASE)
_SIMPLE_LINE = re.compile(r"(?:[^\[\]{}<]++|\[\[[^\[\]{}<\n]++\]\])*+")
_SIMPLE_LINK = re.compile(r"\[\[([^|\]]+)(?:\|([^\]]*))?\]\]")
_HEADING = re.compile(r"(={1,6})(.+?)(={1,6})[ \t]*")
_OPAQUE = re.compile(r"<(math|nowiki|pre|code|source|syntaxhighlight)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*?(/?)>|<[a-zA-Z/]")
_SINGLE_TAGS = frozenset(("br", "hr", "wbr", "img", "meta", "link"))
_BRACKET = re.compile(r"\{\{|\}\}|\{\||\|\}|\[\[|\]\]|[\[\]]|<[a-zA-Z]|</|/>")
_QUOTES = re.compile(r"'{2,}")
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);")
_LIST_MARKER = re.compile(r"[*#:;]+\s*")
_SWITCH = re.compile(r"__[A-Z]+__|^-{4,}")
_STRAY_TAG = re.compile(
    r"</?(?:abbr|b|big|blockquote|br|center|cite|code|div|em|font|gallery|i|includeonly|li|noinclude|nowiki|onlyinclude|p|"
    r"pre|ref|references|s|section|small|span|strong|sub|sup|table|td|th|tr|tt|u|ul|ol|var)\b[^<>]*>",
    re.IGNORECASE,
)
_EMPTY_BRACKETS = re.compile(rf" ?\([\s{DROPPED};,]*{DROPPED}[\s{DROPPED};,]*\)")
_GAP_IN_BRACKETS = re.compile(rf"\([\s{DROPPED};,]*{DROPPED}[\s{DROPPED};,]*")
_GAP_BEFORE_STOP = re.compile(rf"[ \t]*{DROPPED}[{DROPPED} \t]*(?=[.,;:)]|$)")
_SPACES = re.compile(r"[ \t\xa0]+")
_INNERMOST = re.compile(r"\{\{[^{}]*\}\}|\{\|[^{}]*\|\}|\[\[[^\[\]|]*\|(?=[^\[\]|]*\]\])")
_BRACKETS_LEFT = re.compile(r"\{\{+|\}\}+|\{\||\|\}|\[\[|\]\]|<[^<>]*>")


@dataclass(frozen=True, slots=True)
class Converted:
    """A page as text; `stripped` counts pieces too tangled for the parser, whose brackets were taken out instead."""

    text: str
    stripped: int


def convert(title: str, markup: str) -> Converted:
    """The text of a page: its title, an empty line, and one line for every paragraph, heading, list item and row.

    Links are their labels; of an infobox, or another sheet of facts before the first heading, every parameter is a
    line `name: value`, rows of a table have ` | ` between their cells, and templates in a sentence are what readers
    see of them as far as their arguments tell. Left out are notes, comments, files with their captions, categories,
    galleries, source and maintenance templates, and headings with nothing below them. Digits stay as they are.
    """
    raw: list[str] = []
    stripped = 0
    lead = True
    for simple, piece in pieces(without_notes(_NOT_OF_XML.sub("", markup))):
        if simple:
            raw.append(simple_text(piece))
        elif is_tangled(piece):
            stripped += 1
            raw.append(_stripped(piece))
        else:
            raw.append(_hard_text(piece, title, lead))
        lead = lead and HEADING not in raw[-1]
    lines = _without_empty_sections([line for line in map(finished, "\n".join(raw).split("\n")) if line])
    return Converted("\n".join([title, "", *lines]) if lines else title, stripped)


def _hard_text(piece: str, title: str, lead: bool) -> str:
    if not _OPAQUE.search(piece):
        piece = with_flat_templates_said(piece, title)
        if all(map(_SIMPLE_LINE.fullmatch, piece.split("\n"))):
            return simple_text(piece)
    return raw_text(piece, title, lead)


def without_notes(markup: str) -> str:
    """The mark-up without comments and references, which are half of a long article; linear in its length."""
    kept: list[str] = []
    position = 0
    closed = {"<ref": True, "<now": True}  # once an end is missing, it is not looked for again
    while note := _NOTE.search(markup, position):
        kept.append(markup[position : note.start()])
        tag = note.group().lower()
        position = note.end()
        if tag == "<!--":
            end = markup.find("-->", position)
            position = end + 3 if end >= 0 else len(markup)
            if kept[-1].endswith("\n") and markup.startswith("\n", position):
                position += 1
        elif closed.get(tag[:4]) and not tag.endswith("/>"):
            is_ref = tag.startswith("<ref")
            end_tag = (_END_OF_REF if is_ref else _END_OF_NOWIKI).search(markup, position)
            closed[tag[:4]] = end_tag is not None
            position = end_tag.end() if end_tag else position
            if not is_ref:
                kept.append(markup[note.start() : position])
    kept.append(markup[position:])
    return "".join(kept)


def pieces(markup: str) -> Iterator[tuple[bool, str]]:
    """The mark-up in pieces of whole lines: (True, lines of words and simple links), (False, anything else).

    A piece of the second kind goes on until its brackets and tags are closed, or to the end where they never are.
    """
    simple: list[str] = []
    hard: list[str] = []
    balance = [0, 0, 0]
    for line in markup.split("\n"):
        if not hard and _SIMPLE_LINE.fullmatch(line):
            simple.append(line)
            continue
        if simple:
            yield True, "\n".join(simple)
            simple = []
        hard.append(line)
        balance = [old + new for old, new in zip(balance, _opened(line), strict=True)]
        # What is closed before it is opened never comes out even again, so the rest stays one piece.
        if balance == [0, 0, 0]:
            yield False, "\n".join(hard)
            hard = []
    if simple:
        yield True, "\n".join(simple)
    if hard:
        yield False, "\n".join(hard)


def _opened(line: str) -> tuple[int, int, int]:
    """How many braces, brackets and tags a line opens more than it closes."""
    tags = 0
    if "<" in line:
        line = _without_opaque(line)
        for tag in _TAG.finditer(line):
            closes, name, alone = tag.groups()
            if name is None:
                tags += 1
            elif not alone and name.lower() not in _SINGLE_TAGS:
                tags += -1 if closes else 1
    return line.count("{") - line.count("}"), line.count("[") - line.count("]"), tags


def _without_opaque(line: str) -> str:
    """A line without formulas and code, in which brackets are only characters; linear in its length."""
    kept: list[str] = []
    position = 0
    while tag := _OPAQUE.search(line, position):
        end = re.compile(rf"</{tag[1]}\s*>", re.IGNORECASE).search(line, tag.end())
        if end is None:
            break
        kept.append(line[position : tag.start()])
        position = end.end()
    kept.append(line[position:])
    return "".join(kept)


def is_tangled(markup: str) -> bool:
    """Whether the parser could take seconds or more: it is quadratic in brackets that are never closed."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(markup):
        depth += 1 if bracket[0] in "{[" or (bracket[0] == "<" and bracket[1] != "/") else -1
        deepest = max(deepest, depth)
    unclosed = max(abs(depth), deepest - MOST_DEPTH)
    return unclosed * len(markup) > MOST_WORK


def simple_text(lines: str) -> str:
    """The raw text of lines that have only words, simple links and headings."""
    if "[" in lines:
        lines = _SIMPLE_LINK.sub(lambda link: link_text(link[1], link[2]), lines)
    if "=" not in lines:
        return lines
    return "\n".join(_heading(line) if line.startswith("=") else line for line in lines.split("\n"))


def _heading(line: str) -> str:
    match = _HEADING.fullmatch(line)
    if match is None:
        return line
    level = min(len(match[1]), len(match[3]))
    return f"{HEADING}{level}{'=' * (len(match[1]) - level)}{match[2]}{'=' * (len(match[3]) - level)}"


def finished(line: str) -> str:
    """A line of raw text without list markers, quotes, switches and gaps, and with its entities as characters."""
    if line.startswith(("*", "#", ":", ";")):
        line = _LIST_MARKER.sub("", line, count=1)
    if "''" in line:
        line = _QUOTES.sub(_literal_quotes, line)
    if "__" in line or line.startswith("----"):
        line = _SWITCH.sub("", line)
    if "<" in line:
        line = _STRAY_TAG.sub("", line)
    if "&" in line:
        line = _ENTITY.sub(lambda entity: html.unescape(entity[0]), line)
    if DROPPED in line:
        line = _EMPTY_BRACKETS.sub("", line)
        line = _GAP_IN_BRACKETS.sub("(", line)
        line = _GAP_BEFORE_STOP.sub("", line).replace(DROPPED, "")
    return _SPACES.sub(" ", line).strip()


def _literal_quotes(quotes: re.Match[str]) -> str:
    """Two are italic, three bold, five both; the rest of four or of more than five is text."""
    count = len(quotes[0])
    return "'" * (1 if count == 4 else max(0, count - 5))


def _without_empty_sections(lines: list[str]) -> list[str]:
    """Drops headings with no text before the next of their level or above."""
    kept: list[str] = []
    filled_above = 0
    for line in reversed(lines):
        if not line.startswith(HEADING):
            filled_above = 7
            kept.append(line)
        elif int(line[1]) < filled_above:
            filled_above = int(line[1])
            kept.append(line[2:].strip())
    return [line for line in reversed(kept) if line]


def _stripped(markup: str) -> str:
    """The words of mark-up that is too tangled to be parsed."""
    for _ in range(MOST_DEPTH):
        shorter = _INNERMOST.sub("", markup)
        if shorter == markup:
            break
        markup = shorter
    return _BRACKETS_LEFT.sub("", markup)
