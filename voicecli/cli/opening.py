"""The devices of a live conversation, and what stands in for those that are not there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicecli.audio.interfaces import Sink, Source
from voicecli.audio.recorder import Agent
from voicecli.audio.virtual import SilentSource, VirtualSpeaker
from voicecli.errors import DeviceError
from voicecli.events import Event

if TYPE_CHECKING:
    from voicecli.audio.devices import Loudspeaker, Microphone
    from voicecli.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundDevices:
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
    warnings: Sequence[str] = ()


@asynccontextmanager
async def open_devices(profile: Profile, *, typed: bool) -> AsyncIterator[SoundDevices]:
    """The profile's microphone and loudspeaker.

    typed: nobody speaks, so there is no microphone; and without a loudspeaker, unless the profile
        names one, replies are only shown, each for as long as it would sound.

    Raises DeviceError; UsageError where the echo is to be cancelled and nothing can.
    """
    from voicecli.audio.devices import open_loudspeaker, open_microphone

    audio = profile.audio
    async with AsyncExitStack() as stack:
        prebuffer = audio.prebuffer_ms / 1000
        opening = open_loudspeaker(audio.speaker, profile.tts.sample_rate, prebuffer=prebuffer)
        try:
            loudspeaker = await stack.enter_async_context(opening)
        except DeviceError as error:
            if not typed or audio.speaker is not None:
                raise
            sound = _shown_only(profile, error)
        else:
            sound = _typed(profile, loudspeaker)
            if not typed:
                microphone = await stack.enter_async_context(
                    open_microphone(audio.microphone, audio.sample_rate, audio.block_ms / 1000)
                )
                sound = _spoken(profile, microphone, loudspeaker)
        yield sound


def _spoken(profile: Profile, microphone: Microphone, loudspeaker: Loudspeaker) -> SoundDevices:
    from voicecli.audio.echo import EchoCancellingSource, wanted

    cancelled = wanted(profile.audio.echo_cancellation, profile.interrupt.policy)
    names = [f"microphone {microphone.name!r}", f"loudspeaker {loudspeaker.name!r}"]
    return SoundDevices(
        source=EchoCancellingSource(microphone, loudspeaker) if cancelled else microphone,
        sink=loudspeaker,
        played=loudspeaker.take,
        notices=[microphone.events(), loudspeaker.events()],
        names=[*names, "echo cancelled"] if cancelled else names,
    )


def _typed(profile: Profile, loudspeaker: Loudspeaker) -> SoundDevices:
    return SoundDevices(
        source=SilentSource(profile.audio.sample_rate),
        sink=loudspeaker,
        played=loudspeaker.take,
        notices=[loudspeaker.events()],
        names=[f"loudspeaker {loudspeaker.name!r}"],
    )


def _shown_only(profile: Profile, why: DeviceError) -> SoundDevices:
    speaker = VirtualSpeaker(profile.tts.sample_rate, profile.audio.prebuffer_ms / 1000)
    return SoundDevices(
        source=SilentSource(profile.audio.sample_rate),
        sink=speaker,
        played=speaker.take,
        names=["no loudspeaker"],
        warnings=[f"{why.cause}: replies are shown, not heard"],
    )
