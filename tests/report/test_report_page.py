"""The page: every part is there, nothing is fetched, nothing from outside becomes markup, files appear whole."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rewarm.report import result as results
from rewarm.report.page import html, write
from rewarm.report.result import Result
from rewarm.types import StorageError

PARTS = ("verdict", "matrix", "pareto", "curves", "shares", "corpora", "cost", "metrics", "stamp", "limits", "notes")
ATTACK = "<script>alert('$x$')</script>"
VOID = {"meta", "link", "br", "hr", "img", "input", "path", "use"}


class Reader(HTMLParser):
    """Collects ids, tags, attributes and visible text, and checks that tags are nested properly."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.cells[-1] = f"{self.cells[-1]} {data.strip()}".strip()


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def attacked(result: Result) -> Result:
    """The same result with its corpus 'web', its control 'joint' and its free texts named by an attacker."""
    text = result.model_dump_json().replace('"web"', f'"{ATTACK}"').replace('"joint"', f'"{ATTACK}"')
    renamed = Result.model_validate_json(text)
    return renamed.model_copy(
        update={"notes": [ATTACK], "command": ATTACK, "base": ATTACK, "machine": {ATTACK: ATTACK}}
    )


@pytest.mark.parametrize("which", ["normal", "minimal"])
def test_every_part_is_there_in_order(which: str, request: pytest.FixtureRequest) -> None:
    ids = read(html(request.getfixturevalue(which))).ids
    assert [name for name in ids if name in PARTS] == list(PARTS)
    assert len(ids) == len(set(ids))


def test_nothing_is_fetched_and_nothing_runs(normal: Result) -> None:
    page = html(normal)
    reader = read(page)
    assert reader.links
    assert all(link.startswith("#") for link in reader.links)
    assert not reader.handlers
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert "http" not in page.replace("http-equiv", "")
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) == {"#"}


def test_links_inside_the_page_lead_somewhere(normal: Result) -> None:
    page = html(normal)
    targets = {link.removeprefix("#") for link in read(page).links} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert targets <= set(read(page).ids)


def test_text_from_outside_stays_text(normal: Result) -> None:
    page = html(attacked(normal))
    assert "script" not in read(page).tags
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page


def test_matrix_cells(normal: Result) -> None:
    cells = read(html(normal)).cells
    assert "▲ +2.10% worse [+1.80, +2.40] 0.8168" in cells
    assert "≈ −0.20% not distinguishable from noise [−0.60, +0.20] 0.9980" in cells
    assert "▼ −20.0% better [−21.0, −19.0] 0.4000" in cells
    assert "base 0.8000" in cells


def test_matrix_tones(normal: Result) -> None:
    page = html(normal)
    matrix = page[page.index('id="matrix"') : page.index('id="pareto"')]
    tones = re.findall(r'<td class="([^"]+)"', matrix)
    row = tones[4 * 2 : 4 * 3]
    assert row == ["worse-2", "neutral", "better-3", "better-4 learned"]


def test_what_is_not_there_is_said(minimal: Result) -> None:
    page = html(minimal)
    assert "No figure: it takes a trained model" in page
    assert "Nothing was recorded" in page
    assert "not measured: no finished stage learns a watched corpus" in page


def test_a_share_off_its_plan_is_marked(normal: Result) -> None:
    marked = [cell for cell in read(html(normal)).cells if "off plan" in cell]
    assert marked == ["off plan 92.0%", "off plan 8.0%"]


def test_the_same_result_gives_the_same_bytes(normal: Result) -> None:
    assert html(normal) == html(normal)


def test_a_normal_page_is_small(normal: Result) -> None:
    assert len(html(normal).encode()) < 200_000


def test_writes_three_files_and_reads_the_result_back(normal: Result, tmp_path: Path) -> None:
    page = write(normal, tmp_path / "run")
    assert page == tmp_path / "run" / "report.html"
    assert sorted(file.name for file in page.parent.iterdir()) == ["report.html", "report.json", "report.md"]
    assert page.read_text(encoding="utf-8") == html(normal)
    assert results.read(page.parent) == normal


def test_unbounded_intervals_survive_json(normal: Result, tmp_path: Path) -> None:
    infinite = float("inf")
    cell = normal.rows[2].cells["web"].model_copy(update={"low": -infinite, "high": infinite})
    row = normal.rows[2].model_copy(update={"cells": {**normal.rows[2].cells, "web": cell}})
    result = normal.model_copy(update={"rows": [*normal.rows[:2], row]})
    write(result, tmp_path)
    assert results.read(tmp_path) == result


def test_a_diverged_model_has_a_page(normal: Result) -> None:
    infinite = float("inf")
    worst = {"loss": infinite, "delta": infinite, "low": infinite, "high": infinite, "relative": infinite}
    cells = {name: cell.model_copy(update=worst) for name, cell in normal.rows[3].cells.items()}
    row = normal.rows[3].model_copy(update={"cells": cells})
    cells_read = read(html(normal.model_copy(update={"rows": [*normal.rows[:3], row]}))).cells
    assert any(cell.startswith("▲ +∞ worse") for cell in cells_read)


def test_a_failed_write_leaves_no_part_behind(normal: Result, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"report\.html"):
        write(normal, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]
