"""The devices of a live conversation, and what stands in for those that are not there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voicecli.errors import DeviceError
from voicecli.events import Event
from voicecli.recorder import Agent
from voicecli.stages import Sink, Source
from voicecli.typed import Silence
from voicecli.wav import VirtualSpeaker

if TYPE_CHECKING:
    from voicecli.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Where a conversation is heard.

    played: what the sink played, for the recording.
    notices: what befalls the devices.
    names: of the devices, as they are told.
    warnings: what the user should know of them.
    """

    source: Source
    sink: Sink
    played: Agent
    notices: Sequence[AsyncGenerator[Event, None]] = ()
    names: Sequence[str] = ()
    warnings: Sequence[str] = field(default=())


@asynccontextmanager
async def open_sound(profile: Profile, *, typed: bool) -> AsyncIterator[Sound]:
    """The profile's microphone and loudspeaker.

    typed: nobody speaks, so there is no microphone; and without a loudspeaker, unless the profile
        names one, replies are only shown, each for as long as it would sound.

    Raises DeviceError.
    """
    from voicecli.soundcard import open_loudspeaker, open_microphone

    audio, rate = profile.audio, profile.tts.sample_rate
    async with AsyncExitStack() as stack:
        try:
            loudspeaker = await stack.enter_async_context(open_loudspeaker(audio.speaker, rate))
        except DeviceError as error:
            if not typed or audio.speaker is not None:
                raise
            yield _silent(profile, error)
            return
        heard = [f"loudspeaker {loudspeaker.name!r}"]
        if typed:
            yield Sound(
                source=Silence(audio.sample_rate),
                sink=loudspeaker,
                played=loudspeaker.take,
                notices=[loudspeaker.events()],
                names=heard,
            )
            return
        microphone = await stack.enter_async_context(
            open_microphone(audio.microphone, audio.sample_rate, audio.block_ms / 1000)
        )
        yield Sound(
            source=microphone,  # what takes the echo out of it, with loudspeaker.take, goes here
            sink=loudspeaker,
            played=loudspeaker.take,
            notices=[microphone.events(), loudspeaker.events()],
            names=[f"microphone {microphone.name!r}", *heard],
        )


def _silent(profile: Profile, why: DeviceError) -> Sound:
    speaker = VirtualSpeaker(profile.tts.sample_rate, profile.audio.prebuffer_ms / 1000)
    return Sound(
        source=Silence(profile.audio.sample_rate),
        sink=speaker,
        played=speaker.take,
        names=["no loudspeaker"],
        warnings=[f"{why.cause}: replies are shown, not heard"],
    )
