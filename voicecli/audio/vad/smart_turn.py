"""Judges by its sound whether a turn has ended, with Smart Turn v3.2, a small network.

The network (Daily, BSD-2) hears the last eight seconds of the turn.  Its input is Whisper's: 80
mel bands of 10 ms frames, each the logarithm of a power.  It is fetched like the models of the
local engines (``voicecli.models``).  A judgement takes 46 ms of a core (AMD EPYC; 92 on
an Intel Xeon, 2.5 GHz), 90 MB per process with onnxruntime.  That is too much for the event loop:
call it in a thread, where onnxruntime and numpy release the interpreter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from voicecli.audio.pcm import Float32Array, samples_of
from voicecli.errors import UsageError
from voicecli.loading import Library
from voicecli.turns.policy import EndModel
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

RATE = 16_000
LONGEST: Seconds = 8.0
"""What the network hears, to the end of the audio; shorter turns are preceded by silence."""

FFT: Samples = 400
STEP: Samples = 160
FRAMES = round(LONGEST * RATE) // STEP
FRAMES_AT_ONCE = 8
BANDS = 80


class SmartTurn:
    """The network in ``file``.  Calls block, and may come from any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._library = Library(self._open)
        self._session: Any = None

    def load(self) -> None:
        """Load the network, which takes 40 ms, and 0.15 s for onnxruntime; else ``judge`` does.

        Raises InputError for a damaged file.
        """
        self._library.load()

    def _open(self) -> None:
        from voicecli.models.onnx import open_network

        # Without AVX-512 VNNI, sums of 8-bit products would saturate: 0.83 instead of 0.98
        # for a finished sentence (librivox-0920, AMD EPYC).
        self._session = open_network(self._file, {"session.x64quantprecision": "1"})

    def judge(self, blocks: Sequence[AudioBlock], format: AudioFormat) -> float:
        """Return the probability that a turn with the audio of ``blocks`` has ended."""
        self.load()
        pcm = b"".join(block.pcm for block in blocks)
        samples: Float32Array = samples_of(pcm).astype(np.float32) / np.float32(32768)
        if format.rate != RATE:
            samples = soxr.resample(samples, format.rate, RATE, quality="LQ")
        inputs = {"input_features": compute_features(samples)[None]}
        return float(self._session.run(None, inputs)[0].reshape(-1)[0])


def compute_features(samples: Float32Array) -> Float32Array:
    """Compute the network's input from samples at RATE: BANDS x FRAMES.

    Only the last LONGEST seconds count; shorter audio is preceded by zeros.  The level is
    normalised.
    """
    heard = np.zeros(FRAMES * STEP, np.float32)
    samples = samples[-len(heard) :]
    heard[len(heard) - len(samples) :] = samples
    heard = (heard - heard.mean()) / np.sqrt(heard.var() + np.float32(1e-7))
    padded = np.pad(heard, FFT // 2, mode="reflect")
    frames = sliding_window_view(padded, FFT)[: FRAMES * STEP : STEP]
    window, bands = _design_filters()
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    # for so few frames OpenBLAS uses one thread; its others would spin for as long as the network
    # computes, and double the cost
    power = power.reshape(-1, FRAMES_AT_ONCE, power.shape[1]) @ bands
    levels: Float32Array = np.log10(np.maximum(power.reshape(FRAMES, BANDS).T, 1e-10))
    levels = np.maximum(levels, levels.max() - 8)
    return (levels + np.float32(4)) / np.float32(4)


@cache
def _design_filters() -> tuple[Float32Array, Float32Array]:
    """Return the window of a frame, and by frequency and band the weight of one in the other.

    The bands are triangles of equal area, spaced evenly in mel, by Slaney's formula: linear up to
    1 kHz (15 mel), then logarithmic.
    """
    top = 15 + np.log(RATE / 2 / 1000) / (np.log(6.4) / 27)
    mel = np.linspace(0, top, BANDS + 2)
    edges = np.where(mel < 15, 200 / 3 * mel, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
    offset = edges[:, None] - np.linspace(0, RATE / 2, FFT // 2 + 1)
    width = np.diff(edges)[:, None]
    slopes = np.minimum(-offset[:-2] / width[:-1], offset[2:] / width[1:])
    bands = np.maximum(slopes, 0) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return np.hanning(FFT + 1)[:-1].astype(np.float32), np.ascontiguousarray(bands.T, np.float32)


def find_network(setting: EndModel) -> Path | None:
    """Return the network's file if ``turn.end_model`` is ``setting``, or None for no network.

    Raises UsageError when "smart-turn" is asked for and something is missing.
    """
    if setting == "off":
        return None
    installed = find_spec("onnxruntime") is not None
    folder = None
    if installed:
        from voicecli import models  # 16 ms

        folder = models.find(models.SMART_TURN)
    if folder is not None:
        return folder / models.SMART_TURN.files[0].name
    if setting == "auto":
        return None
    if not installed:
        raise UsageError(
            "turn.end_model: smart-turn needs onnxruntime, which is not installed",
            hint="Install it with: pip install 'voicecli[smart-turn]'.",
        )
    raise UsageError(
        "turn.end_model: smart-turn needs a model that has not been fetched",
        hint="Fetch it with: voicecli models fetch.",
    )


def create_network(setting: EndModel) -> SmartTurn | None:
    """Return the network if ``turn.end_model`` is ``setting``, not loaded; all sessions share it.

    Raises as ``find_network`` does.
    """
    file = find_network(setting)
    return None if file is None else _create(file)


@cache
def _create(file: Path) -> SmartTurn:
    return SmartTurn(file)
