"""The speech that the STT is measured with: two sentences from LibriVox.

They hold no number, name or spelling that a service could write in two ways, and no pause as long
as an endpoint; see ``data/librivox.LICENSE``.
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
    speech: from the first voiced sample to the last that is loud: a soft "f" after it is cut off,
        so that the end is known to the sample, and the same for everybody who hears it.
    room: noise of the same room.
    """

    words: str
    format: AudioFormat
    speech: NDArray[np.int16]
    room: NDArray[np.int16]

    def with_lead(self, lead: Seconds) -> bytes:
        """Room noise, then the speech to its last sample."""
        return self.silence(lead) + self.speech.tobytes()

    def silence(self, duration: Seconds) -> bytes:
        """Room noise instead of digital silence."""
        forward_and_backward = np.concatenate([self.room, self.room[::-1]])
        count = self.format.samples(duration)
        return np.resize(forward_and_backward, count).astype("<i2").tobytes()


@cache
def load_clips(format: AudioFormat) -> tuple[Clip, ...]:
    """Load the clips, resampled to ``format``."""
    return tuple(_load_clip(name, words, format) for name, words in _CLIPS.items())


def _load_clip(name: str, words: str, format: AudioFormat) -> Clip:
    recording = files("voicecli").joinpath("data", f"{name}.flac").read_bytes()
    samples, rate = soundfile.read(io.BytesIO(recording), dtype="int16")
    stretches = list(find_stretches([AudioBlock(samples.tobytes(), 0.0)], AudioFormat(rate)))
    begin, end = round(stretches[0][0] * rate), round(stretches[-1][1] * rate)
    quiet = _find_quietest(samples[:begin], round(ROOM_NOISE * rate)) // ATTENUATION
    speech, room = (soxr.resample(one, rate, format.rate) for one in (samples[begin:end], quiet))
    return Clip(words, format, speech, room)


def _find_quietest(samples: NDArray[np.int16], count: Samples) -> NDArray[np.int16]:
    """The quietest stretch of ``count`` samples: without a breath or a click."""
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    begin = int(np.argmin(energy[count:] - energy[:-count]))
    return samples[begin : begin + count]
