"""The scripted engines: they recognise, answer and speak what a script says, when it says so.

They sleep until times computed from the request, so that a conversation has the same latencies in
virtual time as in real time.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from voicecli import clock
from voicecli.standin.engines import Engines, LlmEngine, Pace, Result, Segment, SttEngine, TtsEngine
from voicecli.standin.script import LlmScript, Script, SttScript, TtsScript
from voicecli.turns.end_of_turn import classify_ending
from voicecli.units import AudioFormat, Samples, Seconds

MICROSECOND: Seconds = 1e-6  # less than a sample, more than a rounding error
CHUNK: Seconds = 0.08  # of speech

PITCH = 140.0  # Hz
HARMONICS = range(1, 7)
SYLLABLES_PER_SECOND = 4.0
NOISE = 0.3  # added to the tone, as in a voice: echo cancellers lost a pure tone after another tone
PEAK = 8000


def create_scripted_engines(script: Script) -> Engines:
    """Make engines that follow ``script``; pass its faults to ``serve``."""
    rng = random.Random(f"{script.seed}:stt")
    stt = script.stt
    return Engines(
        name="scripted",
        stt=lambda: ScriptedStt(stt),
        llm=ScriptedLlm(script.llm, random.Random(f"{script.seed}:llm")),
        tts=ScriptedTts(script.tts, random.Random(f"{script.seed}:tts")),
        pace=Pace(
            interim=stt.interim,
            interim_lag=stt.interim_lag,
            final=lambda: stt.final.draw(rng),
            finalize=lambda: stt.finalize.draw(rng),
            finalize_silence=stt.finalize_silence,
            turn_end=stt.turn_end,
            hesitation=stt.hesitation,
        ),
        speaks_sentences=script.tts.speaks == "sentences",
        models=tuple(script.llm.models),
        judge=judge_by_words,
        older=stt.older,
        early_words=stt.early_words,
    )


async def judge_by_words(segment: Segment, text: str) -> float:
    """Judge that a turn has ended after whole sentences, and goes on after words that hang."""
    return {"complete": 1.0, "default": 0.5, "incomplete": 0.0}[classify_ending(text)]


@dataclass
class ScriptedStt(SttEngine):
    """Recognises the next item of the script in each stretch of voice."""

    script: SttScript
    _next: int = field(default=0, init=False)
    _used: int = field(default=0, init=False)  # words of the next item that a forced final had

    @override
    async def recognise(self, segment: Segment, result: Result) -> str:
        # all words of the stretches that have ended, and those of an open one in proportion
        stretches, rate = self._join_stretches(segment), self.script.words_per_second
        words: list[str] = []
        count = 0
        for index, (start, end) in enumerate(stretches):
            item = self.script.hears[(self._next + index) % len(self.script.hears)].split()
            first = 0 if index else self._used
            count = len(item)
            if index == len(stretches) - 1 and self._is_open(segment, end, result):
                count = min(count, first + max(1, round((end - start) * rate)))
            words += item[first:count]
        if result != "interim" and stretches:
            is_open = self._is_open(segment, stretches[-1][1], result)
            self._next += len(stretches) - is_open
            self._used = count if is_open else 0
        return " ".join(words)

    def _join_stretches(self, segment: Segment) -> list[tuple[Seconds, Seconds]]:
        joined: list[tuple[Seconds, Seconds]] = []
        for start, end in segment.voiced:
            if joined and start - joined[-1][1] < self.script.gap - MICROSECOND:
                start = joined.pop()[0]
            joined.append((start, end))
        return joined

    def _is_open(self, segment: Segment, end: Seconds, result: Result) -> bool:
        """Whether the stretch of voice may go on after ``end``."""
        silence = AudioFormat(segment.rate).seconds(len(segment.pcm)) - end
        if result == "forced":  # cut in the middle of a gap
            silence *= 2
        return result != "final" and silence < self.script.gap - MICROSECOND


@dataclass(frozen=True)
class ScriptedLlm(LlmEngine):
    """Answers the n-th user message of a request with the script's n-th reply, a word a token."""

    script: LlmScript
    rng: random.Random

    @override
    async def reply(
        self,
        messages: list[dict[str, Any]],
        *,
        model: str,
        max_tokens: int | None,
        temperature: float | None,
    ) -> AsyncGenerator[str, None]:
        script = self.script.find_model(model)
        asked = sum(message["role"] == "user" for message in messages)
        text = script.says[max(0, asked - 1) % len(script.says)]
        due = clock.now() + script.ttft.draw(self.rng)
        for token in re.findall(r"\s*\S+", text)[:max_tokens]:
            await clock.sleep_until(due)
            yield token
            due += script.token.draw(self.rng)


@dataclass(frozen=True)
class ScriptedTts(TtsEngine):
    """Speaks a tone with syllables, audible from its first sample on."""

    script: TtsScript
    rng: random.Random

    @override
    async def speak(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        due = clock.now() + self.script.ttfb.draw(self.rng)
        format = AudioFormat(rate)
        lead = format.samples(self.script.lead)
        end = lead + format.samples(self.script.char * len(text.strip()))
        step = format.samples(CHUNK)
        for start in range(0, end, step):
            await clock.sleep_until(due + start / rate / self.script.speed)
            yield make_tone(start - lead, min(step, end - start), rate)


def make_tone(start: Samples, count: Samples, rate: int) -> bytes:
    """Make ``count`` samples of a speech-like tone from sample ``start``; it begins at sample 0."""
    time = (start + np.arange(count)) / rate
    voice = sum(np.cos(2 * np.pi * PITCH * n * time) / n for n in HARMONICS)
    # Detectors rely on the dips of speech: 40 ms of silence between two syllables.
    loudness = np.clip(2.2 + 2.5 * np.cos(2 * np.pi * SYLLABLES_PER_SECOND * time), 0, 1)
    loudness[time < 0] = 0
    voice += NOISE * np.take(_noise(rate), start + np.arange(count), mode="wrap")
    peak = sum(1 / n for n in HARMONICS) + NOISE
    return (PEAK / peak * voice * loudness).astype("<i2").tobytes()


@cache
def _noise(rate: int) -> NDArray[np.float64]:
    """Make a second of noise between -1 and 1, always the same, its first sample 1."""
    noise = np.random.default_rng(1).uniform(-1, 1, rate)
    noise[0] = 1
    return noise
