"""The STT, measured as a conversation uses it: a voice in real time, on an open connection.

Two kinds of readings.  ``finalize``: the voice, and Finalize where it ends.  ``endpoint``: the
voice, and silence until the service itself says that the utterance has ended; taken only where the
profile waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median
from typing import Literal

from voicecli import clock
from voicecli.audio.interfaces import Detector
from voicecli.events import (
    Event,
    FinalTranscript,
    InterimTranscript,
    Service,
    SpeechStopped,
    UtteranceEnded,
)
from voicecli.probe.clips import LEAD, Clip, clips
from voicecli.probe.schedule import Post, Sample, TicketCounter
from voicecli.probe.stt_tap import SttTap
from voicecli.services.interfaces import Transcriber
from voicecli.units import AudioBlock, AudioFormat, Seconds

FINALIZE_PATIENCE: Seconds = 2.0
"""A conversation waits less (``stt.finalize_timeout_ms``): here, the tail is of interest."""

ENDPOINT_PATIENCE: Seconds = 5.0

GOLDEN = 0.618034
"""Multiples of it fall evenly between two whole numbers: the voice ends anywhere in a block."""

Kind = Literal["finalize", "endpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SttSetting:
    """What is measured.

    open: connects to the STT.
    block: length of the pieces of audio, in seconds.
    detect, each_final: the strategy that ends a turn, see ``turn``.
    timeout: how long the answer to Finalize is waited for there.
    endpoint: whether the service's own endpoint matters to it.
    """

    open: Callable[[], AbstractAsyncContextManager[Transcriber]]
    sample_rate: int
    block: Seconds
    detect: Literal["endpointing", "vad"]
    each_final: bool
    timeout: Seconds
    endpoint: bool

    @property
    def kinds(self) -> Sequence[Kind]:
        """Of the readings."""
        return ("finalize", "endpoint") if self.endpoint else ("finalize",)


class SttProber:
    """See ``series.Prober``.

    detector: the profile's, to know when it notices that the voice has ended.
    """

    service: Service = "stt"

    def __init__(self, setting: SttSetting, detector: Detector) -> None:
        self._setting = setting
        self._detector = detector
        self._clips = clips(setting.sample_rate)

    @property
    def kinds(self) -> int:
        """Finalize, and endpointing where it is on."""
        return len(self._setting.kinds)

    def _tap(self, stt: Transcriber) -> SttTap:
        return SttTap(stt, AudioFormat(self._setting.sample_rate))

    async def measure_cold(self, number: int) -> Sample:
        """Open, and the first utterance."""
        async with self._setting.open() as stt:
            ear = self._tap(stt)
            return await ear.use(lambda: self._finalized(ear, number, cold=True))

    async def measure_warm(self, warmup: int, tickets: TicketCounter, post: Post) -> None:
        """One utterance after the other."""
        async with self._setting.open() as stt:
            ear = self._tap(stt)
            await ear.use(lambda: self._readings(ear, warmup, tickets, post))

    async def _readings(self, ear: SttTap, warmup: int, tickets: TicketCounter, post: Post) -> None:
        for number in range(warmup):
            await self._finalized(ear, number)
        kinds = self._setting.kinds
        while (number_ := await tickets.take()) is not None:
            kind, number = kinds[number_ % len(kinds)], number_ // len(kinds)
            if kind == "finalize":
                post(await self._finalized(ear, number))
            else:
                post(await self._ended(ear, number))

    async def _finalized(self, ear: SttTap, number: int, *, cold: bool = False) -> Sample:
        """The voice, and Finalize where it ends."""
        clip, spoken = self._spoken(number)
        noticed = self._noticed(clip, spoken)
        ear.forget()
        await ear.play(spoken, self._setting.block)
        lags = list(ear.lags)
        asked = clock.now()
        await ear.finalize()
        answer = await ear.first(_from_finalize, FINALIZE_PATIENCE)
        values = {"stt.lag": median(lags)} if lags else {}
        if cold:
            values["stt.open"] = ear.opened.took
        if answer is not None:
            values["stt.final"] = answer.at - asked
        if noticed is not None:
            took = values.get("stt.final", self._setting.timeout)
            values["stt.noticed"] = noticed
            if self._setting.detect == "vad":
                values["stt.ttfs"] = noticed + min(took, self._setting.timeout)
        return self._reading(ear, clip, spoken, values, cold, asked=1, answered=answer is not None)

    async def _ended(self, ear: SttTap, number: int) -> Sample:
        """The voice, and silence until the service says that the utterance has ended."""
        setting = self._setting
        clip, spoken = self._spoken(number)
        ear.forget()
        ended = since = await ear.play(spoken, setting.block)
        end: Event | None = None
        while end is None and since < ended + ENDPOINT_PATIENCE:
            since = await ear.play(clip.silence(setting.block), setting.block, since)
            end = next((one for one in ear.heard() if one.at >= ended and self._ends(one)), None)
        values = {}
        if end is not None:
            values["stt.endpoint"] = end.at - ended
            if setting.detect == "endpointing":
                values["stt.ttfs"] = end.at - ended
        sent = spoken + clip.format.silence(since - ended)
        return self._reading(ear, clip, sent, values)

    def _ends(self, event: Event) -> bool:
        match event:
            case FinalTranscript():
                return bool(event.text) and (event.speech_final or self._setting.each_final)
            case UtteranceEnded():
                return True
        return False

    def _spoken(self, number: int) -> tuple[Clip, bytes]:
        """The clip of this number, its voice ending anywhere in a block."""
        clip = self._clips[number % len(self._clips)]
        return clip, clip.spoken(LEAD + number * GOLDEN % 1 * self._setting.block)

    def _noticed(self, clip: Clip, spoken: bytes) -> Seconds | None:
        """End of the voice → the detector says so, in the same blocks; None if it does not."""
        self._detector.reset()
        size = len(clip.format.silence(self._setting.block))
        pcm = spoken + clip.silence(3.0)
        stopped: SpeechStopped | None = None
        for start in range(0, len(pcm), size):
            block = AudioBlock(pcm[start : start + size], clip.format.seconds(start))
            for event in self._detector.feed(block):
                stopped = event if isinstance(event, SpeechStopped) else stopped
            if stopped is not None and start > len(spoken):
                break
        return None if stopped is None else stopped.at - stopped.speech_end

    def _reading(
        self,
        ear: SttTap,
        clip: Clip,
        sent: bytes,
        values: dict[str, float],
        cold: bool = False,
        **finalize: int,
    ) -> Sample:
        text = understood(ear.heard())
        wrong, words = errors(clip.words, text)
        return Sample(
            service="stt",
            at=clock.now(),
            values=values,
            counts={
                "stt.wrong": wrong,
                "stt.words": words,
                "stt.late": ear.late,
                "stt.seconds": clip.format.seconds(len(sent)),
                **{f"stt.{name}": count for name, count in finalize.items()},
            },
            cold=cold,
            text=text,
            request_id=ear.opened.request_id,
        )


def _from_finalize(event: Event) -> bool:
    return isinstance(event, FinalTranscript) and event.from_finalize


def understood(events: Sequence[Event]) -> str:
    """The words of all finals; of the last interim where there is none."""
    finals = [event.text for event in events if isinstance(event, FinalTranscript)]
    interims = [event.text for event in events if isinstance(event, InterimTranscript)]
    return " ".join(filter(None, finals)) or (interims[-1] if interims else "")


def errors(reference: str, text: str) -> tuple[int, int]:
    """Words of ``text`` that are wrong, missing or too many; and words of the reference."""
    import jiwer

    from voicecli.turns.end_of_turn import split_words

    spoken = " ".join(split_words(text))
    found = jiwer.process_words(reference, spoken)
    return found.substitutions + found.deletions + found.insertions, len(reference.split())
