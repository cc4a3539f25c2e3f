"""Records sessions, and replays recordings through the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from voicecli import clock
from voicecli.audio.channels import Channel
from voicecli.audio.look_ahead import list_labelled
from voicecli.audio.recorder import CONVERSATION, PlayedReader, Recorder
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.audio.wav import WavSource, open_wav
from voicecli.events import Event, PartiesMixed, RecorderStarted, Warned
from voicecli.metrics.accuracy import VIRTUAL
from voicecli.metrics.labels import Labels
from voicecli.metrics.recording import Stretch
from voicecli.metrics.voices import cut_pauses
from voicecli.pipeline.session import Session
from voicecli.pipeline.survey import Survey, survey_recording
from voicecli.pipeline.wiring import Services, open_session
from voicecli.profile import Profile
from voicecli.timeline import LABELS, RESULT, TIMELINE, Header, Timeline, open_writer
from voicecli.units import AudioBlock


async def play_recording(
    file: Path,
    channel: Channel,
    profile: Profile,
    services: Services,
    folder: Path,
    timeline: Timeline,
    *,
    polite: bool = True,
    labels: Labels | None = None,
    survey: bool = False,
) -> Sequence[str]:
    """Play ``file`` to the agent until its last reply has been played; record into ``folder``.

    channel: auto: that of the labels, if they name one.
    polite: in half duplex, the user waits for replies; otherwise it speaks on.
    survey: examine the recording before it plays, which takes longer, not while it does, which
        would make sessions late that run beside this one.

    Returns what is wrong with the file, one sentence each.  Raises InputError if it is not a
    recording; VoiceError, perhaps in a group, if a service fails.
    """
    audio = profile.audio
    is_ours = file.name == CONVERSATION and (file.parent / TIMELINE).exists()
    if is_ours and channel == "auto":
        channel = 0  # the user is on the left of what we recorded
    if labels is not None and labels.channel is not None and channel == "auto":
        channel = labels.channel
    speaker = VirtualSpeaker(profile.tts.sample_rate, prebuffer=audio.prebuffer)
    labelled = _list_labelled(labels)
    known = Survey(channel=channel, speech=labelled or None)
    if survey:
        known = await survey_recording(file, channel, audio, labelled)
    with open_wav(file, audio.sample_rate, audio.block, known.channel) as source:
        opening = open_session(
            profile, services, source, speaker, timeline=timeline, recorded=True, polite=polite
        )
        async with opening as session:
            source.look_ahead(known.create_finder(audio))
            session.post(VIRTUAL.make_event(clock.now()))
            for note in (*source.notes, *([known.doubt] if known.doubt else ())):
                session.post(_warn(note))
            if not survey:
                session.add_event_source(_check_sample_rate(source))
            if source.choice.mixed:
                session.post(PartiesMixed(at=clock.now()))
            with open_recording(folder, profile, speaker.take, session):
                await session.run()
    return source.warnings


async def _check_sample_rate(source: WavSource) -> AsyncGenerator[Event, None]:
    if doubt := await asyncio.to_thread(source.check_sample_rate):
        yield _warn(doubt)


def _warn(text: str) -> Warned:
    return Warned(at=clock.now(), service="audio", text=text)


def _list_labelled(labels: Labels | None) -> tuple[Stretch, ...]:
    """List the stretches of the user's speech that labels tell of."""
    if labels is None:
        return ()
    turns = labels.list_spans("turn", "interruption")
    return list_labelled(cut_pauses(turn, labels.spans) for turn in turns)


@contextmanager
def open_recording(
    folder: Path, profile: Profile, played: PlayedReader, session: Session
) -> Iterator[None]:
    """Write audio and timeline of ``session``, which has not begun, to ``folder``.

    They replace an earlier session, so open this last: a start that fails must leave that alone.

    played: returns what the agent's loudspeaker played.
    """
    rate, user_rate = profile.tts.sample_rate, profile.audio.sample_rate
    header = Header(
        profile=profile.resolved(),
        clock_origin=clock.monotonic_origin(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with (
        Recorder(folder, rate, agent=played, user_rate=user_rate) as recorder,
        open_writer(folder / TIMELINE, header, recorder.explain) as writer,
    ):
        for name in (RESULT, LABELS):
            (folder / name).unlink(missing_ok=True)
        for entry in session.timeline:  # what happened while the connections were opened
            writer(entry)
        session.timeline.follow(writer)

        def record(block: AudioBlock) -> None:
            had_failed = recorder.failure is not None
            if recorder.start is None:
                session.post(RecorderStarted(at=block.at))
            recorder.add_user(block)
            if not had_failed and (failure := recorder.failure) is not None:
                text = f"{failure.cause}; the conversation goes on without a recording"
                session.post(_warn(text))

        session.add_tap(record)
        yield
