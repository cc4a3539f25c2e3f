"""Acoustic echo cancellation: removes the agent's own voice from the microphone.

WebRTC's AEC3 compares the microphone with what the loudspeaker played and removes what they share;
it finds and follows the room's echo path by itself.  The session's clock says what was played when
a sample was captured, so AEC3 need not search for device delays: it accepts any up to 400 ms, but
with more than 50 left over it sometimes lost track for a second.  Where reverberation exceeds the
direct sound by 14 dB, it may not find the path.

It works at 16 kHz: nothing above 8 kHz passes, nor rumble below 100 Hz.  Its noise suppression and
gain control stay off, as they cost the STT words.  It delays sound by 8 ms, resampling to 16 kHz
and back by 1.5 ms each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from math import inf
from typing import Literal, Protocol

import numpy as np
from typing_extensions import override

from voicecli.audio.interfaces import Source
from voicecli.audio.pcm import Resampler, SampleArray, samples_of
from voicecli.errors import UsageError
from voicecli.events import Event
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

RATE = 16_000
FRAME: Samples = 160  # AEC3 takes 10 ms at a time
DELAY: Samples = 128  # AEC3's constant delay (measured)

LEAD: Seconds = 0.010
"""How early AEC3 is given what is played: a device's times are off by a few milliseconds, and an
echo that precedes its cause is not removed.  Less where the loudspeaker does not know that yet."""

GAP: Seconds = 0.040
"""A block this far from the end of the one before does not continue it.  A smaller distance is an
error of the times, or little is lost: behind PulseAudio they were 15 ms off for five seconds."""

_SLEW: Seconds = 0.00001
"""How far each silent frame moves what is played towards the clock: a millisecond a second, as
clocks drift by a fifth of that.  AEC3 has to adapt to any shift within sound; after a jump back by
10 ms the echo was audible for half a second."""

_QUIET_FRAMES = 10  # frames without a sound that count as silence: 100 ms
_RESAMPLER_DELAY: Samples = 25  # the most samples of the lower rate that the resampler waits for

MISSING = (
    "pywebrtc-audio is not installed, so the agent would hear itself; "
    "pip install 'voicecli[aec]' adds echo cancellation"
)
"""Warning for a session that would benefit from echo cancellation but runs without."""


class FarEnd(Protocol):
    """What a loudspeaker played, as the reference of an echo canceller.

    rate: hertz.
    """

    rate: int

    def take(self, start: Seconds, count: Samples) -> SampleArray:
        """Return what sounds in the ``count`` samples from ``start``; fewer where not yet known.

        Each sample is asked for once and in order, when the microphone's from LEAD before have
        arrived.
        """


def is_installed() -> bool:
    """Whether echo cancellation is installed."""
    return find_spec("pywebrtc_audio") is not None


def is_wanted(setting: Literal["auto", "on", "off"], policy: str) -> bool:
    """Whether ``audio.echo_cancellation`` asks for it under this ``interrupt.policy``."""
    return setting == "on" or (setting == "auto" and policy == "speakers")


class EchoCancellingSource(Source):
    """A microphone without the loudspeaker's sound.

    Each block is one of the microphone's, 8 to 11 ms late; the first is shorter by that much.

    Raises UsageError when pywebrtc-audio is not installed.
    """

    def __init__(self, source: Source, far_end: FarEnd) -> None:
        self.format = source.format
        self._source = source
        self._canceller = EchoCanceller(source.format, far_end)

    @override
    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        async with aclosing(self._source.blocks()) as blocks:
            async for block in blocks:
                clean = self._canceller.feed(block)
                if clean is not None:
                    yield clean

    @override
    def pause(self) -> None:
        self._source.pause()

    @override
    def resume(self) -> None:
        self._source.resume()

    @override
    def take_events(self) -> Sequence[Event]:
        return self._source.take_events()


class EchoCanceller:
    """Takes a microphone's blocks and returns the same sound without the echo.

    format: of the blocks.

    Raises UsageError when pywebrtc-audio is not installed.
    """

    def __init__(self, format: AudioFormat, far_end: FarEnd) -> None:
        self.format = format
        try:
            from pywebrtc_audio import AudioProcessor
        except ImportError as error:
            raise UsageError(
                "Echo cancellation needs pywebrtc-audio, which is not installed",
                hint="Install it with: pip install 'voicecli[aec]'.",
            ) from error
        self._processor = AudioProcessor(sample_rate=RATE, echo_cancellation=True)
        self._far_end = far_end
        self._next_at: Seconds = -inf  # when the next block should begin
        self._end: float = inf  # samples of the blocks up to the input's last

    def feed(self, block: AudioBlock) -> AudioBlock | None:
        """Add ``block``; return what is ready by now, or None.

        ``at`` of the result is when its first sample was at the microphone: delay shifts nothing.
        """
        if abs(block.at - self._next_at) > GAP:
            self._begin_run()
        rate = self.format.rate
        began = block.at - self._in / rate  # when the first sample of the run was captured
        samples = samples_of(block.pcm)
        self._in += len(samples)
        self._next_at = block.at + len(samples) / rate
        self._end = self._in if block.last else self._end
        clean = self._up.feed(self._cancel(self._collect_frames(samples), began))
        at = began + self._out / rate
        self._out += len(clean)
        if not len(clean):
            return None
        last = self._out >= self._end
        self._end = inf if last else self._end
        return AudioBlock(clean.tobytes(), at, last, block.came)

    def _begin_run(self) -> None:
        """Start again after a gap: it may be another microphone, or another room.

        After a reset AEC3 lets no echo pass until it knows the path; keeping what it knew, it let
        some pass for two seconds.
        """
        self._processor.reset()
        self._reference = _ReferenceFrames(self._far_end)
        self._down = Resampler(self.format.rate, RATE)
        self._up = Resampler(RATE, self.format.rate)
        self._rest: SampleArray | None = None  # at RATE, less than a frame
        self._in = self._out = 0  # samples of the blocks
        self._position: Samples = 0  # of the rest's first sample, at RATE
        self._drop: Samples = 0  # how many of AEC3's samples precede the run
        self._end = inf

    def _collect_frames(self, samples: SampleArray) -> SampleArray:
        received = self._down.feed(samples)
        if self._rest is None:  # so that this block and others of its length leave no rest
            missing = -len(received) % FRAME
            self._rest = np.zeros(missing, np.int16)
            self._position = -missing
            self._drop = missing + DELAY
        received = np.concatenate([self._rest, received])
        whole = len(received) // FRAME * FRAME
        self._rest = received[whole:]
        return received[:whole]

    def _cancel(self, frames: SampleArray, began: Seconds) -> SampleArray:
        """Return AEC3's result for ``frames``: DELAY late, and shorter where a run begins."""
        clean = [np.zeros(0, np.int16)]
        for frame in frames.reshape(-1, FRAME):
            reference = self._reference.take(began + self._position / RATE)
            clean.append(self._processor.process(frame, reference))
            self._position += FRAME
        joined = np.concatenate(clean)
        dropped = min(self._drop, len(joined))
        self._drop -= dropped
        return joined[dropped:]


