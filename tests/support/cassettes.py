"""Sessions that are recorded on cassettes, and replayed, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.conversations import microphone
from voicecli import clock
from voicecli.audio.interfaces import Source
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.cassette.reader import load_cassette
from voicecli.cassette.recorder import open_recorder
from voicecli.errors import list_leaves
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.pipeline.wiring import Services, open_services, open_session
from voicecli.profile import Profile
from voicecli.standin import serve
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import Script
from voicecli.timeline import Timeline


@dataclass
class Session:
    """A session that has taken place; error: what ended it, or None."""

    timeline: Timeline = field(default_factory=Timeline)
    error: BaseException | None = None
    played: bytes = b""
    """What the agent's loudspeaker played, from the start."""

    @property
    def turns(self) -> list[Turn]:
        return measure_turns(self.timeline)

    async def hold(self, profile: Profile, services: Services, spoken: bytes | Source) -> None:
        speaker = VirtualSpeaker(profile.tts.sample_rate, profile.audio.prebuffer)
        with microphone(spoken, profile) as source:
            opening = open_session(
                profile, services, source, speaker, timeline=self.timeline, recorded=True
            )
            async with opening as session:
                await session.run()
        self.played = speaker.take(0.0, round(clock.now() * profile.tts.sample_rate)).tobytes()


def record(
    script: Script, profile: Profile, spoken: bytes | Source, folder: Path, *, audio: bool = False
) -> Session:
    """Hold a session with scripted services, and record what they say in ``folder``."""
    session = Session()

    async def main() -> None:
        with open_recorder(folder, keep_audio=audio) as recorder:
            async with serve(create_scripted_engines(script), faults=script.faults) as standin:
                services = Services(profile=profile, standin=standin, environ={}, recorder=recorder)
                await session.hold(profile, services, spoken)

    return _run(session, main)


def play(profile: Profile, spoken: bytes | Source, folder: Path) -> Session:
    """Hold a session with the cassette in ``folder``."""
    session = Session()

    async def main() -> None:
        async with open_services(profile, {}, cassette=load_cassette(folder)) as services:
            await session.hold(profile, services, spoken)

    return _run(session, main)


def _run(session: Session, main: Callable[[], Coroutine[Any, Any, None]]) -> Session:
    try:
        clock.run(main(), virtual=True)
    except Exception as error:
        session.error = list_leaves(error)[0]
    return session
