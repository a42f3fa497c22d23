"""A run directory: the whole truth of a run, and where each part of it lies."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rewarm.plan import Plan, from_values
from rewarm.river import room
from rewarm.river.ledger import Ledger
from rewarm.storage import full_disk_told, write_json
from rewarm.types import StorageError, UserError

PLAN = "plan.resolved.json"
BEGUN = "inputs"
"""The ledger's event that says which text a run began with."""
ADDED = "stage added"
"""The ledger's event for a stage that the run was not begun with."""
UNDONE = "stage undone"
"""The ledger's event for an added stage that was taken back: what it says of its legs before that no longer holds."""
HARMLESS = (
    "controls", "workers", "save_total_limit", "output_dir", "prepared_dir", "micro_batch_tokens",
    "gradient_checkpointing", "sharding", "processes",
)  # fmt: skip
"""Keys that may change while a run is under way: they change no weight and no score, or by rounding only."""


class RunDirectory:
    """Paths of a run, and its append-only ledger."""

    def __init__(self, root: Path, prepared: Path | None = None, is_control: bool = False) -> None:
        self.root = root
        self.is_control = is_control
        self.prepared = prepared or root / "prepared"
        self.tokenizer = root / "tokenizer"
        self.base = root / "base"
        self.evaluations = root / "evaluations"
        self.controls = root / "controls"
        self.ledger_file = root / "ledger.jsonl"

    @classmethod
    def of(cls, plan: Plan, root: Path | None = None) -> RunDirectory:
        """The directory of a plan, with the prepared tokens where the plan keeps them; `root` if it was moved."""
        return cls(root or plan.directory, Path(plan.prepared_dir) if plan.prepared_dir else None)

    def training(self, leg: str) -> Path:
        """Checkpoints and journal of a leg."""
        return self.root / "training" / leg

    def model(self, leg: str) -> Path:
        """The finished model of a leg, as a Hugging Face folder."""
        return self.root / leg

    def control(self, word: str) -> RunDirectory:
        """The directory of a control run; it shares the prepared tokens."""
        return RunDirectory(self.controls / word, self.prepared, is_control=True)

    def main(self) -> RunDirectory:
        """The run that this is a control of; itself if it is none."""
        return RunDirectory(self.root.parents[1], self.prepared) if self.is_control else self

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file that is never seen half-written."""
        write_json(self.root / name, value)

    def ledger(self) -> list[dict[str, Any]]:
        """Every event that holds, oldest first: of stages that were taken back, only that they were."""
        held: list[dict[str, Any]] = []
        for entry in Ledger(self.ledger_file).entries():
            if entry["event"] == UNDONE:
                held = [one for one in held if not _is_undone(one, entry)]
            held.append(entry)
        return held

    def record(self, event: str, **facts: Any) -> None:
        """Appends one event to the ledger and flushes it to disk."""
        Ledger(self.ledger_file).append(event, facts)

    def ledgers(self) -> dict[str, Ledger]:
        """The ledger of the run ("") and that of each of its controls, by the control's word."""
        controls = sorted(self.controls.glob("*/ledger.jsonl"))
        return {"": Ledger(self.ledger_file)} | {file.parent.name: Ledger(file) for file in controls}

    def check_ledgers(self) -> None:
        """UserError when a line of a ledger, the run's or a control's, is not as it was written."""
        for ledger in self.ledgers().values():
            for line, fault in ledger.chain().faults[:1]:
                raise UserError(
                    f"'{ledger.file}' is not as it was written: line {line}: {fault}. Nothing goes on from a record "
                    f"that was changed: restore the file, or give another output_dir (rewarm verify {self.root} names "
                    "all that is wrong)"
                )

    def recorded(self, event: str) -> dict[str, Any] | None:
        """The newest entry of an event, if there is one."""
        return next((entry for entry in reversed(self.ledger()) if entry["event"] == event), None)

    def started(self, leg: str) -> dict[str, Any] | None:
        """The newest entry of a leg's start, if it was started."""
        starts = (entry for entry in reversed(self.ledger()) if entry["event"] == "leg started")
        return next((entry for entry in starts if entry["leg"] == leg), None)

    def finished(self) -> dict[str, dict[str, Any]]:
        """The ledger's entry of each finished leg, by the leg's name."""
        return {entry["leg"]: entry for entry in self.ledger() if entry["event"] == "leg finished"}

    def steps_made(self) -> dict[str, int]:
        """The steps of each finished leg, by the leg's name."""
        return {leg: int(entry["steps"]) for leg, entry in self.finished().items()}

    def resolved(self) -> Plan:
        """The plan this directory was made by; UserError when it is no run directory."""
        file = self.root / PLAN
        if not file.is_file():
            raise UserError(f"'{self.root}' is no run directory: it holds no {PLAN}")
        return from_values(json.loads(file.read_text(encoding="utf-8")))

    def claim(self, plan: Plan) -> None:
        """Writes the plan, or checks that the directory belongs to this plan; UserError naming the changed keys.

        A run that has recorded nothing yet has nothing to protect: its plan was refused, and may be corrected.
        """
        file = self.root / PLAN
        values = plan.resolved()
        before = _resolved(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else values
        changed = sorted(changes(before, values, HARMLESS))
        if changed and self.ledger():
            raise UserError(self._refusal(plan, before, changed))
        if changed:
            for made in (self.tokenizer, self.base, self.evaluations):
                shutil.rmtree(made, ignore_errors=True)
        self.write_json(PLAN, values)

    def _refusal(self, plan: Plan, before: Mapping[str, Any], changed: list[str]) -> str:
        """Why a changed plan is refused: stages that only one of the two has are no change but an update."""
        mine, theirs = ([stage["name"] for stage in values["stages"]] for values in (before, plan.resolved()))
        if len(theirs) > len(mine) and theirs[: len(mine)] == mine:
            return (
                f"'{self.root}' was started with the stages {', '.join(mine)}, and this plan has more: "
                f"{', '.join(theirs[len(mine) :])}. Add them one by one: rewarm add-stage {self.root} --corpus PATH"
            )
        if (added := self.recorded(ADDED)) and len(mine) > len(theirs) and mine[: len(theirs)] == theirs:
            return (
                f"'{self.root}' has stages that were added since this plan was run: {', '.join(mine[len(theirs) :])}. "
                f"Nothing was changed. Its whole plan is {self.root / PLAN}; go on with: {added['command']}"
            )
        return (
            f"'{self.root}' was started with another plan; changed: {'; '.join(changed[:6])}. "
            "Give another output_dir, or restore the plan to go on with this run"
        )

    def clear_partials(self) -> None:
        """Deletes the scores that a killed process had begun to write; for the process that holds the directory."""
        for file in self.evaluations.rglob("*.partial"):
            file.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for this process; UserError when another runs in it, or its ledger was changed.

        What the operating system says of a full disk becomes a StorageError, whichever file it was about; it says what
        is free and what the rest of the run needs.
        """
        with full_disk_told(self.root, "Nothing was begun, and what was there"):
            self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a+") as file:
            if not _locks(file):
                raise UserError(f"another rewarm process runs in '{self.root}': wait for it or stop it")
            self.check_ledgers()
            try:
                with full_disk_told(self.root, "Everything saved before"):
                    yield
            except StorageError as error:
                raise room.told(self, error) from error


def _is_undone(entry: Mapping[str, Any], undone: Mapping[str, Any]) -> bool:
    """Whether an event is about a leg that was taken back since, or about its stage being added."""
    if entry["event"] == ADDED:
        return bool(entry["stage"] == undone["stage"])
    return entry.get("leg") in undone["legs"]


def _resolved(values: dict[str, Any]) -> dict[str, Any]:
    """A stored plan with the keys that came since it was stored; as it is where it can no longer be read."""
    try:
        return from_values(values).resolved()
    except UserError:
        return values


def _locks(file: IO[str]) -> bool:
    """Takes the lock of a run; tried for half a second, because a look at the status holds it for a moment too."""
    for _ in range(5):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return True
    return False


def changes(before: Any, after: Any, harmless: tuple[str, ...] = HARMLESS, path: str = "") -> Iterator[str]:
    """What differs between two plans as plain values, key by key, but for `harmless` ones at the top."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before.keys() | after.keys():
            if path or key not in harmless:
                yield from changes(before.get(key), after.get(key), harmless, f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from changes(old, new, harmless, f"{path}.{index}")
    elif before != after:
        yield f"{path}: {before!r} -> {after!r}"
