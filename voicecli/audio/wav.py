"""A recording for a microphone, and a loudspeaker that is not there.

Both go by the loop's clock, so that a conversation has the same numbers in virtual time as in real
time, and mouth-to-ear means the same as with a sound card.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from voicecli import clock
from voicecli.errors import InputError
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

PIECE: Seconds = 0.1
"""Read at a time: memory stays flat, and the loop waits 4 ms at most (8 channels of 192 kHz)."""

RATES = range(1_000, 768_001)
"""Hertz; a header that says anything else is wrong."""

SILENT = 1e-4
"""A recording that never gets louder (-80 dBFS) is silent."""

_PROMISED = re.compile(r"^ *(?:data|SSND) : (\d+) \(should be \d+\)", re.MULTILINE)
"""In libsndfile's log: bytes of sound that the header promises and the file has not."""

_UNKNOWN = 0x7FFFF000
"""Who writes into a pipe knows no length: sox promises this, arecord 2 GiB, ffmpeg 4."""


class _Recording(soundfile.SoundFile):  # type: ignore[misc]
    """Read once, from its beginning to its end."""

    def seekable(self) -> bool:
        """No: soundfile would seek after each read, which within an MP3 is a guess."""
        return False


class WavSource:
    """A recording, paced like a microphone; see ``stages.Source``.

    duration: of the recording, in seconds.
    peak: the largest sample so far, 1 is full scale and the most there is.
    warnings: what is odd about the file, a sentence each.
    """

    estimated = False

    def __init__(
        self,
        path: Path,
        sound: _Recording,
        rate: int,
        block: Seconds,
        channels: slice = slice(None),
    ) -> None:
        self.format = AudioFormat(rate)
        self._channels = channels
        self.duration: Seconds = sound.frames / sound.samplerate
        self.peak = 0.0
        self.warnings: list[str] = []
        self._truncated = _is_truncated(sound.extra_info)
        self._path = path
        self._sound = sound
        self._block = self.format.samples(block)
        self._paused = False

    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        """The recording, each block when its last sample would be there; then silence, for ever."""
        start, count = clock.now(), 0
        recording = self._recording()
        silence = bytes(2 * self._block)
        pcm = next(recording, None)
        while True:
            at = start + count * self._block / self.format.rate
            due = start + (count + 1) * self._block / self.format.rate
            if (delay := due - clock.now()) > 0:
                await asyncio.sleep(delay)
            if pcm is None and not count:  # damaged from its first sample on
                yield AudioBlock(silence, at, last=True, came=due)
            elif self._paused or pcm is None:
                yield AudioBlock(silence, at, came=due)
            else:
                following = next(recording, None)
                yield AudioBlock(pcm, at, last=following is None, came=due)
                pcm = following
            count += 1

    def pause(self) -> None:
        """The recording waits; silence goes on."""
        self._paused = True

    def resume(self) -> None:
        """It goes on where it was."""
        self._paused = False

    def _recording(self) -> Iterator[bytes]:
        """Linear16 of one block each; the last one is filled up with silence."""
        rest = np.zeros(0, np.int16)
        for samples in self._resampled():
            rest = np.concatenate([rest, samples])
            while len(rest) >= self._block:
                yield rest[: self._block].tobytes()
                rest = rest[self._block :]
        if len(rest):
            yield np.pad(rest, (0, self._block - len(rest))).tobytes()
        if self._truncated:
            self.warnings.append(f"{self._path} is truncated; it is played as far as it goes")
        if self.peak < SILENT:
            self.warnings.append(f"{self._path} is silent throughout")

    def _resampled(self) -> Iterator[NDArray[np.int16]]:
        rate = self._sound.samplerate
        stream = soxr.ResampleStream(rate, self.format.rate, 1, dtype="float32")
        for piece in self._read(max(1, round(PIECE * rate))):
            mono = _bounded(piece[:, self._channels]).mean(axis=1)
            self.peak = max(self.peak, float(np.abs(mono).max(initial=0.0)))
            yield _int16(mono if rate == self.format.rate else stream.resample_chunk(mono))
        if rate != self.format.rate:
            yield _int16(stream.resample_chunk(np.zeros(0, np.float32), last=True))

    def _read(self, frames: Samples) -> Iterator[NDArray[np.float32]]:
        count = 0
        while True:
            try:
                piece = self._sound.read(frames, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                self.warnings.append(f"{self._path} is damaged and was played in part: {error}")
                return
            if not len(piece):
                self._truncated = self._truncated or count < self._sound.frames
                return
            count += len(piece)
            yield piece


def _is_truncated(log: str) -> bool:
    """Whether libsndfile says so of the file, in its log."""
    promised = _PROMISED.search(log)
    short = promised is not None and int(promised[1]) < _UNKNOWN
    return short or "lacks an end-of-stream bit" in log


def _bounded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Floating-point files may hold anything."""
    return np.nan_to_num(samples, posinf=0.0, neginf=0.0).clip(-1, 1)


def _int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.rint(np.clip(samples * 32768, -32768, 32767)).astype(np.int16)


@contextmanager
def open_wav(
    path: Path, rate: int, block: Seconds, channel: int | None = None
) -> Iterator[WavSource]:
    """The recording in ``path``, of any rate and channels, as mono at ``rate`` hertz.

    block: length of the pieces, in seconds.
    channel: the only one to hear; None mixes all.

    Raises InputError where there is no recording in it.
    """
    try:
        sound = _Recording(path)
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: it ends in .raw
        raise _refusal(path, error) from error
    with sound:
        if sound.frames == 0:
            raise InputError(f"there is no sound in {path}", hint="Record something into it.")
        if sound.samplerate not in RATES:
            raise InputError(
                f"{path} has a sample rate of {sound.samplerate} Hz",
                hint="Its header is damaged: make the recording anew.",
            )
        channels = slice(None) if channel is None else slice(channel, channel + 1)
        yield WavSource(path, sound, rate, block, channels)


def _refusal(path: Path, error: Exception) -> InputError:
    """Why ``path`` could not be opened as a recording."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        return InputError(f"there is no file {path}", hint="Give the path of a recording.")
    except IsADirectoryError:
        return InputError(f"{path} is a folder", hint="Name a recording in it.")
    except OSError as why:
        return InputError(
            f"{path} cannot be read: {why.strerror}", hint="Give a file that you may read."
        )
    said = str(getattr(error, "error_string", "there is no header")).rstrip(".")
    if "does not exist" in said:  # what the MP3 decoder says of anything that is none
        said = "Format not recognised"
    return InputError(
        f"{path} cannot be read as a recording: {said}",
        hint="WAV, FLAC, OGG, AIFF and MP3 can; ffmpeg converts the rest.",
    )
