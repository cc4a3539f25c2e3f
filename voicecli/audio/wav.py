"""An audio file as a source, paced like a microphone by the loop's clock."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from itertools import count
from math import ceil
from pathlib import Path

import numpy as np
import soundfile
import soxr
from typing_extensions import override

from voicecli import clock
from voicecli.audio.channels import EXAMINED, Channel, ChannelChoice, choose_channels
from voicecli.audio.interfaces import Source
from voicecli.audio.look_ahead import LookAhead, SpeechFinder, find_speech
from voicecli.audio.pcm import Float32Array, round_samples
from voicecli.audio.repair import PatchedFile, find_patches, open_by_search
from voicecli.audio.sample_rate import EXAMINED as EXAMINED_SAMPLES
from voicecli.audio.sample_rate import find_fitting_rates
from voicecli.environment.files import encode_path
from voicecli.errors import InputError
from voicecli.events import Event, RecordingPaused, RecordingResumed
from voicecli.metrics.recording import Stretch
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

_READ_LENGTH: Seconds = 0.1  # flat memory; the loop waits 4 ms at most (8 channels of 192 kHz)
_VALID_RATES = range(1_000, 768_001)  # hertz; a header with another rate is damaged
_LOWEST_RATE = 8_000  # hertz, at least, at which channels are compared
_SILENT_PEAK = 1e-4  # a recording that never gets louder (-80 dBFS) is silent
_PROMISED_BYTES = re.compile(r"^ *(?:data|SSND) : (\d+) \(should be \d+\)", re.MULTILINE)
"""In libsndfile's log: bytes of sound that the header promises and the file does not have."""

