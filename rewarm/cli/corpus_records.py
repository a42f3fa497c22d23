"""`rewarm corpus records`: semi-structured records as text, in clusters of records that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewarm.cli.verb import Answer, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.records.guessing import Survey
    from rewarm.records.job import Job
    from rewarm.records.spec import Spec

_ROWS_LOOKED_AT = 10_000
_EXAMPLE_CHARACTERS = 2000
_SHOWN = 30
_LITTLE = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm corpus records`."""

    source: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", show_default=False,
            help="A YAML file with sources; or the records themselves: a file, folder or pattern of jsonl, json, csv, "
            "tsv or parquet.",
        ),
    ]  # fmt: skip
    output: Annotated[Path, typer.Option("--output", "--out", metavar="FOLDER", help="Where everything goes.")]
    epochs: Annotated[int, typer.Option(metavar="N", help="How often every record is written, in another way.")] = 1
    arm: Annotated[
        str,
        typer.Option(help="cluster; or the controls isolated (each record alone) and shuffled (records at random)."),
    ] = "cluster"
    id_field: Annotated[
        str | None, typer.Option("--id", metavar="FIELD", help="The id of records; looked for if unset.")
    ] = None
    title: Annotated[str | None, typer.Option(metavar="FIELD", help="The title of records; looked for if unset.")] = (
        None
    )
    edge: Annotated[
        list[str] | None,
        typer.Option(metavar="EDGE", help="'brand' (same value), 'tree:path' or 'link:related_ids'; may be repeated."),
    ] = None
    text: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="A field that is a text of its own; may be repeated.")
    ] = None
    drop: Annotated[list[str] | None, typer.Option(metavar="FIELD", help="Left out; may be repeated.")] = None
    limit: Annotated[
        str | None, typer.Option(metavar="N", help="The longest document, in bytes or tokens; 4000 if unset.")
    ] = None
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Count the limit in tokens of this tokenizer.")
    ] = None
    without: Annotated[
        str | None, typer.Option(metavar="IDS", help="Leave records out: ids with commas, or a file of one per line.")
    ] = None


def register_corpus(group: typer.Typer) -> None:
    """Adds the verb."""
    verb(group, records, writes=True, works=True, options=Options)


def records(manner: Manner, options: Options) -> Answer:
    """Write records as text, related ones together.

    Fields of records are nodes, what records share or point at are edges, and a document is a cluster of nodes. Each
    epoch is a file in FOLDER/text, with other clusters and another order of fields; FOLDER/provenance says which record
    every piece comes from. --dry-run shows fields, nodes, edges and an example. The same command goes on after a stop.
    """
    from rewarm.records.building import surveyed

    spec, surveys = surveyed(_spec(options))
    job = _job(options, spec)
    if manner.dry_run:
        job.finished()
        return _foreseen(job, surveys)
    with Watcher(manner) as watcher:
        summary = job.run(watcher.tell, lambda: watcher.stopping)
    shown = {key: value for key, value in summary.items() if key != "job"}
    return Answer({**shown, "output": str(options.output)}, _parts(summary, job))


def _spec(options: Options) -> Spec:
    from rewarm.methods import checked
    from rewarm.records.spec import Spec, read_spec
    from rewarm.types import UserError

    limit = {} if options.limit is None else {"limit": options.limit}
    path = Path(options.source).expanduser()
    if path.suffix.lower() in (".yaml", ".yml"):
        given = [("--id", options.id_field), ("--title", options.title), ("--edge", options.edge),
                 ("--text", options.text), ("--drop", options.drop)]  # fmt: skip
        for name, value in given:
            if value:
                raise UserError(f"{name} {value}: goes with a file of records; in '{path}' set it under its source")
        spec = read_spec(path)
        return checked(Spec, {**spec.model_dump(), **limit}, "") if limit else spec
    source: dict[str, Any] = {"path": options.source, "drop": options.drop or (), "texts": options.text or ()}
    source |= {"edges": options.edge} if options.edge else {}
    source |= {key: value for key, value in (("id", options.id_field), ("title", options.title)) if value}
    return checked(Spec, {"sources": {"records": source}, **limit}, "")


def _job(options: Options, spec: Spec) -> Job:
    from rewarm.methods import nearest
    from rewarm.records.building import Question
    from rewarm.records.job import Job
    from rewarm.records.spec import ARMS
    from rewarm.records.store import byte_length
    from rewarm.types import UserError

    if options.arm not in ARMS:
        raise UserError(f"--arm {options.arm}: {nearest(options.arm, ARMS)} Allowed: {', '.join(ARMS)}")
    if options.epochs < 1:
        raise UserError(f"--epochs {options.epochs}: give 1 or more")
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"--output {options.output} is a file: give a folder")
    measure, unit = byte_length, "bytes"
    if options.tokenizer is not None:
        from rewarm.tokens.tokenizer import TextTokenizer

        tokenizer = TextTokenizer(options.tokenizer)
        # Without the token that closes a document: the limit is a document's own text.
        measure = lambda text: len(tokenizer.encode_flat([text])[0]) - 1 - len(tokenizer.prefix)  # noqa: E731
        unit = f"tokens of {tokenizer.hash[:12]}"
    arm: Any = options.arm
    return Job(Question(spec, _ids(options.without), measure), options.output, arm, options.epochs, unit)


