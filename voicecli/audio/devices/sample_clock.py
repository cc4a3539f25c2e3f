"""PortAudio's times on the session's clock.

Each callback is given the time of the block's first sample at the converter (ADC or DAC) and the
current time, both of a clock that depends on the system: the wall clock, the monotonic clock, or
stream time.  Only the difference of the two is meaningful, and on some systems not even that: ALSA
may give 0 (PortAudio issues 498, 586), WMME and DirectSound an ADC time of 0 (135, 121, 530).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import inf
from statistics import quantiles
from typing import NamedTuple

from voicecli.units import Samples, Seconds

_LONGEST_BUFFER: Seconds = 1.0  # no sound card buffers more; a larger difference is not usable


class BlockTime(NamedTuple):
    """When the first sample of a block is at the converter.

    at: seconds, on the clock of ``called``.
    called: when the callback came.
    estimated: whether PortAudio gave no usable time.
    broken: whether samples were lost just before.
    """

    at: Seconds
    called: Seconds
    estimated: bool = False
    broken: bool = False


def captured_at(times: Mapping[str, float], now: Seconds, length: Seconds) -> BlockTime:
    """Work out when the first sample of an input block was at the microphone.

    now: the time of the callback, on the clock wanted.
    length: of the block; without a usable time its last sample is assumed to be captured now.
    """
    adc = times["input_buffer_adc_time"]
    age = times["current_time"] - adc
    if adc > 0 and 0 <= age < _LONGEST_BUFFER + length:
        return BlockTime(now - age, now)
    return BlockTime(now - length, now, estimated=True)


def played_at(times: Mapping[str, float], now: Seconds, latency: Seconds) -> BlockTime:
    """Work out when the first sample of an output block will be at the loudspeaker.

    now: the time of the callback, on the clock wanted.
    latency: of the stream, as PortAudio reports it; used without a usable time.
    """
    dac = times["output_buffer_dac_time"]
    ahead = dac - times["current_time"]
    if dac > 0 and 0 <= ahead < _LONGEST_BUFFER:
        return BlockTime(now + ahead, now)
    return BlockTime(now + latency, now, estimated=True)


class _CallbackClock:
    """Estimates a device's sample clock from the arrival of its callbacks.

    Samples come and go at the device's rate, so every callback dates the first sample of all.
    Callbacks come late but never early, so the earliest counts, apart from clock drift, once the
    sound server's buffers have settled: behind PulseAudio, a callback before another stream opens
    is 11 ms earlier than those after.  The distance to the converter comes from the ADC or DAC
    times, but only while they are steady: behind PulseAudio, a microphone's times wander off by
    25 ms in its first ten seconds, a loudspeaker's by 8 ms in three.
    """

    _WINDOW: Seconds = 1.0  # fifty blocks, at least one of which was not late
    _DRIFT: Seconds = 0.0003  # the most that clocks drift from one window to the next
    _LOSS: Seconds = 0.02  # a move by more than this means unreported loss of samples
    _SETTLING_WINDOW: Seconds = 0.25  # the first windows are short: what they learn may be wrong
    _SETTLING_WINDOWS = 15  # in which a sound server's buffers may still fill
    _ACCEPT_AFTER = 5  # windows; then another move is the sound server's, before, a busy machine's
    _CORRECTION: Seconds = 0.00002  # in each window, of an estimate that is too early
    _STEADY: Seconds = 0.0002  # interquartile range; measured: 0.1 ms, of wandering times 0.3 to 5

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._count: Samples = 0
        self._distance: Seconds = inf  # from due to the converter, by the last steady times
        self._begin()

    def _begin(self) -> None:
        self._reported: deque[tuple[Seconds, Seconds]] = deque()
        self._first_due = self._earliest = self._level = inf
        self._windows = 0
        self._off_level = 0  # windows since the last one near the level
        self._measured = False  # the distance, since samples were last lost
        self._window_ends: Seconds | None = None

    def _add(self, count: Samples, time: BlockTime) -> Seconds:
        """Add a callback with ``count`` samples; return when it was due."""
        if time.broken:
            self._begin()
        begun = self._count / self._rate
        self._count += count
        self._reported.append((time.called, time.at - begun))
        while self._reported[0][0] < time.called - self._WINDOW:
            self._reported.popleft()
        if self._window_ends is None or time.called >= self._window_ends:
            length = self._SETTLING_WINDOW if self._settling else self._WINDOW
            self._window_ends = time.called + length
            self._end_window()
        self._earliest = min(self._earliest, time.called - begun)
        if self._earliest < self._first_due:
            self._correct_due()
        if time.called - self._reported[0][0] > 0.9 * self._WINDOW:
            self._measure_distance()
        return begun + self._first_due

    def _measure_distance(self, begin: int = 0) -> None:
        """Measure the distance to the converter if the times from block ``begin`` on are steady."""
        first, median, third = quantiles(at for _, at in list(self._reported)[begin:])
        if third - first <= self._STEADY:
            self._distance = median - self._first_due
            self._measured = True

    @property
    def _settling(self) -> bool:
        return self._windows <= self._SETTLING_WINDOWS

    def _correct_due(self) -> None:
        """Use the window's earliest callback; while that settles, the converter has not moved."""
        if self._settling and self._measured:
            self._distance += self._first_due - self._earliest
        self._first_due = self._earliest

    def _end_window(self) -> None:
        if self._level < inf:
            moved = self._earliest - self._level
            self._windows += 1
            self._off_level += 1
            follow = abs(moved) <= self._DRIFT * self._off_level or moved > self._LOSS
            if self._settling and moved <= self._LOSS:
                self._correct_due()
            elif follow:
                self._first_due += moved
            if self._settling or follow or self._off_level == self._ACCEPT_AFTER:
                self._level, self._off_level = self._earliest, 0
            self._first_due = min(self._first_due + self._CORRECTION, self._earliest)
        else:
            self._level = self._earliest
        self._earliest = inf


