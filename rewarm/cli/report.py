"""`rewarm report`: writes the report of a run again, or a site of many runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.verb import Answer, Manner, verb
from rewarm.cli.watcher import Watcher

if TYPE_CHECKING:
    from rewarm.report.result import Result

_Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="A run directory; with --site several, or folders that hold some."),
]
_Site = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Write pages of all the runs to this folder, to open from disk.")
]
_Forget = Annotated[
    str | None, typer.Option(help="With --site: judge every run by this largest rise of loss on old text, such as 1%.")
]
_Gain = Annotated[
    str | None, typer.Option(help="With --site: and by this smallest fall of loss on new text, such as 3%.")
]
_Strict = Annotated[bool, typer.Option("--strict", help="With --site: judge by the harder bound of the interval.")]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `rewarm report`."""

    runs: _Runs
    site: _Site = None
    max_forget: _Forget = None
    min_gain: _Gain = None
    strict: _Strict = False


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    verb(app, report, writes=True, works=True, options=Options)


def report(manner: Manner, options: Options) -> Answer:
    """Write the report of a run again, or a site of many runs.

    With --site: an index of every run, a page for each, the runs of one base side by side, and every watched text month
    by month, also through runs that went on from another's model. A run that cannot be read is listed with the reason.
    """
    from rewarm.types import UserError

    if options.site is not None:
        return _site(manner, options, options.site)
    if len(options.runs) > 1:
        raise UserError(
            f"{len(options.runs)} runs were given: --site FOLDER writes pages of them all, rewarm report RUN one report"
        )
    if options.max_forget is not None or options.min_gain is not None or options.strict:
        raise UserError("--max-forget, --min-gain and --strict belong to --site; one run is judged by: rewarm gate RUN")
    return _report(manner, options.runs[0])


def _report(manner: Manner, run: Path) -> Answer:
    if manner.dry_run:
        from rewarm.river.directory import RunDirectory

        RunDirectory(run).resolved()
        files = [str(run / f"report.{suffix}") for suffix in ("html", "md", "json")]
        return Answer({"would_write": files}, [f"would write {', '.join(files)}"])
    from rewarm.river.run import report as write_report

    with Watcher(manner) as watcher:
        result = write_report(run, watcher.hooks())
    return told(result, run)


def _site(manner: Manner, options: Options, folder: Path) -> Answer:
    from rewarm.cli.given import share
    from rewarm.river.site import build, planned
    from rewarm.river.site_pairs import summary
    from rewarm.river.site_read import Limits

    limits = Limits(
        share("--max-forget", options.max_forget), share("--min-gain", options.min_gain), strict=options.strict
    )
    if manner.dry_run:
        names = [run.name for run in planned(options.runs, folder)]
        return Answer({"would_write": str(folder), "runs": names}, [f"would write {folder}: {len(names)} runs"])
    with Watcher(manner) as watcher:
        made = build(options.runs, folder, limits, watcher.tell_or_stop)
    site = made.site
    values = {"site": str(folder), "index": str(folder / "index.html"), "reused": made.reused, **summary(site)}
    states = [run.state for run in site.runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    faults = [f"{run.name}: {run.fault}" for run in site.runs if run.fault]
    pages = f"{len(site.comparisons)} comparisons, {len(site.histories)} histories"
    return Answer(values, [f"{len(states)} runs: {counts}; {pages}", *faults, f"Page: {folder / 'index.html'}"])


def told(result: Result, directory: Path) -> Answer:
    """A result as an answer: the matrix and where the report is; as JSON all of it but the curves."""
    from rewarm.report.terminal import path_line, table
    from rewarm.report.wording import verdict_sentence

    page = directory / "report.html"
    values = {
        "run": str(directory),
        "report": str(page),
        "complete": result.complete,
        "verdict": verdict_sentence(result),
        # Through JSON: it writes an unbounded interval as a word.
        "result": json.loads(result.model_dump_json(exclude={"curves", "probes"})),
    }
    return Answer(values, [table(result), path_line(page)])
