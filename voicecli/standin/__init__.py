"""Stand-ins: servers on this machine that speak the services' wire protocols.

``serve`` puts engines (see ``engines``) behind Deepgram's ``/v1/listen`` (``deepgram_stt``),
``/v2/listen`` (``deepgram_flux_stt``), ``/v1/speak`` (``deepgram_tts``) and ``/v2/speak``
(``deepgram_flux_tts``) and OpenAI's ``/v1/chat/completions`` (``openai_chat``).  The program
reaches them as it reaches the services, through two base URLs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from voicecli.errors import UsageError
from voicecli.standin.deepgram import ServedConnection, open_deepgram_server
from voicecli.standin.deepgram_flux_stt import FluxListenConnection
from voicecli.standin.deepgram_flux_tts import FluxSpeakConnection
from voicecli.standin.deepgram_stt import ListenConnection
from voicecli.standin.deepgram_tts import SpeakConnection
from voicecli.standin.engines import Engines
from voicecli.standin.http import open_http_server
from voicecli.standin.openai_chat import ChatService
from voicecli.standin.script import Fault, FaultSchedule

__all__ = ["Endpoints", "Engines", "Fault", "serve"]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base URLs of the stand-ins, as for DEEPGRAM_BASE_URL and OPENAI_BASE_URL."""

    deepgram: str
    openai: str


@asynccontextmanager
async def serve(
    engines: Engines,
    *,
    deepgram_port: int = 0,
    openai_port: int = 0,
    require_key: bool = False,
    faults: Sequence[Fault] = (),
) -> AsyncGenerator[Endpoints, None]:
    """Serve ``engines`` on 127.0.0.1; leaving closes every connection.

    deepgram_port, openai_port: 0 lets the system choose.
    require_key: whether a client without a key is refused; any key will do.

    Raises UsageError when a port is taken.
    """
    schedule = FaultSchedule(faults)
    routes: dict[str, type[ServedConnection]] = {
        "/v1/listen": ListenConnection,
        "/v2/listen": FluxListenConnection,
        "/v1/speak": SpeakConnection,
        "/v2/speak": FluxSpeakConnection,
    }
    speech = open_deepgram_server(routes, engines, schedule, deepgram_port, require_key=require_key)
    chat = ChatService(engines, schedule, require_key=require_key)
    async with AsyncExitStack() as stack:
        try:
            deepgram = await stack.enter_async_context(speech)
            openai = await stack.enter_async_context(open_http_server(chat.answer, openai_port))
        except OSError as error:
            hint = "Choose another port, or none: then the system chooses."
            raise UsageError(f"cannot serve: {error.strerror}", hint=hint) from error
        yield Endpoints(f"ws://127.0.0.1:{deepgram}", f"http://127.0.0.1:{openai}/v1")
