"""A dump of a MediaWiki site such as Wikipedia, one document per article."""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from rewarm.corpora import faults
from rewarm.corpora.rows import SeenIds
from rewarm.corpora.sources import FileCorpus
from rewarm.corpora.wiki_pages import Page, pages
from rewarm.corpora.wiki_text import convert
from rewarm.quantities import Count
from rewarm.types import BadRows, Document

REDIRECT = "redirect"
OTHER_CONTENT = "no wikitext"
STRIPPED = "mark-up too tangled to parse, brackets taken out"


class Wiki(FileCorpus):
    """Articles of MediaWiki XML dumps (`.xml`, also `.bz2`, `.gz` or `.zst`; whole, multistream, in parts, histories).

    The id is the page's number; the text is its title, an empty line and the article without mark-up, where infoboxes
    are lines `name: value`; the meta holds `title`, `date` and `revision` of the newest revision. Pages of the
    `namespaces` are read (0: articles). Redirects and pages that hold no wikitext are no documents and no faults. A
    page of more than `max_row_bytes` bytes is a bad row, and so is one whose number was seen before: parts of a dump
    and the whole are not read together.
    """

    suffixes_read: ClassVar[frozenset[str]] = frozenset({".xml"})
    meta_fields: ClassVar[tuple[str, ...]] = ("title", "date", "revision")
    row_end: ClassVar[bytes] = b"</page>"

    namespaces: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    max_row_bytes: Count = 64_000_000

    @field_validator("holdout_by")
    @classmethod
    def _known_field(cls, value: str | None) -> str | None:
        if value is not None and value not in cls.meta_fields:
            raise ValueError(f"a wiki is held out by {', '.join(cls.meta_fields)}, or by its text")
        return value

    def articles(self, bad: BadRows) -> Iterator[Page]:
        """The pages that are documents, with their mark-up as it is.

        They, the bad ones, and redirects and other pages that are left out are counted in `bad`.
        """
        seen = SeenIds()
        for page in pages(self.files(), bad, frozenset(self.namespaces), self.max_row_bytes):
            if page.redirect or page.model != "wikitext":
                bad.left_out[REDIRECT if page.redirect else OTHER_CONTENT] += 1
                continue
            bad.rows += 1
            reason = None if seen.add(page.id) else faults.DUPLICATE_ID
            reason = faults.EMPTY_TEXT if not page.markup or page.markup.isspace() else reason
            if reason is None:
                yield page
            else:
                bad.add(reason, page.place)

    def document(self, page: Page, bad: BadRows) -> Document:
        """A page as a document; counts in `bad.left_out` one whose mark-up could not be parsed whole."""
        converted = convert(page.title, page.markup)
        if converted.stripped:
            bad.left_out[STRIPPED] += 1
        meta = {"title": page.title, "date": page.timestamp, "revision": page.revision}
        return Document(page.id, converted.text, page.place, meta)

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        return (self.document(page, bad) for page in self.articles(bad))
