"""A stream of tasks -> `tasks.html`, one self-contained page: verdict, ways, matrices, and a figure for each task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from rewarm.report.comparison import HEAD, write_whole
from rewarm.report.figures import MARKERS, Panel, blank, with_legend
from rewarm.report.svg import SERIES, STYLE, inline
from rewarm.report.tasks import HEADS, NAMED, PEEKS, Learned, cells, percent
from rewarm.report.wording import counted, unbroken

_PAGE = """\
<style>
.heat td { text-align: right; padding: .3rem .6rem; border: 1px solid var(--rule); }
.heat tbody th { min-width: 0; }
.heat .own { font-weight: 700; }
.matrices { display: flex; flex-wrap: wrap; gap: 1.5rem; margin-bottom: 1.5rem; }
.matrices figure { width: 22rem; max-width: 100%; margin: 0; }
caption { text-align: left; font-weight: 600; }
.warn { color: var(--series-2); font-weight: 700; }
</style>
<h1>Tasks learned one after another</h1>
<p>{{ found.base }}; {{ found.tasks | length }} tasks of kind {{ found.kind }}
{%- if found.classes %}, {{ found.classes | length }} labels{% endif %}; {{ seeds }}. Scores are
{{ measure }} on the test rows, in hundredths.</p>
<p>{{ found.verdict }}</p>
<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">way</th><th scope="col">order</th>
{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in lines %}<tr><th scope="row">{{ line.way.name }}<span class="note">{{ line.way.about }}</span>
{% for mark in line.way.marks %}<span class="note{{ " warn" if mark == peeks }}">{{ mark }}</span>
{% endfor %}</th><td>{{ line.order }}</td>
{% for cell in line.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</div>
<p>±: the 95% interval of the mean over seeds. Final: the mean over tasks at the end; of alone, that of each model on
its own task. Over naive: the same less naive's, seed by seed. Backward: the score at the
end less that just after the task was learned. Forgotten: the best score after any task but the last, less that at
the end. Forward: the score just after the task less that of a model that learned it alone. Labels that only a
later task brings have their outputs from the start.</p>
{% for group in matrices %}<h2>{{ group.order }}</h2>
<p>A row is the learner after a task, a column a task's test rows; bold: just learned. Mean over seeds.</p>
<div class="matrices">
{% for one in group.ways %}<div class="scroll" tabindex="0"><table class="heat"><caption>{{ one.name }}</caption>
<thead><tr><th scope="col">after</th>
{% for task in group.tasks %}<th scope="col">{{ task }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in one.rows %}<tr><th scope="row">{{ row.after }}</th>
{% for cell in row.cells %}<td class="{{ "own" if cell.own }}" style="background: color-mix(in srgb, var(--series-1)
 {{ cell.share }}%, transparent)">{{ cell.text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endfor %}</div>
<div class="matrices">
{% for figure in group.figures %}<figure>{{ figure.svg }}
<figcaption>{{ figure.about }}</figcaption></figure>
{% endfor %}</div>
{% endfor %}<h2>Rows</h2>
<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">task</th><th scope="col">train</th><th scope="col">dev</th><th scope="col">test</th>
<th scope="col">text</th><th scope="col">not used</th></tr></thead>
<tbody>
{% for task in found.tasks %}<tr><th scope="row">{{ task.name }}</th><td>{{ task.rows.train }}</td>
<td>{{ task.rows.dev }}</td><td>{{ task.rows.test }}</td><td>{{ task.rows.text }}</td>
<td>{{ unused[task.name] }}</td></tr>
{% endfor %}</tbody>
</table>
</div>
</body>
</html>
"""


def write(found: Learned, file: Path) -> None:
    """Writes the page; it appears only whole. StorageError when the disk refuses."""
    write_whole(html(found), file)


def html(found: Learned) -> str:
    """The page as text; everything from outside is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    ways = {way.name: way for way in found.ways}
    return environment.from_string(HEAD + _PAGE).render(
        title="Tasks learned one after another",
        found=found,
        measure=NAMED[found.measure],
        heads=HEADS,
        seeds=counted(len(found.seeds), "seed"),
        peeks=PEEKS,
        lines=[
            {
                "way": ways[line.way],
                "order": " > ".join(line.order),
                "cells": [unbroken(cell) for cell in cells(found, line)],
            }
            for line in found.lines
        ],
        matrices=[_group(found, number, order) for number, order in enumerate(found.orders)],
        unused={task.name: unused(found.kind, task) for task in found.tasks},
    )


def unused(kind: str, task: Any) -> str:
    """What of a task's rows was not used, in words."""
    cut = "words beyond max_length, not scored" if kind == "labelling" else "rows cut at max_length"
    said = [f"{count:,} bad ({reason})" for reason, count in task.bad_rows.items()]
    said += [f"{count:,} left out ({reason})" for reason, count in task.left_out.items()]
    said += [f"{count:,} {cut} ({part})" for part, count in task.cut.items() if count]
    said += [f"{count:,} rows with nothing left ({part})" for part, count in task.lost.items() if count]
    return "; ".join(said) or "nothing"


def _group(found: Learned, number: int, order: tuple[str, ...]) -> dict[str, Any]:
    figures = [_course(found, number, order, place) for place in range(len(order))]
    return {
        "order": " > ".join(order),
        "tasks": order,
        "ways": [{"name": way.name, "rows": _rows(found, way.name, order)} for way in found.ways],
        # The drawings are our own and their text was escaped when they were made.
        "figures": [{"svg": Markup(panel.svg), "about": panel.about} for panel in figures],
    }


def _rows(found: Learned, way: str, order: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "after": "start" if after == 0 else order[after - 1],
            "cells": [
                {"text": percent(value), "share": f"{max(0.0, min(1.0, value)) * 70:.0f}", "own": task + 1 == after}
                for task, value in enumerate(row)
            ],
        }
        for after, row in enumerate(found.mean_matrix(way, order))
    ]


def _course(found: Learned, number: int, order: tuple[str, ...], place: int) -> Panel:
    """The score of one task over the stages, a line for each way."""
    key, title = f"course-{number}-{place}", order[place]
    about = f"{order[place]} over the tasks; it is learned as number {place + 1}."
    with matplotlib.style.context(["default", STYLE]):
        size, inside = with_legend(lines=-(-len(found.ways) // 2), plot=2.6)
        figure, axes = blank(size, inside, "tasks learned", f"{NAMED[found.measure]}, hundredths")
        for index, way in enumerate(found.ways):
            values = [100 * row[place] for row in found.mean_matrix(way.name, order)]
            axes.plot(
                range(len(values)), values, MARKERS[index % len(MARKERS)] + "-", label=way.name,
                color=SERIES[index % len(SERIES)], linewidth=1.4, markersize=4,
            )  # fmt: skip
        axes.set_xticks(range(len(order) + 1))
        # Scores near 0 would fill the picture with noise, and its axis with digits.
        axes.set_ylim(bottom=0, top=max(1.0, axes.get_ylim()[1]))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        return Panel(key, title, about, inline(figure, key, f"{title}. {about}"))
