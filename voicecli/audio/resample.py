"""Streaming conversion of the sample rate with a delay of a millisecond.

soxr's streams hold back up to 19 ms (LQ) or 35 ms (HQ) of audio in blocks of their own, measured on
48 to 16 and 24 to 48 kHz, and deliver in bursts: too dear between a microphone and a turn that is
to be answered.  A short windowed sinc holds back half its length.
"""

from __future__ import annotations

from functools import cache
from math import ceil, gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_ZEROS = 24
"""Zero crossings of the sinc on either side: 1 ms at 24 kHz, 1.5 ms at 16 kHz."""

_CUTOFF = 0.95
"""Of the lower Nyquist frequency; the transition of 10 % lies around it."""

_BETA = 8.0
"""Kaiser's window: 80 dB of attenuation beyond the transition."""

_AT_ONCE = 4096
"""Samples computed in one go; bounds the memory, not the result."""


class Resampler:
    """Mono 16-bit samples at ``source_rate`` made samples at ``rate``, piece by piece.

    Sample n of the output belongs to the time n / ``rate`` of the input: the filter delays what
    comes out, but shifts nothing.
    """

    def __init__(self, source_rate: int, rate: int) -> None:
        divisor = gcd(source_rate, rate)
        self._up, self._down = rate // divisor, source_rate // divisor
        self._filters = _filters(self._up, self._down)
        self._half = self._filters.shape[1] // 2
        self._kept = np.zeros(self._half - 1, np.float32)  # the first output is the first input's
        self._phase = 0  # of the next output, in 1 / up of an input sample, from the first kept

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """What can be computed now that ``samples`` are known."""
        if self._up == self._down:
            return samples
        known = np.concatenate([self._kept, samples.astype(np.float32)])
        last = (len(known) - 2 * self._half + 1) * self._up  # beyond it, samples are missing
        steps = range(self._phase, last, self._down)
        out = np.empty(len(steps), np.int16)
        for begin in range(0, len(steps), _AT_ONCE):
            out[begin : begin + _AT_ONCE] = self._computed(known, steps[begin : begin + _AT_ONCE])
        self._phase += len(steps) * self._down
        gone = min(self._phase // self._up, len(known))
        self._phase -= gone * self._up
        self._kept = known[gone:]
        return out

    def flush(self) -> NDArray[np.int16]:
        """The rest, when nothing follows; as if silence did."""
        return self.feed(np.zeros(self._half, np.int16))

    def _computed(self, known: NDArray[np.float32], steps: range) -> NDArray[np.int16]:
        positions = np.arange(steps.start, steps.stop, steps.step)
        windows = sliding_window_view(known, 2 * self._half)[positions // self._up]
        values = np.einsum("ij,ij->i", windows, self._filters[positions % self._up])
        rounded: NDArray[np.int16] = np.rint(values).clip(-32768, 32767).astype(np.int16)
        return rounded


@cache
def _filters(up: int, down: int) -> NDArray[np.float32]:
    """A row of coefficients for each of the ``up`` places an output can have between two inputs.

    The row's middle pair of coefficients belongs to the input samples around that place.
    """
    stretch = max(1.0, down / up)  # in input samples, per zero crossing
    half = ceil(_ZEROS * stretch)
    place = np.arange(up)[:, None] / up
    distance = np.arange(1 - half, half + 1)[None, :] - place
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1))) / np.i0(_BETA)
    rows = np.sinc(distance * _CUTOFF / stretch) * window
    rows /= rows.sum(axis=1, keepdims=True)  # as loud at every place
    result: NDArray[np.float32] = rows.astype(np.float32)
    return result