_UNKNOWN_LENGTH = 0x7FFFF000
"""A program that writes into a pipe does not know the length: sox promises this many bytes,
arecord 2 GiB, ffmpeg 4."""


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file read once, from beginning to end; a wrong header is repaired."""

    patched: PatchedFile | None = None

    def __init__(self, path: Path) -> None:
        patches = find_patches(path)
        self.patched = PatchedFile(path, patches) if patches else None
        try:
            self._open_patched(path)
        except soundfile.SoundFileError:
            self.patched = open_by_search(path)
            if self.patched is None:
                raise
            self._open_patched(path)

    def _open_patched(self, path: Path) -> None:
        try:
            super().__init__(self.patched or encode_path(path))
        except BaseException:
            self._close_patched()
            raise

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._close_patched()

    def _close_patched(self) -> None:
        if self.patched is not None:
            self.patched.close()

    def seekable(self) -> bool:
        """Return False: soundfile would seek after each read, which is inexact in an MP3."""
        return False


class WavSource(Source):
    """Plays an audio file at the pace of real time, then silence without end.

    duration: of the recording, in seconds.
    peak: the largest sample so far; 1 is full scale.
    choice: the channels that are played.
    notes: how the file is understood, known before it plays.
    warnings: what is wrong with the file, one sentence each; complete when it has been played.
    """

    def __init__(
        self, path: Path, file: _SequentialFile, rate: int, block: Seconds, choice: ChannelChoice
    ) -> None:
        self.format = AudioFormat(rate)
        self.notes = [f"{path}: {choice.reason}"] if choice.reason else []
        self.choice = choice
        self._channels = list(choice.indices)
        self.duration: Seconds = file.frames / file.samplerate
        self.peak = 0.0
        self.warnings: list[str] = []
        promised = _PROMISED_BYTES.search(file.extra_info)
        short = promised is not None and int(promised[1]) < _UNKNOWN_LENGTH
        self._truncated = short or "lacks an end-of-stream bit" in file.extra_info
        self._path = path
        self._file = file
        self._block = self.format.samples(block)
        self._paused = False
        self._position: Samples = 0  # of what is played next
        self._plays = False
        self._events: list[Event] = []
        self._ahead: LookAhead | None = None

    def check_sample_rate(self) -> str | None:
        """Say at which other sample rates the file is speech; None if its own fits.

        Reads the beginning of the file again and takes up to 0.2 s: call it in a thread.
        """
        if not self._path.is_file():  # a pipe can be read only once
            return None
        with _open_file(self._path) as file:
            rate = file.samplerate
            beginning = _read_beginning(file, 1, ceil(EXAMINED_SAMPLES / rate))
        rates = find_fitting_rates(beginning[:, self._channels].mean(axis=1), rate)
        if not rates:
            return None
        *others, last = map(str, rates)
        found = f"{', '.join(others)} or {last}" if others else last
        return (
            f"{self._path}: no speech is found at {rate} Hz, the sample rate of its header, but at "
            f"{found} Hz; a wrong header is corrected by sox -r HZ OLD NEW"
        )

    def find_speech(self, finder: SpeechFinder) -> tuple[Stretch, ...]:
        """Find the speech in the recording, which cannot be played then."""
        return find_speech(self._read_blocks(), finder, self.format)

    def look_ahead(self, finder: SpeechFinder) -> None:
        """Report the speech that ``finder`` finds before it is played.  Call before ``blocks``."""
        self._ahead = LookAhead(self.format, finder)

    @override
    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        recording = self._read_blocks()
        if self._ahead is not None:
            recording = self._ahead.read(recording)
        silence = bytes(2 * self._block)
        pcm = next(recording, None)
        start = clock.now()
        for index in count():
            at = start + index * self._block / self.format.rate
            due = start + (index + 1) * self._block / self.format.rate
            if (delay := due - clock.now()) > 0:
                await asyncio.sleep(delay)
            if pcm is None and not index:  # damaged from its first sample on
                yield AudioBlock(silence, at, last=True, came=due)
            elif self._paused or pcm is None:
                self._note(at, plays=False)
                yield AudioBlock(silence, at, came=due)
            else:
                self._note(at, plays=True)
                following = next(recording, None)
                self._position += self._block
                yield AudioBlock(pcm, at, last=following is None, came=due)
                pcm = following

    @override
    def pause(self) -> None:
        self._paused = True

    @override
    def resume(self) -> None:
        self._paused = False

    @override
    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events if self._ahead is None else [*self._ahead.take_events(), *events]

    def _note(self, at: Seconds, *, plays: bool) -> None:
        """Note whether the block at ``at`` is one of the recording."""
        if plays != self._plays:
            self._plays = plays
            kind = RecordingResumed if plays else RecordingPaused
            position = min(self._position / self.format.rate, self.duration)
            self._events.append(kind(at=clock.now(), since=at, position=position))

    def _read_blocks(self) -> Iterator[bytes]:
        """Yield linear16 blocks; the last one is padded with silence."""
        rest = np.zeros(0, np.int16)
        for samples in self._resample():
            rest = np.concatenate([rest, round_samples(samples * 32768)])
            while len(rest) >= self._block:
                yield rest[: self._block].tobytes()
                rest = rest[self._block :]
        if len(rest):
            yield np.pad(rest, (0, self._block - len(rest))).tobytes()
        if self._truncated:
            self.warnings.append(f"{self._path} is truncated; it is played as far as it goes")
        if self.peak < _SILENT_PEAK:
            self.warnings.append(f"{self._path} is silent throughout")

    def _resample(self) -> Iterator[Float32Array]:
        rate = self._file.samplerate
        stream = soxr.ResampleStream(rate, self.format.rate, 1, dtype="float32")
        for piece in self._read(max(1, round(_READ_LENGTH * rate))):
            cleaned = _clean(piece[:, self._channels])
            mono = cleaned[:, 0] if len(self._channels) == 1 else cleaned.mean(axis=1)
            self.peak = max(self.peak, float(np.abs(mono).max(initial=0.0)))
            yield mono if rate == self.format.rate else stream.resample_chunk(mono)
        if rate != self.format.rate:
            yield stream.resample_chunk(np.zeros(0, np.float32), last=True)

    def _read(self, frames: Samples) -> Iterator[Float32Array]:
        position = 0
        while True:
            try:
                piece = self._file.read(frames, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                self.warnings.append(f"{self._path} is damaged and was played in part: {error}")
                return
            if self._file.patched is not None and (failure := self._file.patched.failure):
                self.warnings.append(f"{self._path} could be read in part: {failure.strerror}")
                return
            if not len(piece):
                self._truncated = self._truncated or position < self._file.frames
                return
            position += len(piece)
            yield piece


@contextmanager
def open_wav(
    path: Path, rate: int, block: Seconds, channel: Channel | ChannelChoice = "auto"
) -> Iterator[WavSource]:
    """Open the recording in ``path``, of any rate and channels, as mono at ``rate`` hertz.

    block: length of the blocks, in seconds.

    Raises InputError when the file is not a recording or has no such channel.
    """
    with _open_file(path) as file:
        choice = _choose_channels(path, file.channels, channel)
        yield WavSource(path, file, rate, block, choice)


def _open_file(path: Path) -> _SequentialFile:
    try:
        file = _SequentialFile(path)
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: it ends in .raw
        raise _make_input_error(path, error) from error
    if file.frames and file.samplerate in _VALID_RATES:
        return file
    file.close()
    if not file.frames:
        raise InputError(f"{path} contains no sound", hint="Give another recording.")
    raise InputError(
        f"{path} has a sample rate of {file.samplerate} Hz",
        hint="Its header is damaged; make the recording again.",
    )


def _choose_channels(path: Path, count: int, wanted: Channel | ChannelChoice) -> ChannelChoice:
    """Return the channels to play; the beginning of the file is read unless they are named."""
    if isinstance(wanted, ChannelChoice):
        return wanted
    if isinstance(wanted, int):
        if wanted >= count:
            has = "1 channel" if count == 1 else f"{count} channels"
            raise InputError(
                f"{path} has {has}, and no channel {wanted + 1}", hint="Give another --channel."
            )
        return ChannelChoice((wanted,))
    if count == 1 or not path.is_file():  # a pipe can be read only once
        return ChannelChoice(tuple(range(count)))
    with _open_file(path) as file:
        step = max(1, file.samplerate // _LOWEST_RATE)
        samples = _read_beginning(file, step, round(EXAMINED))
        return choose_channels(samples, file.samplerate / step, mix=wanted == "mix")


def _read_beginning(file: _SequentialFile, step: int, seconds: int) -> Float32Array:
    """Return up to ``seconds``, each row the mean of ``step`` samples."""
    pieces, size = [np.zeros((1, file.channels), np.float32)], file.samplerate // step
    for _ in range(seconds):
        try:
            piece = file.read(size * step, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:  # it is reported when it is played
            break
        whole = _clean(piece)[: len(piece) // step * step]
        pieces.append(whole.reshape(-1, step, file.channels).mean(axis=1))
        if len(piece) < size * step:
            break
    return np.concatenate(pieces)


def _clean(samples: Float32Array) -> Float32Array:
    """Replace what floating-point files may hold: NaN, infinities and overloads."""
    if samples.min(initial=0.0) >= -1 and samples.max(initial=0.0) <= 1:  # mostly; not with a NaN
        return samples
    finite: Float32Array = np.nan_to_num(samples, posinf=0.0, neginf=0.0).clip(-1, 1)
    return finite


def _make_input_error(path: Path, error: Exception) -> InputError:
    """Explain why ``path`` cannot be opened as a recording."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        return InputError(f"there is no file {path}", hint="Give the path of a recording.")
    except IsADirectoryError:
        return InputError(f"{path} is a folder", hint="Give a recording in it.")
    except OSError as reason:
        return InputError(
            f"{path} cannot be read: {reason.strerror}", hint="Give a file that you may read."
        )
    text = str(getattr(error, "error_string", "there is no header")).rstrip(".")
    if "does not exist" in text:  # the MP3 decoder's answer to any other format
        text = "Format not recognised"
    return InputError(
        f"{path} cannot be read as a recording: {text}",
        hint="Supported: WAV, FLAC, OGG, AIFF and MP3; ffmpeg converts other formats.",
    )
