"""What the templates of articles say, as text.

A template is a program of its wiki, and dumps hold only its call. Most of what readers see of a call are its
positional arguments, so these are what is kept; the names below are the exceptions. Digits stay as they are.
"""

import re
from collections.abc import Callable, Mapping, Sequence

DROPPED = "\2"
"""Stands where something was left out, so that the brackets and spaces around it can go, too. XML cannot hold it."""


def names(written: str) -> frozenset[str]:
    """The names in a text, with `|` between them."""
    return frozenset(name.strip() for name in written.split("|"))


# Sources, links to notes, and requests to other editors.
_NOTES = names(
    """
    citation|cite|ref label|note label|efn|efn-la|efn-ua|refn|rp|r|sfn|sfnp|sfnm|sfnref|ref|reflist|refbegin|
    refend|notelist|note|notetag|harv|harvp|harvnb|harvid|harvtxt|harvcol|harvcolnb|harvcoltxt|harvs|wayback|
    webarchive|dead link|cbignore|isbn|issn|oclc|doi|arxiv|pmid|jstor|lccn|asin|ol|google books|citation needed|
    cn|fact|clarify|when|who|which|whom?|by whom|by whom?|page needed|pages needed|dubious|verify source|
    verify credibility|better source|better source needed|failed verification|not in citation given|vague|specify|
    full|original research inline|unreliable source?|update inline|disambiguation needed|according to whom|why|
    where|how|context needed|sort under|inflation|age|age in years|age in days|subscription required|
    registration required|open access|closed access|inconsistent citations|full citation needed|discuss
    """
)
# Ways to other pages, boxes that speak about the article, and layout.
_NAVIGATION = names(
    """
    main|main article|see also|further|further information|details|about|for|other uses|other people|redirect|
    redirect2|redirect-distinguish|distinguish|hatnote|rellink|related articles|selfref|dablink|this|dmoz|
    good article|featured article|disambiguation|dab|geodis|hndis|surname|given name|authority control|taxonbar|
    portal|portal bar|portal-inline|navbox|navboxes|subject bar|sister project links|sisterlinks|wiktionary|
    wikiquote|wikisource|wikibooks|wikiversity|wikinews|wikivoyage|wikispecies|wikiatlas|librivox author|
    gutenberg author|internet archive author|library resources box|official website|official|imdb name|imdb title|
    short description|italic title|displaytitle|lowercase title|defaultsort|clear|-|clr|toc|toc limit|toc right|
    toc left|compact toc|anchor|refimprove|unreferenced|more citations needed|multiple issues|cleanup|pov|update|
    tone|copy edit|stub|expand section|expand language|empty section|unreferenced section|refimprove section|
    use dmy dates|use mdy dates|engvarb|protection padlock|col-begin|col-end|col-break|div col|div col end|
    colbegin|colend|multicol|image label|multiple image|double image|wide image|tall image|css image crop|listen|
    spoken wikipedia|image label begin|image label end|featured list|wikipedia books|increase|decrease|steady|
    map caption|location map|osmrelation-inline|location map many|location map+|
    commons and category|shortcut|audio|end|s-start|s-end|br
    """
)
_DROPPED_BEGINNINGS = (
    "cite ", "vcite ", "citation/", "harvard citation", "use ", "pp-", "commons", "wikt", "refimprove ", "r from ",
    "r to ", "toc ", "expand ", "cleanup ", "redr", "good article", "#if", "#switch", "#expr", "#invoke", "#tag",
)  # fmt: skip
_DROPPED_ENDS = ("-stub", " sidebar", " navbox", " icon", " footer", " topics")

