"""Runs whose disk is filled to the last byte at chosen moments: do they stop cleanly, and end as the undisturbed one?

    python benchmarks/full_disk.py [--disk tmpfs|quota|both] [--fills 24] [--each 4] [--seed 0] [--out FILE]

The run of benchmarks/kills.py lies on a small disk: a tmpfs, or a btrfs of 256 MB whose folder has a quota of its own,
which no look at the free room shows. Another file fills what is left in the middle of a file operation of the run:
while text is prepared, a step logged, a checkpoint, a model, scores or a report written. The command must end with
exit code 1 (3 where it sees the full disk beforehand), name what is free and what it needs, and leave every
checkpoint, model and ledger as their digests say. Then room is made, and the same command goes on. In the end weights
and scores must be those of the undisturbed run, bit for bit.

To mount a disk needs root, or, for the tmpfs, the right to a user namespace; the quota needs mkfs.btrfs. What cannot be
had is said, and the exit code is 3. It is 1 when a run failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from kills import end_of, plan_values, write_texts
from turns import machine

from rewarm.cli import call
from rewarm.models.load import load_model, weights_hash
from rewarm.plan import from_values
from rewarm.river.directory import RunDirectory
from rewarm.training.checkpoint import damage, steps_saved

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}
KINDS = ("text", "tokenizer", "ledger", "scores", "journal", "checkpoint", "model", "report")
"""What a file belongs to, in the order of a run's life."""
NAMED = re.compile(r"(?s)\d.*free.*need|need.*\d.*free")


def kind_of(path: str) -> str:
    """What a file of a run belongs to."""
    for word, kind in (
        ("prepared", "text"), ("/tokenizer", "tokenizer"), ("checkpoint-", "checkpoint"), ("journal", "journal"),
        ("ledger", "ledger"), ("evaluations", "scores"), ("scores", "scores"), ("report.", "report"),
        ("stage-", "model"), ("/base", "model"),
    ):  # fmt: skip
        if word in path:
            return kind
    return "other"


@dataclass(slots=True)
class Fill:
    """Fills the disk in the middle of the `number`-th operation on a file of a kind, leaving `spare` bytes."""

    root: str
    ballast: Path
    kind: str = ""
    number: int = 0
    spare: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    is_done: bool = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook: Python tells it of every file opened, renamed or removed."""
        if self.is_done or event not in EVENTS or not str(arguments[0]).startswith(self.root):
            return
        kind = kind_of(str(arguments[0])[len(self.root) :])
        self.seen[kind] += 1
        if kind == self.kind and self.seen[kind] == self.number:
            self.is_done = True
            fill(self.ballast, self.spare)


def fill(ballast: Path, spare: int) -> None:
    """Writes a file until the disk takes no more, then gives back `spare` bytes."""
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as opened:
        for piece in (1 << 20, 1 << 14, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while opened.write(bytes(piece)) == piece:
                    pass
    with contextlib.suppress(OSError):  # a full btrfs may refuse even that; then nothing is left
        os.truncate(ballast, max(0, ballast.stat().st_size - spare))


def make_room(ballast: Path) -> None:
    """Takes the ballast away, and waits until its room can be used: btrfs counts what was deleted some time later."""
    for _ in range(600):
        ballast.unlink(missing_ok=True)
        os.sync()
        try:
            ballast.write_bytes(bytes(8 << 20))
        except OSError:
            time.sleep(0.1)
        else:
            ballast.unlink()
            return
    raise SystemExit(f"there is no room beside {ballast}")


def start(plan: Path, hook: Fill, errors: Path) -> tuple[int, str, bool, Counter[str]]:
    """The command in a forked process: its exit code, what it said, whether the disk was filled, the operations."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            with errors.open("w") as told:
                os.dup2(told.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.addaudithook(hook)
            code = call(["run", str(plan), "--quiet"])
        finally:
            os.write(writer, json.dumps([hook.is_done, hook.seen]).encode())
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as opened:
        is_filled, seen = json.loads(opened.read())
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), errors.read_text(), is_filled, Counter(seen)


