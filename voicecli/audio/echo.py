"""Takes the agent's own voice out of what the microphone hears: acoustic echo cancellation.

WebRTC's AEC3 compares the microphone with what the loudspeaker played and takes away what the one
has of the other; it finds the room's echo path by itself, and follows it.  The session's clock says
what was played when a sample was captured, so that AEC3 need not look for delays of devices: it
takes any up to 400 ms, but with more than 50 left over it now and then lost its way for a second.
Where there is more reverberation than direct sound by 14 dB, it may not find the path.

It works at 16 kHz: nothing above 8 kHz passes, nor the rumble below 100 Hz.  Its noise suppression
and gain control stay off, as they cost the STT words.  It holds sound back by 8 ms, resampling to
16 kHz and back by 1.5 ms each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib.util import find_spec
from math import inf
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from voicecli.audio.interfaces import Source
from voicecli.audio.pcm import samples_of
from voicecli.audio.resample import Resampler
from voicecli.errors import UsageError
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

RATE = 16_000
FRAME: Samples = 160
"""AEC3 takes 10 ms at a time."""

DELAY: Samples = 128
"""AEC3 gives a sample back so much later, always (measured)."""

LEAD: Seconds = 0.010
"""AEC3 is told of what is played so much early: a device's times are a few milliseconds wrong, and
an echo that comes before its cause stays.  It is less where the loudspeaker knows no more yet."""

GAP: Seconds = 0.040
"""Blocks this far from where the samples before them end do not go on with them.  Nearer, it is the
times that are wrong, or little is lost: behind PulseAudio they were 15 ms off for five seconds."""

_SLEW: Seconds = 0.00001
"""Each silent frame brings what is played this much in line with the clock: a millisecond a second,
as clocks drift by a fifth of one.  What moves while it sounds AEC3 has to learn anew; after a leap
of 10 ms back the echo was heard for half a second."""

_QUIET = 10
"""Frames without a sound until it counts as silence: 100 ms."""

_HELD: Samples = 25
"""The resampler waits for so many samples of the lower rate at most."""

MISSING = (
    "pywebrtc-audio is not installed, so the agent would hear itself; "
    "pip install 'voicecli[aec]' gives it echo cancellation"
)
"""What to tell who would be better off with echo cancellation, and gets none."""

Sound = NDArray[np.int16]


class Reference(Protocol):
    """A loudspeaker that says what it played."""

    @property
    def format(self) -> AudioFormat:
        """Of what it played."""

    def played(self, start: Seconds, count: Samples) -> Sound:
        """What sounds in the ``count`` samples from ``start``, silence included.

        Fewer, where no more is known yet.  It is asked of each sample once, in order, when what the
        microphone heard LEAD before that has arrived.
        """


def available() -> bool:
    """Whether echo cancellation is installed."""
    return find_spec("pywebrtc_audio") is not None


def wanted(setting: Literal["auto", "on", "off"], policy: str) -> bool:
    """Whether ``audio.echo_cancellation`` asks for it under this ``interrupt.policy``."""
    return setting == "on" or (setting == "auto" and policy == "speakers")


class EchoCancellingSource:
    """A microphone without the loudspeaker's sound in it; a ``stages.Source``.

    Each of its blocks is one of the microphone's, 8 to 11 ms late; the first is as much shorter.

    Raises UsageError when pywebrtc-audio is not installed.
    """

    def __init__(self, source: Source, reference: Reference) -> None:
        self._source = source
        self._canceller = EchoCanceller(source.format, reference)

    @property
    def format(self) -> AudioFormat:
        """Of the blocks."""
        return self._source.format

    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        """What is heard, as it comes, but for the echo."""
        async with aclosing(self._source.blocks()) as blocks:
            async for block in blocks:
                clean = self._canceller.feed(block)
                if clean is not None:
                    yield clean

    def pause(self) -> None:
        """The agent speaks and nobody listens."""
        self._source.pause()

    def resume(self) -> None:
        """The user has the floor again."""
        self._source.resume()


class EchoCanceller:
    """Blocks of a microphone in, the same sound without the echo out.

    format: of the blocks.

    Raises UsageError when pywebrtc-audio is not installed.
    """

    def __init__(self, format: AudioFormat, reference: Reference) -> None:
        self.format = format
        self._processor = _processor()
        self._reference = reference
        self._next: Seconds | None = None  # when the next block should begin
        self._last_in: Samples | None = None  # samples of the blocks up to the input's last

    def feed(self, block: AudioBlock) -> AudioBlock | None:
        """What is ready now that ``block`` is known; None when nothing is.

        ``at`` is when its first sample was at the microphone: what is held back moves nothing.
        """
        if self._next is None or abs(block.at - self._next) > GAP:
            self._begin()
        rate = self.format.rate
        began = block.at - self._in / rate  # when the first sample of the run was captured
        samples = samples_of(block.pcm)
        self._in += len(samples)
        self._next = block.at + len(samples) / rate
        self._last_in = self._in if block.last else self._last_in
        made = self._up.feed(self._cancelled(self._framed(samples), began))
        at = began + self._out / rate
        self._out += len(made)
        if not len(made):
            return None
        last = self._last_in is not None and self._out >= self._last_in
        self._last_in = None if last else self._last_in
        return AudioBlock(made.tobytes(), at, last, block.came)

    def _begin(self) -> None:
        """What comes does not go on with what was.

        It is another microphone perhaps, or another room.  AEC3, told nothing of it, lets no echo
        pass until it knows it; with what it knew before it let some pass for two seconds.
        """
        self._processor.reset()
        self._played = _Played(self._reference)
        self._down = Resampler(self.format.rate, RATE)
        self._up = Resampler(RATE, self.format.rate)
        self._rest: Sound | None = None  # at RATE, less than a frame
        self._in = self._out = 0  # samples of the blocks
        self._at: Samples = 0  # of the rest's first sample, at RATE, from the first sample's time
        self._drop: Samples = 0  # of what AEC3 gives: what was before
        self._last_in = None

    def _framed(self, samples: Sound) -> Sound:
        """Whole frames, at RATE."""
        heard = self._down.feed(samples)
        if self._rest is None:  # so that this block and others of its length leave no rest
            missing = -len(heard) % FRAME
            self._rest = np.zeros(missing, np.int16)
            self._at = -missing
            self._drop = missing + DELAY
        heard = np.concatenate([self._rest, heard])
        whole = len(heard) // FRAME * FRAME
        self._rest = heard[whole:]
        return heard[:whole]

    def _cancelled(self, frames: Sound, began: Seconds) -> Sound:
        """What AEC3 makes of ``frames``; 128 samples later, at the run's beginning less."""
        clean = [np.zeros(0, np.int16)]
        for frame in frames.reshape(-1, FRAME):
            played = self._played.frame(began + self._at / RATE)
            clean.append(self._processor.process(frame, played))
            self._at += FRAME
        joined = np.concatenate(clean)
        dropped = min(self._drop, len(joined))
        self._drop -= dropped
        return joined[dropped:]


