"""The same small update with rewarm and with what users would pick instead, and the README's table of it.

    make peers                                    # sets the peers' environments up and runs all
    python benchmarks/peers.py [--repeats 3] [--steps 128] [--sides "rewarm, plain,Trainer"] [--work FOLDER]
    python benchmarks/peers.py --readme           # writes the README's table from benchmarks/results/peers.json
    python benchmarks/peers.py --check            # ends with 1 when the README has another table

Sides run in turn, with a seed for each repeat; medians are quoted. One more run of each side is killed (SIGKILL) in the
third quarter of its updates, gone on with, and its weights are compared with those of its undisturbed run, bit for bit.
`rewarm evaluate` scores every model on the same held-out documents of old and of new text. Text: the demo's (old:
documentation, which the base was trained on; new: code), or with --text real and the folder that REWARM_DATA names,
old books and US statutes; a base for these is given by --base. A stopped benchmark goes on where it was, given --work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from peers_sides import AXOLOTL, FACTORY, PACKAGES, PLAIN, ROOT, TRAINER, USED, Job, python_of, start
from peers_table import check_readme, write_readme
from peers_weights import difference
from turns import machine

from rewarm.corpora.jsonl import Jsonl
from rewarm.hashing import text_hash
from rewarm.recipes import demo, demo_text
from rewarm.tokens.order import is_held_out
from rewarm.tokens.prepare import group_key
from rewarm.tokens.tokenizer import TextTokenizer
from rewarm.types import BadRows, Document

SIDES = (PLAIN, USED, TRAINER, FACTORY, AXOLOTL)
RESULT = Path(__file__).parent / "results" / "peers.json"
REAL = ("base/classic_books_en.jsonl.zst", "domains/legal_us_code.jsonl.zst")
SPARE = 1.03
"""So much more text than the updates take, for sides that lose some of it between rows."""
MOST_HELD_OUT = 15_000
LONGEST = 3600.0
THREADS = "1"
"""Of every side: CPU seconds then mean the same for all, whatever else the machine does."""


def make_job(folder: Path, base: Path, text: str, steps: int) -> Job:
    """The files of the update: what was held out when the base was trained, new text, and what is held out of that."""
    folder.mkdir(parents=True, exist_ok=True)
    if text == "demo":
        files = demo_text.write(folder / "demo")
        old, new = Jsonl(path=str(files["old"]), holdout=0.1, holdout_by="group"), Jsonl(path=str(files["code"]))
    else:
        data = Path(os.environ["REWARM_DATA"])
        old, new = (Jsonl(path=str(data / name), holdout_by=by) for name, by in zip(REAL, ("group", None), strict=True))
    job = Job(base, *(folder / f"{name}.jsonl" for name in ("old", "new", "old-held-out", "new-held-out")), steps)
    tokenizer = TextTokenizer(base)
    wanted = int(job.tokens * SPARE)
    for corpus, rest, held, most in ((old, job.old, job.old_held_out, 10**9), (new, job.new, job.new_held_out, wanted)):
        documents = list(corpus.read(BadRows()))
        is_held = [is_held_out(group_key(one, corpus.holdout_by), 0.1) for one in documents]
        parts = (
            [one for one, out in zip(documents, is_held, strict=True) if out is wanted] for wanted in (False, True)
        )
        for file, part, limit in zip((rest, held), parts, (most, MOST_HELD_OUT), strict=True):
            _write(file, sorted(part, key=lambda one: text_hash(one.text)), limit, tokenizer)
    return job


def _write(file: Path, documents: Iterable[Document], limit: int, tokenizer: TextTokenizer) -> None:
    """Documents up to `limit` tokens, of which the last one crosses the line."""
    with file.open("w", encoding="utf-8") as lines:
        for document in documents:
            if limit <= 0:
                return
            lines.write(json.dumps({"text": document.text}) + "\n")
            limit -= len(tokenizer.encode([document.text])[0])
    if 0 < limit < 10**8 and "held" not in file.name:
        raise SystemExit(f"'{file.name}' is {limit:,} tokens too short for so many updates: lower --steps")


def carry_out(side: str, job: Job, folder: Path, seed: int, kill: bool = False) -> dict[str, float]:
    """Runs a side to its end; CPU seconds until the model lay on disk, until a report could be read and until the end,
    and what the clock on the wall said at the end.

    With `kill` its processes are killed at a random moment of the third quarter, and started again. What an earlier
    try that was stopped left in the folder goes: a model of it would be taken for this run's.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if kill:
        killed = _watched(side, job, folder, seed, False, random.Random(seed).random())
        if "killed at" not in killed:
            raise RuntimeError("it had ended before it could be killed: raise --steps")
    found = _watched(side, job, folder, seed, kill, None)
    return found | ({"killed at": killed["killed at"]} if kill else {})


