"""Silero VAD's network for 16 kHz, computed with numpy.

A window of 512 samples and the 64 before it become four spectra; four convolutions, an LSTM and a
sum of its outputs make of them the probability that somebody speaks.

onnxruntime computes the published file (release 6.2.1, see ``data/silero_vad.LICENSE``) in 113 µs a
window, this module in 49 (AMD EPYC, one thread, median of 20 runs).  Probabilities differ by 2e-6
at most on recorded speech, clean and in noise, and decisions not at all; tests compare them.  The
difference is what onnxruntime costs a network as small as this, 0.7 million multiplications, of
which a third are spectra computed as a convolution.  Nor does this module need its 44 MB of memory
and 0.15 s of import.

Most of the time goes into reading the weights, 1 MB, which are more than a core's own caches hold.
``SharedNetwork`` reads them once for the windows of several streams: 46 µs a window for 8 and 59
for 4 where one alone takes 92 (AMD EPYC, 10th percentile of 150); probabilities differ by 2e-7.
Considered, and not chosen:

- running the network only while something is louder than the noise: the LSTM remembers for
  seconds.  With the state from before a silence, probabilities differ by up to 0.9 and a voice is
  noticed up to 190 ms earlier; with a second of audio to warm up, they differ by up to 0.13, and
  that second is computed in one burst.  Decisions would depend on the gate.
- a worker thread (not measured): the same CPU, and a switch between threads per window.

OpenBLAS, which numpy's wheels contain, computes matrices of this size in the calling thread
(measured with numpy 2.0 to 2.4).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from voicecli.audio.interfaces import Hearing
from voicecli.audio.pcm import Float32Array
from voicecli.events import Event

RATE = 16_000
WINDOW = 512  # samples that the network judges at once: 32 ms
CONTEXT = 64  # samples before the window that it needs again
LARGEST_BATCH = 8  # windows; of more, none is cheaper, and all wait longer
_MIRRORED = 64  # samples at the end of the window that are repeated backwards
_FRAME, _HOP = 256, 128  # of the spectra
_FRAMES = 4
_BINS = _FRAME // 2 + 1
_FEATURES = 128  # of a window; as many as the LSTM has cells
_GATES = [slice(first, first + _FEATURES) for first in range(0, 4 * _FEATURES, _FEATURES)]
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)  # numpy would convert a 0


class SileroNetwork:
    """The network and what it remembers of one stream, which is 9 kB."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the stream."""
        self._alone = _Batch(1)

    def judge(self, window: Float32Array) -> float:
        """Return the probability of a voice in the next WINDOW samples, which are -1 to 1."""
        self._alone.add(0, window)
        return self._alone.judge()[0]

    def enter(self, batch: _Batch, row: int, window: Float32Array) -> None:
        """Put the next window of the stream into ``batch``, and what was before it."""
        batch.remember(row, self._alone, 0)
        batch.add(row, window)

    def leave(self, batch: _Batch, row: int) -> None:
        """Remember what ``batch`` has made of it."""
        self._alone.remember(0, batch, row)


class Window(NamedTuple):
    """The next WINDOW samples of the stream that ``network`` remembers."""

    network: SileroNetwork
    samples: Float32Array


def judge_alone(hearing: Hearing) -> list[Event]:
    """Have each window judged at once; return the events."""
    try:
        window = next(hearing)
        while True:
            window = hearing.send(window.network.judge(window.samples))
    except StopIteration as heard:
        events: list[Event] = heard.value
        return events


class SharedNetwork:
    """Judges windows of several streams in one call.  Not thread-safe."""

    def __init__(self) -> None:
        self._batches: dict[int, _Batch] = {}  # by size: 9 kB for each window

    def judge(self, windows: Sequence[Window]) -> list[float]:
        """Return the probability of a voice in each of ``windows``, which are of different streams.

        LARGEST_BATCH of them, at most.
        """
        if len(windows) == 1:
            return [windows[0].network.judge(windows[0].samples)]
        batch = self._find_batch(len(windows))
        for row, window in enumerate(windows):
            window.network.enter(batch, row, window.samples)
        probabilities = batch.judge()
        for row, window in enumerate(windows):
            window.network.leave(batch, row)
        return probabilities

    def _find_batch(self, size: int) -> _Batch:
        if size not in self._batches:
            self._batches[size] = _Batch(size)
        return self._batches[size]


class _Parts(NamedTuple):
    """Views of what the network sees of a window.

    end: of the window, what the next one needs again.
    backwards: what is mirrored.
    """

    context: Float32Array
    window: Float32Array
    mirrored: Float32Array
    end: Float32Array
    backwards: Float32Array

    @classmethod
    def cut(cls, samples: Float32Array) -> _Parts:
        return cls(
            samples[:CONTEXT],
            samples[CONTEXT:-_MIRRORED],
            samples[-_MIRRORED:],
            samples[WINDOW : WINDOW + CONTEXT],
            samples[-_MIRRORED - 2 : -2 * _MIRRORED - 2 : -1],
        )


