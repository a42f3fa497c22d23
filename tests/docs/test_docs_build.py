"""The site builds without a warning, opens from disk and asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from documentation import ROOT

needs_mkdocs = pytest.mark.skipif(
    find_spec("mkdocs") is None or find_spec("material") is None or find_spec("mkdocstrings") is None,
    reason="the site's tools are not in this environment (make docs)",
)
_FETCHED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["'](?:https?:)?//([^"'/]+)""")


@needs_mkdocs
def test_the_site_builds_strictly_and_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for page in ("index.html", "tutorial.html", "methods/retention/ewc.html", "reference/plan.html"):
        assert (tmp_path / page).is_file()
    fetched = {host for page in tmp_path.rglob("*.html") for host in _FETCHED.findall(page.read_text("utf-8"))}
    assert fetched == set()
