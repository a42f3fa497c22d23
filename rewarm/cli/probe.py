"""`rewarm probe`: asks a model for facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.evaluation.fact_scores import FactScores
    from rewarm.evaluation.facts import FactOptions
    from rewarm.facts import Tally
    from rewarm.probes import Probe

Sets = dict[str, "list[Probe]"]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm probe`."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder or hub name.", show_default=False)]
    probes: Annotated[
        list[Path], typer.Argument(metavar="PROBES...", help="Files of probes, each a set.", show_default=False)
    ]
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The earlier model, such as the base: changes, intervals and FUAR."),
    ] = None
    format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="How the files are read; .jsonl by itself.")
    ] = None
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=YAML", help="An option of the format. May be repeated."),
    ] = None
    bad_rows: Annotated[str, typer.Option(metavar="SHARE", help="Most rows of a file that may be unreadable.")] = "0.1%"
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a line of JSON for each probe here.")] = (
        None
    )
    unknown_only: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the probes here (.jsonl), without changed and new ones MODEL knows."),
    ] = None
    candidates: Annotated[int, typer.Option(help="Answers of the relation an answer is ranked among.")] = 50
    longest: Annotated[int, typer.Option(help="Most tokens of an answer that MODEL has room to write.")] = 60
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Ask only N probes of each set, drawn by their ids; ranks are among their answers."
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Draws candidates and resamples.")] = 0


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, probe, writes=True, works=True, options=Options)


def probe(manner: Manner, options: Options) -> Answer:
    """Ask a model for facts.

    By likelihood and rank among other answers, by what it writes itself, and new answers against old. With --against,
    what was updated, acquired and forgotten since the earlier model. A causal, masked or encoder-decoder model.
    """
    from rewarm.evaluation.facts import FactOptions

    asked = FactOptions(options.candidates, options.seed, options.longest)
    _check(options)
    from rewarm.hub import fetched

    with Watcher(manner) as watcher:
        sets, tallies = _read(options)
        model = fetched(options.model)
        against = None if options.against is None else fetched(options.against)
        if manner.dry_run:
            return _forecast(options, model.folder, sets, asked)
        scores = _score(model.folder, sets, asked, watcher)
        before = None if against is None else _score(against.folder, sets, asked, watcher)
    from rewarm.cli.probe_answer import Models, told

    files = _written(options, sets, scores, before)
    models = Models(options.model, options.against, options.seed)
    answer = told(models, sets, scores, before, tallies, files)
    commits = {"model": model.commit, "against": None if against is None else against.commit}
    return replace(answer, values={**answer.values, "revisions": commits})


def _check(options: Options) -> None:
    from rewarm.types import UserError

    if options.limit is not None and options.limit < 1:
        raise UserError(f"--limit {options.limit}: ask at least 1 probe of each set, or leave --limit out for all")
    if options.unknown_only is not None and options.unknown_only.suffix != ".jsonl":
        raise UserError(f"--unknown-only '{options.unknown_only}' is written as lines of JSON: end its name in .jsonl")
    taken = {path.resolve() for path in options.probes}
    for file in (one for one in (options.unknown_only, options.output) if one is not None):
        if file.resolve() in taken:
            raise UserError(f"'{file}' is read, or written twice, and would be overwritten: name another file to write")
        if file.is_dir():
            raise UserError(f"'{file}' is a folder: name a file in it to write")
        taken.add(file.resolve())


def _read(options: Options) -> tuple[Sets, dict[str, Tally]]:
    """The sets by name, and what was counted while each was read."""
    from rewarm.facts import Tally
    from rewarm.hashing import seed_of
    from rewarm.methods import build
    from rewarm.probes import ProbeSet, load_set
    from rewarm.quantities import parse_share
    from rewarm.types import UserError

    try:
        bad_limit = parse_share(options.bad_rows)
    except ValueError as error:
        raise UserError(f"--bad-rows '{options.bad_rows}': {error}") from None
    sets: Sets = {}
    tallies: dict[str, Tally] = {}
    names = [path.name.partition(".")[0] for path in options.probes]
    for path, short in zip(options.probes, names, strict=True):
        name = short if names.count(short) == 1 else str(path)
        if name in sets:
            raise UserError(f"'{path}' is given twice: give each file once")
        fields = {"type": options.format or _format_of(path), **_fields(options.fields or []), "path": str(path)}
        source = build("probes", fields)
        assert isinstance(source, ProbeSet)  # it was built from the probes folder
        tallies[name] = Tally()
        found = load_set(name, source, bad_limit, tallies[name])
        if options.limit is not None:
            found = sorted(found, key=lambda one: seed_of("limit", one.id))[: options.limit]
        sets[name] = found
    return sets, tallies


def _fields(given: Sequence[str]) -> dict[str, Any]:
    """Options of the reader from words `KEY=YAML`."""
    from rewarm.plan_file import yaml_value
    from rewarm.types import UserError

    fields = {}
    for word in given:
        key, equals, value = word.partition("=")
        try:
            fields[key] = yaml_value(value)
        except UserError as error:
            raise UserError(f"--set '{word}' is no YAML behind the '=': {error}") from None
        if not equals or not key:
            raise UserError(f"--set '{word}': write KEY=VALUE, an option of the format (`rewarm methods probes`)")
    return fields


def _format_of(path: Path) -> str:
    from rewarm.corpora.paths import suffix_of
    from rewarm.methods import known
    from rewarm.types import UserError

    if suffix_of(path.name) in (".jsonl", ".ndjson"):
        return "jsonl"
    raise UserError(f"how is '{path}' read? Name it with --format: {', '.join(known('probes'))}")


def _score(model: str, sets: Sets, asked: FactOptions, watcher: Watcher) -> dict[str, FactScores]:
    """The scores of every set under one model; what this machine's cache holds is not computed again."""
    from rewarm.evaluation.facts import kept_facts
    from rewarm.evaluation.scorers import open_scorer
    from rewarm.models.load import weights_hash
    from rewarm.objectives.products import cache_folder

    scorer = open_scorer(model)
    weights = weights_hash(scorer.model)
    tell = watcher.hooks().tell_or_stop
    return {
        name: kept_facts(cache_folder() / "facts", scorer, weights, probes, asked, tell)
        for name, probes in sets.items()
    }


