"""The dependencies: pinned exactly, with a licence that is allowed, and each needed by something.

    python benchmarks/audit.py [--lock requirements.lock] [--json]

Looks at what is installed beside it, and asks nobody. `pip-audit -r requirements.lock` asks a public service for known
weaknesses; run it where there is a network. The exit code is 1 when a dependency is not pinned, not installed in the
version of the lock, of another licence, or needed by nothing.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!]+)")
ALLOWED = (
    "apache", "mit", "bsd", "isc", "psf", "python software foundation", "mpl", "mozilla public license", "unlicense",
    "hpnd", "zlib", "0bsd", "cc0", "public domain", "cnri-python",
)  # fmt: skip
"""Words of licences under which a program under Apache-2.0 may use a library."""
REFUSED = re.compile(r"\b(a?gpl|affero|sspl|busl|proprietary|non-?commercial)", re.IGNORECASE)
LESSER = re.compile(r"\blgpl|lesser general public", re.IGNORECASE)
"""Allowed for a library that is imported and not copied."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the lock: its licence as the metadata has it, who needs it, and what is wrong; "" when nothing is."""

    name: str
    version: str
    licence: str
    needed_by: str
    fault: str


def canonical(name: str) -> str:
    """A name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: Path) -> tuple[dict[str, str], list[str]]:
    """Name and version of every pinned line, and the lines that pin nothing."""
    found, loose = {}, []
    for line in lock.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].partition(";")[0].strip()
        if not text or text.startswith("-"):
            continue
        match = PINNED.fullmatch(text)
        if match is None:
            loose.append(text)
        else:
            found[match[1]] = match[2]
    return found, loose


def licence_of(metadata: Mapping[str, str], classifiers: Iterable[str]) -> str:
    """A distribution's licence: its expression, its classifiers, or the first line of its free text."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    named = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    named = [one for one in named if one != "OSI Approved"]
    if named:
        return ", ".join(named)
    return next((line.strip() for line in str(metadata.get("License") or "").splitlines() if line.strip()), "")


def is_allowed(licence: str) -> bool:
    """Whether a licence is on the list and holds nothing that is refused."""
    words = licence.lower()
    if LESSER.search(words):
        return True
    return any(re.search(rf"\b{re.escape(word)}", words) for word in ALLOWED) and REFUSED.search(words) is None


def imported() -> set[str]:
    """The top-level modules that the package, its tests and its benchmarks import."""
    found = set()
    for folder in ("rewarm", "tests", "benchmarks", "studies"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {name.name.partition(".")[0] for name in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found


def needs(pinned: Iterable[str]) -> dict[str, set[str]]:
    """Who needs each distribution: `rewarm` by its metadata or an import, or other distributions of the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    found: dict[str, set[str]] = {}
    for one in [*asked, "setuptools"]:  # the last builds it
        found.setdefault(canonical(re.split(r"[^A-Za-z0-9._-]", one)[0]), set()).add("rewarm")
    homes = importlib.metadata.packages_distributions()
    for module in imported():
        for home in homes.get(module, []):
            found.setdefault(canonical(home), set()).add("rewarm")
    for name in pinned:
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for one in requirements:
            found.setdefault(canonical(re.split(r"[^A-Za-z0-9._-]", one)[0]), set()).add(canonical(name))
    return found


def audit(lock: Path) -> list[Finding]:
    """A finding for every line of the lock."""
    pinned, loose = pins(lock)
    needed = needs(pinned)
    found = [Finding(line, "", "", "", "not pinned to one version") for line in loose]
    for name, version in pinned.items():
        who = sorted(needed.get(canonical(name), ()), key=lambda one: (one != "rewarm", one))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(name, version, "", ", ".join(who), "not installed here"))
            continue
        licence = licence_of(distribution.metadata, distribution.metadata.get_all("Classifier") or [])  # type: ignore[arg-type]
        faults = []
        if distribution.version.partition("+")[0] != version.partition("+")[0]:
            faults.append(f"installed as {distribution.version}")
        if not is_allowed(licence):
            faults.append("licence not on the list" if licence else "no licence in its metadata")
        if not who:
            faults.append("needed by nothing")
        found.append(Finding(name, version, licence, ", ".join(who[:3]), "; ".join(faults)))
    return found


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = audit(asked.lock)
    wrong = [one for one in found if one.fault]
    if asked.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        for one in found:
            print(
                f"{one.name:22.22} {one.version:20.20} {one.licence:38.38} {one.needed_by:32.32} {one.fault}".rstrip()
            )
        print(f"{len(found)} dependencies, {len(wrong)} with a fault", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
