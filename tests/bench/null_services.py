"""Services that compute nothing: exact latencies for many conversations from one process.

The stand-ins listen to the audio, and 64 conversations keep them busier than the program that is
measured.  These count it.  They answer Finalize, requests and Flushes, and nothing else; which is
enough for ``turn.detect: vad``.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve

from tests.bench.fixed import FINALIZE, QUESTIONS, REPLY, TOKEN, TTFB, TTFT
from voicecli import clock
from voicecli.standin import Endpoints
from voicecli.standin.engines.process import open_worker
from voicecli.standin.engines.scripted import make_tone
from voicecli.units import SAMPLE_SIZE

SPEECH_RATE = 24_000
CHARACTER = 0.06
FRAME = 0.08

AUDIO = [
    make_tone(round(index * FRAME * SPEECH_RATE), round(FRAME * SPEECH_RATE), SPEECH_RATE)
    for index in range(100)
]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def open_dull() -> AsyncGenerator[Endpoints, None]:
    """The services, in a process of their own."""
    async with open_worker([sys.executable, "-m", "tests.bench.null_services"]) as endpoints:
        yield endpoints


async def _converse(socket: ServerConnection) -> None:
    assert socket.request is not None
    if socket.request.path.startswith("/v1/listen"):
        await _listen(socket, int(socket.request.path.partition("sample_rate=")[2].split("&")[0]))
    else:
        await _speak(socket)


async def _listen(socket: ServerConnection, rate: int) -> None:
    heard = count = 0
    async for message in socket:
        if isinstance(message, bytes):
            heard += len(message)
        elif "Finalize" in message:
            _after(FINALIZE, _final(socket, heard / SAMPLE_SIZE / rate, count))
            count += 1
        elif "CloseStream" in message:
            await socket.close()


async def _final(socket: ServerConnection, until: float, count: int) -> None:
    text = QUESTIONS[count % len(QUESTIONS)]
    word = {"word": text, "start": max(0.0, until - 1.0), "end": until - 0.2, "confidence": 1.0}
    channel = {"alternatives": [{"transcript": text, "confidence": 1.0, "words": [word]}]}
    frame = {"type": "Results", "start": 0.0, "duration": until, "is_final": True}
    await socket.send(json.dumps({**frame, "from_finalize": True, "channel": channel}))


async def _speak(socket: ServerConnection) -> None:
    text = ""
    async for message in socket:
        match json.loads(message):
            case {"type": "Speak", "text": str(piece)}:
                text += piece
            case {"type": "Flush"}:
                _after(TTFB, _sound(socket, round(len(text.strip()) * CHARACTER / FRAME)))
                text = ""
            case {"type": "Clear"}:
                await socket.send('{"type":"Cleared"}')
            case {"type": "Close"}:
                await socket.close()


async def _sound(socket: ServerConnection, frames: int) -> None:
    for frame in AUDIO[:frames]:
        await socket.send(frame)
    await socket.send('{"type":"Flushed"}')


async def _chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await reader.readuntil(b"\r\n\r\n"):
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        if not head.startswith(b"POST"):
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}")
            continue
        due = clock.now() + TTFT
        writer.write(HEAD)
        for word in re.findall(r"\s*\S+", REPLY):
            await asyncio.sleep(due - clock.now())
            _chunk(writer, {"content": word})
            due += TOKEN
        _chunk(writer, {}, "stop")
        _data(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")


def _chunk(writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None = None) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "x"}
    _data(writer, json.dumps({**body, "choices": [choice]}))


def _data(writer: asyncio.StreamWriter, data: str) -> None:
    line = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(line), line))


_tasks: set[asyncio.Task[None]] = set()


def _after(delay: float, work: object) -> None:
    async def later() -> None:
        await asyncio.sleep(delay)
        await work  # type: ignore[misc]

    task = asyncio.create_task(later())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _main() -> None:
    chat = await asyncio.start_server(_chat, "127.0.0.1", 0)
    async with serve(_converse, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        where = {
            "deepgram": f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "openai": f"http://127.0.0.1:{chat.sockets[0].getsockname()[1]}/v1",
        }
        print(json.dumps(where), flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    clock.run(_main())
