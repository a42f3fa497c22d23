"""Pairs of articles -> rows of the output, in tasks that several processes can take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from rewarm.corpora.wiki_text import convert
from rewarm.difference.articles import Change, Context, compare
from rewarm.difference.editions import Article
from rewarm.difference.pairs import Pair
from rewarm.difference.sentences import Paragraphs

STREAMS = ("diff", "pieces", "deleted", "unchanged")
"""The files of the output: what is new by article, by piece, what is gone, and on request what stayed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How articles are compared: whether bodies are mark-up, what is emitted, whether unchanged text is kept."""

    as_markup: bool
    context: Context
    paragraphs: Paragraphs
    unchanged: bool


@dataclass(slots=True)
class Task:
    """Pairs to compare, for one part of the output; `counts` holds what was counted when they were read."""

    part: int
    pairs: list[Pair] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Rows:
    """What a task gives: JSON lines by stream, and counts."""

    part: int
    lines: dict[str, bytes]
    counts: Counter[str]


class _Writer:
    """Collects the rows of one task."""

    def __init__(self, rules: Rules, counts: Counter[str]) -> None:
        self.rules = rules
        self.counts = counts
        self.lines: dict[str, list[bytes]] = {name: [] for name in STREAMS}

    def add(self, stream: str, row: dict[str, Any]) -> None:
        self.lines[stream].append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def text(self, article: Article, side: str) -> str:
        if not self.rules.as_markup:
            return article.body
        converted = convert(article.title, article.body)
        self.counts[f"stripped_{side}"] += converted.stripped > 0
        return converted.text

    def pair(self, old: Article | None, new: Article | None) -> None:
        if new is None:
            assert old is not None
            self.counts["articles_removed"] += 1
            self.add("deleted", {**_head(old), "text": self.text(old, "old"), "kind": "article"})
        elif old is None:
            self.counts["articles_added"] += 1
            self._new_article(new, _titled(new.title, self.text(new, "new")))
        elif old.body == new.body:
            self.counts["articles_same"] += 1
            if self.rules.unchanged:
                self.add("unchanged", {**_head(new), "text": self.text(new, "new")})
        else:
            self.counts["articles_backdated"] += bool(new.date) and new.date < old.date
            self._changed(new, compare(self.text(old, "old"), self.text(new, "new"), self.rules.paragraphs))

    def _new_article(self, new: Article, text: str) -> None:
        self.counts["characters"] += len(text)
        self.add("diff", {**_head(new), "text": text, "kinds": {"new_article": 1}})

    def _changed(self, new: Article, change: Change) -> None:
        self.counts.update(change.counts)
        is_same = not change.pieces and not change.deleted
        self.counts["articles_same" if is_same else "articles_changed"] += 1
        if change.pieces:
            text = _titled(new.title, change.text(self.rules.context))
            kinds = Counter(piece.kind for piece in change.pieces)
            self.counts["characters"] += len(text)
            self.add("diff", {**_head(new), "text": text, "kinds": {kind: kinds[kind] for kind in sorted(kinds)}})
        for number, piece in enumerate(change.pieces, 1):
            row = {"id": f"{new.id}#{number}", "article": new.id, "title": new.title, "kind": piece.kind}
            context = piece.paragraph if piece.paragraph != piece.text else ""
            self.add("pieces", {**row, "text": piece.text, "paragraph": context, "old": piece.old})
        if change.deleted:
            self.add("deleted", {**_head(new), "text": "\n".join(change.deleted), "kind": "sentences"})
        if self.rules.unchanged and change.unchanged:
            self.add("unchanged", {**_head(new), "text": "\n".join(change.unchanged)})


def _head(article: Article) -> dict[str, Any]:
    return {"id": article.id, "title": article.title, "date": article.date}


def _titled(title: str, text: str) -> str:
    """The text below a line with its title, unless it begins with that line."""
    return text if not title or text == title or text.startswith(f"{title}\n") else f"{title}\n{text}"


def done(task: Task, rules: Rules) -> Rows:
    """The rows of a task."""
    writer = _Writer(rules, Counter(task.counts))
    for old, new in task.pairs:
        writer.pair(old, new)
    return Rows(task.part, {name: b"".join(rows) for name, rows in writer.lines.items()}, writer.counts)
