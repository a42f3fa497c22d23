"""A Python source with its tree and its tokens, all of whose places are offsets in the text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

NOT_PYTHON = "does not parse as Python"
NO_TOKENS = "cannot be split into tokens"
TOO_DEEP = "nested too deeply"
NOT_FOUND = "a name of the tree is not in the text"

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_KINDS = {"NAME", "NUMBER", "STRING", "COMMENT", "OP", "NEWLINE"}
_OPENS, _CLOSES = {"FSTRING_START", "TSTRING_START"}, {"FSTRING_END", "TSTRING_END"}

Edit = tuple[int, int, str]
"""From where, up to where, and what stands there instead."""


class Unsketchable(ValueError):
    """A source without a sketch; the message is a reason to count, `detail` says more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its place; an f-string is one token of the kind STRING in every version of Python."""

    kind: str
    text: str
    start: int
    end: int


class Source:
    """A text that parses. `origin` is where it stands in a larger text, which all places are counted in.

    Lines may end as they like; a byte-order mark is passed over.
    """

    def __init__(self, text: str, origin: int = 0) -> None:
        mark = text.startswith("\ufeff")
        self.text = text[1:] if mark else text
        self.origin = origin + mark
        self._lines = _LINE.findall(self.text)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        # Only the ends of lines change, so that columns hold in the text itself.
        self._plain = [line.rstrip("\r\n") + "\n" if line[-1] in "\r\n" else line for line in self._lines]
        self.tree = self._parsed()

    def _parsed(self) -> ast.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return ast.parse("".join(self._plain))
            except (RecursionError, MemoryError):
                raise Unsketchable(TOO_DEEP) from None
            except SyntaxError as error:
                raise Unsketchable(NOT_PYTHON, f"line {error.lineno}: {error.msg}") from None
            except ValueError as error:
                raise Unsketchable(NOT_PYTHON, str(error)) from None

    @cached_property
    def tokens(self) -> list[Token]:
        """Names, numbers, strings, comments, operators and ends of statements, in order."""
        try:
            return list(self._tokens())
        except (tokenize.TokenError, SyntaxError) as error:
            raise Unsketchable(NO_TOKENS, str(error)) from None

    def _tokens(self) -> Iterator[Token]:
        depth, opened = 0, 0
        for token in tokenize.generate_tokens(io.StringIO("".join(self._plain), newline="").readline):
            kind = tokenize.tok_name[token.type]
            if kind in _OPENS:
                opened = opened if depth else self._offset(token.start)
                depth += 1
            elif kind in _CLOSES:
                depth -= 1
                if not depth:
                    yield self._token("STRING", opened, self._offset(token.end))
            elif not depth and kind in _KINDS and token.string.strip():
                yield self._token(kind, self._offset(token.start), self._offset(token.end))
            elif kind == "NEWLINE":
                place = self._offset(token.start)
                yield Token(kind, "", place, place)

    def _token(self, kind: str, start: int, end: int) -> Token:
        return Token(kind, self.text[start - self.origin : end - self.origin], start, end)

    def _offset(self, place: tuple[int, int]) -> int:
        row = min(place[0] - 1, len(self._lines))
        return min(self._starts[row] + place[1], len(self.text)) + self.origin

    def start(self, node: ast.AST) -> int:
        """Where a node of the tree starts."""
        return self._byte_place(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Where a node of the tree ends."""
        return self._byte_place(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _byte_place(self, line: int, column: int) -> int:
        text = self._plain[line - 1]
        characters = column if text.isascii() else len(text.encode("utf-8")[:column].decode("utf-8"))
        return self._starts[line - 1] + characters + self.origin

    def line_after(self, line: int) -> int:
        """Where the line after the line of this number starts; the end of the text after the last one."""
        return self._starts[min(line, len(self._lines))] + self.origin

    @cached_property
    def _token_starts(self) -> list[int]:
        return [token.start for token in self.tokens]

    def tokens_from(self, place: int) -> Iterator[Token]:
        """The tokens that start at a place or after it."""
        for number in range(bisect_left(self._token_starts, place), len(self.tokens)):
            yield self.tokens[number]

    def name_after(self, place: int, words: Sequence[str]) -> Token:
        """The name that follows the first of some words at a place or after it."""
        found = self.tokens_from(place)
        for token in found:
            if token.text in words:
                return next(found)
        raise Unsketchable(NOT_FOUND)


def edited(text: str, edits: Sequence[Edit], start: int = 0, end: int | None = None) -> str:
    """The text from `start` to `end` with its edits made, which do not overlap."""
    end = len(text) if end is None else end
    pieces, place = [], start
    for first, last, put in sorted(edits):
        if start <= first and last <= end:
            pieces += [text[place:first], put]
            place = last
    return "".join([*pieces, text[place:end]])
