"""Replies of the cascade: drafted, committed, spoken, resumed after a loss, cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from voicecli import clock
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.errors import ServiceError, StalledError
from voicecli.events import (
    ClauseSent,
    ConnectionOpened,
    Event,
    FirstAudio,
    FirstToken,
    PlaybackStarted,
    ReplyFailed,
    ReplyFinished,
    Warned,
)
from voicecli.pipeline.generation import HedgeDelay
from voicecli.pipeline.reply import CascadeResponder
from voicecli.pipeline.speech import LAST_FLUSHES, PREROLL, SAVE_FLUSHES_BELOW
from voicecli.services.interfaces import (
    FLUSHED,
    Flushed,
    Message,
    TtsCapabilities,
    TtsSettings,
    Usage,
)
from voicecli.text.pacing import MARGIN, Pacing
from voicecli.text.reasoning import ReasoningHabit
from voicecli.units import AudioFormat

RATE = 8000
FORMAT = AudioFormat(RATE)
CHARACTER = 480
"""Samples per character: 60 ms."""

CAPABILITIES = TtsCapabilities(
    sample_rates=(RATE,),
    flushes=20,
    characters=2400,
    window=60.0,
    seconds_per_character=CHARACTER / RATE,
    word_timestamps=False,
)
FEW_FLUSHES = round(SAVE_FLUSHES_BELOW * 20) - 1

ASKED = [Message("user", "What is the time?")]
TEXT = "It is noon. Time for a long lunch in the shade of the old trees. And then we sleep a while."
CLAUSES = [
    "It is noon. ",
    "Time for a long lunch in the shade of the old trees. And then we sleep a while.",
]

# ── doubles ──────────────────────────────────────────────────────────────────────────────────────


class Model:
    """An LLM that yields its texts, waits for its numbers and raises its errors."""

    def __init__(self, *script: str | float | ServiceError) -> None:
        self._script = script

    async def reply(self, messages: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        for step in self._script:
            if isinstance(step, ServiceError):
                raise step
            if isinstance(step, str):
                yield step
            else:
                await asyncio.sleep(step)

    async def load(self) -> None: ...

    async def warm(self) -> None: ...


@dataclass(frozen=True)
class Fault:
    """How one flush fails.

    after: seconds of its audio that still come.
    then: the error that follows them; None: silence, and no FLUSHED ever.
    """

    after: float
    then: ServiceError | None


LOST = ServiceError("tts", "connection lost", temporary=True)
REFUSED = ServiceError("tts", "no such key", status=401)
STALL = 3.0


def sound(text: str, shrink: int = 1) -> bytes:
    """Return the speech of ``text``: each character has its own level, which identifies it."""
    loudness = 1000 + 50 * np.arange(len(text)) % 20_000 + [ord(letter) for letter in text]
    return np.repeat(loudness, CHARACTER // shrink).astype("<i2").tobytes()


class Voice:
    """A TTS that delivers each flush after 0.1 s, much faster than real time.

    faults: of the first flushes, None for none.
    lead: seconds of silence before each.
    shrink: so many times shorter is what is spoken after a fault.
    refusals: what ``send`` raises, first to last.
    flushes: how many it has left.
    """

    opened = ConnectionOpened(at=0.0, service="tts", took=0.1, request_id="id")
    capabilities = CAPABILITIES

    def __init__(
        self,
        *faults: Fault | None,
        lead: float = 0.0,
        silent: bool = False,
        shrink: int = 1,
        refusals: Sequence[ServiceError | None] = (),
        flushes: int = 20,
    ) -> None:
        self.flushes_left = flushes
        self._faults = list(faults)
        self._lead = FORMAT.silence(lead)
        self._silent = silent
        self._shrink = shrink
        self._refusals = list(refusals)
        self._shrinks = False
        self._text = ""
        self._flushes: list[str] = []
        self._asked = asyncio.Event()
        self.sent: list[tuple[float, str, bool]] = []
        self.clears = 0

    async def send(self, text: str, *, flush: bool) -> None:
        if self._refusals and (refusal := self._refusals.pop(0)) is not None:
            raise refusal
        self.sent.append((round(clock.now(), 3), text, flush))
        self._text += text
        if flush:
            self._flushes.append(self._text)
            self._text = ""
            self._asked.set()

    async def audio(self) -> AsyncGenerator[bytes | Flushed, None]:
        while True:
            while not self._flushes:
                self._asked.clear()
                await self._asked.wait()
            pcm = self._spoken(self._flushes.pop(0))
            fault = self._faults.pop(0) if self._faults else None
            await asyncio.sleep(0.1)
            if fault is not None:
                self._shrinks = self._shrink > 1
                pcm = pcm[: 2 * FORMAT.samples(fault.after)]
            for at in range(0, len(pcm), 1600):
                yield pcm[at : at + 1600]
                await asyncio.sleep(0.01)
            if fault is None:
                yield FLUSHED
            elif fault.then is None:
                await asyncio.sleep(STALL)
                raise StalledError("tts", f"no audio for {STALL:g} s", temporary=True)
            else:
                raise fault.then

    def _spoken(self, text: str) -> bytes:
        if self._silent:
            return FORMAT.silence(len(text) * CHARACTER / RATE)
        return self._lead + sound(text, self._shrink if self._shrinks else 1)

    async def clear(self, *, unplayed: int | None = None) -> None:
        self.clears += 1
        self._text = ""
        self._flushes.clear()


class Speaker(VirtualSpeaker):
    """A sink that keeps what was written."""

    def __init__(self) -> None:
        super().__init__(RATE, prebuffer=0.06)
        self.written = b""

    def write(self, pcm: bytes) -> None:
        self.written += pcm
        super().write(pcm)


TTFB = 0.1


def teach() -> Pacing:
    """Return the pacing of a session in which ``Voice`` has spoken before."""
    pacing = Pacing(CHARACTER / RATE)
    pacing.add_writing("word " * 20, 0.1)
    pacing.add_ttfb(TTFB)
    pacing.add_delivery(audio=1.0, took=0.1)
    return pacing


class Turn:
    """A reply that is committed after a while, and its events."""

    def __init__(
        self,
        model: Model,
        voice: Voice,
        commit: float,
        *,
        prepared: float | None = None,
        **settings: Any,
    ) -> None:
        self.voice = voice
        self.sink = Speaker()
        self.events: list[Event] = []
        self._commit = commit
        self.failure: ServiceError | None = None
        responder = CascadeResponder(
            llm=model,
            tts=voice,
            hedge=HedgeDelay(None),
            pacing=teach(),
            habit=ReasoningHabit(),
            settings=TtsSettings(**settings),
        )
        self._prepared = commit if prepared is None else prepared
        self.reply = responder.draft(1, ASKED, sink=self.sink, post=self.events.append)

    async def run(self) -> None:
        asyncio.get_running_loop().call_later(self._prepared, self.reply.prepare_speech)
        asyncio.get_running_loop().call_later(self._commit, self.reply.commit)
        try:
            await self.reply.run()
        except ServiceError as error:
            self.failure = error

    def of(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def end(self) -> ReplyFinished | ReplyFailed:
        event = self.events[-1]
        assert isinstance(event, ReplyFinished | ReplyFailed)
        assert len(self.of(ReplyFinished, ReplyFailed)) == 1
        return event


def turn(
    *script: str | float | ServiceError,
    voice: Voice | None = None,
    commit: float = 1.0,
    meanwhile: Sequence[tuple[float, Callable[[Turn], object]]] = (),
    **options: Any,
) -> Turn:
    """Run one reply to its end; ``meanwhile``: what to do at which time."""

    async def main() -> Turn:
        chosen = {"apology": "Sorry."} | options
        held = Turn(Model(*(script or (TEXT,))), voice or Voice(), commit, **chosen)
        for at, action in meanwhile:
            asyncio.get_running_loop().call_later(at, action, held)
        await held.run()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return held

    return clock.run(main(), virtual=True)


def length(text: str) -> float:
    """Return the duration of ``text`` in seconds."""
    return len(text) * CHARACTER / RATE


# ── a reply to its end ───────────────────────────────────────────────────────────────────────────


def test_a_reply_is_prepared_at_once_and_spoken_when_it_is_committed():
    held = turn(0.3, TEXT)
    delivered = 1.0 + TTFB + 0.08  # eight frames, 10 ms each
    assert held.voice.sent == [(1.0, CLAUSES[0], True), (round(delivered, 2), CLAUSES[1], True)]
    assert [(type(event).__name__, round(event.at, 3)) for event in held.events] == [
        ("LlmRequested", 0),
        ("FirstToken", 0.3),
        ("ClauseReady", 0.3),
        ("ClauseSent", 1),
        ("FirstAudio", 1.1),
        ("PlaybackStarted", 1.1),
        ("ClauseSent", round(delivered, 2)),
        ("ReplyFinished", round(1.1 + length(TEXT), 3)),
    ]
    assert held.sink.written == b"".join(map(sound, CLAUSES))


def test_its_end_reports_text_audio_and_tokens():
    class Counting(Model):
        async def reply(self, messages: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
            yield TEXT
            yield Usage(prompt_tokens=30, completion_tokens=20)

    async def main() -> Turn:
        held = Turn(Counting(), Voice(), 0.0)
        await held.run()
        return held

    held = clock.run(main(), virtual=True)
    assert held.end == ReplyFinished(
        at=held.end.at,
        turn=1,
        said=TEXT,
        heard=length(TEXT),
        tokens=20,
        prompt_tokens=30,
    )


@pytest.mark.parametrize("opening", ["<think>I greet. ", "I greet and say hi. "])
def test_reasoning_is_neither_sent_to_the_tts_nor_said(opening: str):
    held = turn(opening, 0.5, "Then I wait.</think>\n\n", 0.2, TEXT)
    assert [text for _, text, _ in held.voice.sent] == CLAUSES
    assert isinstance(held.end, ReplyFinished)
    assert held.end.said == TEXT
    assert [round(event.at, 3) for event in held.of(FirstToken)][-1] == 0.7


def test_the_answer_follows_reasoning_that_was_not_known_in_time():
    held = turn("I greet and say hi. ", 0.5, "Then I wait.</think>", TEXT, commit=0.0)
    assert "".join(text for _, text, _ in held.voice.sent) == "I greet and say hi. " + TEXT


def test_a_clause_is_spoken_while_the_llm_still_writes():
    held = turn("It is noon. ", 2.0, "Time for lunch.", commit=0.0)
    assert held.voice.sent == [(0.0, "It is noon. ", True), (2.0, "Time for lunch.", True)]
    assert isinstance(held.end, ReplyFinished)
    assert held.end.underruns == 1


def test_a_draft_may_be_sent_to_the_tts_but_sounds_no_sooner():
    """Of a draft that is dropped, one piece was spoken for nothing."""
    held = turn(prepared=0.3)
    assert held.voice.sent == [(0.3, CLAUSES[0], True), (1.08, CLAUSES[1], True)]
    (started,) = held.of(PlaybackStarted)
    assert started.at == 1
    assert held.sink.written == b"".join(map(sound, CLAUSES))


def test_all_can_be_flushed_at_the_end():
    held = turn(chunking="batches", batch_chars=40, flush="end")
    pieces = [text for _, text, _ in held.voice.sent]
    assert "".join(pieces) == TEXT
    assert pieces == ["It is noon. Time for a long lunch in the ", TEXT[41:], ""]
    assert [flush for *_, flush in held.voice.sent] == [False, False, True]
    assert held.sink.written == sound(TEXT)


FIRST = "So much of it is clear, "
REST = ["it is noon, and time for a long lunch in the shade. ", "And then we sleep. "]
WHOLE = FIRST + "".join(REST)
NEEDED = round(TTFB + length(FIRST) - TTFB - MARGIN, 3)
"""When the TTS must be asked for more, if FIRST was flushed at 0."""


def test_later_text_is_gathered_until_it_is_complete():
    held = turn(FIRST, 0.2, REST[0], 0.2, REST[1], commit=0.0)
    assert held.voice.sent == [(0.0, FIRST, True), (0.4, "".join(REST), True)]
    assert held.sink.written == sound(FIRST) + sound("".join(REST))
    assert isinstance(held.end, ReplyFinished)
    assert (held.end.said, held.end.underruns) == (WHOLE.strip(), 0)
    assert held.end.at == pytest.approx(TTFB + length(FIRST) + length("".join(REST)))


def test_or_until_the_queued_audio_is_needed_to_fetch_more():
    held = turn(FIRST, 0.2, REST[0] + "And ", 2.0, "then we sleep. ", commit=0.0)
    (_, *rest) = held.voice.sent
    assert rest == [(NEEDED, REST[0], True), (2.2, REST[1], True)]
    assert isinstance(held.end, ReplyFinished)
    assert held.end.underruns == 0


def test_held_playback_needs_nothing():
    held = turn(
        *(FIRST, REST[0], 9.0, REST[1]),
        commit=0.0,
        meanwhile=[(0.3, lambda held: held.sink.hold()), (2.0, lambda held: held.sink.resume())],
    )
    assert [at for at, *_ in held.voice.sent] == [0.0, pytest.approx(NEEDED + 1.7), 9.0]


def test_what_would_sound_too_short_waits_for_more_even_if_the_queue_runs_dry():
    held = turn(FIRST, "So ", 3.0, "it is noon. ", 1.0, "Or not. ", commit=0.0)
    assert held.voice.sent == [
        (0.0, FIRST, True),
        (3.0, "So it is noon. ", True),
        (4.0, "Or not. ", True),
    ]


def test_with_few_flushes_left_a_complete_reply_is_flushed_once():
    held = turn(FIRST, *REST, voice=Voice(flushes=FEW_FLUSHES))
    assert held.voice.sent == [(1.0, WHOLE, True)]
    assert held.sink.written == sound(WHOLE)
    assert held.end.said == WHOLE.strip()


def test_but_the_first_flush_is_never_delayed_for_it():
    held = turn(FIRST, 0.5, *REST, voice=Voice(flushes=LAST_FLUSHES + 1), commit=0.0)
    assert held.voice.sent == [(0.0, FIRST, True), (0.5, "".join(REST), True)]


def test_with_the_last_flush_a_reply_is_flushed_once_it_is_complete():
    held = turn(FIRST, 0.5, *REST, voice=Voice(flushes=LAST_FLUSHES), commit=0.0)
    assert held.voice.sent == [(0.5, WHOLE, True)]
    assert held.end.said == WHOLE.strip()


@pytest.mark.parametrize("after", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("flush", [0, 1, 2])
def test_a_connection_lost_while_text_is_gathered_costs_no_word(flush, after):
    faults = [*[None] * flush, Fault(after, LOST)]
    held = turn(FIRST, REST[0], 4.0, REST[1], voice=Voice(*faults), commit=0.0)
    assert held.sink.written == sound(FIRST) + sound(REST[0]) + sound(REST[1])
    assert held.end.said == WHOLE.strip()


def test_silence_at_the_head_is_not_played_and_counted():
    held = turn(voice=Voice(lead=0.25))
    (audio,) = held.of(FirstAudio)
    assert isinstance(audio, FirstAudio)
    assert audio.lead == 0.25 - PREROLL
    assert audio.first_byte == 1.1
    assert audio.at == pytest.approx(1.12)
    head, rest = FORMAT.silence(PREROLL), FORMAT.silence(0.25)
    first, *others = map(sound, CLAUSES)
    assert held.sink.written == head + first + b"".join(rest + other for other in others)


@pytest.mark.parametrize("lead", [0.0, 0.004, 0.1, 0.1001, 0.104, 0.2])
def test_silence_is_cut_to_the_sample_wherever_the_pieces_end(lead):
    held = turn("It is noon.", voice=Voice(lead=lead))
    kept = len(held.sink.written) - len(sound("It is noon."))
    (audio,) = held.of(FirstAudio)
    assert isinstance(audio, FirstAudio)
    assert FORMAT.seconds(kept) == pytest.approx(min(lead, PREROLL), abs=1 / RATE)
    assert audio.lead + FORMAT.seconds(kept) == pytest.approx(lead, abs=1 / RATE)


def test_a_reply_that_is_silent_throughout_ends_and_never_starts():
    held = turn(voice=Voice(silent=True))
    assert held.of(FirstAudio, PlaybackStarted) == []
    assert isinstance(held.end, ReplyFinished)
    assert (held.end.heard, held.end.ended_by) == (0, "flushed")


# ── the LLM fails ────────────────────────────────────────────────────────────────────────────────

NO_TOKEN = ServiceError("llm", "no token", temporary=False)
UNKNOWN_KEY = ServiceError("llm", "no such key", status=401)


def test_if_the_llm_fails_the_agent_apologises():
    held = turn(0.3, NO_TOKEN)
    assert held.voice.sent == [(1.0, "Sorry.", True)]
    assert held.sink.written == sound("Sorry.")
    assert held.end == ReplyFailed(
        at=held.end.at, turn=1, service="llm", reason="LLM: no token", heard=length("Sorry.")
    )
    assert held.failure is None


def test_an_empty_reply_is_apologised_for():
    held = turn("\n")
    assert held.sink.written == sound("Sorry.")
    assert isinstance(held.end, ReplyFailed)


def test_without_an_apology_a_failure_is_silent():
    held = turn(NO_TOKEN, apology="")
    assert held.sink.written == b""
    assert held.end == ReplyFailed(at=1, turn=1, service="llm", reason="LLM: no token")


def test_an_llm_that_breaks_off_is_spoken_as_far_as_it_came():
    held = turn("It is noon. ", "Time for", 0.5, NO_TOKEN, commit=0.0)
    assert held.sink.written == sound("It is noon. ") + sound("Time for")
    assert isinstance(held.end, ReplyFailed)
    assert held.end.said == "It is noon. Time for"


def test_a_service_that_refuses_ends_more_than_the_reply():
    held = turn(UNKNOWN_KEY)
    assert held.failure is UNKNOWN_KEY
    assert isinstance(held.end, ReplyFailed)
    assert held.voice.sent == []


# ── the TTS fails ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", [0.0, 0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("flush", [0, 1])
@pytest.mark.parametrize("lead", [0.0, 0.25])
def test_a_lost_connection_costs_no_word_and_repeats_none(flush, after, lead):
    held = turn(voice=Voice(*[None] * flush, Fault(after, LOST), lead=lead))
    whole = turn(voice=Voice(lead=lead))
    assert held.sink.written == whole.sink.written
    assert isinstance(held.end, ReplyFinished)
    assert held.end.said == TEXT
    assert held.voice.clears == 1
    (warned,) = held.of(Warned)
    assert isinstance(warned, Warned)
    assert "connection lost" in warned.text


@pytest.mark.parametrize(("first", "second"), [(1.0, 0.4), (0.4, 1.0), (0.5, 0.5), (0.5, 0.0)])
def test_nor_does_a_connection_that_is_lost_again(first, second):
    held = turn(voice=Voice(None, Fault(first, LOST), Fault(second, LOST)))
    assert held.sink.written == b"".join(map(sound, CLAUSES))
    assert isinstance(held.end, ReplyFinished)


def test_nor_do_connections_lost_under_different_clauses():
    held = turn(voice=Voice(Fault(0.3, LOST), None, Fault(1.0, LOST)))
    assert held.sink.written == b"".join(map(sound, CLAUSES))


def test_a_single_flush_is_repeated_whole():
    options: dict[str, Any] = {"chunking": "batches", "batch_chars": 40, "flush": "end"}
    held = turn(voice=Voice(Fault(1.0, LOST)), **options)
    assert held.sink.written == sound(TEXT)
    assert "".join(text for _, text, _ in held.voice.sent) == 2 * TEXT


def test_a_shorter_repetition_does_not_skip_the_next_clause():
    held = turn(voice=Voice(Fault(0.6, LOST), shrink=4))
    first = sound(CLAUSES[0])[: 2 * FORMAT.samples(0.6)]
    assert held.sink.written == first + b"".join(sound(clause, 4) for clause in CLAUSES[1:])


def test_a_connection_that_is_lost_too_often_is_given_up():
    held = turn(voice=Voice(None, *[Fault(1.0, LOST)] * 3))
    assert isinstance(held.end, ReplyFailed)
    assert (held.end.service, held.end.reason) == ("tts", "TTS: connection lost")
    assert held.sink.written == sound(CLAUSES[0]) + sound(CLAUSES[1])[: 2 * RATE]
    assert held.end.said == "It is noon. Time for a long"
    assert held.failure is None


def test_a_tts_that_refuses_ends_more_than_the_reply():
    held = turn(voice=Voice(Fault(0.0, REFUSED)))
    assert held.failure is REFUSED
    assert isinstance(held.end, ReplyFailed)


def test_a_connection_that_cannot_be_opened_is_tried_again():
    held = turn(voice=Voice(refusals=[None, LOST]))
    assert held.sink.written == b"".join(map(sound, CLAUSES))
    assert isinstance(held.end, ReplyFinished)


def test_a_tts_that_fails_for_good_does_not_wait_for_the_llm():
    held = turn("It is noon. ", 60.0, "Time for lunch.", voice=Voice(*[Fault(0.0, LOST)] * 3))
    assert isinstance(held.end, ReplyFailed)
    assert held.end.at < 2


@pytest.mark.parametrize("after", [0.0, 0.2])
def test_a_tts_that_is_silent_after_a_flush_is_asked_again(after):
    held = turn("It is noon.", voice=Voice(Fault(after, None)))
    assert held.sink.written == sound("It is noon.")
    assert isinstance(held.end, ReplyFinished)
    assert held.end.ended_by == "flushed"
    assert held.voice.clears == 1


def test_without_flushed_a_reply_ends_when_the_queue_is_empty():
    held = turn("It is noon.", voice=Voice(Fault(60.0, None)))
    assert held.sink.written == sound("It is noon.")
    assert isinstance(held.end, ReplyFinished)
    assert held.end.ended_by == "empty"
    over = 1.1 + length("It is noon.")
    assert held.end.at == pytest.approx(over + 0.25)
    assert held.voice.clears == 1


def test_a_tts_that_stalls_while_the_llm_still_writes_loses_no_word():
    held = turn(CLAUSES[0], 10.0, CLAUSES[1], commit=0.0, voice=Voice(Fault(0.5, None)))
    assert held.sink.written == sound(CLAUSES[0]) + sound(CLAUSES[1])
    assert isinstance(held.end, ReplyFinished)
    assert (held.end.said, held.end.ended_by) == ("".join(CLAUSES[:2]).strip(), "flushed")


def test_without_flushed_a_long_reply_ends_when_the_tts_stalls():
    """The last flush plays for longer than the TTS may be silent."""
    clause = "And if that is not enough we will go on and on about it until the moon is up again."
    held = turn(clause, voice=Voice(None, Fault(60.0, None)))
    assert held.sink.written == sound(held.voice.sent[0][1]) + sound(held.voice.sent[1][1])
    assert isinstance(held.end, ReplyFinished)
    assert held.end.ended_by == "stalled"
    assert held.end.said == clause
    assert held.end.heard == pytest.approx(length(clause))


def test_a_held_reply_is_not_over():
    held = turn(
        "It is noon.",
        voice=Voice(Fault(60.0, None)),
        meanwhile=[(1.3, lambda held: held.sink.hold()), (3.0, lambda held: held.sink.resume())],
    )
    assert isinstance(held.end, ReplyFinished)
    assert held.end.heard == pytest.approx(length("It is noon."))
    assert held.end.at == pytest.approx(3 + length("It is noon.") - 0.2 + 0.25)


# ── cancelled ────────────────────────────────────────────────────────────────────────────────────


def cut(after: float, voice: Callable[[], Voice] = Voice, **options: Any) -> tuple[float, str]:
    """Cancel as the session does; return the seconds and words that were heard."""

    async def main() -> tuple[float, str]:
        held = Turn(Model(0.3, "It is noon. ", 0.3, TEXT[12:]), voice(), 1.0, **options)
        task = asyncio.create_task(held.run())
        await asyncio.sleep(after)
        if task.done():
            return 0.0, ""
        heard = held.sink.clear()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not held.of(ReplyFinished, ReplyFailed)
        cancelled = held.reply.cancelled(heard)
        assert cancelled.heard == heard / RATE
        return cancelled.heard, cancelled.said

    return clock.run(main(), virtual=True)


def voices() -> dict[str, Callable[[], Voice]]:
    return {
        "well": Voice,
        "lead": lambda: Voice(lead=0.25),
        "lost": lambda: Voice(None, Fault(1.0, LOST)),
        "lost twice": lambda: Voice(None, Fault(1.0, LOST), Fault(0.5, LOST)),
        "silent": lambda: Voice(None, Fault(0.2, None)),
        "refused": lambda: Voice(refusals=[LOST]),
    }


@pytest.mark.parametrize("name", voices())
@pytest.mark.parametrize("options", [{}, {"prepared": 0.0}, {"flush": "end"}])
def test_cancelled_at_any_time_it_reports_what_was_heard(name, options):
    cuts = [cut(after / 50, voices()[name], **options) for after in range(0, 360, 7)]
    for heard, said in cuts:
        assert TEXT.startswith(said)
        assert heard > 0 or said == ""
    running = cuts[: next((i for i, (heard, _) in enumerate(cuts) if i > 20 and not heard), None)]
    for (before, less), (after, more) in pairwise(running):
        assert before <= after
        assert more.startswith(less)


def test_cancelled_as_the_connection_is_lost_it_is_cancelled():
    """A TaskGroup that sees both raises only the error."""
    assert cut(1.12, lambda: Voice(Fault(0.2, LOST))) == (0.02, "")


@pytest.mark.parametrize("name", ["well", "lost", "lost twice"])
def test_the_words_heard_are_those_played(name):
    """To within one word: words differ in length, and a partial one does not count."""
    for after in range(150, 600, 10):
        heard, said = cut(after / 100, voices()[name])
        sounded = (TEXT + " ")[: round(heard / 0.06) + 1]
        assert abs(len(said.split()) - sounded.count(" ")) <= 1, (heard, said, sounded)


def test_just_before_its_end_all_words_were_heard():
    heard, said = cut(1.1 + length(TEXT) - 0.01)
    assert heard == pytest.approx(length(TEXT) - 0.01)
    assert TEXT.startswith(said)
    assert len(said.split()) >= len(TEXT.split()) - 1


def test_each_piece_is_reported_once_as_it_is_sent():
    held = turn()
    assert [event.text for event in held.of(ClauseSent) if isinstance(event, ClauseSent)] == CLAUSES