def faults(values: dict[str, Any]) -> list[str]:
    """What is not whole of a run: complete checkpoints and finished models by their digests, ledgers by their chain."""
    main = RunDirectory.of(from_values(values))
    found = [
        f"{ledger.file}: line {line}: {fault}"
        for ledger in main.ledgers().values()
        for line, fault in ledger.chain().faults
    ]
    for run in (main, main.control("new-only")):
        for folder in run.root.glob("training/*"):
            found += [
                f"{folder}/checkpoint-{step}: {name}"
                for step in steps_saved(folder)
                for name in damage(folder / f"checkpoint-{step}")
            ]
        for leg, entry in run.finished().items():
            if run.model(leg).is_dir() and weights_hash(load_model(str(run.model(leg)))) != entry["weights_sha256"]:
                found.append(f"{run.model(leg)}: other weights")
    return found


@contextlib.contextmanager
def tmpfs(work: Path) -> Iterator[Path]:
    """A file system in memory of 24 MiB."""
    with mounted(work / "tmpfs", ["-t", "tmpfs", "-o", "size=24m", "tmpfs"]) as folder:
        yield folder


@contextlib.contextmanager
def quota(work: Path) -> Iterator[Path]:
    """A btrfs in a file; each run has a folder of its own there, which may hold 24 MiB."""
    if shutil.which("mkfs.btrfs") is None:
        raise SystemExit("a quota needs mkfs.btrfs (package btrfs-progs)")
    image = work / "image"
    with image.open("wb") as opened:
        opened.truncate(256 << 20)
    done("mkfs.btrfs", "--quiet", "--mixed", str(image))
    with mounted(work / "btrfs", ["-o", "loop", str(image)]) as folder:
        done("btrfs", "quota", "enable", str(folder))
        yield folder


def limited(folder: Path) -> Path:
    """A folder on a btrfs that may hold 24 MiB: what was reserved in an earlier one before it was full stays taken."""
    done("btrfs", "subvolume", "create", str(folder))
    done("btrfs", "qgroup", "limit", "24M", str(folder))
    return folder


