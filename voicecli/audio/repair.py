"""Reads recordings whose header says that there is no sound, as a recorder leaves that was killed.

Where the length of the sound is 0 and sound follows, libsndfile is shown a header with the length
that means "up to the end of the file".
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

UNKNOWN = b"\xff" * 4  # a length that programs write into a pipe; libsndfile reads to the end

_LONGEST_HEADER = 1 << 20  # bytes searched for the sound


class PatchedFile(io.RawIOBase):
    """The file ``path``, with other bytes at some positions.

    failure: why the file could not be read to its end; C code calls, which cannot raise.
    """

    def __init__(self, path: Path, patches: Mapping[int, bytes]) -> None:
        self._file = path.open("rb")
        self._patches = patches
        self.failure: OSError | None = None

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    @override
    def tell(self) -> int:
        return self._file.tell()

    @override
    def readinto(self, buffer: Any, /) -> int:
        start = self._file.tell()
        try:
            found = bytearray(self._file.read(len(buffer)))
        except OSError as error:
            self.failure = error
            return 0
        for position, patch in self._patches.items():
            for index, byte in enumerate(patch, position - start):
                if 0 <= index < len(found):
                    found[index] = byte
        buffer[: len(found)] = bytes(found)
        return len(found)

    @override
    def close(self) -> None:
        self._file.close()
        super().close()


def find_patches(path: Path) -> dict[int, bytes]:
    """Return what to change in the header of ``path``, by position; empty if nothing is wrong."""
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            header = file.read(_LONGEST_HEADER)
            length = os.fstat(file.fileno()).st_size
    except OSError:  # explained by what opens the file
        return {}
    match header[:4]:
        case b"RIFF" | b"RF64" | b"BW64":
            return _patch_wave(header, length)
        case b"FORM" if header[8:12] in (b"AIFF", b"AIFC"):
            return _patch_aiff(header, length)
        case b"caff":
            return _patch_caf(header, length)
        case b".snd" if header[8:12] == bytes(4):
            return {8: UNKNOWN}
    return {}


def _list_chunks(header: bytes, start: int, form: str) -> Iterator[tuple[bytes, int, int]]:
    """List (name, position of its content, length) of each chunk; ``form`` is of its head."""
    size, position = struct.calcsize(form), start
    while position + size <= len(header):
        name, length = struct.unpack_from(form, header, position)
        position += size
        yield name, position, length
        position += length + (length % 2 if size == 8 else 0)


def _patch_wave(header: bytes, length: int) -> dict[int, bytes]:
    long_form = header[:4] != b"RIFF"
    patches = {0: b"RF64"} if header[:4] == b"BW64" else {}
    counted = None
    for name, position, size in _list_chunks(header, 12, "<4sI"):
        if name == b"ds64" and len(header) >= position + 16:
            (counted,) = struct.unpack_from("<Q", header, position + 8)
        if name == b"data":
            declared = counted if long_form and size in (0, 2**32 - 1) else size
            if not declared and _is_sound(header[position:], length - position):
                return {0: b"RIFF", 4: UNKNOWN, position - 4: UNKNOWN}
            break
    return patches


def _patch_aiff(header: bytes, length: int) -> dict[int, bytes]:
    patches = {4: UNKNOWN}
    for name, position, size in _list_chunks(header, 12, ">4sI"):
        if name == b"COMM":
            patches[position + 2] = UNKNOWN
        if name == b"SSND" and size <= 8 < length - position:
            return patches | {position - 4: UNKNOWN}
    return {}


def _patch_caf(header: bytes, length: int) -> dict[int, bytes]:
    for name, position, size in _list_chunks(header, 8, ">4sQ"):
        if name == b"data":  # its first four bytes count edits
            rest = length - position
            is_open = size in (0, 4, 2**64 - 1)
            return {position - 8: struct.pack(">Q", rest)} if is_open and rest > 4 else {}
    return {}


def _is_sound(rest: bytes, length: int) -> bool:
    """Whether ``rest``, the beginning of ``length`` bytes after an empty chunk, is no chunk."""
    if length < 2:
        return False
    name, size = rest[:4], int.from_bytes(rest[4:8], "little")
    is_chunk = name.isascii() and name.decode("ascii").isprintable() and 8 + size <= length
    return not is_chunk
