"""Records a conversation, and measures mouth-to-ear again from the recording.

``conversation.wav`` holds the user on the left and the agent on the right, from the microphone's
first sample on; ``reply.wav`` the agent alone, long silences shortened.  The files are written
during the conversation and are valid at any moment, however the program ends.
"""

from __future__ import annotations

import errno
import os
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import soxr

from voicecli.audio.pcm import SampleArray, find_audible, round_samples, samples_of
from voicecli.audio.playout import FADE
from voicecli.audio.vad.energy import find_stretches
from voicecli.audio.vad.speech_end import LOOK_AHEAD, LOOK_BACK, measure_speech_end
from voicecli.environment.files import encode_path
from voicecli.errors import InputError, UsageError
from voicecli.metrics.turns import Turn
from voicecli.sanitize import sanitize_line
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds, ms

if TYPE_CHECKING:
    import soundfile

CONVERSATION = "conversation.wav"
REPLY = "reply.wav"

WRITE_LENGTH: Seconds = 0.5  # audio written at once
LONGEST_PAUSE: Seconds = 0.5  # the most silence between two replies in ``reply.wav``
DRIFT: Seconds = 0.001
"""A block that starts this far from the end of the one before is placed by its own time, over a gap
or a cut.  A microphone's clock that is 50 ppm off the session's gets there every 20 s."""

LONGEST: Samples = (2**32 - 1 - 36) // 4  # that a WAVE header can count: 12.4 hours at 24 kHz

PlayedReader = Callable[[Seconds, Samples], SampleArray]
"""Returns what the agent's loudspeaker played: from a time on, a number of samples."""