def _watched(side: str, job: Job, folder: Path, seed: int, resume: bool, kill_after: float | None) -> dict[str, float]:
    started = start(side, job, folder, seed, resume)
    seen: dict[str, float] = {}
    said = folder / f"said-{'again' if resume else 'first'}.txt"
    environment = (started.environment or dict(os.environ)) | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": THREADS}
    with said.open("wb") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            started.command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        now = 0.0
        try:
            while process.poll() is None and time.monotonic() - begun < LONGEST:
                now = max(now, processor_seconds(process.pid))
                if "model" not in seen and started.model.is_file():
                    seen["model"] = now
                if "report" not in seen and started.reported(said.read_text(encoding="utf-8", errors="replace")):
                    seen["report"] = now
                if kill_after is not None and _may_kill(seen, folder / started.checkpoint, now, kill_after):
                    return {"killed at": now}
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seen |= {"end": now, "wall": time.monotonic() - begun}
    text = said.read_text(encoding="utf-8", errors="replace")
    if process.returncode or not started.model.is_file():
        raise RuntimeError(f"ended with {process.returncode}: {_reason(text)}")
    seen.setdefault("model", seen["end"])
    if "report" not in seen and started.reported(text):
        seen["report"] = seen["end"]
    return seen


def processor_seconds(number: int) -> float:
    """CPU time of a process and of all that it started, as far as they live or it has waited for them."""
    try:
        process = psutil.Process(number)
        spent = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return float(sum(one.user + one.system + one.children_user + one.children_system for one in spent))


def _may_kill(seen: dict[str, float], checkpoint: Path, now: float, share: float) -> bool:
    """Whether the moment has come: the half-way checkpoint is there, and a part of the next quarter is over."""
    if "half" not in seen and checkpoint.exists():
        seen["half"] = now
    return "half" in seen and now > seen["half"] * (1 + share / 8)


