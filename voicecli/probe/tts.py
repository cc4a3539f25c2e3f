"""Measures the TTS as a conversation uses it: a clause and a flush, on an open connection.

One that speaks as text comes is flushed when its first audio has come, which ends the speech.
A service takes a limited number of flushes and characters a minute.  The probe waits for the limit
before it starts the clock, and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from voicecli import clock
from voicecli.audio.pcm import find_audible, samples_of
from voicecli.audio.playout import ClockedPlayout
from voicecli.errors import ServiceError, StalledError
from voicecli.events import Service
from voicecli.pipeline.speech import PREROLL
from voicecli.pipeline.wiring import Services
from voicecli.probe.schedule import Post, Prober, Sample, TicketCounter
from voicecli.profile import Profile
from voicecli.services.interfaces import Flushed, Synthesizer
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

CLAUSES = (
    "The capital of Australia is Canberra. ",
    "About two hundred and eighty kilometres. ",
    "That is a good question, and the answer is short: ",
    "Yes, there is one at half past seven. ",
    "I have found three of them near you. ",
    "It will rain in the afternoon, so take an umbrella. ",
)
"""First clauses of replies, as an LLM writes them; one per sample."""

MAX_CLEARS = 5
"""Samples of ``tts.clear``; each takes a flush."""

UNFLUSHED_TIMEOUT: Seconds = 3.0
"""From a clause to its first audio, where the TTS needs no flush."""

TO_CLEAR = "This sentence is long enough that it is still being spoken when it is cleared away. "


@dataclass(frozen=True, slots=True)
class Chunk:
    """Audio, and when it arrived."""

    at: Seconds
    pcm: bytes


class TtsProber(Prober):
    """Probes the TTS; note: takes sentences for the user."""

    service: Service = "tts"

    def __init__(self, profile: Profile, services: Services, note: Callable[[str], None]) -> None:
        self._format = AudioFormat(profile.tts.sample_rate)
        self._prebuffer = profile.audio.prebuffer
        self._services = services
        self._note = note

    @override
    async def measure_cold(self, number: int) -> Sample:
        async with self._services.open_tts() as tts:
            return await self._measure_clause(tts, number, cold=True)

    @override
    async def measure_warm(self, warmup: int, tickets: TicketCounter, post: Post) -> None:
        taken = 0
        async with self._services.open_tts() as tts:
            for number in range(warmup):
                await self._measure_clause(tts, number)
            while (ticket := await tickets.take()) is not None:
                post(await self._measure_clause(tts, ticket))
                taken += 1
        if taken:
            async with self._services.open_tts() as tts:
                for _ in range(min(taken, MAX_CLEARS)):
                    post(await self._measure_clear(tts))

    async def _wait_for_limits(self, tts: Synthesizer, text: str) -> None:
        wait = tts.flush_allowed_at(len(text)) - clock.now()
        if wait > 0:
            limits = tts.capabilities
            self._note(
                f"TTS: waiting {wait:.0f} s, because it takes {limits.flushes} flushes "
                f"and {limits.characters} characters a minute"
            )
            await asyncio.sleep(wait)

    async def _measure_clause(self, tts: Synthesizer, number: int, *, cold: bool = False) -> Sample:
        text = CLAUSES[number % len(CLAUSES)]
        chunks: list[Chunk] = []
        await self._wait_for_limits(tts, text)
        asked = clock.now()
        waits = tts.capabilities.speaks_unflushed
        await tts.send(text, flush=not waits)
        async with aclosing(tts.audio()) as audio:
            if waits:
                chunks.append(await take_unflushed(audio))
                await tts.send("", flush=True)
            async for item in audio:
                if isinstance(item, Flushed):
                    break
                chunks.append(Chunk(clock.now(), item))
        values = compute_values(chunks, asked, self._format, self._prebuffer)
        if not values:
            raise ServiceError(
                "tts",
                "the service sent no audible audio",
                request_id=tts.opened.request_id,
                temporary=True,
            )
        if cold:
            values["tts.open"] = tts.opened.took
        return _make_sample(tts, values, text, cold=cold)

    async def _measure_clear(self, tts: Synthesizer) -> Sample:
        """Clear a sentence as soon as it is audible."""
        await tts.send(TO_CLEAR, flush=True)
        async with aclosing(tts.audio()) as audio:
            await anext(audio)
        asked = clock.now()
        await tts.clear()
        await tts.cleared()
        return _make_sample(tts, {"tts.clear": clock.now() - asked}, TO_CLEAR)


async def take_unflushed(audio: AsyncGenerator[bytes | Flushed, None]) -> Chunk:
    """Return the first audio of a clause that was not flushed; raises StalledError."""
    try:
        async with asyncio.timeout(UNFLUSHED_TIMEOUT):
            item = await anext(audio)
    except TimeoutError:
        cause = f"no audio within {UNFLUSHED_TIMEOUT:g} s of a clause without a flush"
        raise StalledError("tts", cause, temporary=True) from None
    assert isinstance(item, bytes)
    return Chunk(clock.now(), item)


def _make_sample(
    tts: Synthesizer, values: dict[str, float], text: str, *, cold: bool = False
) -> Sample:
    return Sample(
        service="tts",
        at=clock.now(),
        values=values,
        counts={"tts.flushes": 1, "tts.characters": len(text)},
        cold=cold,
        request_id=tts.opened.request_id,
    )


def compute_values(
    chunks: Sequence[Chunk], asked: Seconds, format: AudioFormat, prebuffer: Seconds
) -> dict[str, float]:
    """The values of one clause; empty if nothing is audible.

    asked: when it was flushed, or sent to a TTS that needs no flush.
    """
    audible = find_audible(samples_of(b"".join(chunk.pcm for chunk in chunks)))
    if audible is None:
        return {}
    arrived = np.array([chunk.at for chunk in chunks]) - chunks[0].at
    ends = np.cumsum([len(chunk.pcm) // SAMPLE_SIZE for chunk in chunks])
    begins = np.array([0, *ends[:-1]])
    first = int(np.searchsorted(ends, audible, side="right"))  # the chunk with that sample
    values = {
        "tts.ttfb": chunks[0].at - asked,
        "tts.ttfa": chunks[first].at - asked,
        "tts.lead": audible / format.rate,
        "tts.buffer": float(np.max(arrived - begins / format.rate)),
        "playout": _simulate_playout(
            chunks[first:], audible - int(begins[first]), format, prebuffer
        ),
    }
    if begins[-1]:
        gaps = np.diff(arrived)
        values["tts.rtf"] = float(arrived[-1] / (begins[-1] / format.rate))
        values["tts.jitter"] = float(gaps.max() - np.median(gaps))
    return values


def _simulate_playout(
    chunks: Sequence[Chunk], audible: Samples, format: AudioFormat, prebuffer: Seconds
) -> Seconds:
    """First audible sample arrived → it sounds, on a loudspeaker without latency.

    chunks: from the one with that sample, at ``audible``; a reply is played from PREROLL before it.
    """
    playout = ClockedPlayout(format.rate, prebuffer)
    playout.advance(chunks[0].at).start()
    skipped = max(0, audible - format.samples(PREROLL))
    for number, chunk in enumerate(chunks):
        pcm = chunk.pcm if number else chunk.pcm[SAMPLE_SIZE * skipped :]
        playout.advance(chunk.at).write(samples_of(pcm))
        if playout.audible_at is not None:
            break
    else:
        playout.end()
    assert playout.audible_at is not None
    return max(playout.audible_at - chunks[0].at, 0.0)
