"""Deepgram's ``/v2/listen`` (Flux): audio in, turns out, driven by the audio cursor.

Marks of the audio (``turn_tracker``) are recognised in order, which makes frames; each is sent when
it is due.  Recognising never waits for sending: the end of a turn must be weighed while an earlier
frame is still due.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.standin.deepgram import Frame, ServedConnection, parse_message
from voicecli.standin.deepgram_stt import CONFIDENCE, place_words, to_float32
from voicecli.standin.engines import Segment
from voicecli.standin.flux_query import MULTILINGUAL, ThresholdError, parse_flux_query
from voicecli.standin.segmenter import Mark, ResultDue
from voicecli.standin.turn_tracker import (
    EagerDue,
    EndDue,
    TurnTracker,
    VoiceResumed,
    find_confidence,
    find_silence,
)
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

MAX_IDLE: Seconds = 60.0
"""The longest time without a message or a ping of the client's."""

NET_0001 = "Deepgram did not receive audio data or a text message within the timeout window."
NOT_ENABLED = "ForceEndTurn is not enabled on this deployment."
NO_TURN = "Received ForceEndTurn while no turn was active; the request was ignored."

Word = tuple[str, Seconds, Seconds]


@dataclass(slots=True)
class Turn:
    """The turn under way.

    begin: where its audio begins.
    settled: the words of audio that has been cut off for the engine.
    started, eager: whether StartOfTurn, and EagerEndOfTurn since a TurnResumed, were sent.
    text: as it was sent last.
    """

    index: int = 0
    begin: Samples = 0
    settled: list[Word] = field(default_factory=list)
    started: bool = False
    eager: bool = False
    text: str = ""
    lost: bool = False
    """Whether a fault keeps the end from being found by its confidence."""


