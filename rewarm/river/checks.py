"""What a check looked at, what it expected, what it found, and whether that is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked. `right` is None where it could not be: `found` then says why."""

    subject: str
    what: str
    expected: str
    found: str
    right: bool | None

    @classmethod
    def of(cls, subject: str, what: str, expected: object, found: object) -> Check:
        """A check of two values that must be equal."""
        return cls(subject, what, str(expected), str(found), expected == found)

    @classmethod
    def within(cls, subject: str, what: str, distance: float, most: float) -> Check:
        """A check of a distance that may be so large; one that is no number is too large."""
        return cls(subject, what, f"at most {most:.3g}", f"{distance:.3g}", distance <= most)

    @classmethod
    def skipped(cls, subject: str, what: str, why: str) -> Check:
        """What could not be checked, and why."""
        return cls(subject, what, "", f"not checked: {why}", None)


def wrong(checks: Sequence[Check]) -> list[Check]:
    """Those that are not right."""
    return [check for check in checks if check.right is False]


def summary(checks: Sequence[Check]) -> str:
    """How many checks were right, wrong and left out, in a sentence."""
    counts = {word: sum(check.right is state for check in checks) for word, state in _STATES.items()}
    return ", ".join(f"{count} {word}" for word, count in counts.items())


_STATES = {"right": True, "wrong": False, "not checked": None}
