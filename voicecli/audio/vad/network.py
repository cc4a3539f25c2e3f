"""Silero VAD's network for 16 kHz, computed with numpy.

A window of 512 samples and the 64 before it become four spectra; four convolutions, an LSTM and a
sum of its outputs make of them the probability that somebody speaks.

onnxruntime computes the published file (release 6.2.1, see ``data/silero_vad.LICENSE``) in 113 µs a
window, this module in 49 (AMD EPYC, one thread, median of 20 runs).  Probabilities differ by 2e-6
at most on recorded speech, clean and in noise, and decisions not at all; tests compare them.  The
difference is what onnxruntime costs a network as small as this, 0.7 million multiplications, of
which a third are spectra computed as a convolution.  Nor does this module need its 44 MB of memory
and 0.15 s of import.  Considered, and not chosen:

- batches of several sessions: on onnxruntime 62 µs a window for 8 and 55 for 64, with numpy 74 for
  4, 59 for 8 and 40 for 16 where this module takes 130 (Intel Xeon, 2.5 GHz, median of 60).  But
  the whole batch is computed at once (3.5 ms for 64 on onnxruntime), and verdicts wait until it is
  complete: 64 sessions complete a window every 0.5 ms.
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
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from voicecli.audio.pcm import Float32Array

RATE = 16_000
WINDOW = 512  # samples that the network judges at once: 32 ms
CONTEXT = 64  # samples before the window that it needs again
_MIRRORED = 64  # samples at the end of the window that are repeated backwards
_FRAME, _HOP = 256, 128  # of the spectra
_FRAMES = 4
_BINS = _FRAME // 2 + 1
_FEATURES = 128  # of a window; as many as the LSTM has cells
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)  # numpy would convert a 0


class SileroNetwork:
    """The network and what it remembers of one stream, which is 9 kB."""

    def __init__(self) -> None:
        self._weights = load_weights()
        self.reset()

    def reset(self) -> None:
        """Forget the stream."""
        self._samples = np.zeros(CONTEXT + WINDOW + _MIRRORED, np.float32)
        self._frames = _overlap(self._samples, _FRAMES, _FRAME, _HOP)
        # the inputs of the first two convolutions lie between zeros
        self._spectra = np.zeros((1 + _FRAMES + 1, _BINS), np.float32)
        self._triples = _overlap(self._spectra, _FRAMES, 3 * _BINS, _BINS)
        self._first = np.zeros((1 + _FRAMES, _FEATURES), np.float32)
        self._pairs = _overlap(self._first, _FRAMES // 2, 3 * _FEATURES, 2 * _FEATURES)
        self._inputs = np.zeros(2 * _FEATURES, np.float32)
        self._features, self._outputs = self._inputs[:_FEATURES], self._inputs[_FEATURES:]
        self._cells = np.zeros(_FEATURES, np.float32)

    def judge(self, window: Float32Array) -> float:
        """Return the probability of a voice in the next WINDOW samples, which are -1 to 1."""
        samples, weights = self._samples, self._weights
        samples[:CONTEXT] = samples[WINDOW : WINDOW + CONTEXT]
        samples[CONTEXT:-_MIRRORED] = window
        samples[-_MIRRORED:] = samples[-_MIRRORED - 2 : -2 * _MIRRORED - 2 : -1]
        np.abs(np.fft.rfft(self._frames * weights.taper), out=self._spectra[1:-1])
        first, second, third, fourth = weights.convolutions
        first.apply(self._triples, self._first[1:])
        fourth.apply(third.apply(second.apply(self._pairs).reshape(-1)), self._features)
        self._remember()
        score = np.maximum(self._outputs, _ZERO) @ weights.sum.matrix + weights.sum.bias[0]
        return 1 / (1 + math.exp(-float(score)))

    def _remember(self) -> None:
        """Advance the LSTM by one step; ``load_weights`` prepared its gates for tanh."""
        gates = self._inputs @ self._weights.gates.matrix
        gates += self._weights.gates.bias
        np.tanh(gates, out=gates)
        sigmoids = gates[: 3 * _FEATURES]
        sigmoids += _ONE
        sigmoids *= _HALF
        take, keep, show, new = gates.reshape(4, _FEATURES)
        new *= take
        self._cells *= keep
        self._cells += new
        np.tanh(self._cells, out=self._outputs)
        self._outputs *= show


def _overlap(array: Float32Array, rows: int, length: int, step: int) -> Float32Array:
    """Return a view of ``array`` as ``rows`` of ``length``, each ``step`` after the one before."""
    return as_strided(array, (rows, length), (step * array.itemsize, array.itemsize))


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
