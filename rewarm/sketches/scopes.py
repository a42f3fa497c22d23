"""Which names of a source are its own, scope by scope, and where each stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rewarm.sketches.fields import fields
from rewarm.sketches.literals import groups, opening
from rewarm.sketches.source import NOT_PYTHON, Source, Token, Unsketchable

Kind = Literal["function", "class", "variable", "foreign"]
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(eq=False)
class Scope:
    """A module, class, function or comprehension: of each name bound in it, where and as what."""

    kind: Literal["module", "class", "function", "comprehension"]
    parent: Scope | None = None
    names: dict[str, dict[int, Kind]] = field(default_factory=dict)
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)

    @property
    def module(self) -> Scope:
        """The outermost scope."""
        return self if self.parent is None else self.parent.module

    def bind(self, name: str, place: int, kind: Kind) -> None:
        """Notes that a name is bound here, or where a `global` sends it."""
        if name not in self.nonlocals:
            home = self.module if name in self.globals else self
            home.names.setdefault(name, {})[place] = kind

    def home(self, name: str) -> Scope | None:
        """The scope that a name is taken from when it is used here; None for a builtin and the like."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.globals:
                return self.module if name in self.module.names else None
            if name in scope.names and (scope is self or scope.kind != "class"):
                return scope
            scope = scope.parent
        return None


@dataclass(frozen=True, slots=True)
class Use:
    """A name in the text, and the scope that it is used in; `callee` is the function whose keyword it is, if any."""

    name: str
    start: int
    end: int
    scope: Scope
    callee: str | None = None