class FluxListenConnection(ServedConnection):
    """One connection to ``/v2/listen``."""

    service = "stt"

    @override
    def __post_init__(self) -> None:
        self._options = options = parse_flux_query(self.query)
        self._thresholds = options.thresholds
        self._keyterms, self._hints = list(options.keyterms), list(options.language_hints)
        self._numerals = self.query.flag("numerals")
        self._pace = self.engines.pace
        self._stt = self.engines.stt()
        self._tracker = TurnTracker(
            options.rate or 16_000,
            timeout=options.thresholds.timeout,
            longest=self._pace.longest,
        )
        self._marks: asyncio.Queue[tuple[Seconds, Mark | None]] = asyncio.Queue()
        self._frames: asyncio.Queue[tuple[Seconds, Frame | None]] = asyncio.Queue()
        self._partial_sample = b""
        self._sequence = 0
        self._turn = Turn()
        self._judged: tuple[Samples, str, Seconds] | None = None
        """For the silence since a sample and the words before it, after how much of it the
        confidence is 0.7."""

    @override
    async def run(self) -> None:
        await self._send_frame({"type": "Connected", "request_id": self._id})
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(self._recognise_all(), name="flux listen: recognise"),
                tasks.create_task(self._send_all(), name="flux listen: send"),
            ]
            await self._receive_all()
            for task in working:
                task.cancel()

    @property
    def _id(self) -> str:
        return str(self.socket.id)

    # ── what is received ─────────────────────────────────────────────────────

    async def _receive_all(self) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout_at(self.socket.heard_at + MAX_IDLE):
                        message = await self.socket.recv()
                    await self._receive(message)
                except TimeoutError:
                    if clock.now() >= self.socket.heard_at + MAX_IDLE:
                        await self.socket.close(1011, NET_0001)
        except ConnectionClosed:
            return

    async def _receive(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            if self._options.rate is None:
                await self._fail("UNPARSABLE_CLIENT_MESSAGE", "The audio is in no known container.")
            else:
                self._receive_audio(message)
            return
        match parse_message(message):
            case {"type": "CloseStream"}:
                self._marks.put_nowait((clock.now(), None))
            case {"type": "ForceEndTurn"}:
                await self._end_turn()
            case {"type": "Configure"} as request:
                await self._configure(request)
            case _:
                await self._fail("UNPARSABLE_CLIENT_MESSAGE", "Could not parse the message.")

    def _receive_audio(self, audio: bytes) -> None:
        arrival = clock.now()
        audio = self._partial_sample + audio
        whole = len(audio) // SAMPLE_SIZE * SAMPLE_SIZE
        self._partial_sample = audio[whole:]
        end = self._tracker.cursor + whole // SAMPLE_SIZE
        for mark in self._tracker.feed(audio[:whole]):
            self._marks.put_nowait((arrival - (end - mark.at) / self._tracker.rate, mark))

    async def _end_turn(self) -> None:
        faults = self.faults.begin("stt", "finalize")
        if faults.find("finalize_refused"):
            await self._fail("UNPARSABLE_CLIENT_MESSAGE", NOT_ENABLED)
        elif not faults.find("finalize_lost"):
            self._marks.put_nowait((clock.now(), self._tracker.end("manual")))

    async def _configure(self, request: Frame) -> None:
        faults = self.faults.begin("stt", "configure")
        if faults.find("configure_unknown"):
            await self._fail("UNPARSABLE_CLIENT_MESSAGE", "Configure is not known.")
            return
        if faults.find("configure_lost"):
            return
        answer: Frame = {"type": "ConfigureFailure", "request_id": self._id}
        try:
            if faults.find("configure_refused"):
                raise ThresholdError("the thresholds cannot be changed now")
            self._take_configuration(request)
        except ThresholdError as error:
            answer |= {"code": "INVALID_THRESHOLD", "description": str(error)}
        else:
            thresholds, keyterms = self._thresholds.encode(), self._keyterms
            answer |= {"type": "ConfigureSuccess", "thresholds": thresholds, "keyterms": keyterms}
            if self._options.model == MULTILINGUAL:
                answer["language_hints"] = self._hints
            answer["numerals"] = self._numerals
        self._frames.put_nowait((clock.now(), answer))

    def _take_configuration(self, request: Frame) -> None:
        """Take what a Configure changes; raises ThresholdError."""
        thresholds = request.get("thresholds", {})
        keyterms = request.get("keyterms", self._keyterms)
        hints = request.get("language_hints", self._hints)
        numerals = request.get("numerals", self._numerals)
        if not isinstance(thresholds, dict) or not isinstance(numerals, bool):
            raise ThresholdError("thresholds must be an object, numerals true or false")
        if not all(isinstance(one, list) for one in (keyterms, hints)):
            raise ThresholdError("keyterms and language_hints must be lists")
        if hints and self._options.model != MULTILINGUAL:
            raise ThresholdError(f"language_hints need {MULTILINGUAL}")
        self._thresholds = self._thresholds.changed(thresholds)
        self._tracker.timeout = self._thresholds.timeout
        self._keyterms, self._hints, self._numerals = keyterms, hints, numerals

    async def _fail(self, code: str, description: str) -> None:
        await self._send_frame({"type": "Error", "code": code, "description": description})
        await self.socket.close(1011, code)

    # ── what is recognised ───────────────────────────────────────────────────

    async def _recognise_all(self) -> None:
        while True:
            instant, mark = await self._marks.get()
            match mark:
                case None:
                    self._frames.put_nowait((instant, None))
                case ResultDue(result="forced"):
                    text = await self._stt.recognise(mark.segment, "forced")
                    self._turn.settled += self._place(mark, text)
                case ResultDue():
                    await self._update(mark, instant + self._pace.interim_lag)
                case VoiceResumed() if self._turn.eager:
                    words = self._turn.text
                    self._add_turn_info("TurnResumed", mark.at, [], instant, words)
                case EagerDue():
                    await self._expect_end(mark, instant + self._pace.final())
                case EndDue():
                    await self._find_end(mark, instant)

    async def _recognise(self, due: ResultDue) -> list[Word]:
        """The words of the turn up to ``due``."""
        text = ""
        if due.segment.voiced:
            text = await self._stt.recognise(due.segment, due.result)
        return [*self._turn.settled, *self._place(due, text)]

    def _place(self, due: ResultDue, text: str) -> list[Word]:
        start = due.start / due.segment.rate
        placed = place_words(text.split(), due.segment.voiced)
        return [(word, start + begin, start + end) for word, begin, end in placed]

    async def _update(self, due: ResultDue, when: Seconds) -> None:
        turn, words = self._turn, await self._recognise(due)
        text = _join(words)
        await self._weigh(due, text)
        if due.paused:
            return
        if turn.eager and text != turn.text:
            self._add_turn_info("TurnResumed", due.at, words, when)
        elif text and not turn.started and (turn.text or not self.engines.early_words):
            self._add_turn_info("StartOfTurn", due.at, words, when)
        else:
            self._add_turn_info("Update", due.at, words, when)

    async def _weigh(self, due: ResultDue, text: str) -> None:
        """In a pause, tell the tracker after how much silence to expect and to end the turn."""
        since = _find_silence_start(due)
        if since is None or not text:
            self._judged = None
            return
        if self._judged is None or self._judged[:2] != (since, text):
            probability = await self.engines.judge(due.segment, text)
            factor = 1 + (self._pace.hesitation - 1) * (1 - probability)
            self._judged = since, text, self._pace.turn_end * factor
        thresholds, turn_end = self._thresholds, self._judged[2]
        eager = 1.0 if thresholds.eager is None or self._turn.eager else thresholds.eager
        eot = 1.0 if self._turn.lost else thresholds.eot
        self._tracker.expect(since, find_silence(eager, turn_end), find_silence(eot, turn_end))

    async def _expect_end(self, mark: EagerDue, when: Seconds) -> None:
        words = await self._recognise(mark.due)
        if words and not self._turn.eager:
            if not self._turn.started:
                self._add_turn_info("StartOfTurn", mark.at, words, when)
            self._add_turn_info("EagerEndOfTurn", mark.at, words, when)

    async def _find_end(self, mark: EndDue, instant: Seconds) -> None:
        turn, words = self._turn, await self._recognise(mark.due)
        took = self._pace.finalize() if mark.trigger == "manual" else self._pace.final()
        when = instant + took
        if not words:
            if mark.trigger == "manual":
                code = "FORCE_END_TURN_NO_ACTIVE_TURN"
                warning: Frame = {"type": "Warning", "request_id": self._id, "code": code}
                self._frames.put_nowait((when, {**warning, "description": NO_TURN}))
            return  # a noise
        if not turn.started:
            self._add_turn_info("StartOfTurn", mark.at, words, when)
        if turn.eager and _join(words) != turn.text:
            self._add_turn_info("TurnResumed", mark.at, words, when)
        self._add_turn_info("EndOfTurn", mark.at, words, when, trigger=mark.trigger)
        self._turn = Turn(turn.index + 1, mark.at)
        self._judged = None

    def _add_turn_info(
        self,
        event: str,
        at: Samples,
        words: list[Word],
        when: Seconds,
        text: str | None = None,
        *,
        trigger: str = "",
    ) -> None:
        """Queue a TurnInfo frame; ``text``: of the words, if it is sent without them."""
        turn, rate = self._turn, self._tracker.rate
        turn.text = _join(words) if text is None else text
        if event == "StartOfTurn":
            turn.started = True
            turn.lost = self.faults.begin("stt", "turn").find("turn_end_lost") is not None
        if event in ("EagerEndOfTurn", "TurnResumed"):
            turn.eager = event == "EagerEndOfTurn"
        ends_at = max((end for _, _, end in words), default=at / rate)
        silence = max(0.0, at / rate - ends_at) if words else 0.0
        turn_end = self._judged[2] if self._judged else self._pace.turn_end
        frame: Frame = {
            "type": "TurnInfo",
            "request_id": self._id,
            "event": event,
            "turn_index": turn.index,
            "audio_window_start": to_float32(turn.begin / rate),
            "audio_window_end": to_float32(at / rate),
            "transcript": turn.text,
            "words": [self._make_word(*word) for word in words],
            "end_of_turn_confidence": round(find_confidence(silence, turn_end), 4),
        }
        if trigger and not self.engines.older:
            frame["trigger"] = trigger
        if self._options.model == MULTILINGUAL:
            frame["languages"] = ["en"] if turn.text else []
            if self._hints:
                frame["languages_hinted"] = self._hints
        self._frames.put_nowait((when, frame))

    def _make_word(self, word: str, start: Seconds, end: Seconds) -> Frame:
        known: Frame = {"word": word, "confidence": CONFIDENCE}
        if self.engines.older:
            return known
        return {**known, "start": to_float32(start), "end": to_float32(end)}

    # ── what is sent ─────────────────────────────────────────────────────────

    async def _send_all(self) -> None:
        while True:
            when, frame = await self._frames.get()
            await clock.sleep_until(when)
            if frame is None:
                # The service closes without a status code, which ``close`` has no name for.
                await self.socket.close(_NO_STATUS)
            else:
                await self._send_frame(frame)

    async def _send_frame(self, frame: Frame) -> None:
        number, self._sequence = self._sequence, self._sequence + 1
        await self.send({**frame, "sequence_id": number})


_NO_STATUS: Any = None


def _join(words: list[Word]) -> str:
    return " ".join(word for word, _, _ in words)


def _find_silence_start(due: ResultDue) -> Samples | None:
    """Where the silence at the end of ``due`` begins; None if it ends with voice, or has none."""
    segment: Segment = due.segment
    if not segment.voiced:
        return None
    end = round(segment.voiced[-1][1] * segment.rate)
    length = AudioFormat(segment.rate).samples(AudioFormat(segment.rate).seconds(len(segment.pcm)))
    return due.start + end if end < length else None
