"""Answers in two steps, as CERT writes them: a sketch first, then the program that the sketch and the prompt ask for.

Models are functions `(prompt, how many) -> texts written after it`, so any way of sampling fits.
"""

from __future__ import annotations

import contextlib
import io
import keyword
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rewarm.sketches.blocks import SEGMENTATION
from rewarm.sketches.literals import MARKERS
from rewarm.sketches.naming import NEW_NAME

Sampler = Callable[[str, int], Sequence[str]]
STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif")
"""What ends an answer that stands inside of a function."""

_TYPES = frozenset({"float", "complex"})
_TAKE_TYPES = frozenset({
    "Dict", "List", "Optional", "Tuple", "Union", "apply", "applymap", "array", "asarray", "astype", "dict", "empty",
    "full", "isinstance", "issubclass", "list", "map", "ones", "set", "tuple", "zeros",
})  # fmt: skip
_TYPE_KEYWORDS = frozenset({"dtype", "dtypes", "converters", "type"})
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers, who wrote them, and the sketch that was chosen."""

    texts: tuple[str, ...]
    by: Literal["sketcher", "generator"]
    sketch: str


def cut(text: str, stops: Sequence[str] = STOPS) -> str:
    """The text up to the first of the stops."""
    return text[: min((place for place in map(text.find, stops) if place >= 0), default=len(text))]


def most_frequent(sketches: Sequence[str]) -> str:
    """The sketch that was written most often, the first of these on a tie; white space at the end does not count."""
    counts = Counter(sketch.rstrip() for sketch in sketches)
    return max(counts, key=counts.__getitem__) if counts else ""


def has_marker(text: str, prompt: str = "", names: bool = False) -> bool:
    """Whether a text is a sketch: a marker stands in it as a token of its own, in the place of a value.

    No marker is an attribute (`x.string`), the name of a keyword (`f(string=1)`), or a name that the text or the prompt
    binds or imports. `float` and `complex` are also types: they are no marker where they are called or have attributes,
    in an annotation, and in the parentheses of functions that take types (`astype(float)`, `dtype=float`). With
    `names`, what stands for a source's own names is a marker, too.
    """
    bound = _bound(f"{prompt}\n{text}")
    words = _words(text)
    for place, word in enumerate(words):
        is_name = names and NEW_NAME.fullmatch(word) is not None
        if is_name or (word in MARKERS and word not in bound and _is_value(words, place)):
            return True
    return False


def _words(text: str) -> list[str]:
    """The tokens of a text that may be cut off anywhere, without comments and layout."""
    left_out = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    words: list[str] = []
    # An answer may be cut off: the tokens before that are seen.
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        words.extend(
            "\n" if token.type == tokenize.NEWLINE else token.string
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in left_out
        )
    return words


def _bound(text: str) -> set[str]:
    words = _words(text)
    found = set()
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        is_bound = before in ("import", "as", "for", "def", "class", "lambda") or after in ("=", ":=", "in")
        if _WORD.fullmatch(word) and is_bound and not (after == "in" and before in ("if", "and", "or", "not", "(")):
            found.add(word)
    return found - set(keyword.kwlist)


def _is_value(words: Sequence[str], place: int) -> bool:
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    if before == "." or after == "=":
        return False
    return words[place] not in _TYPES or not _is_type(words, place, before, after)


def _is_type(words: Sequence[str], place: int, before: str, after: str) -> bool:
    if after in ("(", ".", "|") or before in ("->", "|"):
        return True
    if before == "=" and place > 1 and words[place - 2] in _TYPE_KEYWORDS:
        return True
    opened = None
    for opened in _brackets_around(words, place):
        one, two = (words[opened - number] if opened >= number else "" for number in (1, 2))
        if one in _TAKE_TYPES or (one == "=" and two in _TYPE_KEYWORDS):
            return True
        if _WORD.fullmatch(one):
            return two == "def" and before == ":"
    starts = place < 3 or words[place - 3] == "\n"
    return opened is None and before == ":" and starts and not keyword.iskeyword(words[place - 2])


def _brackets_around(words: Sequence[str], place: int) -> Iterator[int]:
    """Where the brackets were opened that a place is in, the innermost first."""
    closed = 0
    for number in range(place - 1, -1, -1):
        if words[number] in (")", "]", "}"):
            closed += 1
        elif words[number] in ("(", "[", "{"):
            if not closed:
                yield number
            closed = max(0, closed - 1)
        elif words[number] == "\n" and not closed:
            return


def two_step(
    prompt: str,
    sketcher: Sampler,
    generator: Sampler,
    samples: int,
    stops: Sequence[str] = STOPS,
    names: bool = False,
) -> Answers:
    """Samples sketches; if the most frequent one is a sketch or empty, the generator writes the answers from it.

    If it has no marker, the sketches are the answers already; so they are where the generator writes nothing.
    """
    sketches = tuple(cut(text, stops) for text in sketcher(prompt, samples))
    chosen = most_frequent(sketches)
    if chosen.strip() and not has_marker(chosen, prompt, names):
        return Answers(sketches, "sketcher", chosen)
    asked = f"{chosen}\n{SEGMENTATION}\n{prompt}" if chosen.strip() else prompt
    written = tuple(cut(text, stops) for text in generator(asked, samples))
    if not any(text.strip() for text in written):
        return Answers(sketches, "sketcher", chosen)
    return Answers(written, "generator", chosen)
