"""Fuzzing of every reader, of the plan readers and of the HTML page, for a given time.

    python benchmarks/fuzz.py [--minutes 10] [--engine hypothesis|atheris] [--only NAME ...] [--out FILE]

Each target has an equal share of the time. With hypothesis, inputs are seeds with edits; a failure is shrunk, told, and
ends its target. With atheris (pip install atheris; not needed for anything else) each reader runs in a process of its
own that is led by coverage, from the same seeds. The exit code is 1 when anything failed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_inputs import attacks, edited, plans
from fuzz_targets import MARKER, Target, page_of, plan_values, readers
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import HypothesisException
from turns import machine

BATCH = 500
"""Examples of one search; then another begins, with another seed."""


def marked_result() -> Any:
    """A small result with the marker wherever text of a user's may stand."""
    from rewarm.report.result import Cell, Column, CorpusFacts, Cost, Metrics, Result, Row, ShareOf

    cell = Cell(loss=1.0, delta=0.1, low=0.05, high=0.15, relative=0.1, verdict="worse", documents=9, bytes=9, tokens=9)
    count = {"documents": 9, "tokens": 9, "bytes": 9, "held_out": 1, "rows": 10}
    corpus = CorpusFacts(
        name=MARKER, **count, bad_rows={MARKER: 1}, bad_examples={MARKER: [MARKER]}, dropped={MARKER: 1}, hash=MARKER
    )
    return Result(
        rewarm="0", created="2026-01-01", command=MARKER, plan={MARKER: MARKER}, base=MARKER, parameters=9,
        complete=True,
        rows=[
            Row(name="base", kind="base", cells={MARKER: cell.model_copy(update={"verdict": "base"})}),
            Row(name=MARKER, kind="stage", stage=MARKER, tokens=9, cells={MARKER: cell}),
        ],
        columns=[Column(name=MARKER, role="old")], metrics=Metrics(x_delta=0.1, x_delta_worst=(MARKER, 0.1)),
        shares=[ShareOf(stage=MARKER, corpus=MARKER, replay=True, planned=0.5, realised=0.5, tokens=9, passes=1.0)],
        corpora=[corpus], hashes={MARKER: MARKER}, machine={MARKER: MARKER}, notes=[MARKER],
        costs=[Cost(leg=MARKER, tokens=9, steps=1, seconds=1.0, tokens_per_second=9.0, flops=9.0)],
    )  # fmt: skip


def jobs() -> dict[str, tuple[Any, Callable[[Path, Any], None]]]:
    """The strategy and the function of every target."""
    found: dict[str, tuple[Any, Callable[[Path, Any], None]]] = {
        name: (edited(seeds), target) for name, (target, seeds) in readers().items()
    }
    found["plan values"] = (plans(), lambda _, values: plan_values(values))
    found["page"] = (attacks(), page_of(marked_result()))
    return found


def searched(strategy: Any, target: Target, seconds: float, folder: Path) -> dict[str, Any]:
    """Runs hypothesis on a target for a time: the examples, and the failure that ended it or None."""
    end = time.monotonic() + seconds
    count = 0
    failure: str | None = None

    @settings(max_examples=BATCH, deadline=None, database=None, phases=[Phase.generate, Phase.target, Phase.shrink],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(value=strategy)
    def search(value: Any) -> None:
        nonlocal count
        if time.monotonic() > end:
            return
        count += 1
        try:
            target(folder, value)
        except Exception:
            print(f"failed on {value!r}"[:2000], file=sys.stderr, flush=True)
            raise

    while time.monotonic() < end and failure is None:
        try:
            search()
        except (Exception, HypothesisException):
            failure = traceback.format_exc()[-3000:]
    return {"examples": count, "failure": failure}


def led_by_coverage(name: str, seconds: float, folder: Path) -> dict[str, Any]:
    """Runs atheris on a reader in a process of its own: the examples, and the failure that ended it or None."""
    seeds = folder / "seeds"
    seeds.mkdir(parents=True)
    for number, seed in enumerate(readers()[name][1]):
        (seeds / str(number)).write_bytes(seed)
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        "-max_len=4096",
        "-rss_limit_mb=6000",
        "-print_final_stats=1",
    ]
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder), *options, str(seeds)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=folder)
    count = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    told = None if done.returncode == 0 else done.stderr[-3000:]
    return {"examples": int(count[1]) if count else 0, "failure": told}


def child(name: str, folder: Path, options: list[str]) -> None:
    """The process of one reader under atheris; does not come back."""
    import atheris  # type: ignore[import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["rewarm"], enable_loader_override=False):
        import rewarm  # noqa: F401
    for module in [value for key, value in sys.modules.items() if key.startswith("rewarm.")]:
        for attribute in list(vars(module).values()):
            if (
                callable(attribute)
                and getattr(attribute, "__module__", "") == module.__name__
                and hasattr(attribute, "__code__")
            ):
                atheris.instrument_func(attribute)
    target = readers()[name][0]
    atheris.Setup([sys.argv[0], *options], lambda content: target(folder, content))
    atheris.Fuzz()


def main() -> None:
    """Runs every target and prints one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), default="hypothesis")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked, options = parser.parse_known_args()
    if asked.child:
        child(asked.child, asked.folder, options)
    every = jobs()
    names = [
        name for name in (every if asked.engine == "hypothesis" else readers()) if not asked.only or name in asked.only
    ]
    seconds = asked.minutes * 60 / max(1, len(names))
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            if asked.engine == "atheris":
                found[name] = led_by_coverage(name, seconds, Path(folder))
            else:
                found[name] = searched(*every[name], seconds, Path(folder))
        print(
            f"{name}: {found[name]['examples']:,} examples, {'FAILED' if found[name]['failure'] else 'clean'}",
            file=sys.stderr,
            flush=True,
        )
    failed = [name for name, one in found.items() if one["failure"]]
    result = {
        "engine": asked.engine, "minutes": asked.minutes, "examples": sum(one["examples"] for one in found.values()),
        "failed": failed, "targets": found, "machine": machine(),
    }  # fmt: skip
    text = json.dumps(result, indent=1)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