class _ReferenceFrames:
    """What the loudspeaker played, as frames for AEC3.

    They are continuous while it sounds, however the clocks of the devices run.
    """

    def __init__(self, far_end: FarEnd) -> None:
        self._far_end = far_end
        self._rate = far_end.rate
        self._delay = _RESAMPLER_DELAY / min(self._rate, RATE) if self._rate != RATE else 0.0
        self._lead = LEAD
        self._silent_frames = _QUIET_FRAMES
        self._begin_run(-inf)

    def _begin_run(self, start: Seconds) -> None:
        self._start = start
        self._given = self._read = 0  # samples since then: at RATE, and of the far end
        self._rest = np.zeros(0, np.int16)
        self._resampler = Resampler(self._rate, RATE)

    def take(self, at: Seconds) -> SampleArray:
        """Return what was played while FRAME samples were captured from ``at`` on, with LEAD."""
        start = at + self._lead
        off = start - (self._start + self._given / RATE)
        if abs(off) > GAP:
            self._begin_run(start)
        elif self._silent_frames >= _QUIET_FRAMES:
            self._start += min(max(off, -_SLEW), _SLEW)
        until = round(((self._given + FRAME) / RATE + self._delay) * self._rate)
        read_from = self._start + self._read / self._rate
        played = self._far_end.take(read_from, until - self._read)
        self._read += len(played)
        self._rest = np.concatenate([self._rest, self._resampler.feed(played)])
        frame, self._rest = self._rest[:FRAME], self._rest[FRAME:]
        self._given += len(frame)
        self._silent_frames = 0 if frame.any() else self._silent_frames + 1
        if missing := FRAME - len(frame):  # samples not known yet
            # From now on everything is later: one gap is better than one in each frame
            self._lead = max(self._lead - missing / RATE, LEAD - GAP)
        if missing == FRAME:  # the loudspeaker may be lost: when it is back, go by the clock
            self._start = -inf
        return np.pad(frame, (missing, 0))
