"""Functions of a Python source, and a bug put into one: what a model learns to repair.

One place of the function's body is changed, by one of seven operators of mutation testing (DeMillo, Lipton and Sayward
1978). Nothing is run: that a change is a bug is likely, not proven (`x < 10` and `x <= 10` may do the same).
"""

from __future__ import annotations

import ast
import random
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from rewarm.sketches.source import Edit, Source, Token, Unsketchable, edited

Operator = Literal["comparison", "constant", "arguments", "boolean", "variable", "negation", "assignment"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
INDENTED = "cannot be moved to the left without changing more than its indent"
UNCHANGED = "has nothing to change"

_COMPARISONS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not", "is not": "is", "in": "not in",
    "not in": "in",
}  # fmt: skip
_ASSIGNMENTS = {
    "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "//=": "/=", "%=": "//=", "**=": "*=", "|=": "&=", "&=": "|=",
    "^=": "|=", "<<=": ">>=", ">>=": "<<=",
}  # fmt: skip
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.JoinedStr)
"""What is not looked into: scopes of their own, and f-strings, whose places older versions of Python tell wrongly."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A function with a bug, and what was done to it."""

    text: str
    operator: Operator


def functions(source: Source) -> Iterator[tuple[str, str | None]]:
    """Dotted name and text of each function and method, without decorators: just as it stands, and of one that is
    indented without its indent, None where that would change a string. Functions in functions are parts of these."""
    yield from _functions(source, source.tree, "")


def _functions(source: Source, node: ast.AST, before: str) -> Iterator[tuple[str, str | None]]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, _Function):
            start = source.start(inner) - inner.col_offset
            text = source.text[start - source.origin : source.end(inner) - source.origin]
            yield f"{before}{inner.name}", _to_the_left(text, inner)
        elif isinstance(inner, ast.ClassDef):
            yield from _functions(source, inner, f"{before}{inner.name}.")
        elif isinstance(inner, ast.stmt):
            yield from _functions(source, inner, before)


def _to_the_left(text: str, node: _Function) -> str | None:
    if not node.col_offset:
        return text
    strings = [
        one for one in ast.walk(node)
        if isinstance(one, ast.Constant | ast.JoinedStr) and (one.end_lineno or 0) > one.lineno
    ]  # fmt: skip
    documented = ast.get_docstring(node, clean=False) is not None
    # A docstring's own indent means nothing; that of any other string is a part of it.
    if any(not documented or one is not node.body[0].value for one in strings):  # type: ignore[attr-defined]
        return None
    moved = textwrap.dedent(text)
    return None if moved[:1].isspace() else moved


def mutate(text: str, seed: int) -> Mutant:
    """A function's text with one change that the seed draws: first an operator that has a place in it, then a place.

    It parses, and its tree differs. Unsketchable, with the reason, where no change does that.
    """
    source = Source(text)
    found: dict[Operator, list[Edit]] = {operator: [] for operator in OPERATORS}
    for operator, edit in _Changes(source).all():
        found[operator].append(edit)
    draw = random.Random(seed)
    before = ast.dump(source.tree)
    for operator in draw.sample(OPERATORS, len(OPERATORS)):
        for edit in draw.sample(found[operator], len(found[operator])):
            made = edited(text, [edit])
            if _differs(made, before):
                return Mutant(made, operator)
    raise Unsketchable(UNCHANGED)


def _differs(text: str, before: str) -> bool:
    try:
        return ast.dump(Source(text).tree) != before
    except Unsketchable:
        return False


