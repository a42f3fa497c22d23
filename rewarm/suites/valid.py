"""Which problems can be passed here: their own answers are run first, once for each environment."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rewarm.sandbox import Limits, Outcome
from rewarm.sandbox.run import protections, run_program
from rewarm.storage import read_json, stored, write_json
from rewarm.suites.problems import Problem

LIBRARIES = ("numpy", "pandas")


def environment() -> dict[str, str]:
    """What decides whether a program passes, besides itself: versions of Python and of the libraries problems use."""
    return {"python": platform.python_version(), "machine": platform.machine()} | {
        name: _version(name) for name in LIBRARIES
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def own_faults(
    problems: Sequence[Problem], limits: Limits, done: Callable[[int], None] = lambda count: None
) -> list[str]:
    """For each problem the way its own answers fail, the first of them; empty for one that an answer of its own passes.

    What was found is kept by the problems, the limits and the environment.
    """
    file = _folder() / f"{_key(problems, limits)}.json"
    kept = read_json(file)
    if isinstance(kept, list) and len(kept) == len(problems):
        return [str(one) for one in kept]
    found = []
    # A program is a process of its own: threads only wait for them.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for fault in pool.map(lambda problem: _own_fault(problem, limits), problems):
            found.append(fault)
            done(1)
    with stored(f"'{file}'"):
        write_json(file, found)
    return found


def _own_fault(problem: Problem, limits: Limits) -> str:
    first = ""
    for answer in problem.answers:
        fault = fault_of(run_program(problem.program(answer), limits))
        if not fault:
            return ""
        first = first or fault
    return first


def fault_of(outcome: Outcome) -> str:
    """How a program ended, in words that are the same for all that ended so; empty when it passed."""
    if outcome.end == "passed":
        return ""
    return f"{outcome.end} ({outcome.fault})" if outcome.fault else outcome.end


def _key(problems: Sequence[Problem], limits: Limits) -> str:
    what = [problems, repr(limits), environment(), protections()]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _folder() -> Path:
    cache = os.environ.get("REWARM_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "rewarm") / "programs"
