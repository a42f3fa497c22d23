"""Several results -> one self-contained page: a table and the figure of old text against new."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from rewarm.quantities import clock, short
from rewarm.report import figures
from rewarm.report.result import Result
from rewarm.report.wording import change, columns, interval, point
from rewarm.types import StorageError

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<style>
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1f24; --muted: #5b6570; --rule: #dde1e6; --better-1: #e9f2f9;
  --series-1: #0072b2; --series-2: #d55e00; --series-3: #009e73;
  --series-4: #b5568f; --series-5: #b8860b; --series-6: #4d4d4d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --ink: #e6e9ec; --muted: #9ca6b0; --rule: #333a41; --better-1: #162a39;
    --series-1: #56b4e9; --series-2: #f08a3c; --series-3: #2fc79a;
    --series-4: #dd8fc0; --series-5: #e0b43a; --series-6: #b8bec4;
  }
}
body { margin: 2rem auto; max-width: 62rem; padding: 0 1.25rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 1.5rem 0 .35rem; }
p, .note, figcaption { color: var(--muted); font-size: .875rem; }
.note { display: block; white-space: nowrap; }
th .note { white-space: normal; font-weight: 400; }
tbody th { min-width: 9rem; }
p { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .45rem 1rem .45rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
svg { max-width: 100%; height: auto; }
</style>
</head>
<body>
"""
"""The beginning of a page that compares: to be rendered with its `title`."""
_PAGE = """\
<h1>Runs compared</h1>
<p>Change of loss per byte against the base they share, with 95% intervals; below 0 is better.</p>
<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">run</th>
{% for column in columns %}<th scope="col">{{ column.name }}<span class="note">{{ column.words }}</span></th>
{% endfor %}<th scope="col">tokens</th><th scope="col">training</th></tr></thead>
<tbody>
{% for row in rows %}<tr><th scope="row">{{ row.name }}
{% if not row.complete %}<span class="note">not complete</span>{% endif %}</th>
{% for cell in row.cells %}<td>{% if cell %}{{ cell|point }}<span class="note">{{ cell|interval }}</span>
{% else %}not scored{% endif %}</td>
{% endfor %}<td>{{ row.tokens }}</td><td>{{ row.time }}</td></tr>
{% endfor %}</tbody>
</table>
</div>
{% if figure %}<figure>{{ figure }}</figure>
{% endif %}</body>
</html>
"""


def write(results: Mapping[str, Result], file: Path) -> None:
    """Writes the page of some runs, by name; the file appears only whole. StorageError when the disk refuses."""
    write_whole(html(results), file)


def write_whole(text: str, file: Path) -> None:
    """Writes a text so that the file appears only whole. StorageError when the disk refuses."""
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    except OSError as error:
        raise StorageError(f"'{file}' was not written ({error.strerror}); free some space and run it again") from error


def html(results: Mapping[str, Result]) -> str:
    """The page as text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters.update(point=point, interval=interval)
    shown = columns(next(iter(results.values())))
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "complete": result.complete,
            "cells": [change(result, result.final(), column.name) for column in shown],
            "tokens": short(result.final().tokens),
            "time": clock(sum(cost.seconds for cost in result.costs if cost.run == "")),
        }
        for name, result in results.items()
    ]
    panel = figures.pareto(_together(results))
    # The drawing is our own and its text was escaped when it was made.
    figure = Markup(panel.svg) if panel is not None else None
    page = environment.from_string(HEAD + _PAGE)
    return page.render(title=", ".join(results), columns=shown, rows=rows, figure=figure)


def _together(results: Mapping[str, Result]) -> Result:
    """One result whose rows are the base and the final model of each run, for the figure that compares rows."""
    first = next(iter(results.values()))
    finals = [
        result.final().model_copy(update={"name": name, "kind": "control", "control": name})
        for name, result in results.items()
    ]
    return first.model_copy(update={"rows": [first.rows[0], *finals]})