def _forecast(options: Options, model: str, sets: Sets, asked: FactOptions) -> Answer:
    from rewarm.cli.verb import table
    from rewarm.evaluation.facts import forecast
    from rewarm.evaluation.scorers import open_scorer
    from rewarm.quantities import clock

    scorer = open_scorer(model)
    found = {name: forecast(scorer, probes, asked) for name, probes in sets.items()}
    shown = table("set", "probes", "answers to score", "about")
    for name, one in found.items():
        shown.add_row(name, f"{one.probes:,}", f"{one.answers:,}", clock(one.seconds))
    models = 1 if options.against is None else 2
    total = models * sum(one.seconds for one in found.values())
    files = [str(file) for file in (options.output, options.unknown_only) if file is not None]
    lines = [f"About {clock(total)} for {models} model{'s' if models > 1 else ''}, at the rate of MODEL."]
    lines += [f"would write {file}" for file in files]
    return Answer({"sets": found, "seconds": total, "would_write": files}, [shown, *lines])


def _written(
    options: Options, sets: Sets, scores: Mapping[str, FactScores], before: Mapping[str, FactScores] | None
) -> list[str]:
    """Writes the files asked for, whole or not at all; their paths."""
    from rewarm.cli.probe_answer import rows
    from rewarm.evaluation.contamination import contaminated
    from rewarm.report.comparison import write_whole

    files = []
    if options.output is not None:
        earlier = before or {}
        made = [row for name in sets for row in rows(name, sets[name], scores[name], earlier.get(name))]
        write_whole(_lines(made), options.output)
        files.append(str(options.output))
    if options.unknown_only is not None:
        kept = [
            _row(one)
            for name in sets
            for one, drop in zip(sets[name], contaminated(scores[name]).tolist(), strict=True)
            if not drop
        ]
        write_whole(_lines(kept), options.unknown_only)
        files.append(str(options.unknown_only))
    return files


def _row(one: Probe) -> dict[str, Any]:
    """A probe as the reader `jsonl` reads it."""
    row = {
        "id": one.id, "subject": one.subject, "relation": one.relation, "object": list(one.answers),
        "object_old": list(one.old_answers), "label": one.kind, "prompt": one.prompt, "suffix": one.suffix,
        "date": one.date, "choices": list(one.choices),
    }  # fmt: skip
    return {name: value for name, value in row.items() if value or name in ("prompt", "suffix")}


def _lines(rows_made: Sequence[Mapping[str, Any]]) -> str:
    import json

    from rewarm.cli.verb import plain

    return "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows_made)
