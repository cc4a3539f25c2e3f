"""Flux's turns, decoded from the frames of one connection.  Pure.

Each frame restates the whole turn so far.  Words may come before StartOfTurn, an EndOfTurn without
an EagerEndOfTurn, words without times, an EndOfTurn without a trigger, and events and types that
nobody knows yet; https://developers.deepgram.com/docs/flux/state has the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from voicecli import events
from voicecli.events import Event
from voicecli.sanitize import replace_surrogates, sanitize_short
from voicecli.services.deepgram.frames import (
    OddFrameError,
    SentAudio,
    Stretch,
    find_stretch_of_words,
    fit,
    read_number,
    warn,
)
from voicecli.units import Seconds

NO_ACTIVE_TURN = "FORCE_END_TURN_NO_ACTIVE_TURN"
"""The code of the warning that answers a ForceEndTurn when all words are final."""

SAME_WINDOW: Seconds = 0.001


class TurnDecoder:
    """Decodes TurnInfo and Warning frames.

    sent: the audio of the connection, in which the service counts.
    text: the words of the turn under way; "" without one.
    ends_turn: whether the answer to a ForceEndTurn is pending.
    """

    def __init__(self, sent: SentAudio) -> None:
        self.text = ""
        self.ends_turn = False
        self._sent = sent
        self._ended: object = None
        """The index of the turn that ended last."""
        self._begin: Seconds = 0.0
        self._end: Seconds = 0.0
        """Where the words of the turn begin and end, as far as they have no times."""
        self._window_end: Seconds = 0.0
        """Until where the last frame covered the audio."""

    def decode(self, frame: dict[str, Any], *, at: Seconds) -> list[Event]:
        """Return what ``frame`` stands for, stamped ``at``; nothing for what is not known."""
        try:
            return list(self._decode(frame, at))
        except OddFrameError as odd:
            return [warn(at, f"ignored {odd}")]

    def _decode(self, frame: dict[str, Any], at: Seconds) -> Iterator[Event]:
        if frame["type"] == "TurnInfo":
            yield from self._decode_turn(frame, at)
        elif frame["type"] == "Warning":
            if self.ends_turn and frame.get("code") == NO_ACTIVE_TURN:
                yield self._end_turn(at, "", from_finalize=True)
            else:
                yield warn(at, describe(frame))

    def _decode_turn(self, frame: dict[str, Any], at: Seconds) -> Iterator[Event]:
        kind, text = frame.get("event"), frame.get("transcript")
        if not isinstance(text, str):
            raise OddFrameError("a TurnInfo frame without a transcript")
        if kind not in _EVENTS or self._is_repeated(frame):
            return
        text = replace_surrogates(text).strip()
        if (window := self._read_window(frame)) is None:
            yield warn(at, "ignored the times of a turn: they are not in the audio sent")
        words = frame.get("words")
        stretch = find_stretch_of_words(words, self._sent) if words else None
        self._follow(text, window or (self._window_end, self._sent.seconds), stretch)
        confidence = read_number(frame, "end_of_turn_confidence")
        confidence = None if confidence is None else min(max(confidence, 0.0), 1.0)
        match kind:
            case "StartOfTurn":
                yield events.TurnStarted(at=at)
            case "TurnResumed":
                yield events.TurnResumed(at=at, confidence=confidence)
        if kind == "EndOfTurn":
            trigger = frame.get("trigger")
            trigger = sanitize_short(trigger) if isinstance(trigger, str) else ""
            forced = trigger == "manual" or (self.ends_turn and not trigger)
            self._ended = frame.get("turn_index")
            yield self._end_turn(at, text, from_finalize=forced)
            yield events.EndOfTurnDetected(at=at, confidence=confidence, trigger=trigger)
            return
        self._sent.interim_lag = self._sent.seconds - self._window_end
        start, end = self._sent.start(self._begin), self._sent.end(self._end)
        yield events.InterimTranscript(at=at, text=text, speech_start=start, speech_end=end)
        if kind == "EagerEndOfTurn":
            yield events.EndOfTurnPredicted(at=at, confidence=confidence)

    def _is_repeated(self, frame: dict[str, Any]) -> bool:
        """Whether ``frame`` is about a turn that has ended; the next one has another index."""
        index = frame.get("turn_index")
        if index is None or index != self._ended:
            return False
        end = read_number(frame, "audio_window_end")
        # a server without an index that grows goes on in later audio
        return end is None or end <= self._sent.final_until + SAME_WINDOW

    def _read_window(self, frame: dict[str, Any]) -> Stretch | None:
        """Return the stretch of audio that a frame covers; None without usable times."""
        end = read_number(frame, "audio_window_end")
        if end is None:
            return None
        start = read_number(frame, "audio_window_start")
        return fit(end if start is None else min(start, end), end, self._sent)

    def _follow(self, text: str, window: Stretch, words: Stretch | None) -> None:
        """Take the words of the turn, and where they are."""
        if not self.text:
            self._begin = self._end = max(window[0], self._sent.final_until)
        if words is not None:
            self._begin, self._end = words
        elif text != self.text:
            # New words without times lie between the last window's end and this one's.  The former
            # is nearer to their end, as the service needs some audio to recognise them.
            self._end = max(self._begin, self._window_end)
        self.text, self._window_end = text, window[1]

    def _end_turn(self, at: Seconds, text: str, *, from_finalize: bool) -> Event:
        start, end = self._sent.start(self._begin), self._sent.end(self._end)
        if not text:
            start = end = self._sent.end(self._window_end)
        self._sent.final_until = max(self._sent.final_until, self._window_end)
        self.text, self.ends_turn = "", self.ends_turn and not from_finalize
        return events.FinalTranscript(
            at=at,
            text=text,
            speech_start=start,
            speech_end=end,
            speech_final=not from_finalize,
            from_finalize=from_finalize,
        )


_EVENTS = ("Update", "StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EndOfTurn")


def describe(frame: dict[str, Any]) -> str:
    """The service's own words in an Error, a Warning or a ConfigureFailure."""
    parts = [frame.get("code") or frame.get("error_code"), frame.get("description")]
    text = ": ".join(part for part in parts if isinstance(part, str) and part)
    return sanitize_short(text) or f"{frame['type']} without an explanation"
