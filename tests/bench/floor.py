"""A minimal client of the same services: how late they are by themselves on this machine."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect

from tests.bench.fixed import FINALIZE, TTFB, TTFT
from tests.support.speech_like import voice
from voicecli import clock
from voicecli.metrics.summary import describe
from voicecli.standin import Endpoints
from voicecli.units import Seconds

PAUSE: Seconds = 4.0
"""Between two rounds, as in a conversation."""

_BODY = json.dumps(
    {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "Hello."}]}
).encode()


@dataclass
class Late:
    """By how much each answer is later than the script says."""

    stt: list[Seconds] = field(default_factory=list)
    llm: list[Seconds] = field(default_factory=list)
    tts: list[Seconds] = field(default_factory=list)

    @property
    def typical(self) -> Seconds:
        """Return the sum of the three P50s: the lateness of a turn."""
        return sum(describe(late).p50 or 0.0 for late in (self.stt, self.llm, self.tts))


async def query_services(endpoints: Endpoints, late: Late, rounds: int) -> None:
    """Query each service ``rounds`` times."""
    stt_url = f"{endpoints.deepgram}/v1/listen?encoding=linear16&sample_rate=16000&model=nova-3"
    tts_url = (
        f"{endpoints.deepgram}/v1/speak?encoding=linear16&sample_rate=24000&model=aura-2-thalia-en"
    )
    host, port = endpoints.openai.removeprefix("http://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with connect(tts_url, compression=None) as tts_socket:
        for _ in range(rounds):
            async with connect(stt_url, compression=None) as stt_socket:
                late.stt.append(await _finalize(stt_socket))
            late.llm.append(await _complete(reader, writer))
            late.tts.append(await _speak(tts_socket))
            await asyncio.sleep(PAUSE)
    writer.close()


async def _finalize(socket: ClientConnection) -> Seconds:
    await socket.send(voice(1.0))
    await asyncio.sleep(0.2)
    start = clock.now()
    await socket.send('{"type":"Finalize"}')
    while b'"from_finalize": true' not in await socket.recv(decode=False):
        pass
    return clock.now() - start - FINALIZE


async def _complete(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Seconds:
    start = clock.now()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
    )
    await reader.readuntil(b'"delta":{"content":')
    took = clock.now() - start - TTFT
    await reader.readuntil(b"\r\n0\r\n\r\n")
    return took


async def _speak(socket: ClientConnection) -> Seconds:
    start = clock.now()
    await socket.send('{"type":"Speak","text":"It is sunny."}')
    await socket.send('{"type":"Flush"}')
    while isinstance(await socket.recv(), str):
        pass
    took = clock.now() - start - TTFB
    while b"Flushed" not in await socket.recv(decode=False):
        pass
    return took
