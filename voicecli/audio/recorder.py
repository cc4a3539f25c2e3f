"""The conversation as a recording: the user left, the agent right, each where it sounded.

Both channels are on the session's time line.  The files are written as the conversation goes, and
are whole at any moment: whatever ends the program, what was recorded until then can be read.
"""

from __future__ import annotations

import errno
import os
import wave
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soxr
from numpy.typing import NDArray

from voicecli.audio.pcm import samples_of
from voicecli.errors import InputError, UsageError
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

CONVERSATION = "conversation.wav"
REPLY = "reply.wav"

PIECE: Seconds = 0.5
"""Written at a time."""

GAP: Seconds = 0.5
"""At most so much silence between two replies in ``reply.wav``."""

DRIFT: Seconds = 0.001
"""Blocks further from where the samples before them end are put where they were, over a gap or a
cut.  A microphone's clock that runs 50 ppm off the session's comes to this every 20 s.
"""

LONGEST: Samples = (2**32 - 1 - 36) // 4
"""Frames that the header of a WAVE file can count: 12.4 hours at 24 kHz."""

Sound = NDArray[np.int16]
Agent = Callable[[Seconds, Samples], Sound]
"""What the agent's loudspeaker played: from when, so many samples at the recording's rate."""


class Recorder:
    """Records into a folder, at ``rate`` hertz; a context manager.

    agent: is asked for what the loudspeaker played, once and in order.
    longest: frames after which nothing more is recorded.
    overwrite: whether to replace a recording in the folder.

    Raises InputError where the folder has a recording, UsageError where it cannot be
    written to; that is raised at the end where it comes up later, for it must not end a
    conversation.
    """

    def __init__(
        self,
        folder: Path,
        rate: int,
        *,
        agent: Agent,
        user_rate: int,
        longest: Samples = LONGEST,
        overwrite: bool = False,
    ) -> None:
        self._folder = folder
        self._format = AudioFormat(rate)
        self._user_format = AudioFormat(user_rate)
        self._agent = agent
        self._longest = longest
        self._overwrite = overwrite
        self._user = np.zeros(0, np.int16)
        self._position: Samples = 0  # of the first sample of self._user
        self._run_at: Seconds = 0.0  # blocks without a break: since when, and how long
        self._run: Samples = 0
        self._cut: Samples = 0  # so much of what comes lies before what there is already
        self._stream: soxr.ResampleStream | None = None
        self._quiet: Samples | None = None
        self._failure: OSError | None = None

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name in (CONVERSATION, REPLY):
                if not self._overwrite and (self._folder / name).exists():
                    raise InputError(
                        f"{self._folder / name} exists",
                        hint="Replace it with --force, or name another folder.",
                    )
            self._conversation = self._open(CONVERSATION, channels=2)
            self._reply = self._open(REPLY, channels=1)
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._add(self._resampled(np.zeros(0, np.int16), last=True))
        self._write(len(self._user))
        for file in (self._conversation, self._reply):
            try:
                file.close()
            except OSError as failure:
                self._failure = self._failure or failure
        if not self._position and self._failure is None:  # it never began: the folder may be used
            for name in (CONVERSATION, REPLY):
                (self._folder / name).unlink(missing_ok=True)
        if self._failure is not None and error is None:
            raise self._unwritable(self._failure)

    def user(self, block: AudioBlock) -> None:
        """A block of the microphone; what lies between it and the last one was silence."""
        samples = samples_of(block.pcm)
        run_end = self._run_at + self._run / self._user_format.rate
        if not self._run or abs(block.at - run_end) > DRIFT:
            self._begin_run(block.at)
        self._run += len(samples)
        self._add(self._resampled(samples, last=False))
        if len(self._user) >= self._format.samples(PIECE):
            self._write(len(self._user))

    def _begin_run(self, at: Seconds) -> None:
        """What comes next begins at ``at``, whatever there was before."""
        self._add(self._resampled(np.zeros(0, np.int16), last=True))
        self._stream = None
        self._run_at, self._run = at, 0
        gap = self._format.samples(at) - self._position - len(self._user)
        self._cut = max(0, -gap)
        self._add(np.zeros(max(0, gap), np.int16))

    def _add(self, samples: Sound) -> None:
        cut = min(self._cut, len(samples))
        self._cut -= cut
        self._user = np.concatenate([self._user, samples[cut:]])

    def _resampled(self, samples: Sound, *, last: bool) -> Sound:
        if self._user_format.rate == self._format.rate:
            return samples
        if self._stream is None:
            if last:
                return samples
            self._stream = soxr.ResampleStream(
                self._user_format.rate, self._format.rate, 1, dtype="int16"
            )
        resampled: Sound = self._stream.resample_chunk(samples, last=last)
        return resampled

    def _write(self, count: Samples) -> None:
        """The next ``count`` samples of both channels."""
        user, self._user = self._user[:count], self._user[count:]
        agent = self._agent(self._position / self._format.rate, count)
        self._position += count
        if self._failure is not None:
            return
        try:
            if self._position > self._longest:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            self._conversation.writeframes(np.stack([user, agent], axis=1).tobytes())
            self._write_reply(agent)
        except OSError as error:
            self._failure = error

    def _write_reply(self, agent: Sound) -> None:
        """The agent's channel, its long silences shortened."""
        gap = self._format.samples(GAP)
        loud = np.flatnonzero(agent)
        if not len(loud):
            self._quiet = None if self._quiet is None else self._quiet + len(agent)
            return
        if self._quiet is not None:
            self._reply.writeframes(bytes(2 * min(gap, self._quiet + int(loud[0]))))
        for part in np.split(loud, np.flatnonzero(np.diff(loud) > gap) + 1):
            if part is not None and part[0] != loud[0]:
                self._reply.writeframes(bytes(2 * gap))
            self._reply.writeframes(agent[part[0] : part[-1] + 1].tobytes())
        self._quiet = len(agent) - int(loud[-1]) - 1

    def _open(self, name: str, *, channels: int) -> wave.Wave_write:
        # Unlike soundfile, wave keeps the header true after every write.
        file = wave.open(str(self._folder / name), "wb")  # noqa: SIM115
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(self._format.rate)
        file.writeframes(b"")
        return file

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self._folder} cannot be recorded to: {error.strerror or error}",
            hint="Name a folder that you may write to, with room in it.",
        )
