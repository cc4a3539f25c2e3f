"""Amplifies an input, by a fixed gain or to the usual level of speech; a limiter keeps it whole."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from math import exp
from typing import Literal

import numpy as np
from typing_extensions import override

from voicecli.audio.faults import FRAME, USUAL_DBFS, InputMeter
from voicecli.audio.interfaces import Source
from voicecli.audio.pcm import Float32Array, SampleArray, measure_level, samples_of
from voicecli.events import Event
from voicecli.units import AudioBlock, Seconds

MOST_GAIN = 40.0  # decibels, of the automatic gain; what is softer is noise
LIMIT = 32_000  # of a sample's magnitude after amplification, 0.2 dB below full scale

_FLOOR_MEMORY: Seconds = 3.0  # the quietest frame of this time is the noise
_ABOVE_NOISE = 10.0  # decibels above the noise, from which on a block is taken for speech
_CREST = 4.0  # decibels by which the loud blocks that set it exceed the level of speech
_RISE: Seconds = 0.05  # time constants of the level of speech; it must not fall between words
_FALL: Seconds = 2.0
_RELEASE = 20.0  # decibels per second, at which the gain recovers after the limiter
_ATTACK: Seconds = 0.001  # in which the limiter lowers the gain


class Amplifier:
    """Amplifies linear16 at ``rate`` hertz.

    gain_db: decibels, or ``auto``: speech is brought to USUAL_DBFS, by MOST_GAIN at most.
    """

    def __init__(self, rate: int, gain_db: float | Literal["auto"]) -> None:
        self._rate = rate
        self._automatic = gain_db == "auto"
        self._wanted = 0.0 if gain_db == "auto" else float(gain_db)
        self._applied = self._wanted  # at the end of the last block
        self._levels: deque[float] = deque(maxlen=round(_FLOOR_MEMORY / FRAME))
        self._speech: float | None = None  # level in dBFS

    @property
    def gain_db(self) -> float:
        """The gain in use, without the limiter."""
        return self._wanted

    def apply(self, samples: SampleArray) -> SampleArray:
        """Return the next samples, amplified."""
        if self._automatic:
            self._follow_speech(samples)
        if self._wanted == self._applied == 0 or not len(samples):
            return samples
        values = samples.astype(np.float32)
        peak = float(np.abs(values).max())
        highest = 20 * np.log10(LIMIT / peak) if peak else np.inf
        recovered = self._applied + _RELEASE * len(samples) / self._rate
        target = min(self._wanted, highest, recovered)
        amplified = values * self._ramp(target, len(samples))
        self._applied = target
        limited: SampleArray = np.rint(amplified).clip(-LIMIT, LIMIT).astype(np.int16)
        return limited

    def _ramp(self, target: float, count: int) -> Float32Array:
        """Factors from the gain in use to ``target``: upwards over the block, downwards at once."""
        first, last = 10 ** (self._applied / 20), 10 ** (target / 20)
        length = count if last > first else min(count, max(1, round(_ATTACK * self._rate)))
        factors = np.full(count, last, np.float32)
        factors[:length] = np.linspace(first, last, length, dtype=np.float32)
        return factors

    def _follow_speech(self, samples: SampleArray) -> None:
        """Change the gain wanted where ``samples`` are speech; noise and silence keep it."""
        level = measure_level(samples)
        self._levels.append(level)
        if level < min(self._levels) + _ABOVE_NOISE or level < USUAL_DBFS - MOST_GAIN:
            return
        if self._speech is None:
            self._speech = level
        constant = _RISE if level > self._speech else _FALL
        weight = 1 - exp(-len(samples) / self._rate / constant)
        self._speech += weight * (level - self._speech)
        self._wanted = min(MOST_GAIN, max(0.0, USUAL_DBFS + _CREST - self._speech))


class AmplifiedSource(Source):
    """Yields the blocks of ``source``, measured and then amplified.

    meter: of the sound before it is amplified.
    amplifier: what amplifies it.
    """

    def __init__(self, source: Source, gain_db: float | Literal["auto"]) -> None:
        self.format = source.format
        self.meter = InputMeter(source.format.rate)
        self.amplifier = Amplifier(source.format.rate, gain_db)
        self._source = source

    @override
    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        async with aclosing(self._source.blocks()) as blocks:
            async for block in blocks:
                self.meter.feed(block)
                samples = samples_of(block.pcm)
                amplified = self.amplifier.apply(samples)
                yield block if amplified is samples else replace(block, pcm=amplified.tobytes())

    @override
    def pause(self) -> None:
        self._source.pause()

    @override
    def resume(self) -> None:
        self._source.resume()

    @override
    def take_events(self) -> Sequence[Event]:
        return self._source.take_events()
