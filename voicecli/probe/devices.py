"""The sound card, when there is one: what it adds to mouth-to-ear, and whether it keeps time.

The microphone is listened to for two seconds, and nothing of it is kept.  The loudspeaker's latency
is what PortAudio promises: to measure it, something would have to be heard
(``voicecli devices test --loopback`` does that).
"""

from __future__ import annotations

from contextlib import aclosing
from importlib.util import find_spec
from typing import TYPE_CHECKING

from voicecli import clock
from voicecli.errors import DeviceError
from voicecli.probe.results import ProbeResults
from voicecli.units import Seconds

if TYPE_CHECKING:
    from voicecli.profile import Profile

LISTENED: Seconds = 2.0

SETTLED: Seconds = 0.5
"""Sound servers deliver what they have in store first."""


async def measure_audio(profile: Profile, results: ProbeResults) -> None:
    """Add ``results.AUDIO_METRICS`` to ``results``, or why there is nothing to add; never fails."""
    if clock.monotonic_origin() is None:
        return
    if find_spec("pyaudio") is None:
        results.devices = "not measured: PyAudio is not installed (pip install 'voicecli[mic]')"
        return
    try:
        await _listen(profile, results)
    except DeviceError as error:
        results.devices = f"not measured: {error.cause}"


async def _listen(profile: Profile, results: ProbeResults) -> None:
    from voicecli.audio.devices import host as portaudio
    from voicecli.audio.devices import open_microphone
    from voicecli.audio.devices.select import choose_device

    audio = profile.audio
    with portaudio.open_portaudio() as library:
        speaker = choose_device(portaudio.list_devices(library), "output", audio.speaker)
    ages: list[Seconds] = []
    lates: list[Seconds] = []
    async with open_microphone(audio.microphone, audio.sample_rate, audio.block) as microphone:
        begun, heard = clock.now(), 0.0
        async with aclosing(microphone.blocks()) as blocks:
            async for block in blocks:
                length = microphone.format.seconds(len(block.pcm))
                heard += length
                if clock.now() > begun + SETTLED:
                    ages.append(clock.now() - (block.at + length))
                    lates.append(clock.now() - heard)
                if clock.now() > begun + LISTENED:
                    break
        results.xruns = microphone.xruns
        name = microphone.name
    results.audio["audio.input"] = ages
    results.audio["audio.output"] = [speaker.output_latency]
    results.audio["audio.jitter"] = [late - min(lates) for late in lates]
    lost = f", samples lost {results.xruns} times" if results.xruns else ""
    results.devices = f"microphone {name!r}, loudspeaker {speaker.name!r}{lost}"
