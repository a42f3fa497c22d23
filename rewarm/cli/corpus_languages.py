"""`rewarm corpus languages`: which languages files of text are in, and how alike they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from rewarm.corpora import Corpus
    from rewarm.evaluation.languages import Profile
    from rewarm.report.facts import Table as Held
    from rewarm.types import BadRows


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus languages`."""

    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", show_default=False, help="Texts: files, folders or patterns, or options as in a plan: "
            "'{path: a.parquet, text_field: body}'.",
        ),
    ]  # fmt: skip
    lines: Annotated[int, typer.Option(metavar="N", help="Lines of each text to detect, at most.")] = 2000
    documents: Annotated[int, typer.Option(metavar="N", help="Documents of each text to read, at most.")] = 20_000
    seed: Annotated[int, typer.Option(metavar="N", help="Which lines are chosen.")] = 0


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, languages, works=True, options=Options)


def languages(manner: Manner, options: Options) -> Answer:
    """Show which languages texts are in, and how alike they are.

    Two tables: the share of each text's lines in each language, and the Jensen-Shannon distance of the character
    trigrams of each pair. Nothing is trained and nothing is written.
    """
    from rewarm.evaluation.languages import detector, detector_name, distance, profile
    from rewarm.report.languages import DISTANCES, SHARES, contamination, described, similarity
    from rewarm.types import BadRows, Stopped, UserError

    if options.lines < 1 or options.documents < 1:
        raise UserError(f"--lines {options.lines}, --documents {options.documents}: give 1 or more of each")
    corpora, detect = _corpora(options.paths), detector()
    bad = {name: BadRows() for name in corpora}
    found: dict[str, Profile] = {}
    with Watcher(manner) as watcher:
        for number, (name, corpus) in enumerate(corpora.items()):
            watcher.tell(f"read {name}", number, len(corpora), "texts")
            texts = _texts(corpus, bad[name], options.documents, lambda: watcher.stopping)
            found[name] = profile(texts, detect, options.lines, options.seed)
            if watcher.stopping:
                raise Stopped("stopped; nothing was written")
    facts = [described(name, one) for name, one in found.items()]
    names = list(found)
    distances = [[distance(found[row], found[column]) for column in names] for row in names]
    unread = [f"{name}: {one.total:,} rows could not be read" for name, one in bad.items() if one.total]
    values = {
        "detector": detector_name(),
        "corpora": [one.model_dump(mode="json") for one in facts],
        "distances": distances,
        "bad_rows": {name: dict(one.counts) for name, one in bad.items()},
    }
    about = f"Detected by {detector_name()}. {SHARES}"
    parts: list[RenderableType] = [
        _shown(contamination(facts)),
        about,
        "",
        _shown(similarity(names, distances)),
        DISTANCES,
        *unread,
    ]
    return Answer(values, parts)


def _corpora(paths: list[str]) -> dict[str, Corpus]:
    """Each text under its file's name, or as it was given where two have the same; UserError for one without files."""
    import re

    from rewarm.corpora import Corpus
    from rewarm.kinds import corpus_options
    from rewarm.methods import build
    from rewarm.plan_file import yaml_value
    from rewarm.types import UserError

    last = [re.split(r"[\\/]", path.rstrip("/"))[-1].split(".")[0] for path in paths]
    found: dict[str, Corpus] = {}
    for path, short in zip(paths, last, strict=True):
        name = short if short and last.count(short) == 1 and not path.lstrip().startswith("{") else path
        if name in found:
            raise UserError(f"'{path}' is given twice: name each text once")
        try:
            value: Any = yaml_value(path) if path.lstrip().startswith("{") else path
        except UserError as error:
            raise UserError(f"'{path}' cannot be read as YAML: {error}") from None
        corpus = build("corpora", corpus_options(value), "")
        assert isinstance(corpus, Corpus)
        corpus.files()
        found[name] = corpus
    return found


def _texts(corpus: Corpus, bad: BadRows, most: int, stopping: Callable[[], bool]) -> Iterator[str]:
    for number, document in enumerate(corpus.read(bad)):
        if number >= most or stopping():
            return
        yield document.text


def _shown(held: Held) -> Table:
    shown = table(*held.head)
    for number, column in enumerate(shown.columns):
        column.overflow, column.no_wrap = "fold", 0 < number < len(shown.columns) and "%" in held.lines[0][number].text
    for line in held.lines:
        shown.add_row(*(entry.text for entry in line))
    return shown
