"""Services that compute nothing, so that one process serves many conversations exactly on time.

The stand-ins analyse the audio, which for 64 conversations costs more than the measured program.
These only compare it with a level.  They send interims while it is louder and answer Finalize, chat
requests and Flush, and nothing else, which suffices for ``turn.detect: vad``.
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
from voicecli.audio.pcm import samples_of
from voicecli.standin import Endpoints
from voicecli.standin.engines.process import open_worker
from voicecli.standin.engines.scripted import make_tone
from voicecli.units import SAMPLE_SIZE

SPEECH_RATE = 24_000
CHARACTER = 0.06  # seconds of speech per character
FRAME = 0.08  # seconds per message
INTERIM = 0.15  # seconds of voice per interim
LOUD = 300  # the peak of a voiced block: -41 dBFS, above the room's noise

AUDIO = [
    make_tone(round(index * FRAME * SPEECH_RATE), round(FRAME * SPEECH_RATE), SPEECH_RATE)
    for index in range(100)
]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def open_null_services() -> AsyncGenerator[Endpoints, None]:
    """Start the services in a process of their own."""
    async with open_worker([sys.executable, "-m", "tests.bench.null_services"]) as endpoints:
        yield endpoints


async def _dispatch(socket: ServerConnection) -> None:
    assert socket.request is not None
    if socket.request.path.startswith("/v1/listen"):
        await _listen(socket, int(socket.request.path.partition("sample_rate=")[2].split("&")[0]))
    else:
        await _speak(socket)


async def _listen(socket: ServerConnection, rate: int) -> None:
    received = count = 0
    voiced = reported = 0.0  # the end of the voice, and of the last interim
    async for message in socket:
        if isinstance(message, bytes):
            received += len(message)
            if samples_of(message).max() > LOUD:
                voiced = received / SAMPLE_SIZE / rate
            if voiced >= reported + INTERIM:
                reported = voiced
                await _send_results(socket, voiced, count, is_final=False)
        elif "Finalize" in message:
            _call_after(FINALIZE, _send_results(socket, voiced, count, is_final=True))
            count += 1
        elif "CloseStream" in message:
            await socket.close()


async def _send_results(
    socket: ServerConnection, until: float, count: int, *, is_final: bool
) -> None:
    text = QUESTIONS[count % len(QUESTIONS)]
    word = {"word": text, "start": max(0.0, until - 0.5), "end": until, "confidence": 1.0}
    channel = {"alternatives": [{"transcript": text, "confidence": 1.0, "words": [word]}]}
    frame = {"type": "Results", "start": 0.0, "duration": until, "is_final": is_final}
    await socket.send(json.dumps({**frame, "from_finalize": is_final, "channel": channel}))


async def _speak(socket: ServerConnection) -> None:
    text = ""
    async for message in socket:
        match json.loads(message):
            case {"type": "Speak", "text": str(piece)}:
                text += piece
            case {"type": "Flush"}:
                _call_after(
                    TTFB, _send_speech(socket, round(len(text.strip()) * CHARACTER / FRAME))
                )
                text = ""
            case {"type": "Clear"}:
                await socket.send('{"type":"Cleared"}')
            case {"type": "Close"}:
                await socket.close()


async def _send_speech(socket: ServerConnection, frames: int) -> None:
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
            _send_chunk(writer, {"content": word})
            due += TOKEN
        _send_chunk(writer, {}, "stop")
        _send_data(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")


def _send_chunk(
    writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None = None
) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "x"}
    _send_data(writer, json.dumps({**body, "choices": [choice]}))


def _send_data(writer: asyncio.StreamWriter, data: str) -> None:
    line = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(line), line))


_tasks: set[asyncio.Task[None]] = set()


def _call_after(delay: float, work: object) -> None:
    async def later() -> None:
        await asyncio.sleep(delay)
        await work  # type: ignore[misc]

    task = asyncio.create_task(later())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _main() -> None:
    chat = await asyncio.start_server(_chat, "127.0.0.1", 0)
    async with serve(_dispatch, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        endpoints = {
            "deepgram": f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "openai": f"http://127.0.0.1:{chat.sockets[0].getsockname()[1]}/v1",
        }
        print(json.dumps(endpoints), flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    clock.run(_main())
