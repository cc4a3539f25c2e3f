"""Measures the STT as a conversation uses it: speech in real time, on an open connection.

There are two kinds of samples.  ``finalize``: speech, and Finalize where it ends.  ``endpoint``:
speech, and silence until the service itself reports the end; only if the profile waits for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from typing_extensions import override

from voicecli import clock
from voicecli.audio.vad import create_detector
from voicecli.errors import ServiceError, find_first_error
from voicecli.events import (
    MAX_LAG,
    EndOfTurnPredicted,
    Event,
    FinalTranscript,
    InterimTranscript,
    Service,
    SpeechEndMeasured,
    SpeechStopped,
    TurnResumed,
    TurnStarted,
    UtteranceEnded,
)
from voicecli.pipeline.wiring import Services
from voicecli.probe.clips import LEAD, Clip, load_clips
from voicecli.probe.schedule import Post, Prober, Sample, TicketCounter
from voicecli.profile import Profile
from voicecli.services.interfaces import Transcriber
from voicecli.turns.end_of_turn import split_words
from voicecli.turns.same_words import says_same
from voicecli.turns.transcript import SAME_WORD, TurnTranscript
from voicecli.units import AudioBlock, AudioFormat, Seconds

T = TypeVar("T")

FINALIZE_TIMEOUT: Seconds = 2.0
"""Longer than a conversation waits (``stt.finalize_timeout_ms``), to see the tail."""

ENDPOINT_TIMEOUT: Seconds = 5.0

GOLDEN_RATIO = 0.618034
"""Its multiples spread evenly, modulo 1."""

LEAD_SPREAD: Seconds = 1.0
"""The speech ends anywhere in a block and between two interims, which Nova-3 sends each second."""


class SttProber(Prober):
    """Probes the STT, and the profile's detector on the same audio."""

    service: Service = "stt"

    def __init__(self, profile: Profile, services: Services) -> None:
        audio, turn = profile.audio, profile.turn
        format = AudioFormat(audio.sample_rate)
        self._services = services
        self._format = format
        self._block = audio.block
        self._finalize_timeout = profile.stt.finalize_timeout
        self._detect = turn.detect
        self._each_final_ends = turn.each_final_is_a_turn
        self.kinds = 2 if endpoint_matters(profile) else 1
        self._detector = create_detector(audio.vad, format, audio.hangover)
        self._clips = load_clips(format)

    @override
    async def measure_cold(self, number: int) -> Sample:
        async with self._services.open_stt() as transcriber:
            tap = SttTap(transcriber, self._format, self._block)
            return await tap.run(lambda: self._measure_finalize(tap, number, cold=True))

    @override
    async def measure_warm(self, warmup: int, tickets: TicketCounter, post: Post) -> None:
        async with self._services.open_stt() as transcriber:
            tap = SttTap(transcriber, self._format, self._block)
            await tap.run(lambda: self._measure_all(tap, warmup, tickets, post))

    async def _measure_all(
        self, tap: SttTap, warmup: int, tickets: TicketCounter, post: Post
    ) -> None:
        for number in range(warmup):
            await self._measure_finalize(tap, number)
        while (ticket := await tickets.take()) is not None:
            number, kind = divmod(ticket, self.kinds)
            measure = self._measure_endpoint if kind else self._measure_finalize
            post(await measure(tap, number))

    async def _measure_finalize(self, tap: SttTap, number: int, *, cold: bool = False) -> Sample:
        """Send the speech, and Finalize where it ends."""
        clip, speech = self._choose_speech(number)
        noticed = self._find_notice(clip, speech)
        tap.forget()
        await tap.play(speech)
        lags = list(tap.lags)
        asked = clock.now()
        await tap.transcriber.finalize()
        answer = await tap.wait_for(
            lambda event: isinstance(event, FinalTranscript) and event.from_finalize,
            FINALIZE_TIMEOUT,
        )
        values = {"stt.lag": median(lags)} if lags else {}
        if cold:
            values["stt.open"] = tap.transcriber.opened.took
        if answer is not None:
            values["stt.final"] = answer.at - asked
        if noticed is not None:
            took = values.get("stt.final", self._finalize_timeout)
            values["stt.noticed"] = noticed
            if self._detect == "vad":
                values["stt.ttfs"] = noticed + min(took, self._finalize_timeout)
        counts = {"stt.asked": 1, "stt.answered": int(answer is not None)}
        return self._make_sample(tap, clip, speech, values, counts, cold=cold)

    async def _measure_endpoint(self, tap: SttTap, number: int) -> Sample:
        """Send the speech, and silence until the service reports the end."""
        clip, speech = self._choose_speech(number)
        tap.forget()
        ended = since = await tap.play(speech)
        end: Event | None = None
        while end is None and since < ended + ENDPOINT_TIMEOUT:
            since = await tap.play(clip.silence(self._block), since)
            late = (event for event in tap.events if event.at >= ended)
            end = next(filter(self._is_endpoint, late), None)
        values = {}
        if end is not None:
            values["stt.endpoint"] = end.at - ended
            if (whole := find_whole_interim(tap.events)) is not None:
                values["stt.interim"] = max(whole - ended, 0.0)
            if self._detect != "vad":
                values["stt.ttfs"] = end.at - ended
            values |= measure_predictions(tap.events, ended, end.at)
        sent = speech + clip.format.silence(since - ended)
        predicted, resumed = (
            sum(isinstance(event, kind) for event in tap.events)
            for kind in (EndOfTurnPredicted, TurnResumed)
        )
        counts = {"stt.predicted": predicted, "stt.resumed": resumed}
        return self._make_sample(tap, clip, sent, values, counts)

    def _is_endpoint(self, event: Event) -> bool:
        if isinstance(event, FinalTranscript):
            return bool(event.text) and (event.speech_final or self._each_final_ends)
        return isinstance(event, UtteranceEnded)

    def _choose_speech(self, number: int) -> tuple[Clip, bytes]:
        """A clip, and its audio with a lead that varies by up to LEAD_SPREAD."""
        clip = self._clips[number % len(self._clips)]
        return clip, clip.with_lead(LEAD + number * GOLDEN_RATIO % 1 * LEAD_SPREAD)

    def _find_notice(self, clip: Clip, speech: bytes) -> Seconds | None:
        """End of the speech → the detector reports it, in the same blocks; None if it does not.

        The end is measured as that of a conversation is, with the sound that follows.
        """
        self._detector.reset()
        size = len(clip.format.silence(self._block))
        pcm = speech + clip.silence(3.0)
        stopped: SpeechStopped | None = None
        end: Seconds | None = None
        for start in range(0, len(pcm), size):
            block = AudioBlock(pcm[start : start + size], clip.format.seconds(start))
            for event in self._detector.feed(block):
                match event:
                    case SpeechStopped():
                        stopped, end = event, None
                    case SpeechEndMeasured():
                        end = event.speech_end
            if end is not None and start > len(speech):
                break
        return None if stopped is None or end is None else stopped.at - end

    def _make_sample(
        self,
        tap: SttTap,
        clip: Clip,
        sent: bytes,
        values: dict[str, float],
        counts: Mapping[str, float] | None = None,
        *,
        cold: bool = False,
    ) -> Sample:
        import jiwer

        transcript = TurnTranscript()
        for event in tap.events:
            if isinstance(event, InterimTranscript | FinalTranscript):
                transcript.update(event)
        text = transcript.text
        found = jiwer.process_words(clip.words, " ".join(split_words(text)))
        return Sample(
            service="stt",
            at=clock.now(),
            values=values,
            counts={
                "stt.wrong": found.substitutions + found.deletions + found.insertions,
                "stt.words": len(clip.words.split()),
                "stt.late": tap.late,
                "stt.seconds": clip.format.seconds(len(sent)),
                **(counts or {}),
            },
            cold=cold,
            text=text,
            request_id=tap.transcriber.opened.request_id,
        )


