"""The scripted engines: they hear, say and speak what a script says, exactly when it says so.

All waiting is ``asyncio.sleep`` to a moment reckoned from the request, so a conversation has the
same numbers in virtual time as in real time.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecli import clock
from voicecli.standin.engines.interfaces import Engines, Pace, Result, Segment
from voicecli.standin.script import LlmScript, Script, SttScript, TtsScript
from voicecli.units import AudioFormat, Samples, Seconds

MICROSECOND: Seconds = 1e-6
"""Less than a sample, more than an error of rounding."""

WORDS_PER_SECOND = 3
"""What an interim has of a stretch that goes on; a usual rate of speech."""

FRAME: Seconds = 0.08
"""Of speech, per frame."""

PITCH = 140.0
HARMONICS = 6
SYLLABLES = 4.0
"""Per second."""

BREATH = 0.3
"""Noise beside the tone.  Voices have some; a tone without any was too narrow for echo cancellers,
which lost it whenever another tone had spoken."""

PEAK = 8000


def create_scripted_engines(script: Script) -> Engines:
    """Engines that follow ``script``; its faults are for ``serve``."""
    dice = random.Random(f"{script.seed}:stt")
    stt = script.stt
    return Engines(
        name="scripted",
        recogniser=lambda: ScriptedRecogniser(stt),
        responder=ScriptedResponder(script.llm, random.Random(f"{script.seed}:llm")),
        voice=ScriptedVoice(script.tts, random.Random(f"{script.seed}:tts")),
        pace=Pace(
            interim=stt.interim,
            final=lambda: stt.final.draw(dice),
            finalize=lambda: stt.finalize.draw(dice),
            finalize_silence=stt.finalize_silence,
        ),
    )


class ScriptedRecogniser:
    """Hears one item of the script in each stretch of voice, from the first on."""

    def __init__(self, script: SttScript) -> None:
        self._script = script
        self._next = 0
        self._used = 0
        """Words of the next item that a forced final has had already."""

    async def recognise(self, segment: Segment, result: Result) -> str:
        """All words of the stretches that have ended, and of an open one in proportion."""
        stretches = self._stretches(segment)
        words: list[str] = []
        count = 0
        for index, (start, end) in enumerate(stretches):
            item = self._script.hears[(self._next + index) % len(self._script.hears)].split()
            first = 0 if index else self._used
            count = len(item)
            if index == len(stretches) - 1 and self._goes_on(segment, end, result):
                count = min(count, first + max(1, round((end - start) * WORDS_PER_SECOND)))
            words += item[first:count]
        if result != "interim" and stretches:
            goes_on = self._goes_on(segment, stretches[-1][1], result)
            self._next += len(stretches) - goes_on
            self._used = count if goes_on else 0
        return " ".join(words)

    def _stretches(self, segment: Segment) -> list[tuple[Seconds, Seconds]]:
        joined: list[tuple[Seconds, Seconds]] = []
        for start, end in segment.voiced:
            if joined and start - joined[-1][1] < self._script.gap - MICROSECOND:
                start = joined.pop()[0]
            joined.append((start, end))
        return joined

    def _goes_on(self, segment: Segment, end: Seconds, result: Result) -> bool:
        """Whether the stretch that ends at ``end`` may go on."""
        silence = AudioFormat(segment.rate).seconds(len(segment.pcm)) - end
        if result == "forced":  # cut in the middle of a gap
            silence *= 2
        return result != "final" and silence < self._script.gap - MICROSECOND


class ScriptedResponder:
    """Gives the script's reply to the n-th user message of a request, word by word."""

    def __init__(self, script: LlmScript, dice: random.Random) -> None:
        self._script = script
        self._dice = dice

    async def reply(
        self, messages: list[dict[str, Any]], *, max_tokens: int | None, temperature: float | None
    ) -> AsyncGenerator[str, None]:
        """The reply's words, each as a token, at their times."""
        asked = sum(message["role"] == "user" for message in messages)
        text = self._script.says[max(0, asked - 1) % len(self._script.says)]
        due = clock.now() + self._script.ttft.draw(self._dice)
        for token in re.findall(r"\s*\S+", text)[:max_tokens]:
            await _until(due)
            yield token
            due += self._script.token.draw(self._dice)


class ScriptedVoice:
    """Speaks a tone with syllables, loud from its first sample on."""

    def __init__(self, script: TtsScript, dice: random.Random) -> None:
        self._script = script
        self._dice = dice

    async def speak(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        """The tone, as long as the text, frame by frame at their times."""
        due = clock.now() + self._script.ttfb.draw(self._dice)
        format = AudioFormat(rate)
        lead = format.samples(self._script.lead)
        end = lead + format.samples(self._script.char * len(text.strip()))
        step = format.samples(FRAME)
        for start in range(0, end, step):
            await _until(due + start / rate / self._script.speed)
            yield tone(start - lead, min(step, end - start), rate)


def tone(start: Samples, count: Samples, rate: int) -> bytes:
    """A stretch of a speech-like tone; silence before its sample 0."""
    time = (start + np.arange(count)) / rate
    harmonics = range(1, HARMONICS + 1)
    voice = sum(np.cos(2 * np.pi * PITCH * n * time) / n for n in harmonics)
    # Speech has dips, and detectors count on it: 40 ms of silence between two syllables.
    loudness = np.clip(2.2 + 2.5 * np.cos(2 * np.pi * SYLLABLES * time), 0, 1) * (time >= 0)
    voice += BREATH * np.take(_breath(rate), start + np.arange(count), mode="wrap")
    peak = sum(1 / n for n in harmonics) + BREATH
    return (PEAK / peak * voice * loudness).astype("<i2").tobytes()


@cache
def _breath(rate: int) -> NDArray[np.float64]:
    """A second of noise, always the same, between -1 and 1; 1 at first."""
    noise = np.random.default_rng(1).uniform(-1, 1, rate)
    noise[0] = 1
    return noise


async def _until(when: Seconds) -> None:
    if (delay := when - clock.now()) > 0:
        await asyncio.sleep(delay)
