"""Two streams of articles that ascend by id -> old and new version of each, holding one article of either side."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain

from rewarm.corpora import faults
from rewarm.difference.editions import Article, Edition
from rewarm.types import BadRows

Pair = tuple[Article | None, Article | None]
"""The old and the new version of an article; None where there is none."""

Key = Callable[[str], int | str]
_NUMBER = re.compile(r"0|[1-9][0-9]{0,30}")


class OutOfOrder(Exception):
    """A snapshot does not ascend by id, so that its articles cannot be paired as they come."""


def merged(old: Edition, new: Edition, bad_old: BadRows, bad_new: BadRows) -> Iterator[Pair]:
    """Every article of either side, ascending by id: by number when the first ids are numbers, else as text.

    OutOfOrder at the first id that is below the one before it. An id that comes twice in a row is a bad row.
    """
    old_articles, old_first = _begun(old.articles(bad_old))
    new_articles, new_first = _begun(new.articles(bad_new))
    firsts = [article.id for article in (old_first, new_first) if article is not None]
    order: Key = _number if all(map(_NUMBER.fullmatch, firsts)) else str
    olds = _ascending(old_articles, order, bad_old, old)
    news = _ascending(new_articles, order, bad_new, new)
    left, right = next(olds, None), next(news, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _below(left, right, order)):
            yield left, None
            left = next(olds, None)
        elif left is None or _below(right, left, order):
            yield None, right
            right = next(news, None)
        else:
            yield left, right
            left, right = next(olds, None), next(news, None)


def _begun(articles: Iterator[Article]) -> tuple[Iterator[Article], Article | None]:
    first = next(articles, None)
    return (articles if first is None else chain([first], articles)), first


def _number(name: str) -> int:
    if _NUMBER.fullmatch(name) is None:
        raise OutOfOrder(name)
    return int(name)


def _below(one: Article, other: Article, order: Key) -> bool:
    return order(one.id) < order(other.id)  # type: ignore[operator]


def _ascending(articles: Iterator[Article], order: Key, bad: BadRows, edition: Edition) -> Iterator[Article]:
    last: int | str | None = None
    for article in articles:
        here = order(article.id)
        if last is not None and here == last:
            bad.add(faults.DUPLICATE_ID, edition.place)
            continue
        if last is not None and here < last:  # type: ignore[operator]
            raise OutOfOrder(article.id)
        last = here
        yield article
