"""A run directory: the whole truth of a run, and where each part of it lies."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rewarm.plan import Plan, from_values
from rewarm.types import UserError

PLAN = "plan.resolved.json"


class RunDirectory:
    """Paths of a run, and its append-only ledger."""

    def __init__(self, root: Path, prepared: Path | None = None) -> None:
        self.root = root
        self.prepared = prepared or root / "prepared"
        self.tokenizer = root / "tokenizer"
        self.base = root / "base"
        self.evaluations = root / "evaluations"
        self.controls = root / "controls"
        self.ledger_file = root / "ledger.jsonl"

    def training(self, leg: str) -> Path:
        """Checkpoints and journal of a leg."""
        return self.root / "training" / leg

    def model(self, leg: str) -> Path:
        """The finished model of a leg, as a Hugging Face folder."""
        return self.root / leg

    def control(self, word: str) -> RunDirectory:
        """The directory of a control run; it shares the prepared tokens."""
        return RunDirectory(self.controls / word, self.prepared)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file that is never seen half-written."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        partial.write_text(json.dumps(value, indent=1, sort_keys=False) + "\n", encoding="utf-8")
        os.replace(partial, file)

    def ledger(self) -> list[dict[str, Any]]:
        """Every event of the run, oldest first."""
        if not self.ledger_file.is_file():
            return []
        lines = self.ledger_file.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]

    def record(self, event: str, **facts: Any) -> None:
        """Appends one event to the ledger and flushes it to disk."""
        self.root.mkdir(parents=True, exist_ok=True)
        entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **facts}
        with self.ledger_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def finished(self) -> dict[str, dict[str, Any]]:
        """The ledger's entry of each finished leg, by the leg's name."""
        return {entry["leg"]: entry for entry in self.ledger() if entry["event"] == "leg finished"}

    def resolved(self) -> Plan:
        """The plan this directory was made by; UserError when it is no run directory."""
        file = self.root / PLAN
        if not file.is_file():
            raise UserError(f"'{self.root}' is no run directory: it holds no {PLAN}")
        return from_values(json.loads(file.read_text(encoding="utf-8")))

    def claim(self, plan: Plan) -> None:
        """Writes the plan, or checks that the directory belongs to this plan; UserError naming the changed keys."""
        file = self.root / PLAN
        values = plan.resolved()
        if file.is_file():
            before = json.loads(file.read_text(encoding="utf-8"))
            changed = sorted(_changes(before, values, harmless=("controls", "workers", "save_total_limit")))
            if changed:
                raise UserError(
                    f"'{self.root}' was started with another plan; changed: {'; '.join(changed[:6])}. "
                    "Give another output_dir, or restore the plan to go on with this run"
                )
        self.write_json(PLAN, values)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for this process; UserError when another process runs in it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another rewarm process runs in '{self.root}': wait for it or stop it") from None
            yield


def _changes(before: Any, after: Any, harmless: tuple[str, ...], path: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before.keys() | after.keys():
            if path or key not in harmless:
                yield from _changes(before.get(key), after.get(key), harmless, f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changes(old, new, harmless, f"{path}.{index}")
    elif before != after:
        yield f"{path}: {before!r} -> {after!r}"