_FIXED = {
    "!": "|", "!!": "||", "=": "=", "(": "{", ")": "}", "pipe": "|", "nbsp": " ", "spaces": " ", "space": " ",
    "·": " · ", "•": " · ", "dot": " · ", "*": " · ", "bullet": " · ", "ndash": "–", "endash": "–", "en dash": "–",
    "mdash": "—", "spaced ndash": " – ", "snd": " – ", "spnd": " – ",
    "'s": "'s", "'": "'", "\"'": "\"'", "'\"": "'\"", "minus": "−",
    "yes": "Yes", "no": "No", "n/a": "N/A", "tba": "TBA", "tbd": "TBD", "won": "Won", "nom": "Nominated",
    "shy": "", "wbr": "", "zwj": "", "zwnj": "", "mvar": "", "pi": "π", "euro": "€",
}  # fmt: skip
_FIRST = names(
    "abbr|tooltip|ill|interlanguage link|link-interwiki|vanchor|visible anchor|sup|sub|math|small|smaller|"
    "big|resize|nts|nowrap|noitalic|mvar"
)
_LAST = names("lang|transl|transliteration|sort|legend|color|colored text|font color|font|rtl-lang|script")
_JOINED = names("chem|chem2|ipac-en|ce|simplenuclide|nuclide")
_LISTED = names(
    "hlist|flatlist|plainlist|plain list|ubl|unbulleted list|cslist|flat list|collapsible list|bulleted list|"
    "ordered list|columns-list|pagelist|tree list|bulletlist|ublist|blist"
)
_QUOTES = names("quote|cquote|blockquote|quotation|rquote|quote box|centered pull quote|bq|poemquote")
_DATES = names(
    "birth date|birth date and age|bda|dob|birth-date|birth-date and age|birth year and age|start date|"
    "start date and age|release date|end date|film date|death date|death date and age|dda|death-date|"
    "death-date and age|death year and age|date|dts|dtsh|start and end dates|start-date|end-date|launch date|"
    "film date and age|birth date2|event date|inception date|founded date"
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_RANGE_WORDS = names("to|and|or|by|x|×|-|–|to about|+/-|±|*|and(-)|to(-)")
_PARTS_OF_UNITS = names("ft|lb|st|mi|yd|oz|in|lbs|foot|mile|yard|stone|long ton|cwt|qtr|chain|furlong")
_NUMBER = re.compile(r"[-−+]?[\d.,/+⁄]*\d[\d.,]*(?:e[-+]?\d+)?")
# Positional arguments for programs: line-height:1.4em, type:city_region:DE.
_CODE = re.compile(r"(?:[a-z-]{4,}:[\w.#%()-]+[;_ ]*)+")
_SHEET = re.compile(r"infobox\b|taxobox|speciesbox|geobox|automatic taxobox|chembox|drugbox|.* infobox$|.*infobox ")


def name_of(written: str) -> str:
    """The name of a template as the tables of this file have it: lower case, one space between words."""
    return " ".join(written.replace("_", " ").split()).lower().removeprefix("template:")


def is_sheet(name: str) -> bool:
    """Whether the template is a sheet of facts such as an infobox, whose parameters are its text."""
    return _SHEET.match(name) is not None


def is_dropped(name: str) -> bool:
    """Whether the template says nothing about the article's subject: a source, a way to other pages, layout."""
    return name in _NOTES or name in _NAVIGATION or name.startswith(_DROPPED_BEGINNINGS) or name.endswith(_DROPPED_ENDS)


def say(name: str, values: Sequence[str], named: Mapping[str, str], title: str) -> str:
    """The text of a template in running text; `DROPPED` when it has none.

    `name` is as `name_of` gives it, `values` the positional arguments, `named` the others, all of them text already,
    and `title` that of the page. Whatever has no rule of its own is its positional arguments with spaces between.
    """
    if is_dropped(name):
        return DROPPED
    if not values and name in _FIXED:
        return _FIXED[name]
    values = [value.strip() for value in values if not _CODE.fullmatch(value.strip())]
    rule = _rule(name)
    text = rule(values, named) if rule else _function(name, title) or _spaced(values)
    return text or DROPPED


def _rule(name: str) -> Callable[[Sequence[str], Mapping[str, str]], str] | None:
    """The exception that a template is; None for the usual ones."""
    if name in _RULES:
        return _RULES[name]
    if name.startswith(("lang-", "ipa-")) and not name.startswith("lang-rtl"):
        return _first
    return None


def _function(name: str, title: str) -> str:
    """Variables and functions of the parser that only dress up one text: {{formatnum:1234}} and {{PAGENAME}}."""
    if name in ("pagename", "fullpagename", "subpagename", "basepagename"):
        return title
    function, colon, value = name.partition(":")
    return value.strip() if colon and function in ("formatnum", "lc", "nowrap") else ""


def _spaced(values: Sequence[str]) -> str:
    return " ".join(value for value in values if value)


def _first(values: Sequence[str], named: Mapping[str, str]) -> str:
    return next((value for value in values if value), "")


def _last(values: Sequence[str], named: Mapping[str, str]) -> str:
    return next((value for value in reversed(values) if value), "") if len(values) > 1 else ""


def _joined(values: Sequence[str], named: Mapping[str, str]) -> str:
    return "".join(values)


def _listed(values: Sequence[str], named: Mapping[str, str]) -> str:
    lines = (line.strip(" *#:") for value in values for line in value.splitlines())
    return ", ".join(line for line in lines if line and line != DROPPED)


def _quote(values: Sequence[str], named: Mapping[str, str]) -> str:
    said = [named.get("text") or named.get("quote") or "", *values, named.get("author") or named.get("source") or ""]
    return "".join(f"\n{value.strip()}\n" for value in said if value.strip())


def _fraction(values: Sequence[str], named: Mapping[str, str]) -> str:
    whole = values[:-2]
    return " ".join([*whole, "/".join(values[-2:] if len(values) > 1 else ["1", *values])]) if values else ""


def _value(values: Sequence[str], named: Mapping[str, str]) -> str:
    number = " – ".join(values[:1]) + (f" ± {values[1]}" if len(values) > 1 and values[1] else "")
    power = f" × 10^{named['e']}" if named.get("e") else ""
    unit = named.get("u") or named.get("ul") or ""
    return f"{number}{power}{' ' if unit else ''}{unit}"


def _quantity(values: Sequence[str], named: Mapping[str, str]) -> str:
    """What was measured, as it was given, without the unit it is converted to."""
    if not values:
        return _spaced(
            [f"{named[unit]} {unit}" for unit in ("m", "cm", "ft", "in", "st", "lb", "kg") if named.get(unit)]
        )
    taken: list[str] = []
    for place, value in enumerate(values):
        is_number = _NUMBER.fullmatch(value) is not None
        after_unit = bool(taken) and _NUMBER.fullmatch(taken[-1]) is None and taken[-1] not in _RANGE_WORDS
        # 5 ft 6 in: a further number belongs to it when its unit follows; otherwise it is the precision.
        goes_on = (
            is_number and taken[-1:] != [] and taken[-1] in _PARTS_OF_UNITS and values[place + 1 : place + 2] != []
        )
        if after_unit and not (goes_on and values[place + 1] in _PARTS_OF_UNITS):
            break
        taken.append(value)
    return _spaced(taken)


def _date(values: Sequence[str], named: Mapping[str, str]) -> str:
    """Dates of year, month, day; the birth beside a death stands on its own line of the sheet."""
    numbers: list[str] = []
    for value in values:
        if not value.isdecimal():
            break
        numbers.append(value)
    if not numbers:
        return _first(values, named)
    year, month, day = (*numbers, "", "")[:3]
    if not (month.isdecimal() and 1 <= int(month) <= 12):
        return year
    return " ".join(part for part in (day.lstrip("0"), _MONTHS[int(month) - 1], year) if part)


def _as_of(values: Sequence[str], named: Mapping[str, str]) -> str:
    written = named.get("alt") or f"As of {_date(values, named)}"
    return written[0].lower() + written[1:] if named.get("lc") else written


def _foreign(values: Sequence[str], named: Mapping[str, str]) -> str:
    """{{nihongo|English|original|transliteration}}."""
    first, *others = (*values, "")
    inside = ", ".join(value for value in others if value)
    return f"{first} ({inside})" if first and inside else first or inside


def _circa(values: Sequence[str], named: Mapping[str, str]) -> str:
    return f"c. {' – '.join(values)}"


def _link(values: Sequence[str], named: Mapping[str, str]) -> str:
    return next((value for value in reversed(values[:2]) if value), "")


_RULES: dict[str, Callable[[Sequence[str], Mapping[str, str]], str]] = {
    **dict.fromkeys(_FIRST, _first),
    **dict.fromkeys(_LAST, _last),
    **dict.fromkeys(_JOINED, _joined),
    **dict.fromkeys(_LISTED, _listed),
    **dict.fromkeys(_QUOTES, _quote),
    **dict.fromkeys(_DATES, _date),
    **dict.fromkeys(("frac", "sfrac", "fraction", "ratio"), _fraction),
    **dict.fromkeys(("convert", "cvt", "height", "weight"), _quantity),
    **dict.fromkeys(("nihongo", "nihongo2", "zh", "korean"), _foreign),
    **dict.fromkeys(("circa", "c."), _circa),
    "url": _link,
    "val": _value,
    "as of": _as_of,
}
