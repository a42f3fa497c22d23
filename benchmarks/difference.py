"""What `rewarm corpus diff` costs as snapshots grow, against plain difflib over sentences.

    python benchmarks/difference.py [--articles 2500,5000,10000,20000] [--workers 1,2] [--out FILE]

Articles of about 3 kB; every tenth is edited (a number, a paragraph at its head or its tail). Each size is one process,
once for ids that ascend and once for ids in any order, and for every number of workers. The peer compares the same
pairs with `difflib.SequenceMatcher` over lists of sentences; its reading and writing is not counted. A second peer
measurement is one article of repeating lines, where difflib's time grows with the square. Bars: seconds for 10,000
articles, growth of the time and of the memory from the smallest size to the largest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import psutil
from turns import bar_of, machine, tell

MEMORY = 64_000_000
SECONDS_FOR_10K, LINEAR, FLAT_MEMORY = 60.0, 1.25, 1.5
WORDS = "river town people council bridge trade north valley century railway church market school season record".split()  # noqa: SIM905


def article(number: int) -> str:
    """About 3 kB: twelve paragraphs of four sentences."""
    source = random.Random(number)
    sentence = lambda: f"The {' '.join(source.choices(WORDS, k=8))} of {source.randrange(10_000)}."  # noqa: E731
    return "\n".join(" ".join(sentence() for _ in range(4)) for _ in range(12))


def edited(text: str, number: int) -> str:
    """The next version of every tenth article."""
    if number % 10:
        return text
    kind = number // 10 % 3
    if kind == 0:
        return f"A paragraph at the head, of {number}.\n{text}"
    if kind == 1:
        return f"{text}\nA paragraph at the tail, of {number}."
    place = text.index(".")
    return f"{text[:place]}7{text[place:]}"


def write(folder: Path, count: int, mixed: bool) -> None:
    """Two snapshots of so many articles."""
    order = [*range(count)]
    if mixed:
        random.Random(0).shuffle(order)
    with (folder / "old.jsonl").open("w") as old, (folder / "new.jsonl").open("w") as new:
        for number in order:
            text = article(number)
            for file, version in ((old, text), (new, edited(text, number))):
                file.write(json.dumps({"id": number, "title": f"Place {number}", "text": version}) + "\n")


def difference(folder: Path, workers: int) -> dict[str, Any]:
    """Seconds, processor seconds of this process, and peak memory of all, for one difference."""
    from rewarm.difference.editions import editions
    from rewarm.difference.folder import OutputFolder
    from rewarm.difference.run import Job, Settings

    peak = [0]
    done = threading.Event()
    watching = threading.Thread(target=watch, args=(peak, done))
    watching.start()
    begun = time.perf_counter()
    sides = editions(str(folder / "old.jsonl"), str(folder / "new.jsonl"))
    output = folder / f"output-{workers}"
    settings = Settings(workers=workers, memory=MEMORY)
    summary = Job(*sides, OutputFolder(output), settings).run(lambda *_: None, lambda: False)
    seconds = time.perf_counter() - begun
    done.set()
    watching.join()
    processor = time.process_time()
    return {
        "seconds": round(seconds, 3),
        "processor": round(processor, 3),
        "mib": peak[0] >> 20,
        "changed": summary["articles"]["changed"],
    }


def watch(peak: list[int], done: threading.Event) -> None:
    """Keeps the most memory that this process and its children held together, looked at 50 times a second.

    The system's own peak of a child begins with that of its parent, so that it cannot be added to it.
    """
    own = psutil.Process()
    while not done.wait(0.02):
        held = 0
        for process in (own, *own.children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                held += process.memory_info().rss
        peak[0] = max(peak[0], held)


def ours_and_peer(count: int) -> dict[str, float]:
    """Seconds for comparing the edited pairs: ours, and difflib over sentences."""
    from rewarm.difference.articles import compare
    from rewarm.difference.sentences import paragraphs, sentences

    pairs = [(article(number), edited(article(number), number)) for number in range(0, count, 10)]
    begun = time.perf_counter()
    for old, new in pairs:
        compare(old, new)
    ours = time.perf_counter() - begun
    begun = time.perf_counter()
    for old, new in pairs:
        cut = [[one for part in paragraphs(text) for one in sentences(part)] for text in (old, new)]
        SequenceMatcher(None, *cut, autojunk=False).get_opcodes()
    return {"ours": ours, "difflib": time.perf_counter() - begun}


def repeating(lines: int) -> dict[str, float]:
    """Seconds for one article whose lines repeat, such as a table."""
    from rewarm.difference.articles import compare

    old = [f"row {number % 50}" for number in range(lines)]
    new = [f"row {number * 7 % 50}" for number in range(lines)]
    begun = time.perf_counter()
    compare("\n".join(old), "\n".join(new))
    ours = time.perf_counter() - begun
    begun = time.perf_counter()
    SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return {"ours": ours, "difflib": time.perf_counter() - begun}


def measured(count: int, mixed: bool, workers: list[int]) -> list[dict[str, Any]]:
    """One row for every number of workers."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), count, mixed)
        rows = []
        for number in workers:
            command = [sys.executable, __file__, "--worker", name, "--workers", str(number)]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rows.append({"articles": count, "order": "any" if mixed else "ascending", "workers": number, **answer})
            print(rows[-1], file=sys.stderr)
        return rows


def main() -> None:
    """Measures, prints, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", default="2500,5000,10000,20000")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    workers = [int(number) for number in options.workers.split(",")]
    if options.worker:
        print(json.dumps(difference(options.worker, workers[0])))
        return
    sizes = [int(size) for size in options.articles.split(",")]
    rows = [row for size in sizes for mixed in (False, True) for row in measured(size, mixed, workers)]
    series = [row for row in rows if row["order"] == "ascending" and row["workers"] == workers[0]]
    first, last = series[0], series[-1]
    ten_thousand = [row["seconds"] for row in rows if row["articles"] == 10_000]
    # Processor time of the one process, start included: what else the machine does is not in it.
    per_article = (last["processor"] / last["articles"]) / (first["processor"] / first["articles"])
    peer = ours_and_peer(sizes[-1])
    found = {
        "machine": machine(),
        "rows": rows,
        "comparing_edited_pairs": peer,
        "one_article_of_repeating_lines": {str(lines): repeating(lines) for lines in (1000, 2000, 4000)},
        "bars": [
            *(
                [
                    bar_of(
                        "difference: seconds for 10,000 articles, slowest way",
                        max(ten_thousand),
                        SECONDS_FOR_10K,
                        "lower",
                    )
                ]
                if ten_thousand
                else []
            ),
            bar_of(f"difference: time per article, {sizes[-1]} / {sizes[0]}", per_article, LINEAR, "lower"),
            bar_of(f"difference: memory, {sizes[-1]} / {sizes[0]}", last["mib"] / first["mib"], FLAT_MEMORY, "lower"),
        ],
    }
    tell(found, options.out)


if __name__ == "__main__":
    main()
