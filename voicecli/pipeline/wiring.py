"""From a profile to an open conversation: keys, stand-ins, connections, components."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicecli.audio.gain import AmplifiedSource
from voicecli.audio.interfaces import Detector, Sink, Source
from voicecli.audio.vad import create_detector
from voicecli.audio.vad.smart_turn import find_network
from voicecli.events import Service
from voicecli.pipeline import Post
from voicecli.pipeline.connecting import open_patiently
from voicecli.pipeline.end_of_turn import EndOfTurnScorer, create_scorer
from voicecli.pipeline.generation import HedgeDelay
from voicecli.pipeline.greeting import Greeting, create_greeting
from voicecli.pipeline.history import ChatHistory
from voicecli.pipeline.input_check import InputCheck
from voicecli.pipeline.reply import CascadeResponder, warm_llm
from voicecli.pipeline.session import Session
from voicecli.profile import Profile, load_script
from voicecli.services import find_provider
from voicecli.services.interfaces import LanguageModel, Synthesizer, Transcriber
from voicecli.services.provider import (
    Handshake,
    LlmProvider,
    ServiceAddress,
    SttProvider,
    TtsProvider,
)
from voicecli.services.recording import ServiceRecorder
from voicecli.text.pacing import Pacing
from voicecli.text.reasoning import ReasoningHabit
from voicecli.timeline import Timeline
from voicecli.turns.machine import TurnMachine
from voicecli.units import AudioFormat

if TYPE_CHECKING:
    from voicecli.cassette.difference import Differences
    from voicecli.cassette.reader import Cassette
    from voicecli.standin import Endpoints  # 0.1 s, which a session with real services does not pay
    from voicecli.standin.script import Script

# ── services ─────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """How to reach the services of a profile.

    standin: where the stand-ins are that take the services' place; None without stand-ins.
    environ: where keys and URLs are looked up.
    recorder: is told what the services are asked and say; None: nothing is recorded.
    differences: from the cassette that takes the services' place; None without one.
    """

    profile: Profile
    standin: Endpoints | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    recorder: ServiceRecorder | None = None
    differences: Differences | None = None
    _refused: Mapping[Service, set[str]] = field(
        default_factory=lambda: {"stt": set(), "llm": set(), "tts": set()}, init=False, repr=False
    )

    def open_stt(self) -> AbstractAsyncContextManager[Transcriber]:
        """Connect to the STT."""
        settings, rate = self.profile.stt, self.profile.audio.sample_rate
        provider: SttProvider = find_provider("stt", settings.provider)
        return provider.open(settings, self.find_address("stt"), rate)

    def open_llm(self) -> AbstractAsyncContextManager[LanguageModel]:
        """Open the LLM."""
        settings = self.profile.llm
        provider: LlmProvider = find_provider("llm", settings.provider)
        return provider.open(settings, self.find_address("llm"))

    def open_tts(self) -> AbstractAsyncContextManager[Synthesizer]:
        """Connect to the TTS."""
        settings = self.profile.tts
        provider: TtsProvider = find_provider("tts", settings.provider)
        return provider.open(settings, self.find_address("tts"))

    def find_address(self, service: Service) -> ServiceAddress:
        """Where ``service`` is, and its key; a stand-in wins over the environment."""
        settings: Any = getattr(self.profile, service)
        provider = find_provider(service, settings.provider)
        if self.differences is not None and self.standin is not None:
            url, key = getattr(self.standin, provider.standin), ""
        elif settings.base_url is None and self.standin is not None:
            # The user's own key stays where it is; any key will do.
            required = self.profile.standin is not None and self.profile.standin.require_key
            url, key = getattr(self.standin, provider.standin), "stand-in" if required else ""
        else:
            url = settings.base_url or self.environ.get(provider.url_env) or provider.url
            key = self.environ.get(settings.key_env, "")
        return ServiceAddress(
            url=url,
            key=key,
            key_env=settings.key_env,
            recorder=self.recorder,
            refused=self._refused[service],
        )

    def describe_handshake(self, service: Service) -> Handshake:
        """The request that opens a connection to ``service``."""
        settings: Any = getattr(self.profile, service)
        rate = [self.profile.audio.sample_rate] if service == "stt" else []
        describe: Callable[..., Handshake] = find_provider(service, settings.provider).handshake
        return describe(settings, self.find_address(service), *rate)


@asynccontextmanager
async def open_services(
    profile: Profile,
    environ: Mapping[str, str] = os.environ,
    *,
    recorder: ServiceRecorder | None = None,
    cassette: Cassette | None = None,
    script: Script | None = None,
) -> AsyncGenerator[Services, None]:
    """Start the profile's stand-ins, if any; yield how to reach its services.

    cassette: takes the place of the services and of the profile's stand-ins.
    script: what scripted stand-ins follow; None: the script that the profile names.

    Raises UsageError, before anything opens, when the profile's end-of-turn model is missing; and
    DifferenceError, at the latest at the end, when a request is not as it was recorded.
    """
    if profile.turn.end_model == "smart-turn":
        find_network(profile.turn.end_model)
    if cassette is None:
        async with _open_standin(profile, script) as standin:
            yield Services(profile=profile, standin=standin, environ=environ, recorder=recorder)
        return
    from voicecli.cassette.difference import Differences
    from voicecli.cassette.player import serve_cassette

    differences = Differences()
    async with serve_cassette(cassette, differences) as standin:
        try:
            yield Services(
                profile=profile, standin=standin, environ=environ, differences=differences
            )
        except Exception as error:
            if differences.first is None:
                raise
            raise differences.first from error  # which it led to
    if differences.first is not None:
        raise differences.first


def _open_standin(
    profile: Profile, script: Script | None
) -> AbstractAsyncContextManager[Endpoints | None]:
    if (settings := profile.standin) is None:
        return nullcontext()
    if settings.engine == "local":
        return _open_local(profile, require_key=settings.require_key)
    from voicecli.standin import serve
    from voicecli.standin.engines.scripted import create_scripted_engines

    script = script or load_script(settings.script or "")
    engines = create_scripted_engines(script)
    return serve(engines, require_key=settings.require_key, faults=script.faults)


@asynccontextmanager
async def _open_local(profile: Profile, *, require_key: bool) -> AsyncGenerator[Endpoints, None]:
    """Start the local engines; they take seconds, in which the LLM's library is loaded.

    Beside a conversation it would make the event loop late: by 29 ms, with the cores that the
    engines take.
    """
    from voicecli.standin.engines.process import open_local_endpoints

    model = Path(profile.local.llm.model) if profile.local.llm.model else None
    opening = open_local_endpoints(
        model, profile.local.threads, profile.llm.system_prompt, require_key=require_key
    )
    provider: LlmProvider = find_provider("llm", profile.llm.provider)
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.TaskGroup() as tasks:
                engines = tasks.create_task(stack.enter_async_context(opening), name="engines")
                tasks.create_task(asyncio.to_thread(provider.load), name="load library")
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        yield engines.result()


# ── the conversation ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """The open connections of a session, and the models that hear its microphone.

    stt: None if the user types.
    reconnect: opens another connection to the STT.
    scorer: None without an end-of-turn model.
    greeting: which the TTS has been sent; None without one.
    differences: see ``Services``.
    """

    stt: Transcriber | None
    llm: LanguageModel
    tts: Synthesizer
    reconnect: Callable[[], AbstractAsyncContextManager[Transcriber]]
    detector: Detector
    scorer: EndOfTurnScorer | None
    greeting: Greeting | None = None
    differences: Differences | None = None


@asynccontextmanager
async def open_connections(
    profile: Profile, services: Services, timeline: Timeline, *, typed: bool = False
) -> AsyncGenerator[Connections, None]:
    """Open all connections side by side; leaving closes them.

    A temporary failure is appended to ``timeline``, and the connection tried again.

    typed: the user types: there is no connection to the STT, which would bill the silence.

    Raises VoiceError, perhaps in a group, when a service cannot be reached.
    """
    audio, turn = profile.audio, profile.turn
    format, post = AudioFormat(audio.sample_rate), timeline.append
    open_stt = nullcontext if typed else services.open_stt
    greeting = create_greeting(profile.agent.greeting, profile.tts)
    end_model = turn.end_model if turn.detect == "vad" and not typed else "off"
    scorer = create_scorer(end_model, format)
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as tasks:
            stt = tasks.create_task(open_patiently(stack, "stt", open_stt, post))
            tts = tasks.create_task(_open_greeting_tts(stack, services, greeting, post))
            detector = tasks.create_task(
                asyncio.to_thread(create_detector, audio.vad, format, audio.hangover, turn.pause)
            )
            llm = tasks.create_task(_open_warm_llm(stack, services))
        yield Connections(
            stt=stt.result(),
            llm=llm.result(),
            tts=tts.result(),
            reconnect=services.open_stt,
            detector=detector.result(),
            scorer=scorer,
            greeting=greeting,
            differences=services.differences,
        )


async def _open_greeting_tts(
    stack: AsyncExitStack, services: Services, greeting: Greeting | None, post: Post
) -> Synthesizer:
    """Connect to the TTS, and have it begin with the greeting while the others are opened."""
    tts = await open_patiently(stack, "tts", services.open_tts, post)
    if greeting is not None:
        await greeting.send_ahead(tts)
    return tts


async def _open_warm_llm(stack: AsyncExitStack, services: Services) -> LanguageModel:
    llm = await stack.enter_async_context(services.open_llm())
    await warm_llm(llm)
    return llm


def create_session(
    profile: Profile,
    connections: Connections,
    source: Source,
    sink: Sink,
    *,
    timeline: Timeline,
    recorded: bool = False,
    polite: bool = True,
) -> Session:
    """Create the conversation over ``connections``.

    recorded: the user is a recording: there are no limits.
    polite: in half duplex, a recorded user waits for replies; otherwise it speaks on.
    """
    tts, scorer = connections.tts, connections.scorer
    amplified = AmplifiedSource(source, profile.audio.gain_db)
    session = Session(
        source=amplified,
        detector=connections.detector,
        stt=connections.stt,
        reconnect=connections.reconnect,
        responder=CascadeResponder(
            llm=connections.llm,
            tts=tts,
            hedge=HedgeDelay(profile.llm.hedge),
            pacing=Pacing(tts.capabilities.seconds_per_character),
            habit=ReasoningHabit(profile.llm.reasoning),
            settings=profile.tts,
            greeting=connections.greeting,
        ),
        sink=sink,
        machine=TurnMachine(
            profile.turn,
            profile.interrupt,
            finalize_timeout=profile.stt.finalize_timeout,
            scored=scorer is not None,
        ),
        history=ChatHistory(profile.llm.system_prompt, profile.llm.history),
        scorer=scorer,
        limits=None if recorded else profile.limits,
        waits=recorded and polite,
        interims=profile.stt.sends_interims,
        timeline=timeline,
        greets=connections.greeting is not None,
    )
    if connections.differences is not None:  # the first one ends the session
        session.add_event_source(connections.differences.watch())
    check = InputCheck(amplified, session.post)
    session.add_tap(check.add)
    timeline.follow(check.follow)
    return session


@asynccontextmanager
async def open_session(
    profile: Profile,
    services: Services,
    source: Source,
    sink: Sink,
    *,
    timeline: Timeline,
    recorded: bool = False,
    polite: bool = True,
    typed: bool = False,
) -> AsyncGenerator[Session, None]:
    """Open the connections, and yield the conversation; leaving closes them.

    See ``open_connections`` and ``create_session``.
    """
    async with open_connections(profile, services, timeline, typed=typed) as connections:
        yield create_session(
            profile,
            connections,
            source,
            sink,
            timeline=timeline,
            recorded=recorded,
            polite=polite,
        )
