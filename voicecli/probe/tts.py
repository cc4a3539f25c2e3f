"""The TTS, measured as a conversation uses it: a clause and a Flush, on an open connection.

The service takes so many Flushes and characters a minute; who asks for more is refused.  Here that
is waited for before the clock starts, and said.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from urllib.parse import urlencode

from voicecli import clock
from voicecli.audio.pcm import first_audible, samples_of
from voicecli.audio.playout import ClockedPlayout
from voicecli.clock import RateLimit
from voicecli.errors import ServiceError
from voicecli.events import Service
from voicecli.pipeline.speech import PREROLL
from voicecli.probe.schedule import Post, Sample, TicketCounter
from voicecli.services.deepgram.aura import Aura, AuraOptions, build_aura_query, open_aura
from voicecli.services.deepgram.socket import Socket, open_socket
from voicecli.services.deepgram.synthesis import WINDOW
from voicecli.services.endpoint import check_url
from voicecli.services.interfaces import Flushed
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
    """What is measured; prebuffer: what is queued before a reply sounds, in seconds."""

    options: AuraOptions
    prebuffer: Seconds


@dataclass(frozen=True, slots=True)
class Chunk:
    """Audio, and when it arrived."""

    at: Seconds
    pcm: bytes


class Allowance:
    """What one connection may still be sent; waits for it, and says so."""

    def __init__(self, options: AuraOptions, note: Callable[[str], None]) -> None:
        self._flushes = RateLimit(options.flushes_per_minute, WINDOW)
        self._characters = RateLimit(options.characters_per_minute, WINDOW)
        self._note = note

    async def use(self, text: str) -> None:
        """Wait until a Flush of ``text`` is allowed, and count it."""
        now = clock.now()
        allowed = max(self._flushes.allowed_at(1, now), self._characters.allowed_at(len(text), now))
        if allowed > now:
            limit = (
                f"{self._flushes.limit} Flushes and {self._characters.limit} characters a minute"
            )
            self._note(f"TTS: waits {allowed - now:.0f} s, for it takes {limit}")
            await asyncio.sleep(allowed - now)
        self._flushes.spend(1, clock.now())
        self._characters.spend(len(text), clock.now())


class TtsProber:
    """See ``series.Prober``; note: is told what a user should know."""

    service: Service = "tts"
    kinds = 1

    def __init__(self, setting: TtsSetting, note: Callable[[str], None]) -> None:
        self._setting = setting
        self._note = note

    async def measure_cold(self, number: int) -> Sample:
        """Open, and the first clause."""
        async with open_aura(self._setting.options) as speak:
            return await self._clause(speak, number, cold=True)

    async def measure_warm(self, warmup: int, tickets: TicketCounter, post: Post) -> None:
        """One clause after the other; then a few that are cleared."""
        allowance = Allowance(self._setting.options, self._note)
        taken = 0
        async with open_aura(self._setting.options) as speak:
            for number in range(warmup):
                await allowance.use(_text(number))
                await self._clause(speak, number)
            while (number_ := await tickets.take()) is not None:
                await allowance.use(_text(number_))
                post(await self._clause(speak, number_))
                taken += 1
        for reading in await cleared(self._setting.options, min(taken, CLEARS)):
            post(reading)

    async def _clause(self, speak: Aura, number: int, *, cold: bool = False) -> Sample:
        text = _text(number)
        chunks: list[Chunk] = []
        flushed = clock.now()
        await speak.send(text, flush=True)
        async with aclosing(speak.audio()) as audio:
            async for item in audio:
                if isinstance(item, Flushed):
                    break
                chunks.append(Chunk(clock.now(), item))
        values = spoken(chunks, flushed, self._setting)
        if not values:
            raise ServiceError(
                "tts", "it spoke nothing", request_id=speak.opened.request_id, temporary=True
            )
        if cold:
            values["tts.open"] = speak.opened.took
        return Sample(
            service="tts",
            at=clock.now(),
            values=values,
            counts={"tts.flushes": 1, "tts.characters": len(text)},
            cold=cold,
            request_id=speak.opened.request_id,
        )


def _text(number: int) -> str:
    return CLAUSES[number % len(CLAUSES)]


def spoken(chunks: Sequence[Chunk], flushed: Seconds, setting: TtsSetting) -> dict[str, float]:
    """The values of one clause; none where nothing of it is audible."""
    format = AudioFormat(setting.options.sample_rate)
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


async def cleared(options: AuraOptions, count: int) -> list[Sample]:
    """So many readings; raises as ``open_socket`` does, or where no answer comes."""
    if not count:
        return []
    async with open_socket(
        "tts",
        check_url("tts", options.url),
        "/v1/speak?" + urlencode(build_aura_query(options)),
        key=options.key,
        key_env=options.key_env,
        connect_timeout=options.connect_timeout,
    ) as socket:
        return [await _reading(socket, options.first_audio_timeout) for _ in range(count)]


async def _reading(socket: Socket, patience: Seconds) -> Sample:
    await socket.send(json.dumps({"type": "Speak", "text": TO_CLEAR}))
    await socket.send('{"type":"Flush"}')
    await _await(socket, "audio", patience)
    asked = clock.now()
    await socket.send('{"type":"Clear"}')
    await _await(socket, "Cleared", patience)
    return Sample(
        service="tts",
        at=clock.now(),
        values={"tts.clear": clock.now() - asked},
        counts={"tts.flushes": 1, "tts.characters": len(TO_CLEAR)},
        request_id=socket.request_id,
    )


async def _await(socket: Socket, wanted: str, patience: Seconds) -> None:
    """Wait for a frame of that kind."""
    try:
        async with asyncio.timeout(patience):
            while _kind(await socket.receive()) != wanted:
                pass
    except TimeoutError as error:
        raise ServiceError("tts", f"no {wanted} within {patience:g} s", temporary=True) from error


def _kind(frame: str | bytes) -> str:
    """ "audio", or the type that a message says it is."""
    if isinstance(frame, bytes):
        return "audio"
    try:
        return str(json.loads(frame).get("type"))
    except (ValueError, AttributeError):
        return ""
