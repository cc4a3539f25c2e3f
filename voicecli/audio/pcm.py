"""Linear16 samples: arrays, audibility, and conversion of the sample rate.

All audio inside the program is mono, 16-bit signed little-endian PCM ("linear16").  Levels are in
dBFS (0 = a full-scale square wave).
"""

from __future__ import annotations

from functools import cache
from math import ceil, gcd, log10

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from voicecli.units import Samples, Seconds

SampleArray = NDArray[np.int16]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

AUDIBLE_DBFS = -45.0
"""A sample at or above this level is audible; the field's threshold for "first audible sample"."""

_LINEAR16 = np.dtype("<i2")

SILENT_DBFS = -100.0  # the level of digital silence


def samples_of(pcm: bytes) -> SampleArray:
    """Return the samples of linear16 ``pcm`` as a view, without a copy."""
    return np.frombuffer(pcm, _LINEAR16)


def round_samples(values: Float32Array) -> SampleArray:
    """Round ``values`` to samples; clip them to full scale."""
    rounded: SampleArray = np.rint(values).clip(-32768, 32767).astype(np.int16)
    return rounded


def find_audible(samples: SampleArray) -> Samples | None:
    """Return the index of the first sample at or above AUDIBLE_DBFS; None if there is none."""
    loud = np.abs(samples.astype(np.int32)) >= 32768 * 10 ** (AUDIBLE_DBFS / 20)
    return int(loud.argmax()) if loud.any() else None


def measure_level(samples: SampleArray) -> float:
    """Return the root-mean-square level of ``samples`` in dBFS."""
    if not samples.size:
        return SILENT_DBFS
    return to_dbfs(float(np.mean(np.square(samples, dtype=np.float64))))


def to_dbfs(power: float) -> float:
    """Convert a mean square of samples to dBFS, SILENT_DBFS at least."""
    return 10 * log10(max(power, _SILENT_POWER) / _FULL_POWER)


def to_power(dbfs: float) -> float:
    """Convert dBFS to a mean square of samples."""
    return float(_FULL_POWER * 10 ** (dbfs / 10))


_FULL_POWER = 32768.0**2
_SILENT_POWER = to_power(SILENT_DBFS)


_ZERO_CROSSINGS = 24  # of the sinc on either side: 1 ms at 24 kHz, 1.5 ms at 16 kHz
_CUTOFF = 0.95  # of the lower Nyquist frequency; the transition band of 10 % lies around it
_FEW_PLACES = 6  # between two input samples, up to which a convolution for each is the fastest
_KAISER_BETA = 8.0  # 80 dB of attenuation beyond the transition band
_CHUNK: Samples = 4096  # output samples computed at once; bounds the memory, not the result


class Resampler:
    """Converts mono 16-bit samples from ``source_rate`` to ``rate``, with a delay of a millisecond.

    soxr's streams hold back up to 19 ms (LQ) or 35 ms (HQ) of audio, measured on 48 to 16 and 24 to
    48 kHz, and deliver in bursts: too much between a microphone and a turn that waits for an
    answer.  A short windowed sinc holds back half its length.

    Sample n of the output belongs to the time n / ``rate`` of the input: the filter delays the
    output but does not shift it.
    """

    def __init__(self, source_rate: int, rate: int) -> None:
        divisor = gcd(source_rate, rate)
        self._up, self._down = rate // divisor, source_rate // divisor
        self._source_rate = source_rate
        self._filters = _design_filters(self._up, self._down)
        self._half = self._filters.shape[1] // 2
        self._kept = np.zeros(self._half - 1, np.float32)  # the first output is the first input's
        self._phase = 0  # of the next output, in 1 / up of an input sample, from the first kept

    @property
    def lag(self) -> Seconds:
        """How much earlier the next output sample is than the next input sample."""
        waiting: float = len(self._kept) - self._half + 1 - self._phase / self._up
        return waiting / self._source_rate

    def feed(self, samples: SampleArray) -> SampleArray:
        """Add ``samples`` and return the output that can be computed by now."""
        if self._up == self._down:
            return samples
        known = np.concatenate([self._kept, samples.astype(np.float32)])
        end = (len(known) - 2 * self._half + 1) * self._up  # from here on, input is missing
        steps = range(self._phase, end, self._down)
        out = np.empty(len(steps), np.int16)
        for begin in range(0, len(steps), _CHUNK):
            out[begin : begin + _CHUNK] = self._filter(known, steps[begin : begin + _CHUNK])
        self._phase += len(steps) * self._down
        done = min(self._phase // self._up, len(known))
        self._phase -= done * self._up
        self._kept = known[done:]
        return out

    def flush(self) -> SampleArray:
        """Return the remaining output, as if silence followed."""
        return self.feed(np.zeros(self._half if self._up != self._down else 0, np.int16))

    def _filter(self, known: Float32Array, steps: range) -> SampleArray:
        """Compute the output at ``steps``, each in 1 / up of a sample of ``known``."""
        if self._up <= _FEW_PLACES:
            values: Float32Array = np.empty(len(steps), np.float32)
            for index, step in enumerate(steps[: self._up]):  # the places recur from then on
                first, place = divmod(step, self._up)
                count = len(values[index :: self._up])
                last = first + (count - 1) * self._down + 2 * self._half
                every = np.correlate(known[first:last], self._filters[place])
                values[index :: self._up] = every[:: self._down]
        else:
            positions = np.arange(steps.start, steps.stop, steps.step)
            windows = sliding_window_view(known, 2 * self._half)[positions // self._up]
            values = np.einsum("ij,ij->i", windows, self._filters[positions % self._up])
        return round_samples(values)


@cache
def _design_filters(up: int, down: int) -> Float32Array:
    """Return a row of coefficients for each of the ``up`` places between two input samples.

    The row's middle pair of coefficients belongs to the input samples around that place.
    """
    stretch = max(1.0, down / up)  # in input samples, per zero crossing
    half = ceil(_ZERO_CROSSINGS * stretch)
    place = np.arange(up)[:, None] / up
    distance = np.arange(1 - half, half + 1)[None, :] - place
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1)))
    rows = np.sinc(distance * _CUTOFF / stretch) * window / np.i0(_KAISER_BETA)
    rows /= rows.sum(axis=1, keepdims=True)  # equal gain at every place
    return rows.astype(np.float32)
