"""PortAudio's times on the session's clock.

Its callbacks get the time of the block's first sample at the converter (ADC or DAC) and the current
time, both of a clock that depends on the system below: the wall clock, the monotonic clock, or
stream time.  Only the difference of the two means anything, and on some systems not even that:
ALSA may give 0 (PortAudio issues 498, 586), WMME and DirectSound an ADC time of 0 (135, 121, 530).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import inf
from statistics import quantiles
from typing import NamedTuple

from voicecli.units import Samples, Seconds

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


class _Pace:
    """What the callbacks of a device tell, all together.

    Samples come and go at the device's rate, so that every callback says when the first of all was
    due.  Callbacks come late but never early: the earliest counts, whatever a sound server's
    buffers do once it has settled (behind PulseAudio, they grow by 9 ms in the first seconds), but
    for the drift of the clocks.  How far from it the converter is the times of the ADC or DAC say,
    but only while they keep the same distance: behind PulseAudio, those of a microphone wander off
    by 25 ms in its first ten seconds.
    """

    _WINDOW: Seconds = 1.0
    """Fifty blocks, one of which was not late."""

    _DRIFT: Seconds = 0.0003
    """From one window to the next, what is no more than this is the clocks' drift."""

    _LOST: Seconds = 0.02
    """And more than this means that samples were lost, though nobody said so."""

    _SETTLING = 3
    """Windows in which a sound server's buffers may still fill."""

    _PATIENCE = 5
    """Windows after which what was neither is what a sound server's buffers do; sooner, the machine
    was busy."""

    _HEAL: Seconds = 0.00002
    """What is too early comes nearer by so much in each window."""

    _STEADY: Seconds = 0.0005
    """Distance of the quartiles.  Wandering times have 1 to 5 ms, steady ones 0.1 (measured)."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._count: Samples = 0
        self._distance: Seconds | None = None
        self._begin()

    def _begin(self) -> None:
        self._said: deque[tuple[Seconds, Seconds]] = deque()
        self._first_due = self._earliest = self._level = inf
        self._windows = 0
        self._off = 0  # of them, since one was near the level
        self._window_ends: Seconds | None = None

    def note(self, count: Samples, time: BlockTime) -> Seconds:
        """When the callback for the next ``count`` samples was due."""
        if time.broken:
            self._begin()
        begun = self._count / self._rate
        self._count += count
        self._said.append((time.called, time.at - begun))
        while self._said[0][0] < time.called - self._WINDOW:
            self._said.popleft()
        if self._window_ends is None or time.called >= self._window_ends:
            self._window_ends = time.called + self._WINDOW
            self._follow()
        self._earliest = min(self._earliest, time.called - begun)
        self._first_due = min(self._first_due, self._earliest)
        return begun + self._first_due

    def _follow(self) -> None:
        """Another window is over."""
        if self._level < inf:
            moved = self._earliest - self._level
            self._windows += 1
            self._off += 1
            drifted = abs(moved) <= self._DRIFT * self._off
            lost = moved > self._LOST
            if drifted or lost or self._windows <= self._SETTLING:
                self._first_due += moved
                self._level, self._off = self._earliest, 0
            elif self._off == self._PATIENCE:
                self._level, self._off = self._earliest, 0
            self._first_due = min(self._first_due + self._HEAL, self._earliest)
        else:
            self._level = self._earliest
        self._earliest = inf

    @property
    def blocks(self) -> int:
        """So many of them tell."""
        return len(self._said)

    @property
    def distance(self) -> Seconds | None:
        """From where a callback is due to the time at the converter; None until that is known.

        The last steady one, as long as there is no other.
        """
        if self._said[-1][0] - self._said[0][0] > 0.9 * self._WINDOW:
            first, median, third = quantiles(at for _, at in self._said)
            if third - first <= self._STEADY:
                self._distance = median - self._first_due
        return self._distance


class CaptureTimes:
    """When the samples of a microphone were captured, steadier than any one block can say.

    Never after what the callbacks allow; before that by what a device's steady times say.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._pace = _Pace(rate)

    def place(self, count: Samples, time: BlockTime) -> Seconds:
        """When the first of the next ``count`` samples was at the microphone."""
        due = self._pace.note(count, time)
        distance = self._pace.distance
        length = count / self._rate
        return due + min(distance if distance is not None else -length, -length)


class PlaybackTimes:
    """When the samples of a loudspeaker will sound, steadier than any one block can say.

    Behind PulseAudio, single DAC times are 5 ms late on a busy machine, and those of the first
    three callbacks after the device ran dry are 8 ms early: these come all at once.
    """

    _AT_ONCE = 10
    """Blocks after a break until callbacks come on time."""

    def __init__(self, rate: int) -> None:
        self._pace = _Pace(rate)

    def place(self, count: Samples, time: BlockTime) -> Seconds:
        """When the first of the next ``count`` samples will be at the loudspeaker."""
        due = self._pace.note(count, time)
        distance = self._pace.distance
        if distance is None or self._pace.blocks <= self._AT_ONCE:
            return time.at
        return due + distance


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