class Walk(ast.NodeVisitor):
    """Every use and every binding of a source's names, those inside of f-strings too if `in_strings`."""

    def __init__(self, source: Source, in_strings: bool) -> None:
        self.source = source
        self.in_strings = in_strings
        self.sources = [source]
        self.uses: list[Use] = []
        self.parameters: dict[tuple[Scope, str], list[Scope]] = {}
        self.scope = Scope("module")
        self._groups: dict[Source, dict[int, list[Token]]] = {}
        self.visit(source.tree)

    def _use(self, name: str, start: int, end: int, kind: Kind | None = None) -> None:
        if kind is not None:
            self.scope.bind(name, start, kind)
        self.uses.append(Use(name, start, end, self.scope))

    def _after(self, place: int, words: Sequence[str], name: str, kind: Kind | None) -> None:
        token = self.source.name_after(place, words)
        self._use(name, token.start, token.end, kind)

    def _within(self, scope: Scope, nodes: Sequence[ast.AST]) -> None:
        before, self.scope = self.scope, scope
        for node in nodes:
            self.visit(node)
        self.scope = before

    def _all(self, nodes: Sequence[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """A use, or a variable that is bound."""
        kind: Kind | None = None if isinstance(node.ctx, ast.Load) else "variable"
        self._use(node.id, self.source.start(node), self.source.end(node), kind)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """A variable of the scope around all comprehensions."""
        scope = self.scope
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        self._within(scope, [node.target])
        self.visit(node.value)

    def _function(self, node: _Function) -> None:
        self._all([*node.decorator_list, *getattr(node, "type_params", [])])
        self._after(self.source.start(node), ("def",), node.name, "function")
        scope = self._parameters(node.args)
        self.visit(node.returns) if node.returns is not None else None
        self.parameters.setdefault((self.scope, node.name), []).append(scope)
        if self.scope.kind == "class" and node.name == "__init__" and self.scope.parent is not None:
            self.parameters.setdefault((self.scope, ""), []).append(scope)
        self._within(scope, node.body)

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """A function without a name."""
        self._within(self._parameters(node.args), [node.body])

    def _parameters(self, arguments: ast.arguments) -> Scope:
        """The scope of a function with its parameters; defaults and annotations belong to the scope around it."""
        self._all([*arguments.defaults, *arguments.kw_defaults])
        named = [*arguments.args, *arguments.kwonlyargs]
        stars = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
        scope = Scope("function", self.scope, parameters={one.arg for one in named})
        for one in [*arguments.posonlyargs, *named, *stars]:
            self._all([one.annotation])
            start = self.source.start(one)
            token = next(self.source.tokens_from(start))
            before, self.scope = self.scope, scope
            self._use(one.arg, start, token.end, "variable")
            self.scope = before
        return scope

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class, a scope that functions inside of it do not see."""
        self._all([*node.decorator_list, *getattr(node, "type_params", []), *node.bases, *node.keywords])
        self._after(self.source.start(node), ("class",), node.name, "class")
        scope = Scope("class", self.scope)
        self._within(scope, node.body)
        self.parameters.setdefault((self.scope, node.name), []).extend(self.parameters.pop((scope, ""), []))

    def _type_parameter(self, node: ast.AST) -> None:
        self.scope.bind(node.name, self.source.start(node), "foreign")  # type: ignore[attr-defined]
        self.generic_visit(node)

    visit_TypeVar = visit_ParamSpec = visit_TypeVarTuple = _type_parameter

    def _comprehension(self, node: _Comprehension) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        elements: list[ast.expr] = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        rest = [part for one in others for part in (one.target, one.iter, *one.ifs)]
        self._within(Scope("comprehension", self.scope), [first.target, *first.ifs, *rest, *elements])

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_Call(self, node: ast.Call) -> None:
        """A call, whose keywords are names of ours where the function is."""
        self._all([node.func, *node.args])
        for keyword in node.keywords:
            if keyword.arg is not None and isinstance(node.func, ast.Name):
                start = self.source.start(keyword)
                token = next(self.source.tokens_from(start))
                self.uses.append(Use(keyword.arg, start, token.end, self.scope, node.func.id))
            self.visit(keyword.value)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self.scope.bind(name, self.source.start(alias), "foreign")

    visit_Import = visit_ImportFrom = _import

    def _declared(self, node: ast.Global | ast.Nonlocal) -> None:
        declared = self.scope.globals if isinstance(node, ast.Global) else self.scope.nonlocals
        declared.update(node.names)
        tokens = self.source.tokens_from(self.source.start(node))
        names = [token for token in tokens if token.kind == "NAME"][1 : len(node.names) + 1]
        for name, token in zip(node.names, names, strict=True):
            self._use(name, token.start, token.end)

    visit_Global = visit_Nonlocal = _declared

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """A handler, whose `as name` is a variable."""
        self._all([node.type])
        if node.name is not None and node.type is not None:
            self._after(self.source.end(node.type), ("as",), node.name, "variable")
        self._all(node.body)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        """A pattern that binds a name, which stands last in it."""
        self._all([node.pattern])
        if node.name is not None:
            self._last(node, node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        """The rest of a sequence."""
        if node.name is not None:
            self._last(node, node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        """A mapping, with its rest."""
        self._all([*node.keys, *node.patterns])
        if node.rest is not None:
            last = self.source.end(node.patterns[-1]) if node.patterns else self.source.start(node)
            self._after(last, ("**",), node.rest, "variable")

    def _last(self, node: ast.pattern, name: str) -> None:
        end = self.source.end(node)
        names = (token for token in self.source.tokens_from(self.source.start(node)) if token.end == end)
        token = next(names)
        self._use(name, token.start, token.end, "variable")

    def _string(self, node: ast.AST) -> None:
        if not self.in_strings:
            return
        for start, text in self._literals(self.source.start(node)):
            for place, expression in fields(text):
                self._expression(start + place, expression)

    visit_JoinedStr = visit_TemplateStr = _string

    def _literals(self, start: int) -> Iterator[tuple[int, str]]:
        """Place and text of the strings with fields that stand side by side from a place on."""
        known = self._groups.setdefault(self.source, {})
        if not known:
            known.update((group[0].start, group) for group in groups(self.source))
        for token in known.get(start, ()):
            if token.kind == "STRING" and set("ftFT") & set(opening(token.text)[0]):
                yield token.start, token.text

    def _expression(self, place: int, text: str) -> None:
        try:
            inner = Source(f"({text}\n)", place - 1)
        except Unsketchable as error:
            raise Unsketchable(NOT_PYTHON, f"{text!r} in an f-string: {error.detail}") from None
        before, self.source = self.source, inner
        self.sources.append(inner)
        self.visit(inner.tree)
        self.source = before