class CaptureClock(_CallbackClock):
    """Dates the samples of a microphone, more steadily than single blocks do.

    Never later than the callbacks allow; earlier by what the device's steady times say.
    """

    def place(self, count: Samples, time: BlockTime) -> Seconds:
        """Return when the first of the next ``count`` samples was at the microphone."""
        due = self._add(count, time)
        return due + min(self._distance, -count / self._rate)


class PlaybackClock(_CallbackClock):
    """Dates the samples of a loudspeaker, more steadily than single blocks do.

    Behind PulseAudio, single DAC times are 5 ms late on a busy machine.  Its times are right when
    they begin to be steady, and wander off later; so a tenth of a second is enough for a start.
    """

    _CATCHING_UP = 10
    """Blocks after a break until callbacks are on time: after an xrun, PulseAudio asks for the
    first three at once and dates them 8 ms early."""

    def place(self, count: Samples, time: BlockTime) -> Seconds:
        """Return when the first of the next ``count`` samples will be at the loudspeaker."""
        due = self._add(count, time)
        if self._distance == inf and len(self._reported) >= 2 * self._CATCHING_UP:
            self._measure_distance(self._CATCHING_UP)
        unsteady = self._distance == inf or len(self._reported) <= self._CATCHING_UP
        return time.at if unsteady else due + self._distance


class RateMeter:
    """Measures a device's real sample rate against the session's clock.

    Callbacks come late but never early, so the earliest of each second is used; it scatters by
    0.2 ms, which is 0.02 % after one second and less over more.
    """

    def __init__(self, nominal: int) -> None:
        self._nominal = nominal
        self._count: Samples = 0
        self._began: Seconds | None = None
        self._earliest: list[Seconds] = []  # per second: callback time minus sample time

    def add(self, called: Seconds, count: Samples) -> None:
        """Add a callback with ``count`` samples that came at ``called``."""
        self._began = called if self._began is None else self._began
        self._count += count
        behind = called - self._count / self._nominal
        second = int(called - self._began)
        self._earliest += [behind] * (second + 1 - len(self._earliest))
        self._earliest[second] = min(self._earliest[second], behind)

    @property
    def measured(self) -> float | None:
        """Hertz; None in the first three seconds.

        The first second is ignored, as some devices begin with a filled buffer; the current one
        too, as it is incomplete.
        """
        seconds = len(self._earliest) - 3
        if seconds < 1:
            return None
        slower = (self._earliest[-2] - self._earliest[1]) / seconds
        return self._nominal / (1 + slower)
