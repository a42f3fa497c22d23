"""`rewarm evaluate`: scores any model on a run's watch-list, probes and suites."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.verb import Answer, Execute, Manner, table, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rich.table import Table

    from rewarm.report.fact_parts import FactSet
    from rewarm.report.result import Row
    from rewarm.report.suite_parts import Suites, SuiteSet
    from rewarm.tokens.tokenizer import TextTokenizer

_Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model folder or hub name.", show_default=False)]
_On = Annotated[Path, typer.Option(metavar="RUN", help="The run whose held-out documents and base are used.")]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, evaluate, works=True)


def evaluate(manner: Manner, model: _Model, on: _On, execute: Execute = False) -> Answer:
    """Score any model on what a run watches and asks.

    It is compared with the run's base on the same documents, so it must use the run's tokenizer. Stores nothing.
    """
    from rewarm.adapters.beside import load_with_adapters
    from rewarm.hub import fetched
    from rewarm.models.load import HEADS, check_length, check_vocabulary
    from rewarm.river.directory import RunDirectory
    from rewarm.river.fact_rows import facts_of_another
    from rewarm.river.facts import answered, ask_another, is_asked
    from rewarm.river.inputs import read_inputs
    from rewarm.river.legs import BASE
    from rewarm.river.outcome import row, scored
    from rewarm.river.scores import score
    from rewarm.river.shapes import base_shape
    from rewarm.river.suite_rows import suites_of_another
    from rewarm.river.suite_sets import check_execution, check_suites
    from rewarm.river.suites import ask_suites_of_another, is_suite_asked, suite_answers
    from rewarm.sandbox.permission import executing
    from rewarm.training.machine import on_device
    from rewarm.types import UserError

    plan = RunDirectory(on).resolved()
    run = RunDirectory.of(plan, on)
    with executing(execute), Watcher(manner) as watcher, tempfile.TemporaryDirectory() as folder:
        check_execution(plan)
        check_suites(plan, run)
        inputs = read_inputs(plan, run)
        base = scored(run, BASE, inputs.watch_documents)
        asked_base = is_asked(run, BASE, inputs.probes) and is_suite_asked(run, BASE, plan.suites)
        if set(base) != set(inputs.watch_documents) or not asked_base:
            raise UserError(f"run '{on}' has not scored its base on all that it watches yet: `rewarm run` it first")
        if not base and not inputs.probes and not plan.suites:
            raise UserError(f"run '{on}' has no watched corpora, probes or suites, so there is nothing to score on")
        kind, words = HEADS[plan.head]
        place = fetched(model)
        base_shape(place.folder, None, kind, words.removeprefix("a "))
        check_tokenizer(place.folder, inputs.tokenizer, run.tokenizer)
        loaded = on_device(load_with_adapters(place.folder, head=plan.head))
        check_vocabulary(loaded, inputs.tokenizer)
        check_length(loaded, plan.seq_len)
        losses = score(loaded, inputs, Path(folder) / "model", tell=watcher.hooks().tell_or_stop)
        asked = ask_another(loaded, inputs, watcher.hooks().tell_or_stop)
        sets = facts_of_another(plan, answered(run, BASE, asked), model, asked)
        answers = ask_suites_of_another(loaded, inputs, run, watcher.hooks().tell_or_stop)
        suites = suites_of_another(plan, suite_answers(run, BASE, plan.suites), model, answers)
    return _told(row(model, "stage", losses, base), sets, suites, place.commit)


def check_tokenizer(model: str, own: TextTokenizer, folder: Path) -> None:
    """UserError when the model's tokenizer turns text into other ids than the run's, which is in `folder`."""
    from rewarm.models.load import save_tokenizer
    from rewarm.tokens.tokenizer import TextTokenizer
    from rewarm.types import UserError

    with tempfile.TemporaryDirectory() as place:
        save_tokenizer(model, Path(place) / "tokenizer")
        other = TextTokenizer(Path(place) / "tokenizer")
        parts = [json.loads((where / "tokenizer.json").read_bytes()) for where in (folder, Path(place) / "tokenizer")]
    # Not the hash of the files: saving a tokenizer again may write the same one in other words.
    first, second = ([part.get(key) for key in ("model", "normalizer", "pre_tokenizer")] for part in parts)
    if first != second or (own.eos_id, own.prefix) != (other.eos_id, other.prefix):
        raise UserError(
            f"tokenizer mismatch: '{model}' splits text in another way than the run's base, so their losses cannot be "
            "compared on the run's tokens. Give a model with the tokenizer of the run's base"
        )


def _told(found: Row, sets: list[FactSet], suites: Suites, commit: str | None) -> Answer:
    from rewarm.report.wording import Change, interval, nats, point

    shown = table("corpus", "documents", "base", found.name, "change", "95% interval", "verdict")
    for corpus, cell in found.cells.items():
        before = cell.loss - cell.delta
        change = Change(cell.relative, cell.low / before, cell.high / before)
        shown.add_row(
            corpus, f"{cell.documents:,}", nats(before), nats(cell.loss), point(change), interval(change), cell.verdict
        )
    legend = "Loss in nats per byte, and its change against the run's base in percent; below 0 is better."
    values = {
        "model": found.name,
        "revision": commit,
        "cells": json.loads(found.model_dump_json())["cells"],
        "facts": [json.loads(one.model_dump_json()) for one in sets],
        "suites": json.loads(suites.model_dump_json()),
    }
    facts = [part for one in sets for part in ("", _facts(one))]
    return Answer(values, [shown, legend, *facts, *(part for one in suites.sets for part in ("", _suite(one)))])


def _suite(one: SuiteSet) -> Table:
    from rewarm.report.suites import measured

    held = measured(one)
    shown = table(*held.head, title=one.name)
    for line in held.lines:
        shown.add_row(*map(str, line))
    return shown


def _facts(one: FactSet) -> Table:
    from rewarm.report.facts import known, measured

    tables = [("", known(one)), *((kind, measured(one, kind)) for kind in one.rows[0].cells)]
    shown = table("facts", "", *(row.name for row in one.rows), title=one.name)
    for kind, held in tables:
        for place, word in enumerate(held.head[1:], start=1):
            shown.add_row(kind, word, *(str(line[place]) for line in held.lines))
    return shown