@dataclass(eq=False)
class Recorder:
    """Records into a folder at ``rate`` hertz; a context manager.

    agent: is asked for what the loudspeaker played, once and in order.
    longest: frames after which nothing more is recorded.

    Positions count from the first block's first sample: a session may begin long after time 0 of
    its clock.  An earlier recording in the folder is replaced.  Raises UsageError when the folder
    cannot be written to; a later failure to write is raised at the end, so that it does not end the
    conversation.
    """

    folder: Path
    rate: int
    _: KW_ONLY
    agent: PlayedReader
    user_rate: int
    longest: Samples = LONGEST

    def __post_init__(self) -> None:
        self._format = AudioFormat(self.rate)
        self._start: Seconds | None = None
        self._heard: list[SampleArray] = []  # at user_rate, not resampled
        self._user = np.zeros(0, np.int16)
        self._position: Samples = 0  # of the first sample of self._user
        self._run_end: Seconds = -inf  # of blocks without a gap
        self._overlap: Samples = 0  # how much of what comes precedes the end of what is there
        self._resampler: soxr.ResampleStream | None = None
        self._quiet: Samples | None = None  # silence at the agent's end; None before any sound
        self._failure: OSError | None = None
        self._lock = ExitStack()

    @property
    def start(self) -> Seconds | None:
        """When the first sample was at the microphone; None before it came."""
        return self._start

    @property
    def failure(self) -> UsageError | None:
        """Why nothing more is recorded; None while everything is."""
        if self._failure is None:
            return None
        return self._make_write_error(self._failure, CONVERSATION)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._lock.close)
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock.enter_context(lock_folder(self.folder))
                self._conversation = self._open(CONVERSATION, channels=2)
                undo.callback((self.folder / CONVERSATION).unlink)
                undo.callback(self._conversation.close)
                self._reply = self._open(REPLY, channels=1)
            except OSError as error:
                raise self._make_write_error(error) from error
            undo.pop_all()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._end_run()
        self._write(len(self._user))
        for file in (self._conversation, self._reply):
            try:
                file.close()
            except OSError as failure:
                self._failure = self._failure or failure
        if not self._position and self._failure is None:  # nothing recorded: free the folder
            for name in (CONVERSATION, REPLY):
                (self.folder / name).unlink(missing_ok=True)
        self._lock.close()
        if self._failure is not None and error is None:
            raise self._make_write_error(self._failure, CONVERSATION)

    def add_user(self, block: AudioBlock) -> None:
        """Add a block of the microphone; a gap since the last one becomes silence."""
        samples = samples_of(block.pcm)
        if self._start is None:
            self._start = block.at
        if abs(block.at - self._run_end) > DRIFT:
            self._begin_run(block.at, self._start)
        self._run_end += len(samples) / self.user_rate
        self._heard.append(samples)
        if sum(map(len, self._heard)) >= WRITE_LENGTH * self.user_rate:
            self._resample()
            self._write(len(self._user))

    def _begin_run(self, at: Seconds, start: Seconds) -> None:
        """Place what comes next at ``at``, whatever there was before."""
        self._end_run()
        self._resampler = self._create_resampler()
        self._run_end = at
        gap = self._format.samples(at - start) - self._position - len(self._user)
        self._overlap = max(0, -gap)
        self._append(np.zeros(max(0, gap), np.int16))

    def _create_resampler(self) -> soxr.ResampleStream | None:
        if self.user_rate == self.rate:
            return None
        return soxr.ResampleStream(self.user_rate, self.rate, 1, dtype="float32")

    def _end_run(self) -> None:
        self._resample(last=True)

    def _resample(self, *, last: bool = False) -> None:
        """Resample what was heard, all at once, which takes less than block by block.

        It is held back for up to 35 ms, until more comes; on the way to the STT, ``pcm.Resampler``
        holds back a millisecond, and takes six times as long.
        """
        heard = np.concatenate([*self._heard, np.zeros(0, np.int16)])
        self._heard.clear()
        if self._resampler is not None:
            heard = round_samples(self._resampler.resample_chunk(heard.astype(np.float32), last))
        self._append(heard)

    def _append(self, samples: SampleArray) -> None:
        skipped = min(self._overlap, len(samples))
        self._overlap -= skipped
        self._user = np.concatenate([self._user, samples[skipped:]])

    def _write(self, count: Samples) -> None:
        """Write the next ``count`` samples of both channels."""
        user, self._user = self._user[:count], self._user[count:]
        agent = self.agent((self._start or 0.0) + self._position / self.rate, count)
        self._position += count
        if self._failure is not None:
            return
        try:
            if self._position > self.longest:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            self._conversation.writeframes(np.stack([user, agent], axis=1).tobytes())
            self._write_reply(agent)
        except OSError as error:
            self._failure = error

    def _write_reply(self, agent: SampleArray) -> None:
        """Write the agent's channel with its long silences shortened."""
        longest = self._format.samples(LONGEST_PAUSE)
        sounding = np.flatnonzero(agent)
        if not len(sounding):
            self._quiet = None if self._quiet is None else self._quiet + len(agent)
            return
        if self._quiet is not None:
            self._reply.writeframes(bytes(2 * min(longest, self._quiet + int(sounding[0]))))
        for part in np.split(sounding, np.flatnonzero(np.diff(sounding) > longest) + 1):
            if part[0] != sounding[0]:
                self._reply.writeframes(bytes(2 * longest))
            self._reply.writeframes(agent[part[0] : part[-1] + 1].tobytes())
        self._quiet = len(agent) - int(sounding[-1]) - 1

    def _open(self, name: str, *, channels: int) -> wave.Wave_write:
        # Unlike soundfile, wave keeps the header valid after every write.
        file = wave.open(str(self.folder / name), "wb")  # noqa: SIM115
        # Correcting a count of 1 flushes the header: the file is valid before any sound comes.
        file.setparams((channels, 2, self.rate, 1, "NONE", ""))
        try:
            file.writeframes(b"")
        except OSError:
            with suppress(OSError):
                file.close()
            (self.folder / name).unlink()
            raise
        return file

    def explain(self, error: OSError) -> str:
        """Return why a file of the session cannot be written; for a full disk, the space needed."""
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hour = 3600 * 6 * self.rate / 1e6  # two channels and one, of two bytes
            reason += f" (an hour takes up to {hour:.0f} MB)"
        return reason

    def _make_write_error(self, error: OSError, name: str = "") -> UsageError:
        return UsageError(
            f"{self.folder / name} cannot be recorded to: {self.explain(error)}",
            hint="Name a folder that you may write to, on a disk with free space.",
        )


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other sessions from recording into ``folder``; raises UsageError if one does.

    The system releases the lock when the process ends, however it ends.
    """
    with ExitStack() as stack:
        with suppress(ImportError, OSError):  # Windows; a file system without locks
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another session is recording into {folder}", hint="Name another --out."
                ) from None
        yield


TOLERANCE: Seconds = 0.020  # a larger disagreement with the timeline makes a turn unreliable
SEARCH_RANGE: Seconds = 0.5
"""How far around its reported time, after the commit, a reply's first audible sample is sought."""

