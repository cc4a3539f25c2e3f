"""The stand-ins together: one WebSocket server, one HTTP server, on this machine only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from voicecli.errors import UsageError
from voicecli.standin.deepgram import DeepgramServer
from voicecli.standin.engines.interfaces import Engines
from voicecli.standin.faults import Fault, Faults
from voicecli.standin.http import HttpServer
from voicecli.standin.openai_chat import ChatService


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the stand-ins listen, as DEEPGRAM_BASE_URL and OPENAI_BASE_URL would say it."""

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
    """Serve ``engines`` in the services' place; leaving closes every connection.

    A port of 0 is chosen by the system; one that is taken is a UsageError.
    require_key: whether a client without a key is refused; any key will do.
    """
    trouble = Faults(faults)
    speech = DeepgramServer(engines, trouble, require_key=require_key)
    chat = ChatService(engines, trouble, require_key=require_key)
    async with AsyncExitStack() as servers:
        try:
            deepgram = await servers.enter_async_context(speech.listen(deepgram_port))
            openai = await servers.enter_async_context(HttpServer(chat.answer, openai_port))
        except OSError as error:
            hint = "Choose another port, or none: then the system chooses"
            raise UsageError(f"cannot serve: {error.strerror}", hint=f"{hint}.") from error
        yield Endpoints(
            deepgram=f"ws://127.0.0.1:{deepgram.sockets[0].getsockname()[1]}",
            openai=f"http://127.0.0.1:{openai.port}/v1",
        )
