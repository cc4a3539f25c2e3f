"""Measures an open microphone, an open loudspeaker, and the acoustic path between them."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from voicecli import clock
from voicecli.audio.devices import Loudspeaker, Microphone
from voicecli.audio.interfaces import Detector
from voicecli.audio.known_ends import make_signals
from voicecli.audio.pcm import SampleArray, find_audible, measure_level, samples_of, to_dbfs
from voicecli.events import SpeechEndMeasured
from voicecli.units import AudioBlock, Samples, Seconds

_NOTES = (330, 415, 494, 659)  # hertz
_NOTE_LENGTH: Seconds = 0.85  # four of them take longer than measuring the rate (3 s)


class Level(NamedTuple):
    """The level of a block in dBFS, and how many samples are clipped."""

    rms: float
    peak: float
    clipped: Samples


@dataclass(frozen=True, slots=True)
class LoopbackResult:
    """How the microphone receives the loudspeaker: medians over the chirps found.

    found, played: chirps; without one found, the other numbers are 0.
    path: from loudspeaker to microphone, by the clocks of their converters.
    round_trip: from the sample written to the sample read.
    attenuation: decibels.
    silent: whether the microphone delivered only zeros.
    """

    found: int
    played: int
    path: Seconds
    round_trip: Seconds
    attenuation: float
    silent: bool


def measure_levels(samples: SampleArray) -> Level:
    """Measure ``samples``."""
    values = np.abs(samples.astype(np.float64))
    peak = to_dbfs(float(values.max(initial=0)) ** 2)
    return Level(measure_level(samples), peak, clipped=int(np.sum(values >= 32767)))


async def run_microphone_test(
    microphone: Microphone, duration: Seconds, show: Callable[[Level], None]
) -> SampleArray:
    """Capture for ``duration``; ``show`` is called with the level of each block."""
    received = bytearray()
    async with aclosing(microphone.blocks()) as blocks:
        async for block in blocks:
            received += block.pcm
            show(measure_levels(samples_of(block.pcm)))
            if microphone.format.seconds(len(received)) >= duration:
                break
    return samples_of(bytes(received))


async def run_loudspeaker_test(loudspeaker: Loudspeaker) -> Seconds:
    """Play four notes; return how long after it was written the first sample was heard."""
    rate = loudspeaker.format.rate
    time = np.arange(round(_NOTE_LENGTH * rate)) / rate
    envelope = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
    notes = [0.2 * 32767 * envelope * np.sin(2 * np.pi * hertz * time) for hertz in _NOTES]
    signal = np.concatenate(notes).astype(np.int16)
    written_at = _write(loudspeaker, signal)
    delay = await _wait_for_start(loudspeaker, signal) - written_at
    await loudspeaker.finish()
    return delay


def _write(loudspeaker: Loudspeaker, signal: SampleArray) -> Seconds:
    """Write ``signal`` as a reply; return when."""
    loudspeaker.start()
    written_at = clock.now()
    loudspeaker.write(signal.tobytes())
    loudspeaker.end()
    return written_at


async def _wait_for_start(loudspeaker: Loudspeaker, signal: SampleArray) -> Seconds:
    """Wait until ``signal`` is audible; return when its first sample sounded."""
    return await loudspeaker.started() - (find_audible(signal) or 0) / loudspeaker.format.rate


_CHIRPS = 5
_ECHO_TIMEOUT: Seconds = 0.6  # Bluetooth takes 0.3 s there and back
_CHIRP_LENGTH: Seconds = 0.25
_LOWEST, _HIGHEST = 400.0, 6000.0  # hertz that small devices pass and 16 kHz can represent

_LEAST_CONTRAST = 12.0  # of an echo over the median of the correlation; pure noise reaches 5
_REVERBERATION: Seconds = 0.1  # how long after the direct sound its energy still arrives


class Echo(NamedTuple):
    """Where a played signal begins in a recording, and its attenuation in decibels."""

    position: Samples
    attenuation: float


_Received = tuple[AudioBlock, Seconds]  # a block of the microphone, and when it was read


async def run_loopback_test(microphone: Microphone, loudspeaker: Loudspeaker) -> LoopbackResult:
    """Play chirps and find them in what the microphone captures.

    Both must be open at the same rate, of 16 kHz or more.
    """
    rate = microphone.format.rate
    signal = make_chirp(rate)
    measured, silent = [], True
    async with aclosing(microphone.blocks()) as blocks:
        for _ in range(_CHIRPS):
            received = [await _receive(blocks)]
            written_at = _write(loudspeaker, signal)
            while received[-1][0].at < written_at + _ECHO_TIMEOUT:
                received.append(await _receive(blocks))
            sounded_at = await _wait_for_start(loudspeaker, signal)
            samples = np.concatenate([samples_of(block.pcm) for block, _ in received])
            silent &= not samples.any()
            if echo := find_echo(signal, samples, rate):
                at, read_at = _locate(received, echo.position, rate)
                measured.append((at - sounded_at, read_at - written_at, echo.attenuation))
    medians = [statistics.median(values) for values in zip(*measured, strict=True)] or [0.0] * 3
    path, round_trip, attenuation = medians
    return LoopbackResult(len(measured), _CHIRPS, path, round_trip, attenuation, silent)


CALIBRATION_VOICES = 12
_MEASURED: Seconds = 0.5  # after a voice was heard: the detector has measured its end


async def run_calibration(
    microphone: Microphone, loudspeaker: Loudspeaker, detector: Detector, count: int
) -> list[Seconds]:
    """Play voices whose ends are known; return by how much mouth-to-ear would be off for each.

    detector: hears the microphone's blocks.

    A voice that is not heard, or during which a device loses samples, is left out.  The way through
    the air is part of the error.
    """
    rate = loudspeaker.format.rate
    errors = []
    async with aclosing(microphone.blocks()) as blocks:
        for signal in make_signals(rate, count):
            losses = microphone.xruns + loudspeaker.xruns
            written_at = _write(loudspeaker, signal)
            until = written_at + len(signal) / rate + _ECHO_TIMEOUT + _MEASURED
            measured: list[Seconds] = []
            async for block in blocks:
                measured += [
                    event.speech_end
                    for event in detector.feed(block)
                    if isinstance(event, SpeechEndMeasured)
                ]
                if block.at >= until:
                    break
            ended = await _wait_for_start(loudspeaker, signal) + len(signal) / rate
            if measured and microphone.xruns + loudspeaker.xruns == losses:
                errors.append(ended - measured[-1])
    return errors


async def _receive(blocks: AsyncIterator[AudioBlock]) -> _Received:
    return await anext(blocks), clock.now()


def _locate(blocks: Sequence[_Received], position: Samples, rate: int) -> tuple[Seconds, Seconds]:
    """Return when the sample at ``position`` was at the microphone and when it was read."""
    for block, read_at in blocks:
        length = len(samples_of(block.pcm))
        if position < length:
            return block.at + position / rate, read_at
        position -= length
    raise ValueError("position is beyond the last block")


def make_chirp(rate: int) -> SampleArray:
    """Make a rising tone with soft ends, which is easy to find in any other sound."""
    time = np.arange(round(_CHIRP_LENGTH * rate)) / rate
    phase = _LOWEST * time + (_HIGHEST - _LOWEST) * time**2 / (2 * _CHIRP_LENGTH)
    envelope = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
    return (0.5 * 32767 * envelope * np.sin(2 * np.pi * phase)).astype(np.int16)


def find_echo(played: SampleArray, recorded: SampleArray, rate: int) -> Echo | None:
    """Find ``played`` in ``recorded``; None where it cannot be told from noise.

    Both at ``rate``; the recording is longer and contains the signal once.
    """
    signal, received = played.astype(np.float64), recorded.astype(np.float64)
    size = len(signal) + len(received)
    spectrum = np.fft.rfft(received, size) * np.conj(np.fft.rfft(signal, size))
    match = np.abs(np.fft.irfft(spectrum, size)[: len(received) - len(signal) + 1])
    position = int(match.argmax())
    if match[position] <= _LEAST_CONTRAST * np.median(match) or not match[position]:
        return None
    end = position + len(signal) + round(_REVERBERATION * rate)
    rest = np.concatenate([received[:position], received[end:]])
    noise = float(np.mean(rest**2)) if len(rest) else 0.0
    energy = float(np.sum(received[position:end] ** 2)) - noise * len(received[position:end])
    energy = max(energy, match[position] ** 2 / float(np.sum(signal**2)))  # the direct sound's
    return Echo(position, float(10 * np.log10(np.sum(signal**2) / energy)))