def find_whole_interim(events: Sequence[Event]) -> Seconds | None:
    """Return when an interim came that could be drafted on; None if none did.

    It says the same as the final text, and its last word ends where that of the final text does.
    """
    finals = [event for event in events if isinstance(event, FinalTranscript) and event.text]
    if not finals:
        return None
    text, end = finals[-1].text, finals[-1].speech_end - SAME_WORD
    interims = (one for one in events if isinstance(one, InterimTranscript))
    return next(
        (one.at for one in interims if one.speech_end >= end and says_same(one.text, text)), None
    )


def measure_predictions(
    events: Sequence[Event], ended: Seconds, found: Seconds
) -> dict[str, Seconds]:
    """Measure how an STT that ends turns came to the end ``found`` of a turn.

    ended: when the speech was over.
    """
    values = {}
    starts = [event.at for event in events if isinstance(event, TurnStarted)]
    if starts:
        values["stt.turn"] = found - starts[-1]
    kinds = EndOfTurnPredicted | TurnResumed
    last = next((event for event in reversed(events) if isinstance(event, kinds)), None)
    if isinstance(last, EndOfTurnPredicted):
        values["stt.eager"] = max(last.at - ended, 0.0)
        values["stt.eager_lead"] = found - last.at
    return values


def endpoint_matters(profile: Profile) -> bool:
    """Whether the service's endpoint ends a turn, or may come before the local detector's."""
    if profile.turn.detect != "vad":
        return True
    noticed = profile.audio.hangover + profile.audio.block
    limit = profile.stt.silence_limit
    return limit is not None and limit <= noticed


