"""The page in a real browser, where one is installed: every part is in the document, and the console stays silent."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rewarm.report.page import write
from rewarm.report.result import Result

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PARTS = ("verdict", "matrix", "pareto", "curves", "shares", "corpora", "cost", "metrics", "stamp", "limits", "notes")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not on PATH; the page is also read as text elsewhere"
)


def load(page: Path, profile: Path) -> subprocess.CompletedProcess[str]:
    """The document as the browser built it (stdout) and its log (stderr)."""
    assert CHROMIUM is not None
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--dump-dom",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        f"--user-data-dir={profile}",
    ]  # fmt: skip
    return subprocess.run([CHROMIUM, *options, page.as_uri()], capture_output=True, text=True, timeout=90, check=True)


@pytest.mark.parametrize("which", ["normal", "minimal", "with_facts"])
def test_every_part_is_in_the_document(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = load(write(request.getfixturevalue(which), tmp_path / "run"), tmp_path / "profile")
    assert [part for part in PARTS if f'<section id="{part}"' not in found.stdout] == []
    assert "CONSOLE" not in found.stderr


def test_the_log_would_show_an_error(tmp_path: Path, normal: Result) -> None:
    """Guards the check above: a page that fails to load something is heard of."""
    page = write(normal, tmp_path / "run")
    page.write_text(page.read_text(encoding="utf-8") + "<script>throw new Error('x')</script>", encoding="utf-8")
    assert "CONSOLE" in load(page, tmp_path / "profile").stderr
