"""Wiki mark-up -> raw text, by rules on the tree that mwparserfromhell makes of it.

Raw text still has list markers, quotes for bold and italic, and entities: what lines of plain words have, too, so
that `wiki_text` finishes both in one way. Two characters that XML cannot hold mark what only the whole page decides:
`DROPPED` and `HEADING`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from rewarm.corpora.wiki_templates import DROPPED, is_dropped, is_sheet, name_of, names, say

if TYPE_CHECKING:
    from mwparserfromhell.nodes import Tag, Template, Wikilink
    from mwparserfromhell.wikicode import Wikicode

HEADING = "\1"
"""Begins a line that is a heading; the digit after it is its level."""

# A template without templates, tags or line ends in it; with links at most.
_FLAT = re.compile(r"(?<!\{)\{\{([^{}\[\]<>|\n#:]+)(\|[^{}<>\n]*)?\}\}(?!\})")
_CHANGES_THE_TREE = re.compile(r"[|={}\[\]<>\n]")
# Namespaces of files and of categories in the larger wikis.
_FILES = names(
    "file|image|media|datei|bild|fichier|imagen|archivo|immagine|arquivo|imagem|ficheiro|bestand|afbeelding|plik|"
    "grafika|fil|tiedosto|kuva|файл|изображение|зображення|ファイル|画像|文件|檔案|图像|파일|그림|ملف|صورة|קובץ|"
    "تصویر|پرونده|dosya|resim|berkas|gambar|soubor|slika|súbor|kép|fájl|fișier|imagine|tập tin|hình"
)
_CATEGORIES = names(
    "category|kategorie|catégorie|categoría|categoria|categorie|kategoria|kategori|luokka|категория|категорія|"
    "カテゴリ|分类|分類|분류|تصنيف|קטגוריה|رده|kategória|kategorija"
)
# [[de:Titel]] leads to the same article in another language; prefixes of other projects have one letter or are words.
_LANGUAGE = re.compile(r"(?:[a-z]{2,3}|simple|[a-z]{2,3}-[a-z]{2,10}|zh-min-nan|be-x-old)$")
_LEFT_OUT_TAGS = names(
    "ref|references|gallery|timeline|imagemap|score|graph|templatestyles|hiero|includeonly|categorytree|inputbox|"
    "section|mapframe|maplink|style|script"
)
_LINES_OF_THEIR_OWN = names("div|p|blockquote|center|ul|ol|li|dl|dt|dd|poem|pre|source|syntaxhighlight|h2|h3|h4")
_FILE_NAME = re.compile(r".*\.(?:jpe?g|png|svg|gif|tiff?|webp|og[gva]|webm|mp3|wav|pdf|djvu|stl)", re.IGNORECASE)
_SIZE = re.compile(r"[\dx.]* ?px")
_LOOKS = re.compile(
    r"\w+style|.*(?:bg|background) ?colou?r\d*|alt|embed|child|name ?align|"
    r"(?:image|img|map|logo|flag|signature|photo|picture|pushpin|seal|shield|emblem|coa|skyline|cover|audio)"
    r".*(?:size|width|height|alt|upright|align|position|scale|zoom|dot|mark)\d*"
)
_FEWEST_FACTS = 3
"""A template over several lines before the first heading is a sheet of facts when it names so many of them."""


@cache
def _parser() -> Any:
    """mwparserfromhell takes 60 ms to import, which every command would pay that only looks a corpus up by name."""
    import mwparserfromhell

    return mwparserfromhell.parse


def raw_text(markup: str, title: str, lead: bool) -> str:
    """The raw text of some mark-up of the page `title`; `lead` when it stands before the first heading."""
    # Quotes for bold and italic are left to the finish: in the tree they cost a third of the time.
    return _Writer(title, lead).text(_parser()(markup, skip_style_tags=True))


def with_flat_templates_said(markup: str, title: str) -> str:
    """The mark-up with the text of its simplest templates in their place, where no parser would tell it otherwise.

    Half of the templates of an article are such, and without them most lines are only words and links.
    """
    return _FLAT.sub(lambda template: _flat(template, title), markup)


def _flat(template: re.Match[str], title: str) -> str:
    name, arguments = name_of(template[1]), template[2] or ""
    if is_dropped(name):
        return DROPPED if arguments.count("[") == arguments.count("]") else template[0]
    if "[" in arguments or "]" in arguments or is_sheet(name):
        return template[0]
    values: list[str] = []
    named: dict[str, str] = {}
    for argument in arguments.split("|")[1:]:
        key, equals, value = argument.partition("=")
        if equals and key.strip() and not key.strip().isdecimal():
            named[key.strip()] = value.strip()
        else:
            values.append(value if equals and key.strip() else argument)
    said = say(name, values, named, title)
    return template[0] if _CHANGES_THE_TREE.search(said) else said


def link_text(target: str, label: str | None) -> str:
    """What readers see of [[target|label]]; `DROPPED` for files, categories and the same page in other languages."""
    namespace, colon, rest = target.partition(":")
    if colon:
        namespace = namespace.strip().lower()
        if not namespace:
            return rest.strip() if label is None else label
        if namespace in _FILES or namespace in _CATEGORIES or (label is None and _LANGUAGE.match(namespace)):
            return DROPPED
    return label or target.strip()


def one_line(text: str) -> str:
    """Raw text as the part of a line: its own lines, such as those of a list, with commas between."""
    if "\n" not in text:
        return text.strip()
    lines = [line.strip("*#:; \t" + DROPPED) for line in text.split("\n")]
    return ", ".join(line.rstrip(",") for line in lines if line)


class _Writer:
    """Writes the raw text of nodes, in their order."""

    def __init__(self, title: str, lead: bool) -> None:
        self.title = title
        self.lead = lead

    def text(self, code: "Wikicode | None", inside: bool = False) -> str:
        """The raw text of a tree; `inside` a line when it is an argument or the cell of a table."""
        return "" if code is None else "".join(self._node(node, inside) for node in code.nodes)

    def _node(self, node: Any, inside: bool) -> str:
        kind = type(node).__name__
        if kind == "Text":
            written: str = node.value
            return written
        if kind == "Wikilink":
            return self._wikilink(node)
        if kind == "Template":
            return self._template(node, inside)
        if kind == "Tag":
            return self._tag(node, inside)
        if kind == "HTMLEntity":
            return str(node)
        if kind == "Heading":
            self.lead = False
            return f"\n{HEADING}{node.level}{self.text(node.title, True).strip()}\n"
        if kind == "ExternalLink":
            return self.text(node.title, True) if node.brackets else str(node.url)
        if kind == "Argument":
            return self.text(node.default, True)
        return DROPPED

    def _wikilink(self, link: "Wikilink") -> str:
        label = None if link.text is None else self.text(link.text, True)
        return link_text(self.text(link.title, True), label)

    def _tag(self, tag: "Tag", inside: bool) -> str:
        name = str(tag.tag).strip().lower()
        if name in _LEFT_OUT_TAGS or "display:none" in "".join(map(str, tag.attributes)).replace(" ", ""):
            return DROPPED
        if name == "table":
            return "\n".join(["", *self._table(tag), ""])
        if name == "br":
            return "\n"
        if tag.wiki_markup and tag.self_closing:
            return str(tag.wiki_markup)
        text = self.text(tag.contents, inside)
        # 10<sup>6</sup> is not 106.
        if name == "sup" and text.lstrip("-−+")[:1].isdigit():
            return f"^{text}"
        return f"\n{text}\n" if name in _LINES_OF_THEIR_OWN else text

    def _table(self, table: Any) -> Iterator[str]:
        """The lines of a table: its caption, rows with ` | ` between their cells, and whatever else stands in it."""
        loose: list[str] = []
        nodes: list[Any] = [] if table.contents is None else table.contents.nodes
        for node in nodes:
            name = str(node.tag).strip().lower() if type(node).__name__ == "Tag" else ""
            if name in ("td", "th", "caption"):
                cell = self._cell(node)
                if cell.startswith("+"):
                    yield cell[1:].strip()
                else:
                    loose.append(cell)
                continue
            yield from _row(loose)
            loose = []
            if name in ("tr", "tbody", "thead", "tfoot"):
                yield from self._table(node)
            else:
                yield self._node(node, True)
        yield from _row(loose)

    def _cell(self, cell: Any) -> str:
        return one_line(self.text(cell.contents, True))

    def _template(self, template: "Template", inside: bool) -> str:
        name = name_of(self.text(template.name, True))
        if is_dropped(name):
            return DROPPED
        values, named = self._arguments(template)
        facts = {key: value for key, value in named.items() if value.strip(DROPPED + " ")}
        sheet = is_sheet(name) or (
            self.lead and not inside and not values and len(facts) >= _FEWEST_FACTS and "\n" in str(template.name)
        )
        if sheet:
            return "\n".join(["", *_sheet(facts), ""])
        return say(name, values, named, self.title)

    def _arguments(self, template: "Template") -> tuple[list[str], dict[str, str]]:
        """Positional arguments, also those written as 1=, and the named ones, as raw text."""
        values: list[str] = []
        named: dict[str, str] = {}
        for argument in template.params:
            text = self.text(argument.value, True)
            key = self.text(argument.name, True).strip() if argument.showkey else ""
            if key and not key.isdecimal():
                named[key] = one_line(text)
            else:
                values.append(text)
        return values, named


def _row(cells: list[str]) -> Iterable[str]:
    return [" | ".join(cells)] if any(cell.strip(DROPPED) for cell in cells) else []


def _sheet(facts: Mapping[str, str]) -> Iterator[str]:
    """`name: value` for every parameter that is not about looks; label1 and data1 name and value of one."""
    for key, value in facts.items():
        name = " ".join(key.replace("_", " ").split())
        if _LOOKS.fullmatch(name.lower()) or _FILE_NAME.fullmatch(value) or _SIZE.fullmatch(value):
            continue
        number = key.removeprefix("data")
        if key.startswith("label") and f"data{key.removeprefix('label')}" in facts:
            continue
        yield f"{facts.get(f'label{number}', name) if number != key else name}: {value}"
