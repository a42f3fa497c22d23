"""The site in a real browser, from disk: no error, no request, the index sorts, and text stays text.

Runs where REWARM_CHROMIUM names a Chromium, or one is on PATH. The browser is driven through its debugging pipe, JSON
between zero bytes on two file descriptors, so that no driver is needed.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_site_pages
from PIL import Image

from rewarm.report.page import html
from rewarm.report.result import Result
from rewarm.report.site_pages import Pages

CHROMIUM = os.environ.get("REWARM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1180,900",
    "--remote-debugging-pipe",
]  # fmt: skip
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH and none named by REWARM_CHROMIUM; the pages are also read as text"
)


class Browser:
    """One tab; `heard` are the console's errors and the addresses that were asked for since the last page."""

    def __init__(self, profile: Path) -> None:
        (read_in, self._write), (self._read, write_out) = os.pipe(), os.pipe()

        def pipes() -> None:  # the browser reads on 3 and writes on 4
            held = os.dup(read_in), os.dup(write_out)
            os.dup2(held[0], 3)
            os.dup2(held[1], 4)

        assert CHROMIUM is not None
        self._process = subprocess.Popen(
            [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"], preexec_fn=pipes, pass_fds=(3, 4),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read_in)
        os.close(write_out)
        self._numbers, self._buffer, self.session = itertools.count(1), b"", ""
        self.heard: list[str] = []
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command; events on the way are noted."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path) -> None:
        """Opens a page and waits until it is loaded."""
        self.heard = []
        self.call("Page.navigate", url=page.as_uri())
        while (event := self._next()).get("method") != "Page.loadEventFired":
            self._note(event)
        self.call("Runtime.evaluate", expression="1")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self) -> Image.Image:
        """What the tab shows."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    def close(self) -> None:
        """Ends the browser."""
        self.session = ""
        self.call("Browser.close")
        self._process.wait(timeout=30)
        os.close(self._write)
        os.close(self._read)

    def _next(self) -> Any:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: Any) -> None:
        method, found = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent" and not found["request"]["url"].startswith(("file:", "data:")):
            self.heard.append(found["request"]["url"])
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.heard.append(json.dumps(found)[:300])
        if method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.heard.append(found["entry"]["text"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    held = Browser(tmp_path_factory.mktemp("profile"))
    yield held
    held.close()


@pytest.fixture
def folder(tmp_path: Path, normal: Result) -> Path:
    """A site whose names are attacks, with a run page in it."""
    site = test_site_pages.site(test_site_pages.EVIL)
    pages = Pages(site)
    texts = {
        "index.html": pages.index(), "compare.html": pages.comparisons(), "history.html": pages.histories(),
        site.comparisons[0].page: pages.comparison(site.comparisons[0]),
        site.histories[0].page: pages.history(site.histories[0]),
        "runs/a/index.html": html(normal, home="../../index.html"),
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_page_opens_from_disk_without_an_error_or_a_request(browser: Browser, folder: Path) -> None:
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == 6
    for page in pages:
        browser.open(page)
        assert browser.heard == [], page
        colours = browser.picture().getcolors(1 << 24)
        assert colours is not None
        assert len(colours) > 20, page  # not blank
        assert browser.value("document.documentElement.scrollWidth <= innerWidth"), page  # nothing sticks out


def test_no_page_is_wider_than_a_phone(browser: Browser, folder: Path, with_facts: Result) -> None:
    """Wide tables scroll in their own frame, with the words in them that only a screen reader says."""
    (folder / "facts.html").write_text(html(with_facts), encoding="utf-8")
    browser.call("Emulation.setDeviceMetricsOverride", width=420, height=900, deviceScaleFactor=1, mobile=False)
    try:
        for page in sorted(folder.rglob("*.html")):
            browser.open(page)
            browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert browser.value("document.documentElement.scrollWidth") <= 420, page
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_an_error_and_a_request_would_be_heard(browser: Browser, tmp_path: Path) -> None:
    """Guards the check above."""
    page = tmp_path / "page.html"
    page.write_text('<img src="http://127.0.0.1:9/x.png"><script>throw Error("x")</script>', encoding="utf-8")
    browser.open(page)
    assert any("127.0.0.1:9" in one for one in browser.heard)
    assert any("exceptionDetails" in one for one in browser.heard)


def test_a_name_that_is_a_script_stays_text(browser: Browser, folder: Path) -> None:
    browser.open(folder / "index.html")
    assert test_site_pages.EVIL in browser.value("document.querySelector('tbody tr:nth-child(3) th a').textContent")
    assert browser.value("document.scripts.length") == 1


def test_a_script_that_is_not_ours_does_not_run(browser: Browser, folder: Path) -> None:
    page = folder / "index.html"
    text = page.read_text(encoding="utf-8").replace("<main>", "<main><script>document.title = 'taken'</script>")
    page.write_text(text, encoding="utf-8")
    browser.open(page)
    assert browser.value("document.title") == "Runs"
    assert any("Content Security Policy" in one for one in browser.heard)


def order(browser: Browser) -> list[str]:
    return list(browser.value("Array.from(document.querySelectorAll('tbody tr'), row => row.cells[7].dataset.sort)"))


def test_a_click_sorts_the_index_and_missing_values_stay_last(browser: Browser, folder: Path) -> None:
    browser.open(folder / "index.html")
    click = "document.querySelectorAll('thead th')[7].querySelector('button').click()"
    browser.value(click)
    assert order(browser) == ["-0.08", "-0.07", "-0.05", ""]
    assert browser.value("document.querySelectorAll('thead th')[7].getAttribute('aria-sort')") == "ascending"
    browser.value(click)
    assert order(browser) == ["-0.05", "-0.07", "-0.08", ""]
    assert browser.heard == []


def test_without_scripts_the_index_has_everything_but_buttons(browser: Browser, folder: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(folder / "index.html")
        document = browser.call("DOM.getDocument")["root"]["nodeId"]
        rows = browser.call("DOM.querySelectorAll", nodeId=document, selector="tbody tr")["nodeIds"]
        buttons = browser.call("DOM.querySelectorAll", nodeId=document, selector="button")["nodeIds"]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert (len(rows), buttons) == (4, [])


def test_the_link_back_leads_to_the_index(browser: Browser, folder: Path) -> None:
    browser.open(folder / "runs" / "a" / "index.html")
    link = browser.value("document.querySelector('header a').href")
    assert link == (folder / "index.html").as_uri()