def _reason(said: str) -> str:
    """The last line that names an error, or the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line]
    return (named or lines or ["it said nothing"])[-1][:300]


def scores(model: Path, judge: Path, base: Path, folder: Path) -> dict[str, float]:
    """Losses of a model's weights in nats per byte of held-out text, and their changes, by `rewarm evaluate`."""
    shutil.copytree(base, folder, dirs_exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(model / name, folder / name)
    command = [sys.executable, "-m", "rewarm", "evaluate", str(folder), "--on", str(judge), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"scoring '{model}' failed:\n{done.stderr[-2000:]}")
    cells = json.loads(done.stdout)["cells"]
    names = {"old": cells["old-held-out"], "new": cells["new-held-out"]}
    return {key: cell["loss"] for key, cell in names.items()} | {
        f"{key} before": cell["loss"] - cell["delta"] for key, cell in names.items()
    }


def version_of(side: str) -> str:
    """The installed release of a side, and of torch beside it."""
    if side in (PLAIN, USED):
        return f"rewarm {version('rewarm')}"
    code = f"import importlib.metadata as m; print(m.version('{PACKAGES[side]}'), m.version('torch').split('+')[0])"
    done = subprocess.run([str(python_of(side)), "-c", code], capture_output=True, text=True, check=False)
    own, torch = done.stdout.split() if done.returncode == 0 else ("?", "?")
    return f"{PACKAGES[side]} {own}, torch {torch}"


def kept(file: Path, make: Any) -> Any:
    """What a file holds, made and written first where it is not there: a stopped benchmark goes on."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            value = make()
        except (RuntimeError, FileNotFoundError) as error:
            value = {"error": str(error)}
        file.write_text(json.dumps(value), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def measure(job: Job, sides: list[str], repeats: int, work: Path) -> dict[str, Any]:
    """Every side's row: interleaved runs, the disturbed one, and all scores."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    judge = work / "0" / PLAIN / "run"
    for number in range(repeats):
        for side in sides:
            folder = work / str(number) / side
            if number and "error" in runs[side][0]:
                continue
            run = kept(folder / "times.json", lambda s=side, f=folder, n=number: carry_out(s, job, f, n))
            runs[side].append(run)
            print(f"{number} {side}: {run}", flush=True)
    rows = {}
    for side in sides:
        row: dict[str, Any] = {"version": version_of(side)}
        if "error" in runs[side][0]:
            rows[side] = row | runs[side][0]
            continue
        places = [work / str(number) / side for number in range(repeats)]
        models = [start(side, job, place, 0).model.parent for place in places]
        found = [
            kept(place / "scores.json", lambda m=model, p=place: scores(m, judge, job.base, p / "scored"))
            for place, model in zip(places, models, strict=True)
        ]
        disturbed = work / "disturbed" / side
        again = kept(disturbed / "times.json", lambda s=side, f=disturbed: carry_out(s, job, f, 0, kill=True))
        row["repeats"] = [run | score for run, score in zip(runs[side], found, strict=True)]
        for key in ("old", "new", "model", "report", "end", "wall"):
            if all(key in run for run in row["repeats"]):
                row[key] = median(run[key] for run in row["repeats"])
        row["resume"] = _resume(side, job, again, disturbed, models[0], work)
        rows[side] = row
        print(side, json.dumps(row), flush=True)
    return rows


def _resume(side: str, job: Job, again: dict[str, Any], folder: Path, first: Path, work: Path) -> dict[str, Any]:
    """What the disturbed run came to; where it differs, whether two undisturbed runs agree at all."""
    if "error" in again:
        return again
    found = again | {"difference": difference(start(side, job, folder, 0).model.parent, first)}
    if found["difference"]:
        place = work / "repeated" / side
        kept(place / "times.json", lambda: carry_out(side, job, place, 0))
        found["undisturbed difference"] = difference(start(side, job, place, 0).model.parent, first)
    return found


def main() -> None:
    """Measures and writes JSON, or writes or checks the README's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=32, help="updates of 1,024 tokens, a multiple of 4")
    parser.add_argument("--sides", default=";".join(SIDES), help="names with ; between them")
    parser.add_argument("--base", type=Path, default=demo.BASE)
    parser.add_argument("--text", choices=("demo", "real"), default="demo")
    parser.add_argument("--work", type=Path, help="a folder to keep the runs in, and to go on in")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--readme", action="store_true", help="write the README's table from the result, run nothing")
    parser.add_argument("--check", action="store_true", help="end with 1 when the README's table is another")
    given = parser.parse_args()
    if given.readme or given.check:
        result = json.loads(given.out.read_text(encoding="utf-8"))
        sys.exit(0 if (write_readme if given.readme else check_readme)(ROOT / "README.md", result) else 1)
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        job = make_job(work / "text", given.base.resolve(), given.text, given.steps)
        sides = given.sides.split(";")
        load = os.getloadavg()
        rows = measure(job, sides if PLAIN in sides else [PLAIN, *sides], given.repeats, work)
    settings = {key: getattr(job, key) for key in ("steps", "rows", "seq_len", "peak", "warmup")}
    settings |= {"text": given.text, "base": given.base.name, "repeats": given.repeats}
    loads = {"load before": round(load[0], 1), "load after": round(os.getloadavg()[0], 1)}
    result = {"machine": machine() | loads, "settings": settings, "rows": rows}
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
