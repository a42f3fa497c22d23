"""Why a row cannot be read, in fixed words, and the error raised when too many cannot.

Every corpus uses these words, so that counts of several corpora and of several runs can be compared.
"""

from decimal import ROUND_UP, Context, Decimal

from rewarm.types import BadRows, UserError

NOT_UTF8 = "not UTF-8"
BROKEN_JSON = "broken JSON"
NOT_AN_OBJECT = "not an object"
NO_TEXT_FIELD = "no text field"
TEXT_NOT_A_STRING = "text is not a string"
EMPTY_TEXT = "empty text"
LONE_SURROGATE = "lone surrogate"
NUL_CHARACTER = "NUL character"
ROW_TOO_LONG = "row longer than max_row_bytes"
NO_ID = "no id"
DUPLICATE_ID = "duplicate id"
TRUNCATED_FILE = "truncated file"
BINARY_FILE = "binary file"
BROKEN_XML = "broken XML"
DOCUMENT_TYPE = "XML with a document type"
NOT_A_DUMP = "not a MediaWiki dump"
NO_DATE = "no date field"
UNREADABLE_DATE = "date that cannot be read, or is less exact than the period"

REMEDIES = {
    NOT_UTF8: "convert the file to UTF-8, for latin-1 with: iconv -f latin1 -t utf-8",
    BROKEN_JSON: "a line holds one whole JSON object; a JSON array becomes lines with: jq -c '.[]'",
    NOT_AN_OBJECT: "a line holds one JSON object; a JSON array becomes lines with: jq -c '.[]'",
    NO_TEXT_FIELD: "name the field that holds the text with text_field",
    TEXT_NOT_A_STRING: "name the field that holds the text with text_field, or make it a string",
    EMPTY_TEXT: "remove rows without text",
    LONE_SURROGATE: "remove half surrogate pairs such as \\ud800, which no encoding can write",
    NUL_CHARACTER: "remove binary rows, or the NUL characters in them",
    ROW_TOO_LONG: "split these rows, or raise max_row_bytes",
    NO_ID: "give every row a string or a whole number in id_field, or leave id_field out",
    DUPLICATE_ID: "make the ids unique, or leave id_field out",
    TRUNCATED_FILE: "the file ends early or is damaged: write or fetch it again",
    BINARY_FILE: "leave binary files out of path",
    BROKEN_XML: "the file is damaged from there on: write or fetch it again",
    DOCUMENT_TYPE: "dumps have none, and it could declare entities that expand without bound: remove <!DOCTYPE ...>",
    NOT_A_DUMP: "a dump is XML whose first element is <mediawiki>: leave other XML files out of path",
    NO_DATE: "name the field that holds the date with --date-field",
    UNREADABLE_DATE: "write dates from the year on, as 2021-09-14, or as seconds since 1970",
}


def check_budget(corpus_name: str, bad: BadRows, limit: float) -> None:
    """UserError when more than the share `limit` of the rows seen is bad; the plan calls this limit `bad_rows`.

    The law has no exception for small corpora: with the default of 0.001, one bad row among 999 is too many and one
    among 1000 is not. The message lists every reason, its count, its first places and its remedy, most frequent first.
    """
    if bad.share <= limit:
        return
    sentences = [
        f"corpus '{corpus_name}': {bad.total:,} of {bad.rows:,} rows ({_percent(bad.share)}) cannot be used, "
        f"and bad_rows allows {_percent(limit)}."
    ]
    for reason, count in bad.counts.most_common():
        kept = bad.examples.get(reason, [])
        more = ", ..." if count > len(kept) else ""
        remedy = f" ({REMEDIES[reason]})" if reason in REMEDIES else ""
        sentences.append(f"  {reason}: {count:,}, at {', '.join(kept)}{more}{remedy}")
    if bad.total < bad.rows:
        sentences.append(
            f"Mend or drop them, or set bad_rows: {_enough(bad)} in the plan (--bad-rows of a verb) to leave them out."
        )
    else:
        sentences.append("No row can be used: fix the rows, or the options of the corpus.")
    raise UserError("\n".join(sentences))


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _enough(bad: BadRows) -> str:
    """The share of bad rows, rounded up to two digits so that a plan with this limit passes."""
    share = Context(prec=2, rounding=ROUND_UP).divide(Decimal(bad.total), Decimal(bad.rows))
    return f"{share:f}"
