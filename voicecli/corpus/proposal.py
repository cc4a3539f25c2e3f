"""Proposes labels for a recording: turns and pauses from the voice detector, texts from the STT.

A person corrects them: whether a silence is a pause or the end of a turn is the very question that
labels answer, and here its length alone decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from voicecli import clock
from voicecli.audio.channels import Channel
from voicecli.audio.vad import create_detector
from voicecli.audio.wav import open_wav
from voicecli.corpus.label_formats import Stretch
from voicecli.events import FinalTranscript, InterimTranscript, SpeechStarted, SpeechStopped
from voicecli.metrics.labels import EXPECTED, Kind, Labels, Span
from voicecli.pipeline.wiring import open_services
from voicecli.probe.stt import FINALIZE_TIMEOUT, SttTap
from voicecli.profile import Profile
from voicecli.turns.transcript import TurnTranscript
from voicecli.units import AudioBlock, AudioFormat, Seconds

RATE = 16_000
BLOCK: Seconds = 0.02

MIN_PAUSE: Seconds = 0.2
"""A shorter silence is a closed consonant, and no pause to eot-bench."""

TURN_GAP: Seconds = 1.5
"""A longer silence ends a turn, unless another length is given."""

LEAD: Seconds = 0.2
"""Sound sent to the STT before and after what the detector takes for the turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A recording as the detector and the STT hear it: linear16, mono.

    duration: of the recording, in seconds; the sound is rounded up to whole blocks.
    """

    pcm: bytes
    format: AudioFormat
    duration: Seconds

    def cut(self, start: Seconds, end: Seconds) -> bytes:
        """Return the sound from ``start`` to ``end``, as far as there is any."""
        first, last = (2 * self.format.samples(max(at, 0.0)) for at in (start, end))
        return self.pcm[first:last]


def read_sound(recording: Path, channel: Channel = "auto", rate: int = RATE) -> Sound:
    """Read a recording whole; raises InputError."""
    with open_wav(recording, rate, BLOCK, channel) as source:

        async def read() -> bytes:
            pieces = []
            async with aclosing(source.blocks()) as blocks:
                async for block in blocks:
                    pieces.append(block.pcm)
                    if block.last:
                        break
            return b"".join(pieces)

        pcm = clock.run(read(), virtual=True)
        return Sound(pcm=pcm, format=source.format, duration=source.duration)


def read_duration(recording: Path) -> Seconds:
    """Return how long a recording is, in seconds; raises InputError."""
    with open_wav(recording, RATE, BLOCK, "mix") as source:
        return source.duration


def find_voice(sound: Sound) -> list[Stretch]:
    """Find start and end of each stretch of voice; MIN_PAUSE of silence lies between two.

    Where the network hears no voice at all, the levels decide: noise shaped like speech, which test
    signals are made of, is no voice to it.
    """
    return _detect(sound, "silero") or _detect(sound, "energy")


def _detect(sound: Sound, kind: Literal["silero", "energy"]) -> list[Stretch]:
    detector = create_detector(kind, sound.format, MIN_PAUSE)
    step = len(sound.format.silence(BLOCK))
    pcm = sound.pcm + sound.format.silence(MIN_PAUSE + 1.0)
    found: list[Stretch] = []
    start = 0.0
    for first in range(0, len(pcm), step):
        block = AudioBlock(pcm[first : first + step], sound.format.seconds(first))
        for event in detector.feed(block):
            if isinstance(event, SpeechStarted):
                start = event.speech_start
            elif isinstance(event, SpeechStopped):
                found.append((max(start, 0.0), min(event.speech_end, sound.duration)))
    return found


def propose_labels(voice: Sequence[Stretch], turn_gap: Seconds = TURN_GAP) -> Labels:
    """Group stretches of voice into turns: a silence shorter than ``turn_gap`` is a pause."""
    spans: list[Span] = []
    turn: list[Stretch] = []
    for stretch, following in pairwise([*voice, None]):
        assert stretch is not None
        turn.append(stretch)
        if following is None or following[0] - stretch[1] >= turn_gap:
            spans.append(_make_span("turn", turn[0][0], turn[-1][1]))
            spans += [_make_span("pause", one[1], after[0]) for one, after in pairwise(turn)]
            turn = []
    return Labels(spans=tuple(spans))


def _make_span(kind: Kind, start: Seconds, end: Seconds) -> Span:
    return Span(start=round(start, 3), end=round(end, 3), kind=kind, expect=EXPECTED[kind])


async def transcribe(labels: Labels, sound: Sound, profile: Profile) -> Labels:
    """Return ``labels`` with the texts of the turns, as the profile's STT hears them.

    Takes as long as the turns last.  sound: at the profile's ``audio.sample_rate``.
    Raises ServiceError, CredentialsError.
    """
    spans = []
    async with open_services(profile) as services, services.open_stt() as transcriber:
        tap = SttTap(transcriber, sound.format, profile.audio.block)

        async def hear(span: Span) -> str:
            tap.forget()
            await tap.play(sound.cut(span.start - LEAD, span.end + LEAD))
            await transcriber.finalize()
            await tap.wait_for(
                lambda event: isinstance(event, FinalTranscript) and event.from_finalize,
                FINALIZE_TIMEOUT,
            )
            transcript = TurnTranscript()
            for event in tap.events:
                if isinstance(event, InterimTranscript | FinalTranscript):
                    transcript.update(event)
            return transcript.text

        async def hear_turns() -> None:
            for span in labels.spans:
                text = await hear(span) if span.kind == "turn" else ""
                spans.append(replace(span, text=text))

        await tap.run(hear_turns)
    return replace(labels, spans=tuple(spans))
