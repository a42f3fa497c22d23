"""How the base's training ended: at which rate, after which peak. From the run that made it, or from what lies in its
folder; where neither says so, a short sweep of peaks has to."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarm.river.directory import RunDirectory
from rewarm.training import journal

_PEAKS = ("peak_learning_rate", "max_learning_rate", "max_lr", "learning_rate", "lr")


@dataclass(frozen=True, slots=True)
class Ending:
    """The highest and the last learning rate of the base's training, where they are known, and `how` they are."""

    how: str
    peak: float | None = None
    last: float | None = None

    @property
    def known(self) -> bool:
        """Whether a sweep of peaks is not needed."""
        return self.peak is not None


UNKNOWN = Ending("neither a run nor the base's folder says at which learning rate it was trained: a short sweep looks")


def ending(base: str) -> Ending:
    """What is known of a base. A folder that is neither a run's stage nor says a rate, or a hub name, is not known."""
    folder = Path(base)
    for found in (_of_run(folder), _of_trainer(folder), _of_config(folder)) if folder.is_dir() else ():
        if found is not None:
            return found
    return UNKNOWN


def _of_run(folder: Path) -> Ending | None:
    """From the journal of the leg, where the folder is the model of one of a run directory."""
    run = RunDirectory(folder.absolute().parent)
    if not run.ledger_file.is_file() or folder.name not in run.finished():
        return None
    rates = [entry["rate"] for entry in journal.read(run.training(folder.name) / "journal.jsonl")]
    rates = [rate for rate in rates if isinstance(rate, float) and math.isfinite(rate)]
    if not rates or max(rates) <= 0:
        return None
    return Ending(f"the journal of {folder.name} in the run '{run.root}'", max(rates), rates[-1])


def _of_trainer(folder: Path) -> Ending | None:
    """From the trainer_state.json that the Trainer of transformers leaves in its checkpoints."""
    state = _read(folder / "trainer_state.json")
    log = state.get("log_history")
    rates = [entry.get("learning_rate") for entry in log if isinstance(entry, dict)] if isinstance(log, list) else []
    numbers = [float(rate) for rate in rates if isinstance(rate, int | float) and rate > 0]
    return Ending("trainer_state.json in the base's folder", max(numbers), numbers[-1]) if numbers else None


def _of_config(folder: Path) -> Ending | None:
    """From a learning rate that somebody wrote into config.json."""
    config = _read(folder / "config.json")
    for name in _PEAKS:
        rate = config.get(name)
        if isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate < 1:
            return Ending(f"'{name}' in the base's config.json", float(rate))
    return None


def _read(file: Path) -> dict[str, Any]:
    """The object in a JSON file; nothing where there is none that can be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
