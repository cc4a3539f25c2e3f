"""Whole conversations: speech-like audio for a user, the stand-ins for the services, virtual time.

Everything in between is the program's own: sockets, decoders, machine, replies, playout.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, TypeVar

import soundfile
from typing_extensions import override
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed

from tests.support.chat_server import Answer, Server
from voicecli import clock
from voicecli.audio.interfaces import Source
from voicecli.audio.pcm import samples_of
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.audio.wav import open_wav
from voicecli.events import Service
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.pipeline.session import Session
from voicecli.pipeline.wiring import Services, open_session
from voicecli.profile import Profile, load_profile
from voicecli.services.provider import ServiceAddress
from voicecli.standin import Endpoints, Fault, serve
from voicecli.standin.engines import LlmEngine, SttEngine
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import Script
from voicecli.timeline import Entry, Follower, Timeline
from voicecli.units import SAMPLE_SIZE, Seconds

R = TypeVar("R", bound=Entry)

RATE = 16_000

NOWHERE = "ws://127.0.0.1:1"
"""An address without a server: the port is reserved."""

During = Callable[[Session], Coroutine[Any, Any, None]]
"""Runs beside the conversation."""

Rewrite = Callable[[str | bytes], Iterable[tuple[Seconds, str | bytes]]]
"""Turns a message of a service into those that arrive in its place, each after a delay."""

Through = Callable[[Endpoints], AbstractAsyncContextManager[Endpoints]]
"""Opens servers that relay to the stand-ins; yields where they are."""


def profile(*overrides: str, name: str = "scripted") -> Profile:
    """Load a shipped profile with models that need nothing installed, and ``overrides``."""
    usual = (f"audio.sample_rate={RATE}", "audio.vad=energy", "turn.end_model=off")
    return load_profile(name, overrides=[*usual, *overrides])


@contextmanager
def microphone(spoken: bytes | Source, profile: Profile) -> Iterator[Source]:
    """Yield ``spoken`` as a microphone."""
    if not isinstance(spoken, bytes):
        yield spoken
        return
    rate, block = profile.audio.sample_rate, profile.audio.block
    with TemporaryDirectory() as folder:
        file = Path(folder) / "spoken.wav"
        soundfile.write(file, samples_of(spoken), rate, subtype="PCM_16")
        with open_wav(file, rate, block) as source:
            yield source


@dataclass(frozen=True)
class Frame:
    """A message sent to the STT; ``audio``: its duration, 0 for text."""

    at: Seconds
    audio: Seconds
    text: str = ""


@dataclass
class Conversation:
    """A conversation that has taken place.

    requests: the messages of each request to the LLM's stand-in.
    frames: the messages to the STT's stand-in, if the line was tapped.
    began: when the microphone was opened.
    error: the error that ended it, or None.
    """

    timeline: Timeline = field(default_factory=Timeline)
    requests: list[list[dict[str, Any]]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    began: Seconds = 0.0
    error: BaseException | None = None

    @property
    def turns(self) -> list[Turn]:
        return measure_turns(self.timeline)

    def all(self, kind: type[R]) -> list[R]:
        """Return the entries of this kind, in order."""
        return [entry for entry in self.timeline if isinstance(entry, kind)]

    def one(self, kind: type[R]) -> R:
        """Return the only entry of this kind."""
        (entry,) = self.all(kind)
        return entry

    def mouth_to_ear(self) -> list[Seconds]:
        """Return mouth-to-ear of each turn that was answered."""
        return [turn.mouth_to_ear for turn in self.turns if turn.mouth_to_ear is not None]


class ObservedLlm:
    """An LLM engine whose requests are kept."""

    def __init__(self, engine: LlmEngine, requests: list[list[dict[str, Any]]]) -> None:
        self._engine = engine
        self._requests = requests

    def reply(self, messages: list[dict[str, Any]], **options: Any) -> AsyncGenerator[str, None]:
        self._requests.append(messages)
        return self._engine.reply(messages, **options)


def converse(
    profile: Profile,
    script: Script,
    spoken: bytes | Source,
    *,
    faults: Sequence[Fault] = (),
    absent: Service | None = None,
    recorded: bool = True,
    tapped: bool = False,
    rewrites: Mapping[Service, Rewrite] = MappingProxyType({}),
    during: During | None = None,
    follow: Follower | None = None,
    llm: LlmEngine | None = None,
    stt: Callable[[], SttEngine] | None = None,
    chat: Answer | None = None,
    through: Through | None = None,
    latest: Seconds | None = None,
) -> Conversation:
    """Hold a conversation in virtual time with a user who says ``spoken``.

    absent: a service that cannot be reached.
    recorded: the user is a recording: it waits for replies, in half duplex, and has no limits.
    tapped: keep the messages to the STT.
    rewrites: what the STT or the TTS sends instead of its messages; implies ``tapped``.
    llm, stt: answers or transcribes in the script's place.
    chat: a chat server that answers in the stand-in's place.
    through: servers between the program and the stand-ins.
    latest: when TimeoutError ends it.
    """
    talk = Conversation()
    if follow is not None:
        talk.timeline.follow(follow)
    run = _Run(talk, profile, spoken, absent, recorded, tapped, rewrites, during, llm, stt, chat)
    run = replace(run, through=through, latest=latest)
    clock.run(run.hold(script, faults), virtual=True)
    return talk


@dataclass
class _Run:
    """The arguments of ``converse``, and how to hold the conversation."""

    talk: Conversation
    profile: Profile
    spoken: bytes | Source
    absent: Service | None
    recorded: bool
    tapped: bool
    rewrites: Mapping[Service, Rewrite]
    during: During | None
    llm: LlmEngine | None
    stt: Callable[[], SttEngine] | None
    chat: Answer | None
    through: Through | None = None
    latest: Seconds | None = None

    async def hold(self, script: Script, faults: Sequence[Fault]) -> None:
        engines = create_scripted_engines(script)
        observed = ObservedLlm(self.llm or engines.llm, self.talk.requests)
        engines = replace(engines, llm=observed, stt=self.stt or engines.stt)
        try:
            async with (
                asyncio.timeout(self.latest),
                serve(engines, faults=(*script.faults, *faults)) as endpoints,
            ):
                await self._hold_over(endpoints)
        except Exception as error:
            self.talk.error = error

    async def _hold_over(self, endpoints: Endpoints) -> None:
        profile = self.profile
        async with AsyncExitStack() as stack:
            if self.chat is not None:
                url = await stack.enter_async_context(Server(self.chat).listen())
                endpoints = replace(endpoints, openai=url)
            if self.through is not None:
                endpoints = await stack.enter_async_context(self.through(endpoints))
            if self.tapped or self.rewrites:
                tap = _tap(endpoints, self.talk.frames, self.rewrites)
                endpoints = await stack.enter_async_context(tap)
            session = await stack.enter_async_context(
                open_session(
                    profile,
                    _Absent(profile=profile, standin=endpoints, environ={}, absent=self.absent),
                    stack.enter_context(microphone(self.spoken, profile)),
                    VirtualSpeaker(profile.tts.sample_rate, profile.audio.prebuffer),
                    timeline=self.talk.timeline,
                    recorded=self.recorded,
                )
            )
            self.talk.began = clock.now()
            beside = asyncio.create_task(self.during(session)) if self.during else None
            try:
                await session.run()
            finally:
                if beside is not None:
                    beside.cancel()


@dataclass(frozen=True, kw_only=True)
class _Absent(Services):
    """Services of which one cannot be reached."""

    absent: Service | None

    @override
    def find_address(self, service: Service) -> ServiceAddress:
        address = super().find_address(service)
        if service != self.absent:
            return address
        return replace(address, url=NOWHERE.replace("ws:", "http:" if service == "llm" else "ws:"))


@asynccontextmanager
async def _tap(
    endpoints: Endpoints, frames: list[Frame], rewrites: Mapping[Service, Rewrite]
) -> AsyncIterator[Endpoints]:
    """Relay to Deepgram's stand-in, keeping the messages to ``/v1/listen`` in ``frames``."""

    async def relay(client: ServerConnection) -> None:
        assert client.request is not None
        path = client.request.path
        rewrite = rewrites.get("stt" if path.startswith("/v1/listen") else "tts", _as_it_is)
        later: list[asyncio.Task[None]] = []

        async def send_later(delay: Seconds, message: str | bytes) -> None:
            await asyncio.sleep(delay)
            with suppress(ConnectionClosed):
                await client.send(message)

        async with connect(f"{endpoints.deepgram}{path}", compression=None, max_queue=None) as far:

            async def back() -> None:
                with suppress(ConnectionClosed):
                    async for message in far:
                        for delay, sent in rewrite(message):
                            if delay:
                                later.append(asyncio.create_task(send_later(delay, sent)))
                            else:
                                await client.send(sent)
                await client.close()

            task = asyncio.create_task(back())
            try:
                async for message in client:
                    if path.startswith("/v1/listen"):
                        frames.append(_frame(message))
                    await far.send(message)
            except ConnectionClosed:
                pass
            finally:
                await far.close()
                await asyncio.wait([task, *later])

    async with serve_websockets(relay, "127.0.0.1", 0, compression=None, max_queue=None) as server:
        port = server.sockets[0].getsockname()[1]
        yield replace(endpoints, deepgram=f"ws://127.0.0.1:{port}")


def _as_it_is(message: str | bytes) -> Iterable[tuple[Seconds, str | bytes]]:
    return [(0.0, message)]


def _frame(message: str | bytes) -> Frame:
    if isinstance(message, str):
        return Frame(clock.now(), 0.0, message)
    return Frame(clock.now(), len(message) / SAMPLE_SIZE / RATE)
