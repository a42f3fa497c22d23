"""Files of probes -> Probe: a fact asked for as text whose continuation is its object. One file per format.

Laws: reading twice gives the same probes in the same order; ids are unique in a set; a row that cannot be read is
counted in `BadRows` with its reason and place, and one that is left out on purpose in `Tally` with its reason, so that
rows = probes + left out + bad.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from rewarm.corpora.faults import check_budget
from rewarm.facts import Tally
from rewarm.methods import Method
from rewarm.types import BadRows, UserError

Kind = Literal["unchanged", "changed", "new", "deleted"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What became of a fact from one snapshot to the next. CKL's names: invariant (IL), updated (UL), new (NL)."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One fact, asked for.

    A model reads `prompt`, a blank and then an answer; `suffix` ends the sentence for models that read both sides of
    a blank. Any of `answers` is right, the first is what is scored by likelihood; a deleted fact has none.
    `old_answers` were right before (changed and deleted facts). `choices` are the answers offered by a multiple-choice
    question, the right ones among them. `date` is when the answers held (ISO, possibly a year or month only), "" if
    unknown. `place` is `file:line` for error messages.
    """

    id: str
    kind: Kind
    prompt: str
    answers: tuple[str, ...]
    old_answers: tuple[str, ...] = ()
    suffix: str = "."
    subject: str = ""
    relation: str = ""
    date: str = ""
    choices: tuple[str, ...] = ()
    place: str = ""


class ProbeSet(Method):
    """Slot: a set of probes in files."""

    @abstractmethod
    def files(self) -> list[Path]:
        """The files read, sorted; UserError when there are none."""

    @abstractmethod
    def read(self, bad: BadRows) -> Iterator[Probe]:
        """Every good probe in a fixed order; bad rows and the number of rows seen are counted in `bad`."""


def load_set(name: str, probe_set: ProbeSet, bad_limit: float, tally: Tally | None = None) -> list[Probe]:
    """Every probe of a set, in order; `tally`, if given, then holds what was counted.

    UserError when more than `bad_limit` (a share) of its rows cannot be read, or no probe is left.
    """
    tally = Tally() if tally is None else tally
    probes = list(probe_set.read(tally))
    check_budget(name, tally, bad_limit)
    if not probes:
        left = ", ".join(f"{count:,} {reason}" for reason, count in tally.left_out.most_common()) or "nothing to read"
        files = ", ".join(map(str, probe_set.files()[:3]))
        raise UserError(f"probes '{name}' hold no probe: {tally.rows:,} rows of {files} ({left}). Change its options")
    return probes


SLOT = ProbeSet
