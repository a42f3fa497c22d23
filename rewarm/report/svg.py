"""A Matplotlib figure as SVG text to put inside the page: no script, no font of its own, colours of the page.

Figures are drawn with colours that stand for CSS variables and are exchanged afterwards, so that dark mode needs no
second drawing. The same figure gives the same bytes.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, MUTED, RULE, BETTER = "#010101", "#020202", "#030303", "#040404"
RAISED = "#050505"
TONES = {tone: [f"#{place}a000{step}" for step in range(1, 5)] for place, tone in ((1, "better"), (2, "worse"))}
SERIES = tuple(f"#0{number}0000" for number in range(1, 7))
_CSS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    BETTER: "var(--better-1)",
    RAISED: "var(--raised)",
    **{colour: f"var(--{tone}-{step})" for tone, steps in TONES.items() for step, colour in enumerate(steps, 1)},
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)},
}
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def inline(figure: Figure, key: str, title: str) -> str:
    """The SVG element alone, with `title` for screen readers and ids that begin with `key`, unique on the page."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": key}):
        figure.savefig(text, format="svg", metadata=nothing)
    drawing = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->", "", text.getvalue(), flags=re.DOTALL)
    opening = re.search(r"<svg [^>]*>", drawing)
    view = re.search(r'viewBox="[^"]+"', drawing)
    if opening is None or view is None:
        raise RuntimeError("Matplotlib wrote an SVG without an <svg> element or its viewBox")
    body = drawing[opening.end() :]
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', body))
    body = re.sub(r"<[^>]+>", lambda tag: _page_tag(tag[0], key, used), body)
    body = re.sub(r">\s+<", "><", body).strip()
    head = f'<svg {view[0]} role="img" aria-labelledby="{key}-title"><title id="{key}-title">{escape(title)}</title>'
    return head + body


def _page_tag(tag: str, key: str, used: set[str]) -> str:
    """One tag of the drawing with the page's colours and font, short numbers, and only the ids that are used."""
    tag = re.sub(r' id="([^"]*)"', lambda found: f' id="{key}-{found[1]}"' if found[1] in used else "", tag)
    tag = tag.replace('xlink:href="#', f'href="#{key}-').replace("url(#", f"url(#{key}-")
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    tag = re.sub(r"\s+", " ", tag).replace(' "', '"')
    tag = re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", tag)
    tag = re.sub(r"(font(?:-family)?: [^;\"']*)'[^;\"]*", r"\1var(--font)", tag)
    for drawn, css in _CSS.items():
        tag = tag.replace(drawn, css)
    return tag
