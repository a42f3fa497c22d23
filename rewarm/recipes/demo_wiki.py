"""The invented world as a wiki: snapshots of its pages and facts, and what rewarm makes of two of them.

Only towns, houses and roads have pages, so that a model of a million parameters can learn all of it in a minute. A page
says the same of the same subjects in every snapshot, in the same words; only what changed reads otherwise. Differences
and probes are made by the package's own `corpus diff` and `corpus probes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from rewarm.difference.editions import editions
from rewarm.difference.folder import OutputFolder
from rewarm.difference.run import Job, Settings
from rewarm.facts.naming import snapshot_of
from rewarm.probes.alignment import diff_pages, unchanged_pages
from rewarm.probes.asking import OBJECT, SUBJECT, Templates
from rewarm.probes.building import Building, build
from rewarm.recipes.demo_facts import RELATIONS, Fact, documents, names, statements, world
from rewarm.recipes.demo_text import write_bytes, write_rows
from rewarm.types import Document, Tell

TEXTS = 700
FACTS = 2
"""Facts of a page: few, so that a page which states one that has changed is no great part of all."""
KINDS = ("town", "house", "road")
YEARS = 2
"""Years of the world from one snapshot to the next: then a quarter of the facts has changed, which is enough to see."""
_SENTENCE_END = re.compile(r"(?<=\.) ")
Stop = Callable[[], bool]


def subjects(kinds: Collection[str] = KINDS) -> list[str]:
    """What the wiki has pages of."""
    lists = names(0)
    return [subject for kind in kinds for subject in lists[kind]]


def facts(snapshot: int, about: Collection[str]) -> list[Fact]:
    """The facts about some subjects that hold in a snapshot, counted from 1; fact `i` keeps its relation."""
    return [fact for fact in world(year=1 + YEARS * (snapshot - 1)) if fact.subject in about]


def pages(snapshot: int, about: Collection[str], count: int = TEXTS) -> list[Document]:
    """The wiki's pages as they read in a snapshot: the same ids, subjects and wordings in each.

    They are `documents` cut into `FACTS` sentences a page. `meta` holds the subject of the first as `group`, and the
    stated `facts`.
    """
    first = facts(1, about)
    becomes = dict(zip(first, facts(snapshot, about), strict=True))
    return [page for text in documents(first, count=count) for page in _cut(text, becomes)]


def _cut(text: Document, becomes: Mapping[Fact, Fact]) -> Iterator[Document]:
    stated = text.meta["facts"]
    told = [
        (becomes[fact], statements(becomes[fact])[statements(fact).index(sentence)])
        for sentence, fact in zip(_SENTENCE_END.split(text.text), stated, strict=True)
    ]
    for start in range(0, len(told), FACTS):
        part = told[start : start + FACTS]
        meta = {"group": part[0][0].subject, "facts": tuple(fact for fact, _ in part)}
        yield Document(f"{text.id}-{start}", " ".join(sentence for _, sentence in part), text.place, meta)


def write_templates(path: Path) -> Path:
    """Writes the sentences that ask for each relation: its wordings that end with the object. The path."""
    asked = {
        name: [
            template.replace("{s}", SUBJECT).replace("{o}", OBJECT)
            for template in relation.templates
            if template.endswith("{o}.")
        ]
        for name, relation in RELATIONS.items()
    }
    return write_bytes(path, yaml.safe_dump(asked, sort_keys=False, width=200).encode())


def write_pages(path: Path, found: Sequence[Document], date: str) -> Path:
    """Writes pages as rows with `id`, `title` (the leading subject), `date`, `group` and `text`; the path."""
    rows = (
        {"id": page.id, "title": page.meta["group"], "date": date, "group": page.meta["group"], "text": page.text}
        for page in found
    )
    return write_rows(path, rows)


def write_facts(path: Path, found: Sequence[Fact]) -> Path:
    """Writes facts as rows with `subject`, `relation` and `object`; the path."""
    rows = ({"subject": fact.subject, "relation": fact.relation, "object": fact.object} for fact in found)
    return write_rows(path, rows)


def write_difference(old: Path, new: Path, folder: Path, tell: Tell, stop: Stop) -> Path:
    """The folder of the difference of two snapshots of pages, with the unchanged text in `unchanged.jsonl.zst`.

    What `rewarm corpus diff` does, and goes on after a stop as that does.
    """
    output = OutputFolder(folder, unchanged=folder / "unchanged.jsonl.zst")
    Job(*editions(str(old), str(new)), output, Settings()).run(tell, stop)
    return folder


def write_probes(
    snapshots: tuple[Path, Path], dates: tuple[str, str], output: Path, difference: Path | None, tell: Tell,
    unchanged: float = 1.0,
) -> Path:  # fmt: skip
    """Writes probes of what became of the facts of two snapshots, as `rewarm corpus probes` does; the path.

    They are asked by `templates.yaml` in the folder of the snapshots' folder. With a difference, changed and unchanged
    facts are kept where its texts state them; `unchanged` is the share of unchanged ones that is kept.
    """
    old, new = snapshots
    aligned = (
        (diff_pages(difference), unchanged_pages(difference / "unchanged.jsonl.zst")) if difference is not None else ()
    )
    how = Building(
        templates=Templates(old.parents[1] / "templates.yaml"),
        dates=dates,
        source=f"{old.stem} -> {new.stem}",
        sample={"unchanged": unchanged},
        pages=aligned,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    build(snapshot_of(str(old)), snapshot_of(str(new)), output, how, tell)
    return output
