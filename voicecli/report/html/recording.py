"""Reads a kept conversation for a page: how loud both voices were, and the sound itself, small."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from voicecli.errors import InputError
from voicecli.report.html.waveform import Envelope, choose_row
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds

INTERVALS = 1000
"""Peaks in a row of the picture: a little more than a page has pixels."""

MOST_SOUND = 4_000_000
"""Bytes of the sound in a page; 8 to 20 minutes of a conversation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """A conversation as a page shows it.

    sound: Ogg Vorbis, the user left and the agent right; None if it is too large.
    """

    envelope: Envelope
    sound: bytes | None = None

    @property
    def data_uri(self) -> str | None:
        """The sound as an address that holds it."""
        if self.sound is None:
            return None
        return f"data:audio/ogg;base64,{b64encode(self.sound).decode()}"


def read_recording(path: Path, *, most_sound: int = MOST_SOUND) -> Recording:
    """Read the conversation in ``path``; raises InputError.

    most_sound: bytes of it that are kept for playing; of more, nothing.
    """
    with _open(path) as file:
        length = len(file) / file.samplerate
        envelope = _measure_envelope(file, length)
        file.seek(0)
        return Recording(envelope=envelope, sound=_encode(file, most_sound))


@contextmanager
def _open(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(path) as file:
            if file.channels != 2:
                raise InputError(f"{path} is not a recording by voicecli (mono)")
            yield file
    except soundfile.SoundFileError as error:
        raise InputError(f"{path} cannot be read: {sanitize_line(str(error))}") from error


def _measure_envelope(file: soundfile.SoundFile, length: Seconds) -> Envelope:
    size = max(round(choose_row(length) * file.samplerate / INTERVALS), 1)
    peaks = [
        np.abs(block.astype(np.float32)).max(axis=0) / 32768
        for block in file.blocks(size, dtype="int16", always_2d=True)
    ] or [np.zeros(2, np.float32)]
    user, agent = np.stack(peaks).T
    return Envelope(rate=file.samplerate / size, user=user, agent=agent)


def _encode(file: soundfile.SoundFile, most: int) -> bytes | None:
    """Encode as Vorbis: as small as Opus in a fifth of the time; any sample rate."""
    target = io.BytesIO()
    rate = file.samplerate
    # In blocks: libsndfile's encoder puts what it gets at once on the stack.
    with soundfile.SoundFile(target, "w", rate, 2, "VORBIS", format="OGG") as encoder:
        for block in file.blocks(rate, dtype="float32", always_2d=True):
            encoder.write(block)
            if target.tell() > most:
                return None
    return target.getvalue()
