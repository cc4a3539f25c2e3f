"""PortAudio's times on the session's clock.

Its callbacks get the time of the block's first sample at the converter (ADC or DAC) and the current
time, both of a clock that depends on the system below: the wall clock, the monotonic clock, or
stream time.  Only the difference of the two means anything, and on some systems not even that:
ALSA may give 0 (PortAudio issues 498, 586), WMME and DirectSound an ADC time of 0 (135, 121, 530).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from voicecli.audio import Samples, Seconds

_LONGEST: Seconds = 1.0
"""No sound card buffers more; a larger difference is no time but nonsense."""


class BlockTime(NamedTuple):
    """When the first sample of a block is at the converter.

    at: seconds, on the clock that ``called`` was read from.
    called: when the callback came.
    estimated: whether PortAudio gave no usable time.
    broken: whether samples were lost just before.
    """

    at: Seconds
    called: Seconds
    estimated: bool = False
    broken: bool = False


def captured_at(times: Mapping[str, float], now: Seconds, length: Seconds) -> BlockTime:
    """When the first sample of an input block was at the microphone.

    now: the time in the callback, on the clock wanted.
    length: of the block; without a usable time its last sample is taken to be from just now.
    """
    adc = times["input_buffer_adc_time"]
    age = times["current_time"] - adc
    if adc > 0 and 0 <= age < _LONGEST + length:
        return BlockTime(now - age, now)
    return BlockTime(now - length, now, estimated=True)


def played_at(times: Mapping[str, float], now: Seconds, latency: Seconds) -> BlockTime:
    """When the first sample of an output block will be at the loudspeaker.

    now: the time in the callback, on the clock wanted.
    latency: of the stream as PortAudio reports it, for want of a usable time.
    """
    dac = times["output_buffer_dac_time"]
    ahead = dac - times["current_time"]
    if dac > 0 and 0 <= ahead < _LONGEST:
        return BlockTime(now + ahead, now)
    return BlockTime(now + latency, now, estimated=True)


class CaptureTimes:
    """When the samples of a microphone were captured, steadier than any one block can say.

    Samples come at the device's rate, so that every block says when the first sample of all was
    captured: not after what the callback's time allows, and when the ADC's time says.  Callbacks
    come late but never early: the earliest counts.  ADC times scatter (behind PulseAudio by 27 ms
    with a standard deviation of 5, behind this class of 0.2): the latest counts that the callbacks
    allow.
    """

    _WINDOW: Seconds = 1.0
    """Fifty blocks.  Long enough that one of them was not late, short enough to forget what a sound
    server did while it settled: for a while after a stream opens, it delivers 9 ms earlier.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._count: Samples = 0
        self._said: deque[tuple[Seconds, Seconds, Seconds]] = deque()

    def place(self, count: Samples, time: BlockTime) -> Seconds:
        """When the first of the next ``count`` samples was at the microphone."""
        if time.broken:
            self._said.clear()
        begun = self._count / self._rate
        self._count += count
        latest = time.called - self._count / self._rate
        self._said.append((time.called, latest, time.at - begun))
        while self._said[0][0] < time.called - self._WINDOW:
            self._said.popleft()
        return begun + min(
            min(latest for _, latest, _ in self._said), max(adc for _, _, adc in self._said)
        )


class RateMeter:
    """The rate a device really runs at, against the session's clock.

    Callbacks come late but never early, so that the earliest of each second tells; it scatters by
    0.2 ms, which is 0.02 % of the first second measured, and less of more.
    """

    def __init__(self, nominal: int) -> None:
        self._nominal = nominal
        self._count: Samples = 0
        self._began: Seconds | None = None
        self._earliest: list[Seconds] = []  # in each second: the time minus that of the samples

    def add(self, called: Seconds, count: Samples) -> None:
        """A callback with ``count`` samples came at ``called``."""
        self._began = called if self._began is None else self._began
        self._count += count
        behind = called - self._count / self._nominal
        second = int(called - self._began)
        if second < len(self._earliest):
            self._earliest[second] = min(self._earliest[second], behind)
        else:
            self._earliest += [behind] * (second + 1 - len(self._earliest))

    @property
    def measured(self) -> float | None:
        """Hertz; None in the first three seconds.

        The first second does not count: some devices begin with what they had in store.  Nor does
        the one under way.
        """
        seconds = len(self._earliest) - 3
        if seconds < 1:
            return None
        slower = (self._earliest[-2] - self._earliest[1]) / seconds
        return self._nominal / (1 + slower)
