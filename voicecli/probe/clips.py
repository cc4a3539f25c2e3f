"""The shipped clips: real speech, with the words known, and where the voice ends.

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
"""Of the room, before the voice: recognisers want a pause between two utterances."""


ROOM: Seconds = 0.1
"""So much of the room is repeated, there and back, for as long as silence is needed."""

SOFTENED = 4
"""By so much, lest a repeated noise be taken for syllables."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A sentence at some rate.

    words: in small letters, without punctuation.
    voice: from the first voiced sample to the last; room: the same room without a voice.
    """

    name: str
    words: str
    format: AudioFormat
    voice: NDArray[np.int16]
    room: NDArray[np.int16]

    def spoken(self, lead: Seconds) -> bytes:
        """So much of the room, then the voice; ends with its last sample."""
        return self.silence(lead) + self.voice.tobytes()

    def silence(self, duration: Seconds) -> bytes:
        """So much of the room: of its noise, which is not digital silence."""
        count = self.format.samples(duration)
        there_and_back = np.concatenate([self.room, self.room[::-1]])
        return np.resize(there_and_back, count).astype("<i2").tobytes()


@cache
def clips(rate: int) -> tuple[Clip, ...]:
    """The clips, resampled to ``rate`` hertz."""
    return tuple(_clip(name, words, AudioFormat(rate)) for name, words in _CLIPS.items())


def _clip(name: str, words: str, format: AudioFormat) -> Clip:
    sound = files("voicecli").joinpath("data", f"{name}.flac").read_bytes()
    samples, rate = soundfile.read(io.BytesIO(sound), dtype="int16")
    begin, end = _voice(samples, AudioFormat(rate))
    voice = soxr.resample(samples[begin:end], rate, format.rate)
    quiet = _quietest(samples[:begin], round(ROOM * rate)) // SOFTENED
    room = soxr.resample(quiet, rate, format.rate)
    return Clip(name, words, format, voice, room)


def _quietest(samples: NDArray[np.int16], count: Samples) -> NDArray[np.int16]:
    """Those ``count`` samples in a row that are softest: without a breath or a click."""
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    begin = int(np.argmin(energy[count:] - energy[:-count]))
    return samples[begin : begin + count]


def _voice(samples: NDArray[np.int16], format: AudioFormat) -> tuple[Samples, Samples]:
    """Where the voice begins and ends, as the energy detector has it."""
    step = format.samples(0.01)
    blocks = (
        AudioBlock(samples[at : at + step].tobytes(), at / format.rate)
        for at in range(0, len(samples), step)
    )
    found = list(find_stretches(blocks, format))
    return format.samples(found[0][0]), format.samples(found[-1][1])
