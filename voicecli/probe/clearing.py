"""Clear → Cleared: how soon the TTS has forgotten a reply that is cut.

Nothing but the protocol, on a connection of its own: the adapter keeps the answer to itself.
"""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

from voicecli import clock
from voicecli.audio import Seconds
from voicecli.deepgram.socket import Socket, open_socket
from voicecli.deepgram.speak import SpeakOptions, speak_query
from voicecli.endpoints import check_url
from voicecli.errors import ServiceError
from voicecli.probe.reading import Reading

CLEARS = 5
"""At most so many readings; each takes a Flush."""

TO_CLEAR = "This sentence is long enough that it is still being spoken when it is cleared away. "


async def cleared(options: SpeakOptions, count: int) -> list[Reading]:
    """So many readings; raises as ``open_socket`` does, or where no answer comes."""
    if not count:
        return []
    async with open_socket(
        "tts",
        check_url("tts", options.url),
        "/v1/speak?" + urlencode(speak_query(options)),
        key=options.key,
        key_env=options.key_env,
        connect_timeout=options.connect_timeout,
    ) as socket:
        return [await _reading(socket, options.first_audio_timeout) for _ in range(count)]


async def _reading(socket: Socket, patience: Seconds) -> Reading:
    await socket.send(json.dumps({"type": "Speak", "text": TO_CLEAR}))
    await socket.send('{"type":"Flush"}')
    await _await(socket, "audio", patience)
    asked = clock.now()
    await socket.send('{"type":"Clear"}')
    await _await(socket, "Cleared", patience)
    return Reading(
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