_LOWEST_RATE = 1_000  # hertz; at a lower one the detector's steps of 1 ms hold no sample


def check_recording(turns: Sequence[Turn], recording: Path, start: Seconds = 0.0) -> list[Turn]:
    """Return ``turns``, with those marked unreliable that ``recording`` disagrees with.

    The left channel shows when the user's voice ended, the right one when the agent was first
    audible.  The only times taken from the session are those that find the place: when a turn was
    committed and first heard.  So errors in its measurements show.

    recording: stereo, the user left and the agent right.
    start: when it begins, on the session's clock.

    Raises InputError when it cannot be read or is another program's.
    """
    import soundfile

    if not any(turn.mouth_to_ear is not None for turn in turns):
        return list(turns)
    try:
        with soundfile.SoundFile(encode_path(recording)) as file:
            if file.channels != 2 or file.samplerate < _LOWEST_RATE:
                what = f"channels: {file.channels}, {file.samplerate} Hz"
                raise _make_read_error(f"{recording} is not a recording by voicecli ({what})")
            format = AudioFormat(file.samplerate)
            voices = list(find_stretches(_read_user(file, format), format))
            return [_check_turn(turn, file, voices, start) for turn in turns]
    except soundfile.SoundFileError as error:
        why = sanitize_line(str(error))
        raise _make_read_error(f"{recording} cannot be read: {why}") from error


def _make_read_error(cause: str) -> InputError:
    return InputError(cause, hint="Name a copy of timeline.jsonl in another folder.")


def _read_user(file: soundfile.SoundFile, format: AudioFormat) -> Iterator[AudioBlock]:
    size = format.samples(1.0)
    for index, piece in enumerate(file.blocks(size, dtype="int16", always_2d=True)):
        yield AudioBlock(piece[:, 0].tobytes(), index * size / format.rate)


def _check_turn(
    turn: Turn,
    file: soundfile.SoundFile,
    voices: Sequence[tuple[Seconds, Seconds]],
    start: Seconds,
) -> Turn:
    if turn.mouth_to_ear is None or turn.heard_at is None:
        return turn
    committed_at, heard_at = turn.at - start, turn.heard_at - start
    ends = [end for begin, end in voices if begin < committed_at and end <= heard_at]
    # A reply cut off by the user may fade out until just after the commit; the next one has PREROLL
    # before its first audible sample.
    since = max(committed_at + FADE, heard_at - SEARCH_RANGE)
    audible_at = _find_audible(file, since, heard_at + SEARCH_RANGE)
    if not ends or audible_at is None:
        doubt = "the recording does not show it"
    elif (
        abs((recorded := audible_at - _measure_end(file, ends[-1])) - turn.mouth_to_ear) > TOLERANCE
    ):
        doubt = f"the recording says {ms(recorded):.0f} ms"
    else:
        return turn
    return replace(turn, unreliable=(*turn.unreliable, doubt))


def _measure_end(file: soundfile.SoundFile, found: Seconds) -> Seconds:
    """Return when the user's voice ended, by the sound around where its energy did."""
    rate = file.samplerate
    start = max(0, round((found - LOOK_BACK) * rate))
    file.seek(start)
    around = file.read(round((found + LOOK_AHEAD) * rate) - start, dtype="int16", always_2d=True)
    return measure_speech_end(around[:, 0], rate, found, start / rate)


def _find_audible(file: soundfile.SoundFile, since: Seconds, until: Seconds) -> Seconds | None:
    """Return when the agent's channel is first audible in that time."""
    rate = file.samplerate
    start, stop = round(since * rate), round(until * rate)
    if not 0 <= start < min(stop, len(file)):
        return None
    file.seek(start)
    index = find_audible(file.read(stop - start, dtype="int16", always_2d=True)[:, 1])
    return None if index is None else (start + index) / rate
