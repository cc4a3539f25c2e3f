"""Does it work?  Measurements of an open microphone, an open loudspeaker, and of both together."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from math import inf, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voicecli import clock
from voicecli.audio.devices.loudspeaker import Loudspeaker
from voicecli.audio.devices.microphone import Microphone
from voicecli.audio.devices.stream import Stream
from voicecli.audio.pcm import first_audible, samples_of
from voicecli.units import AudioBlock, Samples, Seconds

_FULL = 32768.0
_CLIPPED = 32767
_CHIRPS = 5
_NOTES = (330, 415, 494, 659)
_NOTE: Seconds = 0.85
"""Four of them take longer than the three seconds that measuring the rate does."""

_AFTER: Seconds = 0.6
"""How long after a chirp its echo is waited for; Bluetooth takes 0.3 s there and back."""


class Level(NamedTuple):
    """How loud a block is, in dBFS (-inf: digital silence); and how many samples are clipped."""

    rms: float
    peak: float
    clipped: Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How a device runs.

    rate: hertz it was opened at.
    measured_rate: hertz against the clock of this machine; None where the trial was too short.
    xruns: how often samples were lost.
    estimated: whether the device gave no usable times.
    """

    device: str
    host_api: str
    rate: int
    channels: int
    measured_rate: float | None
    xruns: int
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a microphone heard."""

    running: Running
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a loudspeaker played; ``delay``: from the first sample written to when it sounded."""

    running: Running
    delay: Seconds


@dataclass(frozen=True, slots=True)
class Looped:
    """How the microphone hears the loudspeaker.

    found, played: chirps.
    path: from loudspeaker to microphone, by the clocks of their converters.
    round_trip: from the sample written to the sample read.
    attenuation: decibels.  These three are medians; None where no chirp was found.
    silent: whether the microphone delivered nothing but zeros.
    """

    found: int
    played: int
    path: Seconds | None
    round_trip: Seconds | None
    attenuation: float | None
    silent: bool


def level_of(samples: NDArray[np.int16]) -> Level:
    """The level of ``samples``, which are not none."""
    values = samples.astype(np.float64)
    rms, peak = float(np.sqrt(np.mean(values**2))), float(np.abs(values).max())
    return Level(_decibels(rms), _decibels(peak), int(np.sum(np.abs(values) >= _CLIPPED)))


async def try_microphone(
    microphone: Microphone, duration: Seconds, show: Callable[[Level], None]
) -> Heard:
    """Listen for so long; ``show`` is called with the level of each block."""
    heard: list[NDArray[np.int16]] = []
    count = 0
    async with aclosing(microphone.blocks()) as blocks:
        async for block in blocks:
            samples = samples_of(block.pcm)
            heard.append(samples)
            count += len(samples)
            if len(samples):
                show(level_of(samples))
            if count >= duration * microphone.format.rate:
                break
    return Heard(running=_running(microphone.stream), level=level_of(np.concatenate(heard)))


async def try_loudspeaker(loudspeaker: Loudspeaker) -> Played:
    """Play four notes."""
    notes = _notes(loudspeaker.format.rate)
    silent = (first_audible(notes) or 0) / loudspeaker.format.rate
    loudspeaker.start()
    written_at = clock.now()
    loudspeaker.write(notes)
    loudspeaker.end()
    started_at = await loudspeaker.started() - silent
    await loudspeaker.finish()
    return Played(running=_running(loudspeaker.stream), delay=started_at - written_at)


async def try_both(microphone: Microphone, loudspeaker: Loudspeaker) -> Looped:
    """Play a chirp a few times, and listen for it.

    Both at one rate, of 16 kHz or more.
    """
    found, silent = [], True
    async with aclosing(microphone.blocks()) as blocks:
        for _ in range(_CHIRPS):
            signal = chirp(loudspeaker.format.rate)
            heard = [await _next(blocks)]
            loudspeaker.start()
            written_at = clock.now()
            loudspeaker.write(signal.tobytes())
            loudspeaker.end()
            while heard[-1].at < written_at + _AFTER:
                heard.append(await _next(blocks))
            soft = (first_audible(signal.tobytes()) or 0) / loudspeaker.format.rate
            sounded_at = await loudspeaker.started() - soft
            silent &= not any(block.samples.any() for block in heard)
            if echo := _looked_for(signal, heard, microphone.format.rate):
                found.append((echo.at - sounded_at, echo.read_at - written_at, echo.attenuation))
    medians = [statistics.median(values) for values in zip(*found, strict=True)] or [None] * 3
    path, round_trip, attenuation = medians
    return Looped(len(found), _CHIRPS, path, round_trip, attenuation, silent)