class _Played:
    """What the loudspeaker played, as frames for AEC3.

    They go on without a break while it sounds, however the clocks of the devices run.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._rate = reference.format.rate
        self._hold = _HELD / min(self._rate, RATE) if self._rate != RATE else 0.0
        self._lead = LEAD
        self._start: Seconds = -inf
        self._given: Samples = 0  # since then, at RATE
        self._read: Samples = 0  # since then, of the reference
        self._rest = np.zeros(0, np.int16)
        self._resampler = Resampler(self._rate, RATE)
        self._silent = _QUIET

    def frame(self, at: Seconds) -> Sound:
        """What was played while FRAME samples were captured, from ``at`` on, with LEAD."""
        start = at + self._lead
        off = start - (self._start + self._given / RATE)
        if abs(off) > GAP:
            self._begin(start)
        elif self._silent >= _QUIET:
            self._start += min(max(off, -_SLEW), _SLEW)
        until = round(((self._given + FRAME) / RATE + self._hold) * self._rate)
        sound = self._reference.played(self._start + self._read / self._rate, until - self._read)
        self._read += len(sound)
        self._rest = np.concatenate([self._rest, self._resampler.feed(sound)])
        frame, self._rest = self._rest[:FRAME], self._rest[FRAME:]
        self._given += len(frame)
        self._silent = 0 if frame.any() else self._silent + 1
        return self._late(FRAME - len(frame), frame)

    def _late(self, missing: Samples, frame: Sound) -> Sound:
        """``frame`` with silence where samples are missing, so many of them that are yet to come.

        From now on all is that much later: one hole is better than one in each frame.
        """
        if missing:
            self._lead = max(self._lead - missing / RATE, LEAD - GAP)
        if missing == FRAME:  # the loudspeaker is lost, perhaps: when it is back, go by the clock
            self._start = -inf
        return np.pad(frame, (missing, 0))

    def _begin(self, start: Seconds) -> None:
        self._start = start
        self._given = self._read = 0
        self._rest = np.zeros(0, np.int16)
        self._resampler = Resampler(self._rate, RATE)


def _processor() -> Any:
    try:
        from pywebrtc_audio import AudioProcessor
    except ImportError as error:
        raise UsageError(
            "Echo cancellation needs pywebrtc-audio, which is not installed",
            hint="Install it with: pip install 'voicecli[aec]'.",
        ) from error
    return AudioProcessor(sample_rate=RATE, echo_cancellation=True)
