"""What is wrong with the sound of an input, and by how much: too quiet, clipped, off centre."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from voicecli.audio.pcm import SILENT_DBFS, SampleArray, samples_of, to_dbfs
from voicecli.units import AudioBlock, Seconds

FRAME: Seconds = 0.02
MEMORY: Seconds = 10.0  # of the latest input

QUIET_DBFS = -38.0
"""Speech with a lower level is too quiet.  LibriVox 0880, scaled, with the local STT: one word of
seven wrong at -36 dBFS, two at -40, four at -50, all at -56.  Telephony aims at -26 (ITU-T P.56:
-26 dBov)."""

USUAL_DBFS = -26.0
CLIPPED_SHARE = 0.001  # of the samples of speech; a peak that just touches full scale has fewer
FULL_SCALE = 32_440  # 0.1 dB below it: resampling leaves ripples on a clipped peak
LARGEST_OFFSET = 0.03  # of full scale; a voice is lopsided by up to 0.026 (LibriVox 0880 at 0 dBFS)

_ACTIVE_RANGE = 20.0  # decibels below the loudest frames that speech spans; pauses are below it
_LEAST_SWING = 10.0  # decibels between loud and soft frames; noise swings less, sounds more
_LOUD, _SOFT = 98, 20  # percentiles of the frames' levels


class Frame(NamedTuple):
    """Up to FRAME of sound.

    at: its start.
    power: mean square of the deviation from the mean.
    mean: of the samples.
    clipped: share of its samples at full scale.
    """

    at: Seconds
    power: float
    mean: float
    clipped: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with an input; the text ends with what to do about it."""

    kind: Literal["quiet", "clipped", "offset"]
    text: str


class InputMeter:
    """Keeps the levels of the last MEMORY seconds of an input at ``rate`` hertz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._frames: deque[Frame] = deque(maxlen=round(MEMORY / FRAME))

    def feed(self, block: AudioBlock) -> None:
        """Measure a block."""
        self._frames.extend(measure_frames(samples_of(block.pcm), self._rate, block.at))

    @property
    def is_full(self) -> bool:
        """Whether MEMORY seconds have been measured."""
        return len(self._frames) == self._frames.maxlen

    def find_faults(self, since: Seconds, until: Seconds, gain: float = 0.0) -> list[Fault]:
        """Find what is wrong with the speech in that time, amplified by ``gain`` decibels later."""
        frames = [frame for frame in self._frames if since <= frame.at < until]
        return find_faults(frames, gain)

    def find_missing_speech(self, gain: float = 0.0) -> Fault | None:
        """Explain why no speech was found: there are sounds, and they are too quiet."""
        if len(self._frames) < 1 / FRAME:
            return None
        levels = [to_dbfs(frame.power) for frame in self._frames]
        loud, soft = np.percentile(levels, [_LOUD, _SOFT])
        if loud <= SILENT_DBFS or loud - soft < _LEAST_SWING or loud + gain >= QUIET_DBFS:
            return None
        return _make_quiet("no speech was found: the loudest sound", float(loud) + gain)


def measure_frames(samples: SampleArray, rate: int, at: Seconds = 0.0) -> Iterator[Frame]:
    """Measure ``samples``, which begin at ``at``, frame by frame; the last one may be short."""
    size = round(FRAME * rate)
    for start in range(0, len(samples), size):
        values = samples[start : start + size].astype(np.float64)
        clipped = float(np.mean(np.abs(values) >= FULL_SCALE))
        yield Frame(at + start / rate, float(values.var()), float(values.mean()), clipped)


def find_faults(frames: Sequence[Frame], gain: float = 0.0) -> list[Fault]:
    """Find what is wrong with ``frames`` of speech, amplified by ``gain`` decibels later."""
    if not frames:
        return []
    power = np.array([frame.power for frame in frames])
    loud = np.percentile(power, _LOUD)
    active = power >= loud * 10 ** (-_ACTIVE_RANGE / 10)
    level = to_dbfs(float(power[active].mean())) + gain
    clipped = float(np.mean([frame.clipped for frame in frames]))
    offset = float(np.mean([frame.mean for frame in frames])) / 32768
    faults = []
    if SILENT_DBFS < level < QUIET_DBFS:
        faults.append(_make_quiet("speech", level))
    if clipped > CLIPPED_SHARE:
        text = f"the input is clipped: {clipped:.1%} of its samples are at full scale; turn it down"
        faults.append(Fault("clipped", text))
    elif abs(offset) > LARGEST_OFFSET:  # clipping makes a voice more lopsided
        text = f"the input has a DC offset of {offset:+.1%} of full scale; check the sound hardware"
        faults.append(Fault("offset", text))
    return faults


def _make_quiet(what: str, level: float) -> Fault:
    missing = USUAL_DBFS - level
    return Fault(
        "quiet",
        f"{what} is too quiet: {level:.0f} dBFS, {missing:.0f} dB below the usual; turn the input "
        f"up, or set audio.gain_db to {missing:.0f} or auto",
    )