@dataclass(eq=False)
class SttTap:
    """Sends audio to an open transcriber in real time, and collects its events meanwhile.

    Since ``forget``:
    events: what the transcriber reported.
    lags: audio sent − audio that an interim covers, in seconds, per interim.
    late: blocks that went out late because this machine was busy.
    """

    transcriber: Transcriber
    format: AudioFormat
    block: Seconds
    events: list[Event] = field(default_factory=list, init=False)
    lags: list[Seconds] = field(default_factory=list, init=False)
    late: int = field(default=0, init=False)
    _received: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` while collecting events; raises ServiceError if the connection is lost."""
        failure: ServiceError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                collecting = tasks.create_task(self._collect(), name="probe stt: events")
                result = await work()
                collecting.cancel()
            return result
        except* ServiceError as group:
            failure = find_first_error(group)
        raise failure

    async def play(self, pcm: bytes, since: Seconds | None = None) -> Seconds:
        """Send ``pcm`` in blocks, each when its last sample is due; returns when that was.

        since: when the first sample is due; None for now.
        """
        size = len(self.format.silence(self.block))
        at = clock.now() if since is None else since
        for start in range(0, len(pcm), size):
            piece = pcm[start : start + size]
            end = at + self.format.seconds(len(piece))
            await asyncio.sleep(max(0.0, end - clock.now()))
            self.late += clock.now() - end > MAX_LAG
            await self.transcriber.send(AudioBlock(piece, at))
            at = end
        return at

    def forget(self) -> None:
        """Drop what was collected so far."""
        self.events.clear()
        self.lags.clear()
        self.late = 0

    async def wait_for(self, wanted: Callable[[Event], bool], timeout: Seconds) -> Event | None:
        """Wait for the first event since ``forget`` that is wanted; None after ``timeout``."""
        try:
            async with asyncio.timeout(timeout):
                while (found := next(filter(wanted, self.events), None)) is None:
                    self._received.clear()
                    await self._received.wait()
                return found
        except TimeoutError:
            return None

    async def _collect(self) -> None:
        async with aclosing(self.transcriber.events()) as events:
            async for event in events:
                self.events.append(event)
                lag = self.transcriber.interim_lag
                if isinstance(event, InterimTranscript) and lag is not None:
                    self.lags.append(lag)
                self._received.set()
