"""Work for tests of engines that other processes can import: it lies beside the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    """A function: a folder -> SHA-256 of every file in it by its path; locks left out."""

    def of(folder: Path) -> dict[str, str]:
        files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
        return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    return of
