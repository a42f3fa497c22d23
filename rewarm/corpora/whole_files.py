"""A file that is one document."""

from pathlib import Path

from rewarm.corpora import faults, paths
from rewarm.corpora.streams import CutShort, whole
from rewarm.types import BadRows


def read_text(file: Path, max_bytes: int, bad: BadRows) -> str | None:
    """The text of a file, without its byte-order mark and with its own line ends; None when there is none to use.

    A file of no characters or of white space only is no row: source trees are full of them. Any other file counts
    as a row, and as a bad one when it is packed and damaged, larger than `max_bytes` unpacked, binary (it has a NUL,
    as UTF-16 does), or not UTF-8.
    """
    text, reason = _text_or_fault(file, max_bytes)
    if reason is not None:
        bad.rows += 1
        bad.add(reason, paths.printable(file))
        return None
    if not text or text.isspace():
        return None
    bad.rows += 1
    return text


def _text_or_fault(file: Path, max_bytes: int) -> tuple[str, str | None]:
    try:
        content = whole(file, max_bytes)
    except CutShort:
        return "", faults.TRUNCATED_FILE
    if content is None:
        return "", faults.ROW_TOO_LONG
    if b"\0" in content:
        return "", faults.BINARY_FILE
    try:
        return content.decode("utf-8"), None
    except UnicodeDecodeError:
        return "", faults.NOT_UTF8
