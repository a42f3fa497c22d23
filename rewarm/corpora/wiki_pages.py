"""Pages of MediaWiki XML dumps, one at a time.

The format is that of Special:Export and of dumps.wikimedia.org (export schemas 0.3 to 0.11): articles or whole
histories, one file or many parts, packed or not. Memory does not depend on the size of a file.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from rewarm.corpora import faults, paths
from rewarm.corpora.streams import CutShort, blocks
from rewarm.types import BadRows

_REDIRECT = re.compile(r"\s*#redirect\b", re.IGNORECASE)
# Parent and name of every element that is read; 0.11 puts further texts (of other slots) into <content> elements.
_READ = {
    ("page", "title"), ("page", "ns"), ("page", "id"),
    ("revision", "id"), ("revision", "timestamp"), ("revision", "model"), ("revision", "text"),
}  # fmt: skip
_ENDS_EARLY = {
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
    )
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a dump, as its newest revision with a text has it.

    `id` is the page's number, `revision` that of the revision, `timestamp` in ISO 8601 as the dump has it, `model`
    the kind of content (`wikitext` for articles), `markup` the source text. `place` is the line where it begins.
    """

    id: str
    title: str
    namespace: int
    redirect: bool
    revision: str
    timestamp: str
    model: str
    markup: str
    place: str


def pages(
    files: Sequence[Path], bad: BadRows, namespaces: Collection[int] | None = None, max_bytes: int = 64_000_000
) -> Iterator[Page]:
    """Every page of the files in their order, redirects and all content models included.

    `namespaces` None gives all of them. Only what cannot be read is counted in `bad`, as a row and with its reason:
    pages without an id or with a text of more than `max_bytes` bytes, and files that end early, are broken or no
    dump, of which the pages before the fault are kept. A document type is refused, so no entity can be declared and
    none expand. Pages given out are the caller's to count.
    """
    for file in files:
        yield from _PageReader(file, bad, namespaces, max_bytes).pages()


class _Unreadable(Exception):
    """The rest of the file is not read; its argument is the reason to count."""


@dataclass(slots=True)
class _Revision:
    """What is known of a revision so far: one string per element."""

    values: dict[str, str] = field(default_factory=dict)
    too_long: bool = False
    deleted: bool = False

    @property
    def rank(self) -> tuple[bool, str]:
        """The larger, the more it is the state of the page: timestamps sort as strings."""
        return not self.deleted, self.values.get("timestamp", "")


class _PageReader:
    """Expat's callbacks for one file. A page is handed over when its element ends."""

    def __init__(self, file: Path, bad: BadRows, namespaces: Collection[int] | None, max_bytes: int) -> None:
        self.file = file
        self.bad = bad
        self.namespaces = namespaces
        self.max_bytes = max_bytes
        self.found: list[Page] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.bytes = 0
        self._begin_page(0)
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse

    def pages(self) -> Iterator[Page]:
        """The pages of the file; its fault, when it has one, is counted after the last that could be read."""
        try:
            for block in blocks(self.file):
                self.parser.Parse(block, False)
                yield from self.found
                self.found.clear()
            self.parser.Parse(b"", True)
        except (_Unreadable, CutShort, expat.ExpatError) as fault:
            yield from self.found
            self.bad.rows += 1
            self.bad.add(_reason(fault), f"{paths.printable(self.file)}:{self.parser.CurrentLineNumber}")

    def _begin_page(self, line: int) -> None:
        self.page: dict[str, str] = {}
        self.redirect = False
        self.line = line
        self.revision = _Revision()
        self.newest: _Revision | None = None

    def _refuse(self, *_: object) -> None:
        raise _Unreadable(faults.DOCUMENT_TYPE)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        parent = self.open[-1] if self.open else ""
        if not parent and name != "mediawiki":
            raise _Unreadable(faults.NOT_A_DUMP)
        self.open.append(name)
        if (parent, name) in _READ:
            self._start_value(name, attributes)
        elif name == "page":
            self._begin_page(self.parser.CurrentLineNumber)
        elif name == "revision":
            self.revision = _Revision()
        elif name == "redirect" and parent == "page":
            self.redirect = True

    def _start_value(self, name: str, attributes: dict[str, str]) -> None:
        self.pieces = []
        self.bytes = 0
        if name == "text":
            self.revision.deleted = "deleted" in attributes
            if not self._wanted():
                return
        self.parser.CharacterDataHandler = self._characters

    def _wanted(self) -> bool:
        return self.namespaces is None or self._namespace() in self.namespaces

    def _namespace(self) -> int:
        number = self.page.get("ns", "0")
        return int(number) if re.fullmatch(r"-?\d{1,9}", number) else 0

    def _characters(self, data: str) -> None:
        self.bytes += len(data) if data.isascii() else len(data.encode())
        if self.bytes <= self.max_bytes:
            self.pieces.append(data)
        else:
            self.pieces.clear()

    def _end(self, name: str) -> None:
        self.open.pop()
        parent = self.open[-1] if self.open else ""
        if (parent, name) in _READ:
            self.parser.CharacterDataHandler = None
            holder = self.page if parent == "page" else self.revision.values
            holder[name] = "".join(self.pieces)
            self.revision.too_long |= self.bytes > self.max_bytes
        elif name == "revision":
            if self.newest is None or self.revision.rank >= self.newest.rank:
                self.newest = self.revision
        elif name == "page" and self._wanted():
            self._end_page(self.newest or _Revision())

    def _end_page(self, newest: _Revision) -> None:
        place = f"{paths.printable(self.file)}:{self.line}"
        identity = self.page.get("id", "").strip()
        if newest.too_long or not identity:
            self.bad.rows += 1
            self.bad.add(faults.ROW_TOO_LONG if newest.too_long else faults.NO_ID, place)
            return
        values = newest.values
        markup = values.get("text", "")
        page = Page(
            identity,
            self.page.get("title", ""),
            self._namespace(),
            self.redirect or _REDIRECT.match(markup) is not None,
            values.get("id", ""),
            values.get("timestamp", ""),
            values.get("model", "wikitext"),
            markup,
            place,
        )
        self.found.append(page)


def _reason(fault: Exception) -> str:
    if isinstance(fault, _Unreadable):
        return str(fault)
    ends_early = isinstance(fault, CutShort) or (isinstance(fault, expat.ExpatError) and fault.code in _ENDS_EARLY)
    return faults.TRUNCATED_FILE if ends_early else faults.BROKEN_XML
