"""A session over another responder than the cascade: a tiny speech-to-speech service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from typing_extensions import override

from voicecli import clock
from voicecli.audio.interfaces import Detector, Measurement, Sink, Source
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.errors import ServiceError
from voicecli.events import (
    ConnectionOpened,
    Event,
    FinalTranscript,
    FirstAudio,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFinished,
    SpeechEndMeasured,
    SpeechStarted,
    SpeechStopped,
    TurnId,
)
from voicecli.metrics.stages import STAGES
from voicecli.metrics.turns import measure_turns
from voicecli.pipeline import Post, ReplyHandle, Responder
from voicecli.pipeline.history import ChatHistory
from voicecli.pipeline.reply import CascadeResponder
from voicecli.pipeline.session import Session
from voicecli.services.interfaces import HistorySettings, Message, Transcriber
from voicecli.timeline import Timeline
from voicecli.turns.machine import TurnMachine
from voicecli.turns.policy import BargeInPolicy, SessionLimits, TurnPolicy
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

FORMAT = AudioFormat(16_000)
BLOCK: Seconds = 0.02
HANGOVER: Seconds = 0.2
FINALIZE: Seconds = 0.05
COMMIT: Seconds = 0.45
LATENCY: Seconds = 0.6
"""From the user's words to the first audio of the service."""

WORD: Seconds = 0.5

Speech = tuple[Seconds, Seconds, str]
"""From when to when the user speaks, and what."""


class Microphone(Source):
    """Two seconds of silence after the user's last word, in blocks."""

    format = FORMAT

    def __init__(self, user: Sequence[Speech]) -> None:
        self._count = round((user[-1][1] + 2) / BLOCK)

    @override
    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        for number in range(self._count):
            await asyncio.sleep((number + 1) * BLOCK - clock.now())
            yield AudioBlock(FORMAT.silence(BLOCK), number * BLOCK, last=number == self._count - 1)

    @override
    def pause(self) -> None: ...

    @override
    def resume(self) -> None: ...


class ScriptedDetector(Detector):
    """Knows when the user speaks."""

    def __init__(self, user: Sequence[Speech]) -> None:
        self._events: list[SpeechStarted | SpeechStopped] = []
        for start, end, _ in user:
            self._events += [
                SpeechStarted(at=start + BLOCK, speech_start=start),
                SpeechStopped(at=end + HANGOVER, speech_end=end),
            ]

    @override
    def feed(self, block: AudioBlock) -> Iterator[Event]:
        end = block.at + BLOCK
        while self._events and self._events[0].at <= end + 1e-9:
            yield replace(self._events.pop(0), at=end)

    @override
    def reset(self) -> None: ...


class EndMeasurement(Measurement):
    """Measures an end of speech; notes in which thread."""

    threads: ClassVar[list[int]] = []

    def __init__(self, stopped: SpeechStopped) -> None:
        self._stopped = stopped

    @override
    def measure(self) -> SpeechEndMeasured:
        self.threads.append(threading.get_ident())
        end = self._stopped.speech_end
        return SpeechEndMeasured(at=self._stopped.at, reported=end, speech_end=end + 0.01)


class MeasuringDetector(ScriptedDetector):
    """Leaves each end of speech to be measured."""

    def __init__(self, user: Sequence[Speech]) -> None:
        super().__init__(user)
        self._due: list[EndMeasurement] = []

    @override
    def feed(self, block: AudioBlock) -> Iterator[Event]:
        for event in super().feed(block):
            if isinstance(event, SpeechStopped):
                self._due.append(EndMeasurement(event))
            yield event

    @override
    def take_measurements(self) -> Sequence[EndMeasurement]:
        due, self._due = self._due, []
        return due


