"""The TTS, measured as a conversation uses it: a clause and a Flush, on an open connection.

The service takes so many Flushes and characters a minute; who asks for more is refused.  Here that
is waited for before the clock starts, and said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from voicecli import clock
from voicecli.audio.pcm import first_audible, samples_of
from voicecli.audio.playout import ClockedPlayout
from voicecli.errors import ServiceError
from voicecli.events import Service
from voicecli.pipeline.speech import PREROLL
from voicecli.probe.schedule import Post, Sample, TicketCounter
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
"""First clauses of replies, as an LLM writes them: one a reading, the same in every probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TtsSetting:
    """What is measured.

    open: connects to the TTS.
    prebuffer: what is queued before a reply sounds, in seconds.
    """

    open: Callable[[], AbstractAsyncContextManager[Synthesizer]]
    sample_rate: int
    prebuffer: Seconds


@dataclass(frozen=True, slots=True)
class Chunk:
    """Audio, and when it arrived."""

    at: Seconds
    pcm: bytes


class TtsProber:
    """See ``series.Prober``; note: is told what a user should know."""

    service: Service = "tts"
    kinds = 1

    def __init__(self, setting: TtsSetting, note: Callable[[str], None]) -> None:
        self._setting = setting
        self._note = note

    async def measure_cold(self, number: int) -> Sample:
        """Open, and the first clause."""
        async with self._setting.open() as tts:
            return await self._clause(tts, number, cold=True)

    async def measure_warm(self, warmup: int, tickets: TicketCounter, post: Post) -> None:
        """One clause after the other; then a few that are cleared."""
        taken = 0
        async with self._setting.open() as tts:
            for number in range(warmup):
                await self._wait_for_budget(tts, _text(number))
                await self._clause(tts, number)
            while (number_ := await tickets.take()) is not None:
                await self._wait_for_budget(tts, _text(number_))
                post(await self._clause(tts, number_))
                taken += 1
        for reading in await measure_clears(self._setting.open, min(taken, CLEARS)):
            post(reading)

    async def _wait_for_budget(self, tts: Synthesizer, text: str) -> None:
        """Wait until the service takes a Flush of ``text``, before the clock starts."""
        wait = tts.flush_allowed_at(len(text)) - clock.now()
        if wait > 0:
            takes = tts.capabilities
            limit = f"{takes.flushes} Flushes and {takes.characters} characters a minute"
            self._note(f"TTS: waiting {wait:.0f} s, since it takes {limit}")
            await asyncio.sleep(wait)

    async def _clause(self, tts: Synthesizer, number: int, *, cold: bool = False) -> Sample:
        text = _text(number)
        chunks: list[Chunk] = []
        flushed = clock.now()
        await tts.send(text, flush=True)
        async with aclosing(tts.audio()) as audio:
            async for item in audio:
                if isinstance(item, Flushed):
                    break
                chunks.append(Chunk(clock.now(), item))
        values = spoken(chunks, flushed, self._setting)
        if not values:
            raise ServiceError(
                "tts", "it spoke nothing", request_id=tts.opened.request_id, temporary=True
            )
        if cold:
            values["tts.open"] = tts.opened.took
        return Sample(
            service="tts",
            at=clock.now(),
            values=values,
            counts={"tts.flushes": 1, "tts.characters": len(text)},
            cold=cold,
            request_id=tts.opened.request_id,
        )


def _text(number: int) -> str:
    return CLAUSES[number % len(CLAUSES)]


def spoken(chunks: Sequence[Chunk], flushed: Seconds, setting: TtsSetting) -> dict[str, float]:
    """The values of one clause; none where nothing of it is audible."""
    format = AudioFormat(setting.sample_rate)
    found = _audible(chunks)
    if found is None:
        return {}
    index, audible = found
    lead = audible + sum(len(one.pcm) for one in chunks[:index]) // SAMPLE_SIZE
    before = format.seconds(sum(len(one.pcm) for one in chunks[:-1]))
    first, last = chunks[0].at, chunks[-1].at
    values = {
        "tts.ttfb": first - flushed,
        "tts.ttfa": chunks[index].at - flushed,
        "tts.lead": lead / format.rate,
        "tts.buffer": buffer_needed(chunks, format),
        "playout": _playout(chunks[index:], audible, format, setting.prebuffer),
    }
    if before:
        gaps = [b.at - a.at for a, b in pairwise(chunks)]
        values["tts.rtf"] = (last - first) / before
        values["tts.jitter"] = max(gaps) - median(gaps)
    return values


def _audible(chunks: Sequence[Chunk]) -> tuple[int, Samples] | None:
    """Which chunk has the first audible sample, and where in it."""
    for index, chunk in enumerate(chunks):
        if (sample := first_audible(chunk.pcm)) is not None:
            return index, sample
    return None


def buffer_needed(chunks: Sequence[Chunk], format: AudioFormat) -> Seconds:
    """By how much playing must begin after the first chunk arrives, so that it never runs dry."""
    needed = played = 0.0
    for chunk in chunks:
        needed = max(needed, chunk.at - chunks[0].at - played)
        played += format.seconds(len(chunk.pcm))
    return needed


def _playout(
    chunks: Sequence[Chunk], audible: Samples, format: AudioFormat, prebuffer: Seconds
) -> Seconds:
    """First audible sample arrived → it sounds, from a loudspeaker without a latency of its own.

    chunks: from the one with that sample on, at ``audible``; a reply is played from shortly before.
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


CLEARS = 5
"""At most so many readings; each takes a Flush."""

TO_CLEAR = "This sentence is long enough that it is still being spoken when it is cleared away. "


async def measure_clears(
    open: Callable[[], AbstractAsyncContextManager[Synthesizer]], count: int
) -> list[Sample]:
    """Measure Clear → its confirmation ``count`` times, on a connection of their own."""
    if not count:
        return []
    async with open() as tts:
        return [await _measure_clear(tts) for _ in range(count)]


async def _measure_clear(tts: Synthesizer) -> Sample:
    await tts.send(TO_CLEAR, flush=True)
    async with aclosing(tts.audio()) as audio:
        await anext(audio)
    asked = clock.now()
    await tts.clear()
    await tts.cleared()
    return Sample(
        service="tts",
        at=clock.now(),
        values={"tts.clear": clock.now() - asked},
        counts={"tts.flushes": 1, "tts.characters": len(TO_CLEAR)},
        request_id=tts.opened.request_id,
    )
