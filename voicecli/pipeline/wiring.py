"""From a profile to an open conversation: options, keys, stand-ins, connections.

What a profile says in milliseconds is seconds from here on, and what it says by name is read from
the environment.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from importlib import import_module
from pathlib import Path

from voicecli import clock
from voicecli.audio.interfaces import Sink, Source
from voicecli.audio.vad import SILERO_MISSING, create_detector, resolve_detector
from voicecli.events import Warned
from voicecli.pipeline.generation import HedgeDelay
from voicecli.pipeline.history import ChatHistory
from voicecli.pipeline.reply import CascadeResponder
from voicecli.pipeline.session import Components, Session, SessionOptions
from voicecli.pipeline.speech import ReplyOptions
from voicecli.profile import Profile, find_script
from voicecli.services.deepgram.aura import AuraOptions, open_aura
from voicecli.services.deepgram.nova import NovaOptions, open_nova
from voicecli.services.deepgram.socket import API_URL as DEEPGRAM_URL
from voicecli.services.openai import API_URL as OPENAI_URL
from voicecli.services.openai import ChatOptions, open_chat, rehearse
from voicecli.standin import Endpoints
from voicecli.timeline import Timeline
from voicecli.turns.barge_in import BargeInPolicy
from voicecli.turns.machine import TurnMachine
from voicecli.turns.policy import CommitWaits, TurnPolicy
from voicecli.units import AudioBlock, AudioFormat, Seconds


def _seconds(milliseconds: float) -> Seconds:
    return milliseconds / 1000


# ── services ─────────────────────────────────────────────────────────────────


class Services:
    """How to reach the services of a profile.

    standin: where the stand-ins are that take the services' place; None where none do.
    environ: where keys and base URLs are looked up.
    """

    def __init__(
        self,
        profile: Profile,
        standin: Endpoints | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._profile = profile
        self._standin = standin
        self._environ = environ

    def listen(self) -> NovaOptions:
        """For the STT."""
        stt = self._profile.stt
        url, key = self._deepgram(stt.base_url, stt.key_env)
        extra = [
            (name, str(item).lower() if isinstance(item, bool) else str(item))
            for name, value in stt.extra.items()
            for item in (value if isinstance(value, list) else [value])
        ]
        return NovaOptions(
            url=url,
            key=key,
            key_env=stt.key_env,
            model=stt.model,
            language=stt.language,
            sample_rate=self._profile.audio.sample_rate,
            interim_results=stt.interim_results,
            endpointing=_seconds(stt.endpointing_ms) if stt.endpointing_ms else None,
            utterance_end=_seconds(stt.utterance_end_ms) if stt.utterance_end_ms else None,
            vad_events=stt.vad_events,
            smart_format=stt.smart_format,
            punctuate=stt.punctuate,
            no_delay=stt.no_delay,
            numerals=stt.numerals,
            keyterms=stt.keyterms,
            tag=stt.tag,
            mip_opt_out=stt.mip_opt_out,
            extra=tuple(extra),
            connect_timeout=_seconds(stt.connect_timeout_ms),
        )

    def speak(self) -> AuraOptions:
        """For the TTS."""
        tts = self._profile.tts
        url, key = self._deepgram(tts.base_url, tts.key_env)
        return AuraOptions(
            url=url,
            key=key,
            key_env=tts.key_env,
            model=tts.model,
            sample_rate=tts.sample_rate,
            speed=tts.speed,
            mip_opt_out=tts.mip_opt_out,
            flushes_per_minute=tts.flushes_per_minute,
            characters_per_minute=tts.characters_per_minute,
            first_audio_timeout=_seconds(tts.first_audio_timeout_ms),
            connect_timeout=_seconds(tts.connect_timeout_ms),
        )

    def chat(self) -> ChatOptions:
        """For the LLM."""
        llm = self._profile.llm
        if llm.base_url is None and self._standin is not None:
            url, key = self._standin.openai, self._standin_key
        else:
            url = llm.base_url or self._environ.get("OPENAI_BASE_URL") or OPENAI_URL
            key = self._environ.get(llm.key_env, "")
        return ChatOptions(
            base_url=url,
            key=key,
            key_env=llm.key_env,
            model=llm.model,
            max_tokens=llm.max_tokens,
            max_tokens_name=llm.max_tokens_name,
            temperature=llm.temperature,
            connect_timeout=_seconds(llm.connect_timeout_ms),
            first_token_timeout=_seconds(llm.first_token_timeout_ms),
            token_timeout=_seconds(llm.token_timeout_ms),
            extra=llm.extra,
        )

    def _deepgram(self, base_url: str | None, key_env: str) -> tuple[str, str]:
        if base_url is None and self._standin is not None:
            return self._standin.deepgram, self._standin_key
        url = base_url or self._environ.get("DEEPGRAM_BASE_URL") or DEEPGRAM_URL
        return url, self._environ.get(key_env, "")

    @property
    def _standin_key(self) -> str:
        """Any key will do; the user's own stay where they are."""
        standin = self._profile.standin
        return "stand-in" if standin is not None and standin.require_key else ""


@asynccontextmanager
async def open_services(
    profile: Profile, environ: Mapping[str, str] = os.environ
) -> AsyncGenerator[Services, None]:
    """How to reach the profile's services; its stand-ins, if it has any, are up meanwhile."""
    async with AsyncExitStack() as stack:
        standin = None
        if profile.standin is not None:
            standin = await stack.enter_async_context(_open_standin(profile))
        yield Services(profile, standin, environ)