@contextlib.contextmanager
def mounted(folder: Path, options: list[str]) -> Iterator[Path]:
    """A mounted file system, taken off at the end."""
    folder.mkdir()
    done("mount", *options, str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def done(*command: str) -> None:
    """Runs a command; leaves with exit code 3 when it fails."""
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        print(f"{' '.join(command)}: {found.stderr.strip()}. This needs root", file=sys.stderr)
        raise SystemExit(3)


class Trial:
    """Runs on one small disk, one after another, each disturbed up to `each` times; counts what happened."""

    def __init__(self, disk: Path, work: Path, draw: random.Random) -> None:
        self.disk, self.work, self.draw = disk, work, draw
        self.ballast = disk / "ballast"
        self.counts: dict[str, Any] = {
            "fills": 0, "stopped_cleanly": 0, "seen_beforehand": 0, "went_on": 0, "runs": 0, "equal": 0,
            "by_kind": Counter(), "messages": {}, "failures": [],
        }  # fmt: skip

    def move(self, disk: Path) -> None:
        """Goes on in another folder, when there is room in it."""
        self.disk, self.ballast = disk, disk / "ballast"
        make_room(self.ballast)

    def plan(self, values: dict[str, Any]) -> Path:
        """The plan in a file."""
        file = self.work / "plan.yaml"
        file.write_text(json.dumps(values))
        return file

    def run(self, values: dict[str, Any], each: int, operations: Counter[str]) -> None:
        """One run to its end, with up to `each` fills."""
        root, plan = str(values["output_dir"]), self.plan(values)
        kinds = sorted(self.draw.choices(KINDS, k=each), key=KINDS.index)
        while True:
            kind = kinds.pop(0) if kinds else ""
            number = self.draw.randint(1, max(1, operations[kind] // 2)) if kind else 0
            spare = self.draw.choice((0, 0, 4096, 65_536, 300_000))
            hook = Fill(root, self.ballast, kind, number, spare)
            code, said, is_filled, _ = start(plan, hook, self.work / "errors")
            if is_filled:
                self.note(kind, code, said, values)
                if code and self.draw.random() < 0.25:
                    code, said, *_ = start(plan, Fill(root, self.ballast), self.work / "errors")
                    self.note("begun again while full", code, said, values)
                make_room(self.ballast)
            if code == 0:
                return
            if not is_filled:
                raise SystemExit(f"a start with room failed: {said}")

    def note(self, kind: str, code: int, said: str, values: dict[str, Any]) -> None:
        """Counts a start whose disk was filled."""
        counts = self.counts
        if code == 0:
            counts["went_on"] += 1
            return
        counts["fills"] += 1
        counts["by_kind"][kind] += 1
        counts["messages"][kind] = said.replace(str(self.disk), "DISK")[:600]
        broken = faults(values)
        if code not in (1, 3) or not NAMED.search(said) or "Traceback" in said or broken:
            counts["failures"].append({"kind": kind, "code": code, "said": said[-1500:], "broken": broken})
        else:
            counts["seen_beforehand" if code == 3 else "stopped_cleanly"] += 1


def measured(disk: Path, work: Path, given: argparse.Namespace, has_quota: bool) -> dict[str, Any]:
    """Undisturbed once on the disk, then disturbed until it has had so many fills."""

    def place(number: int) -> Path:
        return limited(disk / f"own-{number}") if has_quota else disk

    trial = Trial(place(0), work, random.Random(given.seed))
    values = plan_values(work, trial.disk / "run")
    code, said, _, operations = start(trial.plan(values), Fill(str(trial.disk / "run"), trial.ballast), work / "errors")
    if code:
        raise SystemExit(f"the undisturbed run failed: {said}")
    wanted = end_of(values)
    while trial.counts["fills"] < given.fills:
        shutil.rmtree(trial.disk / "run")
        trial.move(place(trial.counts["runs"] + 1))
        values = plan_values(work, trial.disk / "run")
        trial.run(values, given.each, operations)
        trial.counts["runs"] += 1
        trial.counts["equal"] += end_of(values) == wanted
        if given.out is not None:  # what was found stays, should this be ended
            given.out.with_suffix(f".{disk.name}.part").write_text(json.dumps(trial.counts))
        print({name: value for name, value in trial.counts.items() if name != "messages"}, file=sys.stderr, flush=True)
    return trial.counts


def in_own_namespace() -> None:
    """Begins this program again where it may mount, if it is not root; exit code 3 where that is not allowed."""
    if os.geteuid() == 0:
        return
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True, check=False).returncode:
        print("a small disk needs root, or the right to a user namespace (unshare --map-root-user)", file=sys.stderr)
        raise SystemExit(3)
    os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.orig_argv[1:]])


def main() -> None:
    """Every disk, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disk", choices=("tmpfs", "quota", "both"), default="both")
    parser.add_argument("--fills", type=int, default=24)
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    in_own_namespace()
    os.environ["REWARM_TUNED"] = "off"
    torch.set_num_threads(1)  # more would wait for each other on a busy machine
    result: dict[str, Any] = {"machine": machine()}
    for name, disk in (("tmpfs", tmpfs), ("quota", quota)):
        if given.disk not in (name, "both"):
            continue
        with tempfile.TemporaryDirectory() as folder, disk(Path(folder)) as small:
            write_texts(Path(folder))
            result[name] = measured(small, Path(folder), given, name == "quota")
    text = json.dumps(result, indent=1)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    found = [result[name] for name in ("tmpfs", "quota") if name in result]
    if any(one["failures"] or one["equal"] < one["runs"] for one in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
