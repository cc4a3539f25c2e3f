"""Signals of which it is known to the sample where the voice ends.

Recorded speech, cut in the middle of loud sounds; every second pair with a soft hiss behind the
cut, as a final consonant has.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
import soundfile
import soxr

from voicecli.audio.pcm import Float64Array, SampleArray, to_power
from voicecli.units import Samples, Seconds

COUNT = 24

_CLIPS = ("librivox-0880", "librivox-0930")
_LENGTH: Seconds = 1.0  # before the cut
_HISS: Seconds = 0.08
_HISS_DBFS = -50.0
_HISS_BAND = (1500, 7500)  # hertz
_LOUD_DB = 12.0  # below its loudest frames the voice may be where it is cut
_MATCHED: Seconds = 0.4  # of a signal's end that is searched for


@cache
def make_signals(rate: int, count: int = COUNT) -> tuple[SampleArray, ...]:
    """Make signals at ``rate``, the same ones each time; the last sample ends the voice."""
    rng = np.random.default_rng(14)
    clips = [_load_clip(name, rate) for name in _CLIPS]
    signals = []
    for index in range(count):
        clip = clips[index % len(clips)]
        end = _choose_cut(clip, rate, rng)
        hiss = _make_hiss(rate, rng) if index // len(clips) % 2 else np.zeros(0)
        whole = np.concatenate([clip[end - round(_LENGTH * rate) : end], hiss])
        signals.append(whole.round().astype(np.int16))
    return tuple(signals)


def find_signal_end(signal: SampleArray, recorded: SampleArray, rate: int) -> Samples:
    """Return where ``signal`` ends in ``recorded``, which contains it once; both at ``rate``."""
    known = signal[-round((_MATCHED + _HISS) * rate) :].astype(np.float64)
    size = len(recorded) + len(known)
    spectrum = np.fft.rfft(recorded.astype(np.float64), size)
    match = np.fft.irfft(spectrum * np.conj(np.fft.rfft(known, size)), size)
    return int(match[: len(recorded) - len(known) + 1].argmax()) + len(known)


def _load_clip(name: str, rate: int) -> Float64Array:
    recording = files("voicecli").joinpath("data", f"{name}.flac").read_bytes()
    samples, own = soundfile.read(BytesIO(recording), dtype="float64")
    scaled: Float64Array = soxr.resample(samples, own, rate) * 32768
    return scaled


def _choose_cut(clip: Float64Array, rate: int, rng: np.random.Generator) -> Samples:
    """Choose a sample at which the voice is loud, and before which a whole signal fits."""
    size = rate // 100
    power = np.square(clip[: len(clip) // size * size]).reshape(-1, size).mean(axis=1)
    loud = power >= np.percentile(power, 95) * 10 ** (-_LOUD_DB / 10)
    steady = np.flatnonzero(loud[1:] & loud[:-1]) + 1
    steady = steady[steady * size >= round(_LENGTH * rate)]
    return int(rng.choice(steady)) * size + int(rng.integers(size))


def _make_hiss(rate: int, rng: np.random.Generator) -> Float64Array:
    count = round(_HISS * rate)
    spectrum = np.fft.rfft(rng.normal(size=count))
    frequencies = np.fft.rfftfreq(count, 1 / rate)
    spectrum[(frequencies < _HISS_BAND[0]) | (frequencies > _HISS_BAND[1])] = 0
    hiss = np.fft.irfft(spectrum, count)
    scaled: Float64Array = hiss / hiss.std() * np.sqrt(to_power(_HISS_DBFS))
    return scaled
