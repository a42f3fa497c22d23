"""Files that appear under their names only when whole, folders held by one process, and what a full disk says."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from rewarm.types import StorageError, UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read_json(file: Path) -> Any:
    """The value in a file; None when there is no file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def sha256_of(files: Iterable[Path]) -> str:
    """SHA-256 over the SHA-256 of each file, in their order, hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(sha256(file)))
    return digest.hexdigest()


def sha256(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def file_digest(file: Path) -> str:
    """BLAKE2b of a file in 16 bytes, hexadecimal, as prepared text names its files."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_json(file: Path, value: Any) -> None:
    """Writes a value to a file that is never seen half-written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("w", encoding="utf-8") as opened:
        opened.write(json.dumps(value, indent=1) + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(partial, file)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def free_at(path: Path) -> int:
    """Bytes that this user may still write at a path. A quota of a user is not seen: the system tells of none."""
    return shutil.disk_usage(existing(path)).free


def bytes_in(folder: Path, without: Path | None = None) -> int:
    """Bytes of the files in a folder and below it, but for links and for what lies in `without`; what another thread
    or process deletes meanwhile counts as nothing."""
    total = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(parent, name) != without]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = Path(parent, name).lstat()
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def sync_folder(folder: Path) -> None:
    """Flushes the names of a folder's files to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def full_disk_told(folder: Path, kept: str) -> Iterator[None]:
    """Turns what the system says of a full disk, whichever file it was about, into a StorageError; `kept` says what in
    the folder is whole. Other errors pass."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError) or error.errno not in _FULL:
            raise
        raise StorageError(
            f"'{folder}' could not be written: {error}. {kept} is whole: make room and run the same command again"
        ) from error


@contextlib.contextmanager
def held(folder: Path, kept: str) -> Iterator[None]:
    """Holds a folder, made if need be, for this process; UserError when another has it, and as `full_disk_told`."""
    with full_disk_told(folder, kept):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another rewarm process works in '{folder}': wait for it or stop it") from None
            yield


@contextlib.contextmanager
def stored(what: str) -> Iterator[None]:
    """Turns an error of the file system into a StorageError that says what could not be written."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"could not write {what}: {error}. Make room or choose another folder; nothing broke"
        ) from error


@contextlib.contextmanager
def replaced(file: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to, which takes the name `file` when the block ends well; packed if that ends in .zst.

    StorageError when it cannot be written; what had the name before is then still there.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        with stored(f"'{file}'"):
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as plain, _packed(plain, file.suffix == ".zst") as writer:
                yield writer
            os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _packed(plain: BinaryIO, packed: bool) -> Iterator[BinaryIO]:
    if not packed:
        yield plain
        return
    with zstandard.ZstdCompressor(level=3).stream_writer(plain, closefd=False) as writer:
        yield writer
