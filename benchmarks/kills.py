"""Runs that are killed or stopped at random moments and begun again: do they end as the unbroken one, bit for bit?

    python benchmarks/kills.py [--signals 50] [--each 10] [--seed 0] [--out FILE]

A small plan of two stages, with dropout, replay, a release and a control, is run once undisturbed. Then it is run again
and again, each time ended up to `--each` times at random moments of its life: while text is prepared, a step is made, a
checkpoint or a model is written, a document scored; until it has had `--signals` of them. First by SIGKILL, then by
SIGTERM, upon which it saves and stops. In the end the weights of every leg, as the ledger has them, and the matrix of
scores must be those of the undisturbed run. Every start is a fork, so that it begins at once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from turns import machine

from rewarm.plan import from_values
from rewarm.report.result import read
from rewarm.river.directory import RunDirectory
from rewarm.river.run import run
from rewarm.river.train import Hooks
from rewarm.types import Stopped

_SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "ra", "se", "ti", "vo", "zu")


def plan_values(folder: Path, root: Path) -> dict[str, Any]:
    """The plan, on invented text that lies in a folder."""
    config = {
        "model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128,
        "attn_pdrop": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1,
    }  # fmt: skip
    names = ("old", "law", "code")
    return {
        "base": {"from": "scratch", "config": config, "tokenizer": {"vocab_size": 400}},
        "output_dir": str(root),
        "seq_len": 64,
        "batch_tokens": 512,
        "corpora": {name: {"path": str(folder / f"{name}.jsonl"), "holdout": 0.1} for name in names},
        "stages": [
            {
                "name": "law",
                "data": "law",
                "tokens": 16_384,
                "learning_rate": 1e-3,
                "replay": {"from": "old", "share": 0.25},
            },
            {
                "name": "code",
                "data": "code",
                "tokens": 16_384,
                "learning_rate": 1e-3,
                "optimizer_state": "keep",
                "release": {"tokens": 2048},
            },
        ],
        "watch": ["old", "law", "code"],
        "controls": ["new-only"],
        "save_steps": 2,
        "eval_every": 0,
        "precision": "fp32",
    }


def write_texts(folder: Path) -> None:
    """Three corpora of invented words."""
    for place, name in enumerate(("old", "law", "code")):
        draw = random.Random(place)
        rows = [
            json.dumps({"text": " ".join("".join(draw.choices(_SYLLABLES, k=3)) for _ in range(60))})
            for _ in range(150)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def start(values: dict[str, Any]) -> int:
    """The number of a forked process that runs the plan; it leaves with 0 when done, and 1 when it was stopped."""
    child = os.fork()
    if child:
        return child
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    code = 2
    try:
        run(from_values(values), Hooks(stop=lambda: bool(asked)), command="benchmarks/kills.py")
        code = 0
    except Stopped:
        code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def end_of(values: dict[str, Any]) -> tuple[dict[str, str], Any]:
    """The weights of every leg of the run and of its control, and every score of the report."""
    plan = from_values(values)
    found = RunDirectory.of(plan)
    weights = {
        f"{name} {leg}": entry["weights_sha256"]
        for name, where in (("run", found), ("control", found.control("new-only")))
        for leg, entry in where.finished().items()
    }
    return weights, [row.model_dump() for row in read(plan.directory).rows]


def disturbed(values: dict[str, Any], number: int, each: int, span: float, draw: random.Random) -> int:
    """Runs the plan to its end, which is put off by at most `each` signals at random moments; how many it had."""
    hits = 0
    while True:
        child = start(values)
        if hits < each:
            time.sleep(draw.uniform(0, 2 * span / each))
            os.kill(child, number)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 1:
            hits += 1
        elif os.WEXITSTATUS(status) == 0:
            return hits
        else:
            raise SystemExit(f"a start of '{values['output_dir']}' failed, see above")


def main() -> None:
    """The undisturbed run, then the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=50)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    result: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_texts(folder)
        values = plan_values(folder, folder / "undisturbed")
        begun = time.monotonic()
        if os.waitpid(start(values), 0)[1]:
            raise SystemExit("the undisturbed run failed, see above")
        span = time.monotonic() - begun
        wanted = end_of(values)
        for name, number in (("SIGKILL", signal.SIGKILL), ("SIGTERM", signal.SIGTERM)):
            found = {"signals": 0, "runs": 0, "equal": 0}
            while found["signals"] < given.signals:
                own = plan_values(folder, folder / f"{name}-{found['runs']}")
                found["signals"] += disturbed(own, number, given.each, span, draw)
                found["runs"] += 1
                found["equal"] += end_of(own) == wanted
            result[name] = found
            print(
                f"{name}: {found['signals']} in {found['runs']} runs, of which {found['equal']} ended as the "
                "undisturbed one",
                flush=True,
            )
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if any(result[name]["equal"] < result[name]["runs"] for name in ("SIGKILL", "SIGTERM")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
