"""Whatever text a result holds, in any place, stays text on every page that is made of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import test_report_arms
import test_report_merge_page
import test_report_recycling
import test_report_suites
import test_report_tasks
from pydantic import BaseModel, ValidationError

from rewarm.report import arms_page, merge_page, page, recycle_page, tasks_page
from rewarm.report.result import Result

ATTACK = "</style></title></svg>\"'><attack onattack=1>&lt;attack2>{{ 7*7 }}"
FIXED = {
    "exact", "accuracy", "macro_f1", "entity_f1", "f1", "right", "loops", "rank", "contained", "train", "dev", "test",
    "rank_1", "rank_10", "mrr", "perplexity", "nats_per_byte",
}  # fmt: skip
"""Names of measures and splits, which the package itself gives."""
compared = test_report_arms.compared
with_suites = test_report_suites.with_suites


class Elements(HTMLParser):
    """Elements and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def replaced(value: Any, old: set[str]) -> Any:
    """The value with the attack behind each of these texts, wherever it stands."""
    if isinstance(value, dict):
        return {replaced(key, old): replaced(item, old) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, old) for item in value]
    return value + ATTACK if isinstance(value, str) and value in old else value


def may_be_text(model: BaseModel) -> set[str]:
    """The texts of a result that could be any others: words of a fixed list, such as names of measures, could not."""
    values = model.model_dump(mode="json", by_alias=True)
    every = set(strings(values))
    known = {text for text in every if text in FIXED}
    free = set()
    for text in every - known:
        with contextlib.suppress(ValidationError):
            type(model).model_validate(replaced(values, {text}))
            free.add(text)
    return free


def check(model: BaseModel, html: Callable[[Any], str]) -> int:
    """Fails for a page on which the attack is an element; how many texts were attacked."""
    free, before = may_be_text(model), Elements(html(model))
    held = type(model).model_validate(replaced(model.model_dump(mode="json", by_alias=True), free))
    text = html(held)
    found = Elements(text)
    assert "attack" not in found.tags
    assert "attack2" not in found.tags
    assert found.tags <= before.tags | {"p", "ul", "li", "span", "b", "abbr"}
    assert not any(name.startswith("on") for name in found.attributes)
    assert text.count("{{ 7*7 }}") > 3  # not filled in: 49
    assert text.count("&lt;attack onattack=1&gt;") == text.count("attack onattack=1")
    return len(free)


def test_the_report(with_facts: Result, with_suites: Result) -> None:
    assert check(with_facts.model_copy(update={"suites": with_suites.suites}), page.html) > 30


def test_pages_of_their_own(compared: Any) -> None:
    assert check(test_report_tasks.result(), tasks_page.html) > 5
    assert check(test_report_merge_page.merge(), merge_page.html) > 10
    assert check(test_report_recycling.result(), recycle_page.html) > 5
    assert check(compared, arms_page.html) > 10


def test_an_attack_is_seen() -> None:
    assert "attack" in Elements(f"<p>{ATTACK}</p>").tags
