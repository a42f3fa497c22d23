"""Names and texts in the form in which they are compared: words between single blanks, whatever case and punctuation.

Two forms. `worded` keeps full stops and commas inside words, so that 1,000 does not stand in 1,000,000; it is made of
names and sentences. `searchable` makes them blanks as well, at a tenth of the cost, since all text is read in it: what
stands in a text as `worded` writes both also stands in it as `searchable` writes them.
"""

from __future__ import annotations

import re
import unicodedata

# What parts words beyond ASCII: signs of Latin-1, general punctuation, that of Chinese and Japanese, wide forms, and
# the commas and full stops of Arabic, Urdu and Devanagari.
_FOREIGN = (
    "\u00a0-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u3020\u3030\uff01-\uff0f"
    "\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u060c\u061b\u061f\u06d4\u0964\u0965"
)
_PARTING = re.compile(f"[{_FOREIGN}]+")
_WORDS = r"[^\x00-/:-@\[-`{-\x7f" + _FOREIGN + "]+"
_WORD = re.compile(rf"{_WORDS}(?:[.,]{_WORDS})*")
_LETTERS = bytes(byte if byte > 127 or chr(byte).isalnum() else 32 for byte in range(256)).lower()
# Thai, Lao, Burmese, Khmer, Japanese, Chinese; Korean writes blanks, and joins particles to every name.
_UNBROKEN = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3031-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)


def worded(text: str) -> str:
    """The words of a text with single blanks between: small letters, composed, without punctuation around them."""
    return " ".join(_WORD.findall(_folded(text)))


def searchable(text: str) -> bytes:
    """The words of a text in UTF-8, a blank before and after each."""
    folded = text if text.isascii() else _PARTING.sub(" ", _folded(text))
    return b" ".join((b"", *folded.encode("utf-8", "surrogatepass").translate(_LETTERS).split(), b""))


def pattern(name: str) -> bytes:
    """What is searched for in a `searchable` text to find a name as whole words."""
    found: bytes = whole(searchable(name).decode("utf-8", "surrogatepass").strip()).encode("utf-8", "surrogatepass")
    return found


def whole(name: str) -> str:
    """A `worded` name with the blanks that bound it; none at an end whose script writes no blanks between words."""
    before = "" if _UNBROKEN.match(name) else " "
    after = "" if _UNBROKEN.match(name[-1:]) else " "
    return f"{before}{name}{after}"


def _folded(text: str) -> str:
    # Folding may take a letter apart, so it comes first.
    return unicodedata.normalize("NFC", text.casefold())
