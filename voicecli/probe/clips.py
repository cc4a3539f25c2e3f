"""The shipped clips: real speech with known words and a known end.

Two sentences from LibriVox, see ``data/librivox.LICENSE``.  They hold no number, name or spelling
that a service could write in two ways, and no pause as long as an endpoint.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from voicecli.audio.vad.energy import find_stretches
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

_CLIPS = {
    "librivox-0880": "he was not an ill disposed young man",
    "librivox-0930": "he might even have been made amiable himself",
}

LEAD: Seconds = 0.5
"""Room noise before the speech: recognisers need a pause between two segments."""

ROOM_NOISE: Seconds = 0.1
"""Length of the noise that is repeated, forward and backward, to make silence."""

ATTENUATION = 4
"""Of the noise, so that its repetition is not taken for syllables."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A sentence at some sample rate.

    words: in lower case, without punctuation.
    speech: from the first voiced sample to the last.
    room: noise of the same room.
    """

    name: str
    words: str
    format: AudioFormat
    speech: NDArray[np.int16]
    room: NDArray[np.int16]

    def with_lead(self, lead: Seconds) -> bytes:
        """Room noise, then the speech to its last sample."""
        return self.silence(lead) + self.speech.tobytes()

    def silence(self, duration: Seconds) -> bytes:
        """Room noise instead of digital silence."""
        count = self.format.samples(duration)
        forward_and_backward = np.concatenate([self.room, self.room[::-1]])
        return np.resize(forward_and_backward, count).astype("<i2").tobytes()


@cache
def load_clips(format: AudioFormat) -> tuple[Clip, ...]:
    """The clips, resampled to ``format``."""
    return tuple(_load_clip(name, words, format) for name, words in _CLIPS.items())


def _load_clip(name: str, words: str, format: AudioFormat) -> Clip:
    recording = files("voicecli").joinpath("data", f"{name}.flac").read_bytes()
    samples, rate = soundfile.read(io.BytesIO(recording), dtype="int16")
    begin, end = _find_speech(samples, AudioFormat(rate))
    speech = soxr.resample(samples[begin:end], rate, format.rate)
    quiet = _find_quietest(samples[:begin], round(ROOM_NOISE * rate)) // ATTENUATION
    return Clip(name, words, format, speech, soxr.resample(quiet, rate, format.rate))


def _find_quietest(samples: NDArray[np.int16], count: Samples) -> NDArray[np.int16]:
    """The quietest stretch of ``count`` samples: without a breath or a click."""
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    begin = int(np.argmin(energy[count:] - energy[:-count]))
    return samples[begin : begin + count]


def _find_speech(samples: NDArray[np.int16], format: AudioFormat) -> tuple[Samples, Samples]:
    """Where the speech begins and ends, according to the energy detector."""
    step = format.samples(0.01)
    blocks = (
        AudioBlock(samples[at : at + step].tobytes(), at / format.rate)
        for at in range(0, len(samples), step)
    )
    found = list(find_stretches(blocks, format))
    return format.samples(found[0][0]), format.samples(found[-1][1])