@asynccontextmanager
async def _open_standin(profile: Profile) -> AsyncGenerator[Endpoints, None]:
    assert profile.standin is not None
    if profile.standin.engine == "local":
        from voicecli.standin.engines.process import open_local_endpoints

        model = profile.local.llm.model
        async with open_local_endpoints(
            Path(model) if model else None,
            profile.local.threads,
            require_key=profile.standin.require_key,
        ) as endpoints:
            yield endpoints
        return
    from voicecli.standin import serve
    from voicecli.standin.engines.scripted import create_scripted_engines
    from voicecli.standin.script_file import load_script

    script = load_script(find_script(profile.standin.script or ""))
    async with serve(
        create_scripted_engines(script),
        require_key=profile.standin.require_key,
        faults=script.faults,
    ) as endpoints:
        yield endpoints


# ── policies ─────────────────────────────────────────────────────────────────


def turn_policy(profile: Profile) -> TurnPolicy:
    """How turns end, and what interrupts."""
    turn, interrupt = profile.turn, profile.interrupt
    return TurnPolicy(
        detect=turn.detect,
        each_final_is_a_turn=turn.each_final_is_a_turn,
        draft=turn.draft != "off",
        commit=CommitWaits(
            complete=_seconds(turn.commit_ms.complete),
            default=_seconds(turn.commit_ms.default),
            incomplete=_seconds(turn.commit_ms.incomplete),
        ),
        finalize_timeout=_seconds(profile.stt.finalize_timeout_ms),
        settle=_seconds(turn.settle_ms),
        barge_in=BargeInPolicy(
            allowed=interrupt.policy != "off",
            hold=_seconds(interrupt.hold_ms),
            confirm=_seconds(interrupt.confirm_ms),
            min_words=interrupt.min_words,
            backchannels=frozenset(interrupt.backchannels),
        ),
    )


def reply_options(profile: Profile) -> ReplyOptions:
    """How replies are cut and spoken."""
    tts = profile.tts
    return ReplyOptions(
        chunking=tts.chunking,
        first_clause_chars=tts.first_clause_chars,
        batch_chars=tts.batch_chars,
        flush_each=tts.flush == "clauses",
        speak_drafts=profile.turn.draft == "llm+tts",
        stall=_seconds(tts.first_clause_stall_ms),
        empty=_seconds(tts.empty_ms),
        apology=tts.apology,
    )


def hedge_delay(profile: Profile) -> HedgeDelay:
    """When a second request is sent beside a late one."""
    hedge = profile.llm.hedge_ms
    return HedgeDelay(_seconds(hedge) if isinstance(hedge, int) else hedge)


_LAZY = ("anyio._backends._asyncio", "anyio._core._sockets", "anyio._core._streams", "httpcore2")
"""What the LLM's client imports when it first connects."""


async def preload(profile: Profile) -> None:
    """Load what takes half a second, before there is a sound card that it would keep waiting."""
    for module in _LAZY:
        import_module(module)
    await rehearse()
    create_detector(profile.audio.vad, AudioFormat(profile.audio.sample_rate))


# ── the conversation ─────────────────────────────────────────────────────────


@asynccontextmanager
async def open_session(
    profile: Profile,
    services: Services,
    source: Source,
    sink: Sink,
    *,
    timeline: Timeline | None = None,
    tap: Callable[[AudioBlock], None] | None = None,
    recorded: bool = False,
    typed: bool = False,
) -> AsyncGenerator[Session, None]:
    """A conversation, its connections open side by side; ``run`` holds it, leaving closes them.

    recorded: the user is a recording: nothing limits it, and in half duplex it waits for replies.
    typed: the user types: there is no connection to the STT, which would bill the silence.

    Raises VoiceError, perhaps in a group, when a service cannot be reached.
    """
    half_duplex = profile.interrupt.policy == "off"
    listen = services.listen()
    async with AsyncExitStack() as stack:
        llm = await stack.enter_async_context(open_chat(services.chat()))
        ears = nullcontext() if typed else open_nova(listen)
        async with asyncio.TaskGroup() as tasks:
            stt = tasks.create_task(stack.enter_async_context(ears))
            tts = tasks.create_task(stack.enter_async_context(open_aura(services.speak())))
            tasks.create_task(llm.warm())
        minutes = profile.limits.minutes
        session = Session(
            Components(
                source=source,
                detector=create_detector(
                    profile.audio.vad, source.format, _seconds(profile.audio.hangover_ms)
                ),
                stt=stt.result(),
                reconnect=lambda: open_nova(listen),
                responder=CascadeResponder(
                    llm,
                    tts.result(),
                    hedge=hedge_delay(profile),
                    options=reply_options(profile),
                ),
                sink=sink,
                tap=tap,
            ),
            TurnMachine(turn_policy(profile)),
            ChatHistory(profile.llm.system_prompt),
            options=SessionOptions(
                half_duplex=half_duplex,
                pause_while_replying=recorded and half_duplex,
                idle=None if recorded else profile.limits.idle_s,
                longest=None if recorded or minutes is None else 60 * minutes,
                interims=profile.stt.interim_results,
            ),
            timeline=timeline,
        )
        if profile.audio.vad == "auto" and resolve_detector("auto") == "energy":
            session.post(Warned(at=clock.now(), service="audio", text=SILERO_MISSING))
        yield session