class _Batch:
    """Windows that are judged together, a row each, and what the network remembers of them."""

    def __init__(self, size: int) -> None:
        self._weights = load_weights()
        samples = np.zeros((size, CONTEXT + WINDOW + _MIRRORED), np.float32)
        self._parts = [_Parts.cut(row) for row in samples]
        self._frames = _overlap(samples, _FRAMES, _FRAME, _HOP)
        # the inputs of the first two convolutions lie between zeros
        self._spectra = np.zeros((size, 1 + _FRAMES + 1, _BINS), np.float32)
        self._triples = _overlap(self._spectra, _FRAMES, 3 * _BINS, _BINS)
        self._first = np.zeros((size, 1 + _FRAMES, _FEATURES), np.float32)
        self._pairs = _overlap(self._first, _FRAMES // 2, 3 * _FEATURES, 2 * _FEATURES)
        self._inputs = np.zeros((size, 2 * _FEATURES), np.float32)
        self._features, self._outputs = self._inputs[:, :_FEATURES], self._inputs[:, _FEATURES:]
        self._cells = np.zeros((size, _FEATURES), np.float32)

    def add(self, row: int, window: Float32Array) -> None:
        """Put ``window`` behind the end of the one before it."""
        context, new, mirrored, end, backwards = self._parts[row]
        context[:] = end
        new[:] = window
        mirrored[:] = backwards

    def remember(self, row: int, other: _Batch, its_row: int) -> None:
        """Take over what ``other`` remembers of a stream."""
        self._parts[row].end[:] = other._parts[its_row].end
        self._outputs[row] = other._outputs[its_row]
        self._cells[row] = other._cells[its_row]

    def judge(self) -> list[float]:
        """Return the probability of a voice in each window that was added."""
        weights = self._weights
        np.abs(np.fft.rfft(self._frames * weights.taper), out=self._spectra[:, 1:-1])
        first, second, third, fourth = weights.convolutions
        first.apply(self._triples, self._first[:, 1:])
        joined = second.apply(self._pairs).reshape(len(self._cells), -1)
        fourth.apply(third.apply(joined), self._features)
        self._remember()
        scores = np.maximum(self._outputs, _ZERO) @ weights.sum.matrix + weights.sum.bias
        return [1 / (1 + math.exp(-score)) for score in scores.tolist()]

    def _remember(self) -> None:
        """Advance the LSTM by one step; ``load_weights`` prepared its gates for tanh."""
        gates = self._inputs @ self._weights.gates.matrix
        gates += self._weights.gates.bias
        np.tanh(gates, out=gates)
        sigmoids = gates[:, : 3 * _FEATURES]
        sigmoids += _ONE
        sigmoids *= _HALF
        take, keep, show, new = (gates[:, one] for one in _GATES)
        new *= take
        self._cells *= keep
        self._cells += new
        np.tanh(self._cells, out=self._outputs)
        self._outputs *= show


def _overlap(array: Float32Array, count: int, length: int, step: int) -> Float32Array:
    """Return a view of each row as ``count`` of ``length``, each ``step`` after the one before."""
    rows, size = len(array), array.itemsize
    return as_strided(array, (rows, count, length), (array.strides[0], step * size, size))


class _Layer(NamedTuple):
    """A matrix and what is added to its product."""

    matrix: Float32Array
    bias: Float32Array

    def apply(self, inputs: Float32Array, out: Float32Array | None = None) -> Float32Array:
        """Return the layer's outputs, without their negative part; in ``out`` where given."""
        outputs: Float32Array = inputs @ self.matrix
        outputs += self.bias
        return np.maximum(outputs, _ZERO, out=outputs if out is None else out)


class _Weights(NamedTuple):
    """The network's weights, arranged for ``judge``.

    taper: of the frames before their spectrum.
    convolutions: a row of the matrix for each bin or feature of each frame they look at.
    gates: of the LSTM.
    sum: of its outputs.
    """

    taper: Float32Array
    convolutions: tuple[_Layer, _Layer, _Layer, _Layer]
    gates: _Layer
    sum: _Layer


_LOADING = threading.Lock()  # streams that open side by side would each load a copy


def load_weights() -> _Weights:
    """Load the weights; all streams share them."""
    with _LOADING:
        return _read_weights()


@cache
def _read_weights() -> _Weights:
    """Read the weights from the package.

    data/silero_vad.npz holds the published ones under their published names, in PyTorch's shapes:
    (out, in, frame) for a convolution, (4 gates of 128, in) for the LSTM.
    """
    with (
        files("voicecli").joinpath("data", "silero_vad.npz").open("rb") as file,
        np.load(file) as stored,
    ):
        weights: dict[str, Float32Array] = dict(stored)

    def convolution(index: int, frames: slice) -> _Layer:
        name = f"encoder.{index}.reparam_conv"
        weight = weights[f"{name}.weight"][:, :, frames]
        matrix = weight.transpose(2, 1, 0).reshape(-1, len(weight))
        return _Layer(np.ascontiguousarray(matrix), weights[f"{name}.bias"])

    gates = np.concatenate([weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]], 1)
    bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
    # PyTorch's order is take, keep, new, show.  sigmoid(x) = (1 + tanh(x / 2)) / 2, so that one
    # tanh computes all four.
    order = np.r_[0:256, 384:512, 256:384]
    scale = np.r_[np.full(384, 0.5), np.ones(128)].astype(np.float32)
    return _Weights(
        taper=(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)).astype(np.float32),
        # the third and the fourth see zeros beside their only frames
        convolutions=(
            convolution(0, slice(3)),
            convolution(1, slice(3)),
            convolution(2, slice(1, 3)),
            convolution(3, slice(1, 2)),
        ),
        gates=_Layer(np.ascontiguousarray(gates.T[:, order] * scale), bias[order] * scale),
        sum=_Layer(
            weights["decoder.decoder.2.weight"].reshape(-1), weights["decoder.decoder.2.bias"]
        ),
    )
