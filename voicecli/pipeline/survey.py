"""Examines a recording before it is played, once for all sessions of this process.

Which channels hold the user, and at which sample rate, takes 3 ms of CPU per second of sound; where
there is speech, 6 ms.  On the event loop, either would make the sessions late that run beside it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from voicecli.audio.channels import Channel, ChannelChoice
from voicecli.audio.gain import Amplifier
from voicecli.audio.interfaces import AudioSettings
from voicecli.audio.look_ahead import HeardSpeech, KnownSpeech, SpeechFinder
from voicecli.audio.vad import create_detector
from voicecli.audio.wav import open_wav
from voicecli.metrics.recording import Stretch
from voicecli.pipeline.background import open_thread
from voicecli.units import AudioFormat, Seconds

LONGEST: Seconds = 600.0
"""Of a recording whose speech is found before it is played, within 8 s.  A longer one is heard
while it plays."""

KEPT = 256
"""Recordings, each with its settings; a survey takes some kilobytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is known of a recording.

    channel: which to play.
    doubt: whether its sample rate is right, one sentence; None: it seems so.
    speech: None if it was not looked for.
    """

    channel: Channel | ChannelChoice
    doubt: str | None = None
    speech: tuple[Stretch, ...] | None = None

    def create_finder(self, audio: AudioSettings) -> SpeechFinder:
        """Create what finds the speech 2 s before it is played."""
        if self.speech is not None:
            return KnownSpeech(self.speech, AudioFormat(audio.sample_rate))
        return _create_ears(audio)


async def survey_recording(
    file: Path, channel: Channel, audio: AudioSettings, labelled: tuple[Stretch, ...] = ()
) -> Survey:
    """Examine ``file``; a pipe, which can be read only once, is left alone.

    labelled: its speech, if that is known.

    Raises InputError if it is not a recording.
    """
    loop, listen = asyncio.get_running_loop(), not labelled
    # One recording at a time: a session waits for the survey of another one that plays the same.
    thread = open_thread("survey recording")
    survey = await loop.run_in_executor(thread, _survey, file, channel, audio, listen)
    return replace(survey, speech=labelled) if labelled else survey


def _survey(file: Path, channel: Channel, audio: AudioSettings, listen: bool) -> Survey:
    if not file.is_file():
        return Survey(channel=channel)
    now = file.stat()
    version = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
    return _survey_once(file, version, channel, audio, listen)


@lru_cache(KEPT)
def _survey_once(
    file: Path, version: tuple[int, ...], channel: Channel, audio: AudioSettings, listen: bool
) -> Survey:
    """Examine ``file``; ``version`` differs when its content does."""
    with open_wav(file, audio.sample_rate, audio.block, channel) as source:
        doubt = source.check_sample_rate()
        speech = None
        if listen and source.duration <= LONGEST:
            speech = source.find_speech(_create_ears(audio))
        return Survey(channel=source.choice, doubt=doubt, speech=speech)


def _create_ears(audio: AudioSettings) -> SpeechFinder:
    """Create what hears as the live detector does."""
    detector = create_detector(audio.vad, AudioFormat(audio.sample_rate), audio.hangover)
    return HeardSpeech(detector, Amplifier(audio.sample_rate, audio.gain_db))
