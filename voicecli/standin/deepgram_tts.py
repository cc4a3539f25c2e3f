"""Deepgram's ``/v1/speak``: text in, audio out.

Audio is synthesised on Flush only, or, as some services do, also at the end of each sentence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from typing_extensions import override
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.clock import RateLimit
from voicecli.standin.deepgram import Query, QueryError, ServedConnection, parse_message
from voicecli.standin.script import ActiveFaults
from voicecli.units import Seconds

MODELS = re.compile(r"aura(-2)?-[a-z]+-[a-z]{2}")
NO_SUCH_MODEL = "Bad Request: No such model/version combination found."
RATES = {
    "linear16": (8000, 16000, 24000, 32000, 48000),
    "mulaw": (8000, 16000),
    "alaw": (8000, 16000),
}
MODEL_INFO = {"model_version": "2025-04-07.0", "model_uuid": "00000000-0000-4000-8000-000000000002"}

WINDOW: Seconds = 60.0
FLUSHES, CHARACTERS = 20, 2400
"""Accepted per WINDOW; a Flush too many is answered with a Warning, text too long with a close."""

SPEAK_CHARACTERS = 2000  # per Speak message
MAX_AGE: Seconds = 3600.0  # a connection is closed at this age, even an active one


def parse_speak_query(query: Query) -> tuple[str, int]:
    """Return the model and the sample rate in hertz; raise QueryError where the service would.

    ``speed`` is validated, but no engine implements it.
    """
    model = query.text("model", "aura-asteria-en")
    if not MODELS.fullmatch(model):
        raise QueryError(400, "Bad Request", NO_SUCH_MODEL)
    rate = parse_audio_format(query, RATES)
    if query.text("container", "none") != "none":
        raise _unsupported("`container` must be none")
    if not 0.7 <= query.decimal("speed", 1.0) <= 1.5:
        raise QueryError.unreadable("speed", "must be between 0.7 and 1.5")
    query.flag("mip_opt_out")
    return model, rate


def parse_audio_format(query: Query, rates: Mapping[str, Sequence[int]]) -> int:
    """Return the sample rate in hertz; raise QueryError for a format that is refused.

    rates: that the service accepts of each encoding.
    """
    encoding = query.text("encoding", "linear16")
    if encoding not in rates:
        raise _unsupported(f"`encoding` must be one of {list(rates)}")
    rate = query.integer("sample_rate", 24000 if encoding == "linear16" else 8000)
    if rate not in rates[encoding]:
        raise _unsupported(
            f"`sample_rate` must be {list(rates[encoding])} when `encoding={encoding}`"
        )
    if encoding != "linear16":
        raise _unsupported("this stand-in speaks linear16 only")
    return rate


def _unsupported(why: str) -> QueryError:
    return QueryError(400, QueryError.INVALID, f"Unsupported audio format: {why}")


SENTENCES = re.compile(r".*[.!?。！？][\"'”’)]*(?=\s|\Z)", re.DOTALL)

Order = tuple[int | None, str, ActiveFaults]
"""A text to speak; the number of the Flush that ends it, if one does, and what goes wrong."""


class SpeakConnection(ServedConnection):
    """One connection to ``/v1/speak``."""

    service = "tts"

    @override
    def __post_init__(self) -> None:
        self._model, self._rate = parse_speak_query(self.query)
        self._flush_limit = RateLimit(FLUSHES, WINDOW)
        self._character_limit = RateLimit(CHARACTERS, WINDOW)
        self._text = ""
        self._flushed = self._cleared = 0
        self._orders: asyncio.Queue[Order] = asyncio.Queue()

    @override
    async def run(self) -> None:
        metadata = {"type": "Metadata", "request_id": str(self.socket.id)}
        await self.send({**metadata, "model_name": self._model, **MODEL_INFO})
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._start_speaking()
            await self._receive_all()
            self._speaking.cancel()

    def _start_speaking(self) -> None:
        self._speaking = self._tasks.create_task(self._speak_orders(), name="speak")

    async def _receive_all(self) -> None:
        try:
            async with asyncio.timeout(MAX_AGE):
                async for message in self.socket:
                    await self._receive(message)
        except TimeoutError:
            await self.socket.close(1011, "NET-0003")
        except ConnectionClosed:
            return

    async def _receive(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self.socket.close(1003, "MESSAGE-0000")
            return
        match parse_message(message):
            case {"type": "Speak", "text": str(text)} if text:
                await self._add_text(text)
            case {"type": "Flush"}:
                await self._flush()
            case {"type": "Clear"}:
                await self._clear()
            case {"type": "Close"}:
                if not self.faults.begin("tts", "close").find("close_lost"):
                    await self.socket.close(1000, "Connection was closed successfully.")
            case _:
                await self.socket.close(1008, "DATA-0000")

    async def _add_text(self, text: str) -> None:
        if len(text) > SPEAK_CHARACTERS:
            await self.socket.close(1009, "BIG-0001")
        elif len(text) > self._character_limit.left(clock.now()):
            await self.socket.close(1008, "DATA-0001")
        else:
            self._character_limit.spend(len(text), clock.now())
            self._text += text
            if self.engines.speaks_sentences and (ended := SENTENCES.match(self._text)):
                self._orders.put_nowait((None, ended[0], ActiveFaults([])))
                self._text = self._text[ended.end() :]

    async def _flush(self) -> None:
        faults = self.faults.begin("tts", "flush")
        code, text = "EXCESSIVE_FLUSH", "Rate limit exceeded for flushes. Please try again later."
        if faults.find("warning"):
            await self.send({"type": "Warning", "code": code, "description": text})
        elif not self._flush_limit.left(clock.now()):
            await self.send({"type": "Warning", "warn_code": code, "warn_msg": text})
        else:
            self._flush_limit.spend(1, clock.now())
            self._orders.put_nowait((self._flushed, self._text, faults))
            self._flushed += 1
            self._text = ""

    async def _clear(self) -> None:
        self._speaking.cancel()
        await asyncio.wait([self._speaking])
        self._text = ""
        self._orders = asyncio.Queue()
        await self.send({"type": "Cleared", "sequence_id": self._cleared})
        self._cleared += 1
        self._start_speaking()

    async def _speak_orders(self) -> None:
        while True:
            number, text, faults = await self._orders.get()
            await faults.run(self._speak(number, text, faults))

    async def _speak(self, number: int | None, text: str, faults: ActiveFaults) -> None:
        if text.strip():
            is_odd = faults.find("odd_frames") is not None
            kept = b""
            async with aclosing(self.engines.tts.speak(text, self._rate)) as chunks:
                async for chunk in chunks:
                    audio = kept + chunk
                    end = len(audio) - (is_odd and len(audio) % 2 == 0)
                    kept = audio[end:]
                    await self.send(audio[:end], faults)
            if kept:
                await self.send(kept, faults)
        if number is not None:
            await self.send({"type": "Flushed", "sequence_id": number}, faults)
