"""The texts, facts and probes of the small recipes, written to a folder; all but the base's own text is made up."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path

from rewarm.recipes import small_tasks
from rewarm.recipes.demo_facts import Fact, documents
from rewarm.recipes.demo_text import old, write_documents
from rewarm.recipes.demo_wiki import (
    Stop,
    facts,
    pages,
    subjects,
    write_difference,
    write_facts,
    write_pages,
    write_probes,
    write_templates,
)
from rewarm.types import Tell

SNAPSHOTS = 4
MONTHS = 8
MONTH_DOCUMENTS = 250
MONTH_UNCHANGED = 0.3
"""The share of unchanged facts that is asked about: every model is asked about every month."""
NEWS_DOCUMENTS = 300
LATE = 5
"""Every fifth subject is new with the news."""


def write(name: str, folder: Path, tell: Tell, stop: Stop) -> None:
    """Writes what the small recipe of that name reads; files that hold the same already are left untouched."""
    write_documents(folder / "text" / "documentation.jsonl", old(Path(sysconfig.get_path("stdlib"))))
    if name in small_tasks.WRITERS:
        small_tasks.write(name, folder)
    else:
        _WRITERS[name](folder, tell, stop)


def month(number: int) -> str:
    """The date of a snapshot of the world, counted from 1."""
    return f"1001-{number:02d}"


def write_wiki(folder: Path, snapshots: int, tell: Tell, stop: Stop) -> None:
    """Writes snapshots of the wiki, and of every two in a row their difference and probes of what became of facts."""
    write_templates(folder / "templates.yaml")
    about = subjects()
    for number in range(1, snapshots + 1):
        write_pages(folder / "snapshots" / f"{month(number)}.jsonl", pages(number, about), month(number))
        _facts(folder, number, facts(number, about))
        if number > 1:
            old, new = (folder / "snapshots" / f"{month(one)}.jsonl" for one in (number - 1, number))
            made = write_difference(old, new, folder / "differences" / month(number), tell, stop)
            _probes(folder, number, month(number), tell, made)


def _wiki(folder: Path, tell: Tell, stop: Stop) -> None:
    write_wiki(folder, SNAPSHOTS, tell, stop)


def _news(folder: Path, tell: Tell, stop: Stop) -> None:
    write_templates(folder / "templates.yaml")
    about = subjects()
    known = [subject for place, subject in enumerate(about) if place % LATE]
    before, after = facts(1, known), facts(2, about)
    write_pages(folder / "snapshots" / f"{month(1)}.jsonl", pages(1, known), month(1))
    _facts(folder, 1, before)
    _facts(folder, 2, after)
    _probes(folder, 2, "news", tell)
    told = sorted(set(after) - set(before), key=lambda fact: (fact.subject, fact.relation))
    write_documents(folder / "news.jsonl", documents(told, count=NEWS_DOCUMENTS))


def _months(folder: Path, tell: Tell, stop: Stop) -> None:
    write_templates(folder / "templates.yaml")
    about = subjects()
    write_pages(folder / "snapshots" / f"{month(1)}.jsonl", pages(1, about), month(1))
    _facts(folder, 1, facts(1, about))
    for number in range(2, MONTHS + 1):
        told = facts(number, about)
        write_pages(
            folder / "months" / f"{month(number)}.jsonl", documents(told, number, MONTH_DOCUMENTS), month(number)
        )
        _facts(folder, number, told)
        _probes(folder, number, month(number), tell, unchanged=MONTH_UNCHANGED)


def _facts(folder: Path, number: int, found: list[Fact]) -> None:
    write_facts(folder / "facts" / f"{month(number)}.jsonl", found)


def _probes(
    folder: Path, number: int, name: str, tell: Tell, difference: Path | None = None, unchanged: float = 1.0
) -> None:
    old, new = (folder / "facts" / f"{month(one)}.jsonl" for one in (number - 1, number))
    dates, output = (month(number - 1), month(number)), folder / "probes" / f"{name}.jsonl"
    write_probes((old, new), dates, output, difference, tell, unchanged)


_WRITERS: dict[str, Callable[[Path, Tell, Stop], None]] = {"temporalwiki": _wiki, "ckl": _news, "tic": _months}
