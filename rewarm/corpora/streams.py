"""Bytes of plain, gzip, bzip2 and Zstandard files in blocks of bounded size, and the lines in them.

Memory does not depend on the size of a file, nor on how far it is compressed: the decompressors are asked for at most
`BLOCK_BYTES` at a time, where reading a compressed chunk whole could expand it ten thousand times.
"""

import bz2
import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from rewarm.types import UserError

BLOCK_BYTES = 256 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COMPRESSED = (".gz", ".bz2", ".zst")
_UNREAD = (".xz", ".lz4", ".lzma", ".zip", ".7z", ".tar", ".tgz", ".br")
# The largest window the format knows (`zstd --long=31`); the library's own bound of 128 MB calls such files broken.
_LARGEST_WINDOW = 2**31


class CutShort(Exception):
    """A file ends early or is damaged; whatever could be read before the fault has been handed out."""


def opened(path: Path) -> BinaryIO:
    """The file, open for reading bytes; UserError when the system refuses or the packing is not one that is read."""
    if path.suffix.lower() in _UNREAD:
        raise UserError(
            f"'{path}': {path.suffix} files are not read. Allowed: plain, {', '.join(COMPRESSED)}. "
            "Unpack the file, or pack it again with gzip or zstd."
        )
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be read: {error.strerror}. Check that it exists and who may read it."
        ) from None


def blocks(path: Path) -> Iterator[bytes]:
    """The content of a file, unpacked, in blocks of at most `BLOCK_BYTES`; CutShort where a packed file is damaged."""
    with opened(path) as file:
        suffix = path.suffix.lower()
        if suffix == ".gz":
            yield from _gzip_blocks(file)
        elif suffix == ".bz2":
            yield from _bzip2_blocks(file)
        elif suffix == ".zst":
            yield from _zstandard_blocks(file)
        else:
            while block := file.read(BLOCK_BYTES):
                yield block


def line_blocks(path: Path, max_row_bytes: int) -> Iterator[tuple[int, list[bytes | None]]]:
    """The lines of a file in lists, each with the number (from 1) of its first line.

    Lines are split at \\n only and come without it. None stands for a line longer than `max_row_bytes`, which is
    never held whole. The byte-order mark is dropped. CutShort where a packed file is damaged: the piece of a line
    before the fault is not given out. Lists rather than lines, because a generator step costs more than a short line.
    """
    number = 1
    begun: list[bytes] = []
    begun_bytes = 0
    for block in blocks(path):
        end = block.rfind(b"\n")
        if end >= 0:
            lines: list[bytes | None] = [*block[:end].split(b"\n")]
            begun.append(lines[0] or b"")
            begun_bytes += len(begun[-1])
            lines[0] = b"".join(begun) if begun_bytes <= max_row_bytes else None
            yield number, _checked(lines, number, max_row_bytes)
            number += len(lines)
            begun, begun_bytes = [], 0
        begun.append(block[end + 1 :])
        begun_bytes += len(begun[-1])
        if begun_bytes > max_row_bytes:
            begun.clear()
    if begun_bytes:
        yield (
            number,
            _checked([b"".join(begun) if begun_bytes <= max_row_bytes else None], number, max_row_bytes),
        )


def _checked(lines: list[bytes | None], number: int, max_row_bytes: int) -> list[bytes | None]:
    if number == 1 and lines[0] is not None:
        lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
    if max_row_bytes < BLOCK_BYTES:
        return [line if line is not None and len(line) <= max_row_bytes else None for line in lines]
    return lines


def whole(path: Path, max_bytes: int) -> bytes | None:
    """The content of a file, unpacked, without its byte-order mark; None above `max_bytes`. CutShort when damaged."""
    pieces: list[bytes] = []
    size = 0
    for block in blocks(path):
        size += len(block)
        if size > max_bytes:
            return None
        pieces.append(block)
    return b"".join(pieces).removeprefix(BYTE_ORDER_MARK)


def _gzip_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Every member of a gzip file. `zlib` itself, since `gzip.open` loses what it read before a damaged place."""
    packed = file.read(BLOCK_BYTES)
    try:
        while True:
            inflater = zlib.decompressobj(wbits=31)
            while True:
                block = inflater.decompress(packed, BLOCK_BYTES)
                if block:
                    yield block
                if inflater.eof:
                    break
                if not block and not packed:
                    raise CutShort
                packed = inflater.unconsumed_tail or file.read(BLOCK_BYTES)
            packed = inflater.unused_data
            # Zeros after the last member are padding, left by tapes and block devices.
            while not (packed := packed.lstrip(b"\0")):
                if not (packed := file.read(BLOCK_BYTES)):
                    return
    except zlib.error:
        raise CutShort from None


def _bzip2_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Every stream of a bzip2 file: a multistream dump has one for every 100 pages."""
    packed = file.read(BLOCK_BYTES)
    first = True
    try:
        while first or packed:
            inflater = bz2.BZ2Decompressor()
            while not inflater.eof:
                if inflater.needs_input and not packed and not (packed := file.read(BLOCK_BYTES)):
                    raise CutShort
                # At a damaged place, what this call unpacked before it is lost.
                block = inflater.decompress(packed, BLOCK_BYTES // 4)
                packed = b""
                if block:
                    yield block
            first = False
            packed = inflater.unused_data or file.read(BLOCK_BYTES)
    except OSError:
        raise CutShort from None


def _zstandard_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Every frame of a Zstandard file. The library's reader takes a file cut inside a frame for a whole one."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    try:
        with unpacker.stream_reader(file, read_size=BLOCK_BYTES, read_across_frames=True, closefd=False) as reader:
            while block := reader.read(BLOCK_BYTES):
                yield block
    except zstandard.ZstdError:
        raise CutShort from None
    if not _ends_with_a_frame(file):
        raise CutShort


def _ends_with_a_frame(file: BinaryIO) -> bool:
    """Whether the last frame of a Zstandard file is complete, from the sizes that its blocks declare (RFC 8878)."""
    if file.seek(0, 2) == 0:
        return False
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as packed:
        position = 0
        while position < len(packed):
            position = _end_of_frame(packed, position)
        return position == len(packed)


def _end_of_frame(packed: mmap.mmap, position: int) -> int:
    """Where the frame that begins at `position` ends; beyond the end of the file when it is cut."""
    head = packed[position : position + 18]
    if head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return position + 8 + int.from_bytes(head[4:8], "little")
    try:
        checksum_bytes = 4 if zstandard.get_frame_parameters(head).has_checksum else 0
        position += zstandard.frame_header_size(head)
    except zstandard.ZstdError:
        return len(packed) + 1
    while position + 3 <= len(packed):
        header = int.from_bytes(packed[position : position + 3], "little")
        repeats_one_byte = (header >> 1) & 3 == 1
        position += 3 + (1 if repeats_one_byte else header >> 3)
        if header & 1:
            return position + checksum_bytes
    return len(packed) + 1
