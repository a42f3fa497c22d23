"""Makes the pictures of the site in this folder again: site-index.png, site-compare.png and site-history.png.

Small runs are trained from the demo's base on text that the package makes itself (about 470 steps of 1,024 tokens),
`rewarm report --site` puts them together, and a headless Chromium draws the pages:

    python docs/screenshots.py runs/pictures

The folder keeps the runs, so that a second call trains nothing. Chromium is the program that REWARM_CHROMIUM names,
or chromium on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from rewarm.plan import from_values
from rewarm.recipes import small_texts
from rewarm.recipes.demo import BASE
from rewarm.river.run import run
from rewarm.river.site import build
from rewarm.river.site_read import Limits
from rewarm.types import silent

HERE = Path(__file__).parent
WIDTH = 1360
COLOURS = 96
MOST_BYTES = 150_000


def corpora(text: Path) -> dict[str, Any]:
    """The demo's documentation, the first month of an invented world, and its later months."""
    months = {f"news-{number}": str(text / "months" / f"1001-0{number}.jsonl") for number in range(2, 8)}
    return {
        "documentation": {"path": str(text / "text/documentation.jsonl"), "holdout": 0.1, "holdout_by": "group"},
        "world": {"path": str(text / "snapshots/1001-01.jsonl"), "holdout": 0.03},
        **{name: {"path": path, "holdout": 0.1} for name, path in months.items()},
    }


def plan(folder: Path, name: str, base: str, months: tuple[int, ...], share: float = 0.5, **more: Any) -> Any:
    """A run that learns some months, replaying the first month and the documentation."""
    text = corpora(folder / "text")
    stages = [
        {
            "name": f"month-{number}", "date": f"1001-0{number}", "data": f"news-{number}", "tokens": 40_000,
            "max_epochs": 20, "learning_rate": 2e-3, **({"replay": {"from": ["world", "documentation"], "share": share}}
            if share else {}),
        }
        for number in months
    ]  # fmt: skip
    watch = ["documentation", "world", *(f"news-{number}" for number in more.pop("watched", months))]
    return from_values(
        {
            "base": base, "output_dir": str(folder / "runs" / name), "prepared_dir": str(folder / "prepared"),
            "seq_len": 256, "batch_tokens": 1024, "eval_tokens": 20_000, "corpora": text, "stages": stages,
            "watch": [{"corpus": one, "role": "new" if one.startswith("news") else "old"} for one in watch], **more,
        }
    )  # fmt: skip


def runs(folder: Path) -> Iterator[Any]:
    """Every run's plan: the base of all, replay shares from none to half, and three months one after another."""
    first = plan(folder, "first", str(BASE), (2,), watched=()).resolved()
    first["stages"][0] |= {
        "name": "world", "date": "1001-01", "data": [{"corpus": "world"}], "tokens": 200_000, "replay": None,
    }  # fmt: skip
    first["watch"] = [{"corpus": "documentation", "role": "old"}, {"corpus": "world", "role": "new"}]
    yield from_values(first)
    base = str(folder / "runs/first/stage-1-world")
    for share in (0, 0.05, 0.2, 0.5):
        yield plan(folder, f"replay-{round(100 * share)}", base, (2,), share, seed=1)
    yield plan(folder, "spring", base, (2, 3, 4))


def shoot(page: Path, picture: Path, height: int) -> None:
    """A picture of the upper part of a page, of few colours so that it is small."""
    chromium = os.environ.get("REWARM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no chromium: install it, or name it with REWARM_CHROMIUM")
    with tempfile.TemporaryDirectory() as folder:
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{height}", f"--screenshot={folder}/page.png",
        ]  # fmt: skip
        subprocess.run([chromium, *options, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)
        with Image.open(f"{folder}/page.png") as image:
            image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
    size = picture.stat().st_size
    print(f"{picture}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{picture} has more than {MOST_BYTES:,} bytes")


def main(folder: Path) -> None:
    """Trains what is not trained yet, and draws."""
    small_texts.write("tic", folder / "text", silent, lambda: False)
    for one in runs(folder):
        print(f"run {one.directory.name}", flush=True)
        run(one, command="python docs/screenshots.py")
    draw(folder)


def draw(folder: Path) -> None:
    """Writes the site of the runs, and one that another version wrote, and draws its pages."""
    broken = folder / "runs" / "from-elsewhere"
    broken.mkdir(exist_ok=True)
    (broken / "report.json").write_text('{"version": 2, "rewarm": "2.0"}\n', encoding="utf-8")
    site = folder / "site"
    made = build([folder / "runs"], site, Limits(max_forget=0.05, min_gain=0.05)).site
    shoot(site / "index.html", HERE / "site-index.png", 1110)
    shoot(site / made.comparisons[0].page, HERE / "site-compare.png", 1320)
    shoot(site / max(made.histories, key=lambda one: len(one.moments)).page, HERE / "site-history.png", 1230)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/pictures"))
