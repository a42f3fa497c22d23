"""The batch that comes next: known by a fingerprint that is saved with a checkpoint, so that a leg which goes on can
tell whether it goes on with the data it would have had."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rewarm.types import Batch, UserError


def fingerprint(batches: list[Batch]) -> str:
    """A digest of the micro-batches of a step: their number, a colon, and SHA-256 of tokens, targets and positions.

    Fingerprints of the same rows cut into other micro-batches differ, also in the number.
    """
    digest = hashlib.sha256()
    for batch in batches:
        for tensor in (batch.tokens_BT, batch.targets_BT, batch.positions_BT):
            digest.update(tensor.contiguous().numpy().data)
    return f"{len(batches)}:{digest.hexdigest()}"


class Coming:
    """The micro-batches of each step, of which the next ones can be looked at before their turn."""

    def __init__(self, steps: Iterator[list[Batch]]) -> None:
        self._steps = steps
        self._held: list[list[Batch]] = []

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        return self._held.pop() if self._held else next(self._steps)

    def following(self, current: list[Batch] | None = None) -> str | None:
        """The fingerprint of the next step's micro-batches: `current`, if they have come and are still to be trained
        on, otherwise those whose turn is next; None after the last step."""
        if current is not None:
            return fingerprint(current)
        if not self._held and (found := next(self._steps, None)) is not None:
            self._held.append(found)
        return fingerprint(self._held[0]) if self._held else None

    def check(self, saved: str | None, where: str) -> bool | None:
        """Whether the next micro-batches are those of a saved fingerprint; None where that cannot be told: nothing was
        saved, or they are cut otherwise now. UserError, naming the place `where`, when they are others."""
        found = self.following() if saved is not None else None
        if saved is None or found is None or saved.partition(":")[0] != found.partition(":")[0]:
            return None
        if saved != found:
            raise UserError(
                f"{where}: the first batch after resuming is not the one that was to come next. The prepared text has "
                "changed on the disk, or another version of rewarm makes its batches: rewarm verify with the run's "
                "folder names damaged files. Delete the damaged folder of prepared text, which is made again, or give "
                "another output_dir"
            )
        return True