class _Read(NamedTuple):
    """A block, and when it was read."""

    samples: NDArray[np.int16]
    at: Seconds
    read_at: Seconds


class _Arrived(NamedTuple):
    """When a chirp was at the microphone, when it was read, and how softly it came."""

    at: Seconds
    read_at: Seconds
    attenuation: float


async def _next(blocks: AsyncIterator[AudioBlock]) -> _Read:
    block = await anext(blocks)
    return _Read(samples_of(block.pcm), block.at, clock.now())


def _looked_for(signal: NDArray[np.int16], heard: list[_Read], rate: int) -> _Arrived | None:
    echo = find_echo(signal, np.concatenate([block.samples for block in heard]), rate)
    if echo is None:
        return None
    position = echo.position
    for block in heard:
        if position < len(block.samples):
            return _Arrived(block.at + position / rate, block.read_at, echo.attenuation)
        position -= len(block.samples)
    return None


def _running(stream: Stream) -> Running:
    return Running(
        device=stream.name,
        host_api=stream.device.host_api if stream.device else "",
        rate=stream.rate,
        channels=stream.channels,
        measured_rate=stream.meter.measured,
        xruns=stream.notices.xruns,
        estimated=stream.estimated,
    )


def _notes(rate: int) -> bytes:
    time = np.arange(round(_NOTE * rate)) / rate
    envelope = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
    notes = [0.2 * 32767 * envelope * np.sin(2 * np.pi * hertz * time) for hertz in _NOTES]
    return np.concatenate(notes).astype("<i2").tobytes()


def _decibels(value: float) -> float:
    return 20 * log10(value / _FULL) if value else -inf


_LENGTH: Seconds = 0.25
_LOWEST, _HIGHEST = 400.0, 6000.0
"""What small loudspeakers and microphones pass, and 16 kHz can hold."""

_PEAK = 0.5 * 32767

_CLEAR = 12.0
"""How far an echo must stand out of the correlation's noise; that of pure noise reaches 5."""

_TRAIL: Seconds = 0.1
"""Of a room: what still arrives after the direct sound."""


class Echo(NamedTuple):
    """A played signal, found in a recording.

    position: where in the recording it begins, in samples.
    attenuation: by how many decibels it is softer than it was played.
    """

    position: Samples
    attenuation: float


def chirp(rate: int) -> NDArray[np.int16]:
    """A rising tone with soft ends, which no other sound resembles."""
    time = np.arange(round(_LENGTH * rate)) / rate
    highest = min(_HIGHEST, 0.4 * rate)
    phase = 2 * np.pi * (_LOWEST * time + (highest - _LOWEST) * time**2 / (2 * _LENGTH))
    envelope = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
    signal: NDArray[np.int16] = (_PEAK * envelope * np.sin(phase)).astype(np.int16)
    return signal


def find_echo(played: NDArray[np.int16], recorded: NDArray[np.int16], rate: int) -> Echo | None:
    """Where ``recorded`` holds ``played``, and how softly; None when it cannot be told from noise.

    Both at ``rate``; the recording is longer, and holds the signal once.
    """
    signal, heard = played.astype(np.float64), recorded.astype(np.float64)
    size = len(signal) + len(heard)
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(signal, size))
    match = np.abs(np.fft.irfft(spectrum, size)[: len(heard) - len(signal) + 1])
    position = int(match.argmax())
    if match[position] <= _CLEAR * np.median(match) or not match[position]:
        return None
    until = position + len(signal) + round(_TRAIL * rate)
    rest = np.concatenate([heard[:position], heard[until:]])
    noise = float(np.mean(rest**2)) if len(rest) else 0.0
    energy = float(np.sum(heard[position:until] ** 2)) - noise * len(heard[position:until])
    energy = max(energy, match[position] ** 2 / float(np.sum(signal**2)))  # the direct sound's
    return Echo(position, float(10 * np.log10(np.sum(signal**2) / energy)))
