"""What is wrong with the sound of an input, and by how much: too quiet, clipped, off centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voicecli.audio.pcm import SILENT_DBFS, Float64Array, SampleArray, samples_of, to_dbfs
from voicecli.units import SAMPLE_SIZE, AudioBlock, Seconds

FRAME: Seconds = 0.02
MEMORY: Seconds = 10.0  # of the latest input
BATCH: Seconds = 1.0  # of input that is measured together

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
_KEPT = round(MEMORY / FRAME)
_LOUD, _SOFT = 98, 20  # percentiles of the frames' levels


class Frames(NamedTuple):
    """Stretches of FRAME of sound, in arrays of the same length.

    at: their starts, in seconds.
    power: mean square of the deviation from the mean.
    mean: of the samples.
    clipped: share of the samples at full scale.
    """

    at: Float64Array
    power: Float64Array
    mean: Float64Array
    clipped: Float64Array

    def where(self, chosen: NDArray[np.bool_]) -> Frames:
        """Return the frames at which ``chosen`` is true."""
        return Frames(*(values[chosen] for values in self))


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with an input; the text ends with what to do about it."""

    kind: Literal["quiet", "clipped", "offset"]
    text: str


class InputMeter:
    """Keeps the levels of the last MEMORY seconds of an input at ``rate`` hertz.

    Blocks are measured BATCH by BATCH: one by one, they took 70 µs each.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._pending: list[AudioBlock] = []
        self._pending_until: Seconds = 0.0
        self._frames = measure_frames(np.zeros(0, np.int16), rate)

    def feed(self, block: AudioBlock) -> None:
        """Measure a block, now or with later ones."""
        if self._pending and abs(block.at - self._pending_until) > FRAME:
            self._measure()
        self._pending.append(block)
        self._pending_until = block.at + len(block.pcm) / (SAMPLE_SIZE * self._rate)
        if self._pending_until - self._pending[0].at >= BATCH:
            self._measure()

    def _measure(self) -> None:
        """Measure the blocks that wait, which follow each other."""
        if self._pending:
            samples = samples_of(b"".join(block.pcm for block in self._pending))
            new = measure_frames(samples, self._rate, self._pending[0].at)
            pairs = zip(self._frames, new, strict=True)
            self._frames = Frames(*(np.concatenate(pair)[-_KEPT:] for pair in pairs))
            self._pending.clear()

    @property
    def is_full(self) -> bool:
        """Whether MEMORY seconds have been measured."""
        return len(self._frames.at) == _KEPT

    def find_faults(self, since: Seconds, until: Seconds, gain: float = 0.0) -> list[Fault]:
        """Find what is wrong with the speech in that time, amplified by ``gain`` decibels later."""
        self._measure()
        spoken = (since <= self._frames.at) & (self._frames.at < until)
        return find_faults(self._frames.where(spoken), gain)

    def find_missing_speech(self, gain: float = 0.0) -> Fault | None:
        """Explain why no speech was found: there are sounds, and they are too quiet."""
        self._measure()
        if len(self._frames.at) < 1 / FRAME:
            return None
        levels = [to_dbfs(power) for power in self._frames.power]
        loud, soft = np.percentile(levels, [_LOUD, _SOFT])
        if loud <= SILENT_DBFS or loud - soft < _LEAST_SWING or loud + gain >= QUIET_DBFS:
            return None
        return _make_quiet("no speech was found: the loudest sound", float(loud) + gain)


def measure_frames(samples: SampleArray, rate: int, at: Seconds = 0.0) -> Frames:
    """Measure ``samples``, which begin at ``at``, frame by frame; the last one may be short."""
    size = round(FRAME * rate)
    whole = len(samples) // size * size
    parts = [samples[:whole].reshape(-1, size), samples[whole:].reshape(1, -1)]
    columns = []
    for part in parts if whole < len(samples) else parts[:1]:
        values = part.astype(np.float64)
        mean = values.mean(axis=1)
        power = np.vecdot(values, values) / part.shape[1] - mean**2  # sums of integers are exact
        if part.max(initial=0) < FULL_SCALE and part.min(initial=0) > -FULL_SCALE:  # mostly
            clipped = np.zeros(len(part))
        else:
            clipped = (np.abs(values) >= FULL_SCALE).mean(axis=1)
        columns.append((power, mean, clipped))
    joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
    return Frames(at + np.arange(len(joined[0])) * size / rate, *joined)


def find_faults(frames: Frames, gain: float = 0.0) -> list[Fault]:
    """Find what is wrong with ``frames`` of speech, amplified by ``gain`` decibels later."""
    if not len(frames.at):
        return []
    power = frames.power
    loud = np.percentile(power, _LOUD)
    active = power >= loud * 10 ** (-_ACTIVE_RANGE / 10)
    level = to_dbfs(float(power[active].mean())) + gain
    clipped = float(frames.clipped.mean())
    offset = float(frames.mean.mean()) / 32768
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