class ScriptedStt(Transcriber):
    """Answers each Finalize with what the user has said."""

    opened = ConnectionOpened(at=0.0, service="stt", took=0.1, request_id="stt")
    final_until = 0.0

    def __init__(self, user: Sequence[Speech]) -> None:
        self._user = list(user)
        self._finals: asyncio.Queue[FinalTranscript] = asyncio.Queue()

    @override
    async def send(self, block: AudioBlock) -> None: ...

    @override
    async def finalize(self) -> None:
        start, end, text = self._user.pop(0)
        final = FinalTranscript(
            at=clock.now() + FINALIZE,
            text=text,
            speech_start=start,
            speech_end=end,
            from_finalize=True,
        )
        self._finals.put_nowait(final)

    @override
    async def finish(self) -> None: ...

    @override
    async def events(self) -> AsyncGenerator[Event, None]:
        while True:
            final = await self._finals.get()
            await asyncio.sleep(final.at - clock.now())
            yield final


def reconnect() -> AbstractAsyncContextManager[Transcriber]:
    raise AssertionError("the connection is not lost")


class SpeechToSpeech(Responder):
    """A service that is given the conversation and returns audio; it has no LLM and no TTS."""

    stages = ("tts.ttfa", "playout")
    opened = (ConnectionOpened(at=0.0, service="llm", took=0.2, request_id="speech-to-speech"),)

    def __init__(self, *replies: str | ServiceError) -> None:
        self._replies = list(replies)
        self.asked: list[list[Message]] = []
        self.clears = 0

    @override
    def draft(
        self, turn: TurnId, messages: Sequence[Message], *, sink: Sink, post: Post
    ) -> ReplyHandle:
        self.asked.append(list(messages))
        return SpeechToSpeechReply(turn, self._replies.pop(0), sink, post, self._count_clear)

    def _count_clear(self) -> None:
        self.clears += 1

    @override
    async def warm(self) -> None: ...


class SpeechToSpeechReply(ReplyHandle):
    """Its audio comes at once when the service has understood; each word takes as long."""

    def __init__(
        self,
        turn: TurnId,
        text: str | ServiceError,
        sink: Sink,
        post: Post,
        on_clear: Callable[[], None],
    ) -> None:
        self._turn, self._text, self._sink, self._post = turn, text, sink, post
        self._on_clear = on_clear
        self._committed = asyncio.Event()

    @property
    @override
    def turn(self) -> TurnId:
        return self._turn

    @property
    @override
    def committed(self) -> bool:
        return self._committed.is_set()

    @property
    @override
    def heard(self) -> str:
        return self._words(self._sink.heard)

    @override
    def prepare_speech(self) -> None:
        pass

    @override
    def commit(self) -> None:
        self._committed.set()

    @override
    async def run(self) -> None:
        self._sink.start()
        await asyncio.sleep(LATENCY)
        if isinstance(self._text, ServiceError):
            raise self._text
        now = clock.now()
        self._post(FirstAudio(at=now, turn=self.turn, first_byte=now, lead=0.0))
        await self._committed.wait()
        samples = self._sink.format.samples(WORD * len(self._text.split()))
        self._sink.write(np.full(samples, 3000, "<i2").tobytes())
        self._sink.end()
        self._post(PlaybackStarted(at=await self._sink.started(), turn=self.turn))
        await self._sink.finish()
        heard = self._sink.heard / self._sink.format.rate
        self._post(ReplyFinished(at=clock.now(), turn=self.turn, said=self._text, heard=heard))

    @override
    def cancelled(self, played: Samples) -> ReplyCancelled:
        heard = played / self._sink.format.rate
        return ReplyCancelled(at=clock.now(), turn=self.turn, said=self._words(played), heard=heard)

    @override
    async def clear(self, played: Samples) -> None:
        self._on_clear()

    def _words(self, played: Samples) -> str:
        words = str(self._text).split()
        return " ".join(words[: int(played / self._sink.format.rate / WORD)])


