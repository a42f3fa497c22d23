"""A configuration of another program while it is translated: what was taken of it, and what became of each key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rewarm.recipes.migration_keys import DIFFERS, IDLE
from rewarm.types import UserError

_OFF: tuple[Any, ...] = (None, False, 0, "", "none", "None")


@dataclass(slots=True)
class Given:
    """The keys of a configuration of `program`.

    `translated` says into what a key became, `idle` why a key has no meaning here, `differs` what is otherwise here
    than the key asks for, `defaults` what the program does where its configuration says nothing, if that is not what
    a plan does. `notes` are for the reader of the plan.
    """

    program: str
    values: Mapping[str, Any]
    translated: dict[str, str] = field(default_factory=dict)
    idle: dict[str, str] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    defaults: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def take(self, key: str, how: str) -> Any:
        """The value of a key, noted as translated into `how`; None where it is not given or left empty."""
        value = self.values.get(key)
        if value is not None:
            self.translated[key] = how
        return value

    def number(self, key: str, how: str, default: float | None = None, what: str = "") -> float | None:
        """As `take`, as a number; `default` where it is not given, noted under `what`. UserError for no number."""
        value = self.take(key, how)
        if value is None:
            if default is not None and what:
                self.defaults[what] = f"{default:g}, as {self.program} has it"
            return default
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = math.nan
        if isinstance(value, bool) or not math.isfinite(found):
            raise UserError(f"{key} {str(value)[:60]!r} is no number: correct it in the configuration")
        return found

    def whole(self, key: str, how: str, default: int | None = None, what: str = "") -> int | None:
        """As `number`, as a whole number; UserError for a fraction."""
        found = self.number(key, how, default, what)
        if found is not None and found != int(found):
            raise UserError(f"{key} {found:g} is no whole number: correct it in the configuration")
        return None if found is None else int(found)

    def is_on(self, key: str, how: str) -> bool:
        """Whether a key is set to anything but off; noted as translated."""
        return self.take(key, how) not in _OFF

    def differ(self, key: str, why: str) -> None:
        """Notes that what a key asks for is not, or not wholly, done here."""
        self.translated.pop(key, None)
        self.differs[key] = why

    def sort_rest(self) -> None:
        """Sorts the keys that nothing has taken: without meaning here, without counterpart, or unknown."""
        for key, value in self.values.items():
            if key in self.translated or key in self.differs or key in self.idle:
                continue
            if key in IDLE[self.program]:
                self.idle[key] = IDLE[self.program][key]
            elif key in DIFFERS[self.program]:
                if value in _OFF:
                    self.idle[key] = "turned off"
                else:
                    self.differs[key] = DIFFERS[self.program][key]
            elif value is None and self._is_taken(key):
                self.idle[key] = "left empty"
            else:
                self.unknown.append(key)

    def _is_taken(self, key: str) -> bool:
        from rewarm.recipes.migration_training import TAKEN

        return key in TAKEN[self.program]
