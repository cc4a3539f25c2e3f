"""Recordings whose header does not say how long they are, or says it wrongly."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.wild import Case
from voicecli.audio.wav import open_wav
from voicecli.errors import InputError

KIND = "a recording without its length"
RATE, FRAMES = 16_000, 4_000
WHOLE = "plays whole"
NO_DATA = "FILE cannot be read as a recording: Error in WAV file. No 'data' chunk marker"
EMPTY = "FILE contains no sound"
UNREADABLE = "FILE cannot be read as a recording"
SOUND = np.random.default_rng(1).integers(-20_000, 20_000, FRAMES).astype(np.int16)


@dataclass(frozen=True)
class LengthCase(Case):
    """form: libsndfile's name of the format; damage: changes the file."""

    form: str
    damage: Callable[[bytearray], bytes | bytearray] = field(repr=False)

    def outcome(self, folder: Path) -> str:
        path = folder / "a.bin"
        soundfile.write(path, SOUND, RATE, format=self.form, subtype="PCM_16")
        path.write_bytes(self.damage(bytearray(path.read_bytes())))
        try:
            with open_wav(path, RATE, 0.02) as source:
                out = np.frombuffer(b"".join(source._read_blocks()), np.int16)[:FRAMES]
        except InputError as error:
            return error.cause.replace(str(path), "FILE")
        return WHOLE if (out == SOUND).all() and not source.warnings else str(source.warnings)


def put(*values: tuple[bytes, int, bytes]) -> Callable[[bytearray], bytearray]:
    """Overwrite bytes so far behind the first occurrence of a name."""

    def change(content: bytearray) -> bytearray:
        for name, offset, value in values:
            position = content.index(name) + offset
            content[position : position + len(value)] = value
        return content

    return change


def case(
    name: str, before: str, form: str, damage: Callable[[bytearray], bytes | bytearray]
) -> LengthCase:
    return LengthCase(KIND, name, before, WHOLE, form, damage)


def insert(chunk: bytes, before: bytes = b"data") -> Callable[[bytearray], bytearray]:
    """Put a chunk before another one."""

    def change(content: bytearray) -> bytearray:
        position = content.index(before)
        content[position:position] = chunk
        return content

    return change


ZERO4, ZERO8, ONES4, ONES8 = bytes(4), bytes(8), b"\xff" * 4, b"\xff" * 8
DS64 = [(b"ds64", 8, ZERO8), (b"ds64", 16, ZERO8), (b"ds64", 24, ZERO8)]

CASES = [
    case("WAV: data 0", EMPTY, "WAV", put((b"data", 4, ZERO4))),
    case("WAV: RIFF 0, data 0", EMPTY, "WAV", put((b"RIFF", 4, ZERO4), (b"data", 4, ZERO4))),
    case("WAV: RIFF 0", WHOLE, "WAV", put((b"RIFF", 4, ZERO4))),
    case("WAV: FFFFFFFF", WHOLE, "WAV", put((b"data", 4, ONES4))),
    case("WAV extensible: data 0", EMPTY, "WAVEX", put((b"data", 4, ZERO4))),
    case("WAV: trailing junk", WHOLE, "WAV", lambda content: content + b"TAG" * 99),
    case("RF64: ds64 of 0", EMPTY, "RF64", put(*DS64)),
    case("RF64: data of 0 in ds64", EMPTY, "RF64", put(DS64[1])),
    case("RF64: all 0", EMPTY, "RF64", put((b"RF64", 4, ZERO4), (b"data", 4, ZERO4), *DS64)),
    case("BW64", f"{UNREADABLE}: Format not recognised", "RF64", put((b"RF64", 0, b"BW64"))),
    case(
        "BW64: ds64 of 0",
        f"{UNREADABLE}: Format not recognised",
        "RF64",
        put((b"RF64", 0, b"BW64"), *DS64),
    ),
    case("W64: data 0", WHOLE, "W64", put((b"data", 16, ZERO8))),
    case("AIFF: SSND 8", EMPTY, "AIFF", put((b"SSND", 4, b"\0\0\0\x08"), (b"COMM", 10, ZERO4))),
    case("AIFF: SSND 0", WHOLE, "AIFF", put((b"SSND", 4, ZERO4))),
    case("CAF: data 0", f"{UNREADABLE}: Internal error", "CAF", put((b"data", 4, ZERO8))),
    case("CAF: data -1", f"{UNREADABLE}: malformed", "CAF", put((b"data", 4, ONES8))),
    case("CAF: data 4", EMPTY, "CAF", put((b"data", 4, struct.pack(">Q", 4)))),
    case("AU: data 0", EMPTY, "AU", put((b".snd", 8, ZERO4))),
    case("WAV: a chunk with a pad byte", WHOLE, "WAV", insert(b"LIST\x07\0\0\0INFOabc\0")),
    case("WAV: a pad byte missing", NO_DATA, "WAV", insert(b"LIST\x07\0\0\0INFOabc")),
    case("WAV: missing before fmt", NO_DATA, "WAV", insert(b"LIST\x07\0\0\0INFOabc", b"fmt ")),
    case("WAV: one byte, unpadded", NO_DATA, "WAV", insert(b"note\x01\0\0\0a")),
    case("WAV: LIST beyond the file", NO_DATA, "WAV", insert(b"LIST\0\0\x10\0INFO")),
    case("WAV: LIST of 4 GiB", NO_DATA, "WAV", insert(b"LIST\xff\xff\xff\xffINFO")),
    case("WAV: the word data in it", NO_DATA, "WAV", insert(b"LIST\0\0\x10\0INFOdata of mine")),
    case("WAV extensible: unpadded", NO_DATA, "WAVEX", insert(b"LIST\x05\0\0\0INFOa")),
    LengthCase(
        KIND,
        "WAV: a chunk beyond the file, and no sound",
        NO_DATA,
        NO_DATA,
        "WAV",
        lambda content: insert(b"LIST\0\0\x10\0INFO")(content)[:56],
    ),
    LengthCase(
        KIND,
        "WAV: data 0, and nothing follows",
        EMPTY,
        EMPTY,
        "WAV",
        lambda content: put((b"data", 4, ZERO4))(content)[:44],
    ),
    LengthCase(
        KIND,
        "WAV: data 0, and a chunk of text follows",
        EMPTY,
        EMPTY,
        "WAV",
        lambda content: put((b"data", 4, ZERO4))(content)[:44] + b"LIST\4\0\0\0INFO",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_sound_that_is_there_is_played(tmp_path: Path, case: LengthCase) -> None:
    assert case.outcome(tmp_path) == case.after