def converse(
    responder: Responder,
    *user: Speech,
    listen: Callable[[Sequence[Speech]], Detector] = ScriptedDetector,
) -> Timeline:
    """Hold a full-duplex conversation in virtual time; ``listen`` creates the detector."""
    timeline = Timeline()

    async def main() -> None:
        duplex = BargeInPolicy(policy="headphones")
        await Session(
            source=Microphone(user),
            detector=listen(user),
            stt=ScriptedStt(user),
            reconnect=reconnect,
            responder=responder,
            sink=VirtualSpeaker(24_000, 0.06),
            machine=TurnMachine(TurnPolicy(detect="vad"), duplex, finalize_timeout=0.35),
            history=ChatHistory("Be brief.", HistorySettings()),
            scorer=None,
            limits=SessionLimits(idle=None),
            waits=False,
            interims=True,
            timeline=timeline,
        ).run()

    clock.run(main(), virtual=True)
    return timeline


def test_ends_of_speech_are_measured_beside_the_loop() -> None:
    timeline = converse(
        SpeechToSpeech("It is noon."), (0.5, 1.5, "What time is it?"), listen=MeasuringDetector
    )
    (measured,) = (entry for entry in timeline if isinstance(entry, SpeechEndMeasured))
    assert (measured.reported, measured.speech_end) == (1.5, 1.51)
    assert len(EndMeasurement.threads) == 1
    assert threading.get_ident() not in EndMeasurement.threads
    (turn,) = measure_turns(timeline)
    heard = next(entry.at for entry in timeline if isinstance(entry, PlaybackStarted))
    assert turn.mouth_to_ear == pytest.approx(heard - 1.51)


SYSTEM = Message("system", "Be brief.")


SESSION_STAGES = {"stt.ttfs", "turn.commit", "pipeline"}
"""The stages that the session's own events delimit."""


def test_the_cascade_declares_the_other_stages():
    assert SESSION_STAGES | set(CascadeResponder.stages) == set(STAGES)


def test_a_speech_to_speech_service_answers_turn_by_turn():
    responder = SpeechToSpeech("It is noon.", "It is sunny.")
    timeline = converse(responder, (0.5, 1.5, "What time is it?"), (5.0, 6.0, "And the weather?"))

    first, second = measure_turns(timeline)
    assert (first.user_text, first.said, first.outcome) == (
        "What time is it?",
        "It is noon.",
        "answered",
    )
    assert (second.user_text, second.said, second.outcome) == (
        "And the weather?",
        "It is sunny.",
        "answered",
    )
    for turn in (first, second):
        drafted = HANGOVER + FINALIZE
        assert turn.mouth_to_ear == pytest.approx(max(COMMIT, drafted + LATENCY), abs=1e-6)
        assert sum(turn.stages.values()) == pytest.approx(turn.mouth_to_ear, abs=1e-9)
        assert set(turn.stages) == SESSION_STAGES | set(responder.stages)
    assert responder.asked[-1] == [
        SYSTEM,
        Message("user", "What time is it?"),
        Message("assistant", "It is noon."),
        Message("user", "And the weather?"),
    ]
    assert responder.opened[0] in list(timeline)
    assert responder.clears == 0


def test_its_reply_is_cut_and_the_history_keeps_what_was_heard():
    responder = SpeechToSpeech("It is noon and a very fine day.", "As you like.")
    timeline = converse(responder, (0.5, 1.5, "What time is it?"), (4.0, 6.0, "Stop it please."))

    cut, answered = measure_turns(timeline)
    assert (cut.outcome, answered.outcome) == ("interrupted", "answered")
    (cancelled,) = [entry for entry in timeline if isinstance(entry, ReplyCancelled)]
    assert cancelled.said == "It is noon and"[: len(cancelled.said)]
    assert len(cancelled.said.split()) == int(cancelled.heard / WORD) > 0
    assert responder.asked[-1][2] == Message("assistant", f"{cancelled.said} …")
    assert responder.clears == 1


def test_a_service_that_refuses_for_good_ends_the_session():
    refused = ServiceError("llm", "no such key", status=401)
    with pytest.raises(ExceptionGroup) as raised:
        converse(SpeechToSpeech(refused), (0.5, 1.5, "What time is it?"))
    assert raised.group_contains(ServiceError, match="no such key")