def _ids(given: str | None) -> frozenset[str]:
    from rewarm.types import UserError

    if given is None:
        return frozenset()
    file = Path(given).expanduser()
    words = file.read_text(encoding="utf-8").splitlines() if file.is_file() else given.split(",")
    found = frozenset(word.strip() for word in words if word.strip())
    if not found:
        raise UserError(f"--without {given}: no id in it. Give ids with commas, or a file with one id on each line")
    return found


def _foreseen(job: Job, surveys: Mapping[str, Survey]) -> Answer:
    import tempfile
    from dataclasses import replace
    from itertools import islice

    from rewarm.records.job import described, preview

    question = replace(job.question, most_rows=_ROWS_LOOKED_AT)
    with tempfile.TemporaryDirectory() as folder:
        store, reading, written = preview(question, Path(folder) / "records.bin", job.arm)
        found = described(store, reading)
        first = max(islice(written, 50), key=lambda one: len(one.provenance["nodes"]), default=None)
        store.close()
    example = first.row["text"] if first else ""
    fields = {name: _seen(survey) for name, survey in surveys.items()}
    chosen = {
        name: source.model_dump(mode="json", include={"id", "title", "edges", "texts"})
        for name, source in question.spec.sources.items()
    }
    values = {"fields": fields, "chosen": chosen, **found, "example": example}
    end = f"\nFrom the first {_ROWS_LOOKED_AT:,} rows of each source. Nothing was written."
    shown = example[:_EXAMPLE_CHARACTERS]
    return Answer(values, [*_fields(fields, job), *_counts(found), "", "Example:", "", shown, end])


def _seen(survey: Survey) -> dict[str, Any]:
    rows = max(1, len(survey.rows))
    return {
        key: {"share": seen.rows / rows, "different": len(seen.different), "example": seen.example}
        for key, seen in survey.fields.items()
    }


def _fields(fields: Mapping[str, Any], job: Job) -> list[Any]:
    parts: list[Any] = []
    for name, seen in fields.items():
        source = job.question.spec.sources[name]
        roles = {source.id: "id", source.title: "title"} | dict.fromkeys(source.texts, "text")
        edges = {edge.field: f"edge ({edge.kind})" for edge in source.edges or ()}
        shown = table("field", "filled", "different", "is", "example", title=name)
        for key, one in list(seen.items())[:_SHOWN]:
            what = ", ".join(word for word in (roles.get(key), edges.get(key)) if word)
            shown.add_row(key, f"{one['share']:.0%}", f"{one['different']:,}", what, one["example"][:40])
        parts += [shown, f"... and {len(seen) - _SHOWN} more fields" if len(seen) > _SHOWN else ""]
    return parts


def _counts(found: Mapping[str, Any]) -> list[Any]:
    nodes = ", ".join(f"{count:,} {kind}" for kind, count in found["nodes"].items())
    lines = [f"{sum(found['records'].values()):,} records, nodes: {nodes}"]
    for name, facts in found["edges"].items():
        lines.append(f"edge {name}: " + ", ".join(f"{count:,} {what}" for what, count in facts.items() if count))
    for title, key in (("bad rows", "bad_rows"), ("dropped", "dropped")):
        for name, (counts, examples) in found[key].items():
            told = "; ".join(f"{count:,} {reason} ({examples[reason][0]})" for reason, count in counts.items())
            lines.append(f"{title} of {name}: {told}")
    for name, counts in found["left_out"].items():
        lines.append(f"left out of {name}: " + ", ".join(f"{count:,} {reason}" for reason, count in counts.items()))
    return lines


def _parts(summary: Mapping[str, Any], job: Job) -> list[Any]:
    unit = job.unit.split()[0]
    shown = table("epoch", "documents", "nodes", unit, "nodes a document")
    for number, epoch in enumerate(summary["epochs"], 1):
        mean = epoch["nodes"] / max(1, epoch["documents"])
        shown.add_row(
            str(number), f"{epoch['documents']:,}", f"{epoch['nodes']:,}", f"{epoch['size']:,}", f"{mean:.1f}"
        )
    lines = _counts(summary)
    last = summary["epochs"][-1]
    if len(last["shares"]) > 1:
        told = (
            f"{name} {one['share']:.1%}" + (f" (asked {one['asked']:.1%})" if one["asked"] is not None else "")
            for name, one in last["shares"].items()
        )
        lines.append(f"shares of the text: {', '.join(told)}")
        lines += [
            f"note: weights leave {one['used']:.1%} of {name} in an epoch, other records each time, because another "
            "source has little text for its weight"
            for name, one in last["shares"].items()
            if one["used"] < _LITTLE
        ]
    lines.append("steps by edge: " + ", ".join(f"{count:,} {name}" for name, count in last["steps"].items()))
    if "without" in last:
        lines += _without(last["without"])
    return [shown, *lines, f"Folder: {job.folder}"]


def _without(found: Mapping[str, Any]) -> list[str]:
    lines = [f"left out: {found['records_left_out']:,} records; in the documents: {len(found['still_present'])}"]
    if found["not_found"]:
        lines.append(f"note: no record has the id {', '.join(found['not_found'][:10])}")
    for name, where in list(found["still_named"].items())[:10]:
        lines.append(f"note: the title of {name} stands in {where['documents']:,} documents, as {where['first'][0]}")
    return lines
