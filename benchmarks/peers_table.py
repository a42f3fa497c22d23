"""The README's table of benchmarks/peers.py: made of its result alone, so a test can tell whether it is current."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- peers -->", "<!-- /peers -->"
MEANING = """\
Losses are nats per byte of held-out documents and their change against the base, by one scorer for all. *Trained*:
the model lies on disk. *First report*: the loss on old text, before and after, can be read. The peers' usual recipes
have no old text; a second evaluation set was added to them for this column, and prints a mean without an interval.
*Killed*: SIGKILL in the third quarter, then the command that goes on; weights against the undisturbed run. Not
compared is what the peers are made for: GPUs and their kernels, quantised training, chat tuning of many kinds.
Repeat: `make peers && python benchmarks/peers.py --readme`."""
_BETWEEN = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
TITLES = ("", "old text", "new text", "trained", "first report", "killed, gone on")


def table(result: dict[str, Any]) -> str:
    """The table between the two marks, marks included."""
    settings, machine = result["settings"], result["machine"]
    tokens = settings["steps"] * settings["rows"] * settings["seq_len"]
    head = [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}"]
    lines = [f"| {' | '.join(_cells(side, row))} |" for side, row in result["rows"].items()]
    note = (
        f"{tokens:,} tokens in {settings['steps']} updates, median of {settings['repeats']} runs. "
        f"Times are CPU seconds from the start of the process, one thread each: the machine had other work (load "
        f"{machine['load before']} to {machine['load after']} on {machine['cores']} cores)."
    )
    return "\n".join([BEGIN, *head, *lines, "", note, "", MEANING, END])


def _cells(side: str, row: dict[str, Any]) -> list[str]:
    name = f"{side} ({row['version']})"
    if "old" not in row:
        return [name, f"does not run here: {row['error']}", *[""] * (len(TITLES) - 2)]
    first = row["repeats"][0]
    return [
        name,
        *(f"{row[key]:.3f} ({row[key] / first[f'{key} before'] - 1:+.1%})" for key in ("old", "new")),
        f"{row['model']:.0f} s",
        f"{row['report']:.0f} s" if "report" in row else "never",
        _resume(row["resume"]),
    ]


def _resume(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"does not go on: {found['error']}"
    if not found["difference"]:
        return "same bits"
    if found.get("undisturbed difference"):
        return f"weights differ by up to {found['difference']:.1g}, as two undisturbed runs do"
    return f"weights differ by up to {found['difference']:.1g}"


def replaced(text: str, result: dict[str, Any]) -> str:
    """The README's text with the result's table; SystemExit when it has no marks."""
    if len(_BETWEEN.findall(text)) != 1:
        raise SystemExit(f"the README needs one pair of {BEGIN} and {END}")
    return _BETWEEN.sub(lambda found: table(result), text)


def write_readme(readme: Path, result: dict[str, Any]) -> bool:
    """Writes the table into the README; always true."""
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), result), encoding="utf-8")
    return True


def check_readme(readme: Path, result: dict[str, Any]) -> bool:
    """Whether the README has the result's table."""
    text = readme.read_text(encoding="utf-8")
    return replaced(text, result) == text
