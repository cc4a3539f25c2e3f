"""Reads recordings with a wrong header, by showing libsndfile another one.

Where the length of the sound is 0 and sound follows, as a recorder leaves it that was killed, the
new header has the length that means "up to the end of the file".  Where the chunks of a WAVE file
do not lead to its sound, the sound is searched for.
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
    """The file ``path``, without its first ``skipped`` bytes and with others at some positions.

    failure: why the file could not be read to its end; C code calls, which cannot raise.
    """

    def __init__(self, path: Path, patches: Mapping[int, bytes], skipped: int = 0) -> None:
        self._file = path.open("rb")
        self._patches = patches
        self._skipped = skipped
        self._file.seek(skipped)
        self.failure: OSError | None = None

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = self._skipped if whence == os.SEEK_SET else 0
        return self._file.seek(start + offset, whence) - self._skipped

    @override
    def tell(self) -> int:
        return self._file.tell() - self._skipped

    @override
    def readinto(self, buffer: Any, /) -> int:
        start = self.tell()
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
    header, length = _read_header(path)
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


def open_by_search(path: Path) -> PatchedFile | None:
    """Open a WAVE file whose chunks do not lead to its sound, with a header that does.

    A chunk of odd length may lack the pad byte after it, or a length exceed the file.
    """
    header, length = _read_header(path)
    data, form = header.find(b"data"), header.find(b"fmt ")
    while data >= 0 and not 0 < _read_size(header, data) <= length - data - 8:
        data = header.find(b"data", data + 1)  # the word, in another chunk
    form_end = form + 8 + _read_size(header, form)
    if header[:4] != b"RIFF" or not 12 <= form < form_end <= data:
        return None
    skipped = data % 2  # chunks begin at even positions
    start = b"RIFF" + UNKNOWN + b"WAVE" + header[form:form_end]
    gap = data - skipped - len(start) - 8
    if gap >= 0:
        start += struct.pack("<4sI", b"JUNK", gap) + bytes(gap)
    return PatchedFile(path, {0: start}, skipped) if len(start) == data - skipped else None


def _read_size(header: bytes, position: int) -> int:
    """Return the length that the head of the chunk at ``position`` declares."""
    return int.from_bytes(header[position + 4 : position + 8], "little")


def _read_header(path: Path) -> tuple[bytes, int]:
    """Return the beginning of the file and its length; nothing if it is none or cannot be read."""
    if not path.is_file():
        return b"", 0
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_HEADER), os.fstat(file.fileno()).st_size
    except OSError:  # explained by what opens the file
        return b"", 0


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