class _Changes:
    """Every change of every operator in the body of the one function of a source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        function = source.tree.body[0]
        assert isinstance(function, _Function)
        self._nodes = [inner for statement in function.body for inner in _within(statement)]
        arguments = function.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self._bound = {one.arg: 0 for one in every if one is not None}
        for node in self._nodes:
            for name in _targets(node):
                # What is assigned has its name after the value, which stands behind it.
                place = source.end(_last(node))
                self._bound[name] = min(place, self._bound.get(name, place))

    def all(self) -> Iterator[tuple[Operator, Edit]]:
        """Them, in the order of the tree."""
        for node in self._nodes:
            if isinstance(node, ast.Compare):
                yield from (("comparison", edit) for edit in self._comparisons(node))
            elif isinstance(node, ast.Constant) and type(node.value) is int:
                yield from (("constant", self._put(node, str(node.value + step))) for step in (1, -1))
            elif isinstance(node, ast.Call):
                yield from (("arguments", edit) for edit in self._swaps(node))
            elif isinstance(node, ast.BoolOp):
                yield from (("boolean", edit) for edit in self._booleans(node))
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in self._bound:
                yield from (("variable", self._put(node, name)) for name in self._others(node))
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                first, after = self._first(self._source.start(node), 2)
                yield "negation", (first.start, after.start, "")
            elif isinstance(node, ast.AugAssign):
                yield from (("assignment", edit) for edit in self._assignments(node))

    def _put(self, node: ast.AST, text: str) -> Edit:
        return self._source.start(node), self._source.end(node), text

    def _text(self, node: ast.AST) -> str:
        return self._source.text[self._source.start(node) : self._source.end(node)]

    def _first(self, place: int, count: int) -> list[Token]:
        found = self._source.tokens_from(place)
        return [next(found) for _ in range(count)]

    def _between(self, before: ast.AST, after: ast.AST) -> list[Token]:
        """The operators between two nodes; parentheses and comments are none."""
        end = self._source.start(after)
        found = []
        for token in self._source.tokens_from(self._source.end(before)):
            if token.start >= end:
                break
            if token.text not in "()" and token.kind in ("OP", "NAME"):
                found.append(token)
        return found

    def _comparisons(self, node: ast.Compare) -> Iterator[Edit]:
        for before, after in zip([node.left, *node.comparators], node.comparators, strict=False):
            words = self._between(before, after)
            put = _COMPARISONS.get(" ".join(word.text for word in words))
            if put is not None:
                yield words[0].start, words[-1].end, put

    def _booleans(self, node: ast.BoolOp) -> Iterator[Edit]:
        for before, after in zip(node.values, node.values[1:], strict=False):
            (word,) = self._between(before, after)
            yield word.start, word.end, {"and": "or", "or": "and"}[word.text]

    def _swaps(self, node: ast.Call) -> Iterator[Edit]:
        for first, second in zip(node.args, node.args[1:], strict=False):
            start, end = self._source.end(first), self._source.start(second)
            swapped = f"{self._text(second)}{self._source.text[start:end]}{self._text(first)}"
            yield self._source.start(first), self._source.end(second), swapped

    def _assignments(self, node: ast.AugAssign) -> Iterator[Edit]:
        for word in self._between(node.target, node.value):
            if word.text in _ASSIGNMENTS:
                yield word.start, word.end, _ASSIGNMENTS[word.text]

    def _others(self, node: ast.Name) -> list[str]:
        place = self._source.start(node)
        return sorted(name for name, bound in self._bound.items() if bound < place and name != node.id)


def _targets(node: ast.AST) -> list[str]:
    """The names that a statement, a part of one or an expression binds."""
    if isinstance(node, ast.Assign):
        targets: list[ast.AST] = [*node.targets]
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.For | ast.AsyncFor):
        targets = [node.target]
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        targets = [node.optional_vars]
    else:
        return []
    found = [inner for target in targets for inner in ast.walk(target)]
    return [one.id for one in found if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]


def _last(node: ast.AST) -> ast.AST:
    """What must be over before the names that a node binds can be used."""
    if isinstance(node, ast.For | ast.AsyncFor):
        return node.iter
    return node.optional_vars or node if isinstance(node, ast.withitem) else node


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """A node and those in it, but for scopes of their own, f-strings, annotations and the variables of
    comprehensions."""
    if isinstance(node, _Inner):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name == "annotation" or (name == "target" and isinstance(node, ast.comprehension)):
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, ast.AST):
                yield from _within(inner)
