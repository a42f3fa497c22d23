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
NO_CONVERSATION = "no turns and no question with an answer"
NOT_TURNS = "messages are no list of turns"
UNKNOWN_ROLE = "unknown role"
CONTENT_NOT_TEXT = "a turn is no text"
EMPTY_ANSWER = "empty answer"
EMPTY_TURN = "empty turn"
NO_ANSWER_LAST = "the last turn is not the assistant's"
NO_QUESTION = "an answer before any question"
SPEAKS_TWICE = "two turns of one speaker in a row"
SYSTEM_LATER = "a system turn after the first turn"
NO_PAIR = "no chosen and rejected answer"
NO_PROMPT = "answers without a prompt"
NO_COMMON_PROMPT = "dialogues that differ before their last answer"
EQUAL_ANSWERS = "chosen and rejected answer are equal"
UNREADABLE_DATE = "date that cannot be read, or is less exact than the period"

REMEDIES = {
    NOT_UTF8: "convert the file to UTF-8, for latin-1 with: iconv -f latin1 -t utf-8",
    BROKEN_JSON: "a line holds one whole JSON object; a JSON array becomes lines with: jq -c '.[]'",
    NOT_AN_OBJECT: "a line holds one JSON object; a JSON array becomes lines with: jq -c '.[]'",
    NO_TEXT_FIELD: "name the field that holds the text with text_field; rows of conversations are of type: chat",
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
    NO_CONVERSATION: "name the fields with columns: messages, or prompt, input and response",
    NOT_TURNS: "name the field that holds the list of turns with columns: {messages: FIELD}",
    UNKNOWN_ROLE: "say what the role is with roles: {agent: assistant}",
    CONTENT_NOT_TEXT: "only text can be learned: leave out rows with images or calls",
    EMPTY_ANSWER: "leave out rows without an answer",
    EMPTY_TURN: "leave out rows with an empty turn",
    NO_ANSWER_LAST: "end each conversation with an answer",
    NO_QUESTION: "begin each conversation with the user, after the system's turn if there is one",
    SPEAKS_TWICE: "join turns of one speaker that follow each other",
    SYSTEM_LATER: "put what the system says first, in one turn",
    NO_PAIR: "name the fields with columns: {chosen: FIELD, rejected: FIELD}",
    NO_PROMPT: "name the field of the prompt with columns: {prompt: FIELD}, or give whole dialogues",
    NO_COMMON_PROMPT: "a pair is two answers to one prompt: leave out rows whose dialogues part earlier",
    EQUAL_ANSWERS: "nothing can be learned of equal answers: leave these rows out",
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
