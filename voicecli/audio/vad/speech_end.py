"""Finds when a voice ended, with the sound that follows: to the last sample of a soft consonant.

The detectors decide while the user is silent, and compare levels over all frequencies: a final "f"
or "s" is as soft as the rumble of a room.  In its own frequencies it stands out by 20 dB, and it
is known to be over once silence has followed.  So the end is measured again, after the decision:
band by band, and with what came later.  Nothing waits for it; metrics use it when it comes.

How loud a sound must be depends on the noise just after it.  Measured on 5 sentences with 3 noises
each, the error of the end after Silero is 19 ms (median; P90 74) in steady noise of 20 dB: what is
softer than the noise of its band is lost, 100 ms of a nasal that fades.  Where 8 people talk in the
background, 20 dB softer, it is 85 ms (P90 187): some of what they say counts as the user's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from typing_extensions import override

from voicecli.audio.interfaces import Detector, Hearing, Measurement
from voicecli.audio.pcm import Float64Array, SampleArray, samples_of
from voicecli.audio.vad.network import judge_alone
from voicecli.events import Event, SpeechEndMeasured, SpeechStarted, SpeechStopped
from voicecli.units import AudioBlock, AudioFormat, Seconds

LOOK_BACK: Seconds = 2.0  # of sound before the reported end: the noise and the peaks of the voice
LOOK_AHEAD: Seconds = 0.3  # of sound after it
WINDOW: Seconds = 0.016
HOP: Seconds = 0.005
BANDS = ((200.0, 1000.0), (1000.0, 2000.0), (2000.0, 4000.0), (4000.0, 7800.0))
"""Hertz: vowels and nasals; their upper formants; "f", "th", "sh" and the burst of "t"; "s"."""

ABOVE_NOISE_DB = (12.0, 6.0, 5.0, 5.0)
"""Where it is not known how steady the noise is: the lower a band, the less."""

SETTLED: Seconds = 0.08  # of the end of LOOK_AHEAD: the voice is over, and this is the noise
ABOVE_STEADY_DB = 2.0  # above its mean, at least
ABOVE_UNSTEADY_DB = 4.0  # above its peak
_DEVIATIONS = 4.0  # above the mean of steady noise
BELOW_PEAK_DB = 36.0
"""More than the 30 dB of ``energy``: in its own band a soft sound is that much nearer to the peak.
Against the labels of tests/speech, 30, 33, 36 and 40 dB gave a median error of 17, 15, 5, 3 ms and
26, 37, 35 and 44 ms at P90 (n = 5); more lets the reverberation of a room last longer."""

PEAK = 95  # percentile
DIP: Seconds = 0.1  # the quietest such stretch of a band is its noise
LASTING = 3  # HOPs that a sound lasts; in 1 of 36 calibrations, noise was as loud for one
BRIDGE: Seconds = 0.08  # the closure before the burst of a final "t" or "d"
_ENOUGH_RATE = 16_000  # hertz; of a higher rate, samples are averaged, which folds what is above
_FULL_POWER = 32768.0**2
_DIGITAL_SILENCE = 1e-9  # of full power: samples that are 0, or dither


def measure_speech_end(
    samples: SampleArray, rate: int, reported: Seconds, at: Seconds = 0.0
) -> Seconds:
    """Return when the voice ended that was reported to end at ``reported``.

    samples: begin at the time ``at``; from LOOK_BACK before to LOOK_AHEAD after the reported end.
    """
    times, power = _measure_bands(_cut_digital_silence(samples), rate)
    times += at
    heard = power.sum(axis=1) > _DIGITAL_SILENCE
    voice = heard & (times <= reported)
    if not voice.any():
        return reported
    active = np.zeros(len(times), np.bool_)
    settled = heard & (times > max(times[-1] - SETTLED, reported + DIP))
    peaks = np.percentile(power[voice], PEAK, axis=0) * 10 ** (-BELOW_PEAK_DB / 10)
    for band, peak, above in zip(power.T, peaks.tolist(), ABOVE_NOISE_DB, strict=True):
        noise = _find_ceiling(band[heard], band[settled], above)
        active |= band > max(noise, peak, _DIGITAL_SILENCE)  # at a low rate, a band is empty
    lasting = np.convolve(active, np.ones(LASTING), "valid") == LASTING
    active = np.convolve(lasting, np.ones(LASTING)) > 0
    end = reported
    for time in times[active & (times > reported + WINDOW / 2)]:  # before, it may be the same sound
        if time - end > BRIDGE:
            break
        end = time
    return float(end)


def _cut_digital_silence(samples: SampleArray) -> SampleArray:
    """Cut off what follows the last sound: a recording that is paused, or has ended.

    The room is heard up to there.  Frames that lie half in silence are softer than it: with them,
    a sentence whose recording was paused 0.2 s after its end ended 63 ms too early, not 10.
    """
    sounding = np.flatnonzero(samples)
    return samples[: sounding[-1] + 1] if len(sounding) else samples


def _measure_bands(
    samples: SampleArray | Float64Array, rate: int
) -> tuple[Float64Array, Float64Array]:
    """Return times, HOP apart, and the power of each band around them, a row each."""
    if (step := rate // _ENOUGH_RATE) > 1:
        groups = samples[: len(samples) // step * step].reshape(-1, step)
        return _measure_bands(groups.mean(axis=1), rate // step)
    size, hop = round(WINDOW * rate), max(1, round(HOP * rate))
    if len(samples) < size:
        return np.zeros(1), np.zeros((1, len(BANDS)))
    window = np.hanning(size)
    frames = sliding_window_view(samples.astype(np.float64), size)[::hop] * window
    length = 1 << (size - 1).bit_length()
    spectra = np.fft.rfft(frames, length)
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    scale = 2 / (length * np.square(window).sum() * _FULL_POWER)
    bands = np.array([(low <= frequencies) & (frequencies < high) for low, high in BANDS]) * scale
    # real and imaginary parts lie side by side, and count alike
    power = np.square(spectra.view(np.float64)) @ np.repeat(bands.T, 2, axis=0)
    return (np.arange(len(frames)) * hop + size / 2) / rate, power


def _find_ceiling(band: Float64Array, settled: Float64Array, above_db: float) -> float:
    """Return the power that the noise of a band does not reach.

    settled: the part of the band that is noise alone, as far as is known.
    above_db: what to allow above the noise where too little is settled.
    """
    quietest = _find_noise(band)
    ceiling = quietest * 10 ** (above_db / 10)
    if len(settled) < SETTLED / HOP / 2:
        return ceiling
    if (peak := float(settled.max())) > ceiling:  # people talk in the background, or a car passes
        return peak * 10 ** (ABOVE_UNSTEADY_DB / 10)
    mean, deviation = float(settled.mean()), float(settled.std())
    least = max(mean, quietest) * 10 ** (ABOVE_STEADY_DB / 10)
    return min(ceiling, max(mean + _DEVIATIONS * deviation, least))


def _find_noise(band: Float64Array) -> float:
    """Return the mean power of the quietest DIP."""
    size = min(len(band), round(DIP / HOP))
    return float(np.convolve(band, np.full(size, 1 / size), "valid").min())


@dataclass(frozen=True, slots=True)
class EndMeasurement(Measurement):
    """An end of speech that is to be measured, with the sound around it.

    at: when the last block came that it needs.
    blocks: of the sound, up to the time ``until``.
    """

    at: Seconds
    reported: Seconds
    until: Seconds
    blocks: Sequence[AudioBlock]
    rate: int

    @override
    def measure(self) -> SpeechEndMeasured:
        start = self.blocks[0].at
        samples = samples_of(b"".join(block.pcm for block in self.blocks))
        samples = samples[: max(0, round((self.until - start) * self.rate))]
        end = measure_speech_end(samples, self.rate, self.reported, start)
        return SpeechEndMeasured(at=self.at, reported=self.reported, speech_end=end)


class MeasuringDetector(Detector):
    """A detector that has each end of speech measured, LOOK_AHEAD after the reported end.

    format: of the blocks.
    """

    def __init__(self, inner: Detector, format: AudioFormat) -> None:
        self._inner = inner
        self._format = format
        self._blocks: deque[AudioBlock] = deque()
        self._reported: Seconds | None = None
        self._due: list[EndMeasurement] = []

    @override
    def feed(self, block: AudioBlock) -> list[Event]:
        events = judge_alone(self.hear(block))
        return [*events, *(one.measure() for one in self.take_measurements())]

    @override
    def hear(self, block: AudioBlock) -> Hearing:
        until = block.at + self._format.seconds(len(block.pcm))
        self._keep(block, until)
        events = yield from self._inner.hear(block)
        for event in events:
            if isinstance(event, SpeechStarted):
                self._note_due(until, event.speech_start)
            elif isinstance(event, SpeechStopped):
                self._reported = event.speech_end
        if self._reported is not None and until >= self._reported + LOOK_AHEAD:
            self._note_due(until, self._reported + LOOK_AHEAD)
        return events

    @override
    def take_measurements(self) -> Sequence[EndMeasurement]:
        due, self._due = self._due, []
        return due

    @override
    def reset(self) -> None:
        self._inner.reset()
        self._blocks.clear()
        self._reported = None
        self._due.clear()

    def _keep(self, block: AudioBlock, until: Seconds) -> None:
        self._blocks.append(block)
        oldest = (until if self._reported is None else self._reported) - LOOK_BACK - LOOK_AHEAD
        while self._blocks[0].at < oldest:
            self._blocks.popleft()

    def _note_due(self, at: Seconds, until: Seconds) -> None:
        """Have the end measured that was reported, with the sound up to ``until``."""
        if self._reported is not None:
            blocks = [one for one in self._blocks if one.at < until]
            self._due.append(EndMeasurement(at, self._reported, until, blocks, self._format.rate))
            self._reported = None
