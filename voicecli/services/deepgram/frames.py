"""The frames of Deepgram's WebSockets, decoded.  Pure.

Servers that imitate the service, and the service itself after an update, send frames that are not
as its reference says: without a type, with null or missing fields, with times in milliseconds.  An
odd frame is ignored, or the odd part of it, with a warning; it never ends a connection.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from voicecli import events
from voicecli.events import Event
from voicecli.sanitize import replace_surrogates, sanitize_short
from voicecli.units import AudioBlock, AudioFormat, Seconds

ANCHORS_KEPT: Seconds = 120.0
"""Transcripts speak of audio at most this old; the longest segment seen is 10 s."""

SHORTEST_WORD: Seconds = 0.010
DRIFT: Seconds = 0.001
"""Audio that starts further than this from the end of the last block starts a new anchor."""

PADDING: Seconds = 1.0
"""A service may pad the end of the audio, and count that: times are not taken for wrong before."""

Stretch = tuple[Seconds, Seconds]
"""Where a piece of the audio sent begins and ends."""


class OddFrameError(ValueError):
    """A frame that cannot be used; the text says what it is."""


def parse_frame(message: str | bytes) -> dict[str, Any]:
    """Parse a control message, which has a type; raises OddFrameError."""
    try:
        frame = json.loads(message.removeprefix("\ufeff") if isinstance(message, str) else message)
    except (ValueError, RecursionError):
        raise OddFrameError("a frame that is not JSON") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise OddFrameError("a frame without a type")
    return frame


def find_control(message: str | bytes) -> dict[str, Any] | None:
    """Return the control message, also one in a binary frame; None for audio.

    Raises OddFrameError for text that is no control message.
    """
    if isinstance(message, str):
        return parse_frame(message)
    if message.startswith(b"{") and message.rstrip().endswith(b"}"):
        with suppress(OddFrameError):
            return parse_frame(message)
    return None


def decode(message: str | bytes, sent: SentAudio, *, at: Seconds) -> list[Event]:
    """Return what a frame from the STT stands for, stamped ``at``: an event, a warning, both, none.

    Unknown types are of no consequence: the service adds some every year.
    """
    try:
        return list(_decode(parse_frame(message), sent, at))
    except OddFrameError as odd:
        return [warn(at, f"ignored {odd}")]


class WarningFilter:
    """Lets each warning of a connection pass once, and every other event."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def passes(self, event: Event) -> bool:
        """Whether ``event`` is no warning that has passed before."""
        if not isinstance(event, events.Warned):
            return True
        is_new = event.text not in self._given
        self._given.add(event.text)
        return is_new


def warn(at: Seconds, text: str) -> Event:
    """Create the warning that ``text`` states."""
    return events.Warned(at=at, service="stt", text=text)


def _decode(frame: dict[str, Any], sent: SentAudio, at: Seconds) -> Iterator[Event]:
    match frame["type"]:
        case "Results":
            yield from _decode_results(frame, sent, at)
        case "UtteranceEnd":
            end = read_number(frame, "last_word_end")
            if end is None or end > sent.seconds + PADDING:
                yield warn(at, "ignored the time of an UtteranceEnd: it is not in the audio sent")
                end = -1.0
            # -1: the words it means are final already.
            last = sent.end(min(end, sent.seconds)) if end >= 0 else None
            yield events.UtteranceEnded(at=at, last_word_end=last)
        case "Error":
            parts = [frame.get(name) for name in ("variant", "description", "message")]
            text = ": ".join(part for part in parts if isinstance(part, str) and part)
            yield warn(at, sanitize_short(text) or "an error it does not explain")


def _decode_results(frame: dict[str, Any], sent: SentAudio, at: Seconds) -> Iterator[Event]:
    match frame:
        case {"channel": {"alternatives": [{"transcript": str(text), **rest}, *_]}}:
            text, words = replace_surrogates(text), rest.get("words")
        case _:
            raise OddFrameError("a Results frame without a transcript")
    segment = _find_segment(frame, sent, may_be_empty=not text)
    stretch = find_stretch_of_words(words, sent) if words else segment
    if stretch is None:
        yield warn(at, "ignored the times of a transcript: they are not in the audio sent")
        until = sent.seconds if text else sent.final_until
        stretch = segment or (sent.final_until, until)
    speech_start, speech_end = sent.start(stretch[0]), sent.end(stretch[1])
    speech_final = _is_set(frame, "speech_final")
    # An old example of the documentation has speech_final without is_final.
    if not (speech_final or _is_set(frame, "is_final")):
        if segment is not None:
            sent.interim_lag = sent.seconds - segment[1]
        yield events.InterimTranscript(
            at=at, text=text, speech_start=speech_start, speech_end=speech_end
        )
        return
    from_finalize = _is_set(frame, "from_finalize")
    # Where no pause ends the segment, its end may cut a word.
    settled = segment if segment and (speech_final or from_finalize) else stretch
    sent.final_until = max(sent.final_until, settled[1])
    yield events.FinalTranscript(
        at=at,
        text=text,
        speech_start=speech_start,
        speech_end=speech_end,
        speech_final=speech_final,
        from_finalize=from_finalize,
    )


def _find_segment(frame: object, sent: SentAudio, *, may_be_empty: bool) -> Stretch | None:
    """Return the stretch of audio that a Results frame covers; None without usable times."""
    start, duration = read_number(frame, "start"), read_number(frame, "duration")
    if start is None or duration is None or not (duration > 0 or may_be_empty):
        return None
    return fit(start, start + duration, sent)


def find_stretch_of_words(words: object, sent: SentAudio) -> Stretch | None:
    """Return where the words begin and end; None without usable times."""
    if not isinstance(words, list):
        return None
    start, end = read_number(words[0], "start"), read_number(words[-1], "end")
    return None if start is None or end is None or start == end else fit(start, end, sent)


def fit(start: Seconds, end: Seconds, sent: SentAudio) -> Stretch | None:
    """Return the stretch, rounding errors removed; None if it is not in the audio sent."""
    if not -SHORTEST_WORD <= start <= end <= sent.seconds + PADDING:
        return None
    return max(0.0, min(start, sent.seconds)), min(end, sent.seconds)


def read_number(frame: object, name: str) -> float | None:
    """Return a finite number, or None."""
    value = frame.get(name) if isinstance(frame, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON's integers have any number of digits
        return None
    return number if math.isfinite(number) else None


def _is_set(frame: dict[str, Any], name: str) -> bool:
    return frame.get(name) in (True, "true")


class SentAudio:
    """Maps seconds of audio sent, in which the service counts, to the session's clock.

    A muted microphone leaves a gap in the session and none in the audio.  Kept as anchors: from
    this second of audio on, the session's time is that far ahead of it.

    seconds: of audio sent.
    interim_lag: see ``Transcriber``.
    final_until: how many seconds of the audio are settled by finals.
    """

    def __init__(self, rate: int) -> None:
        self._format = AudioFormat(rate)
        self._bytes = 0
        self._starts: list[Seconds] = []
        self._ahead: list[Seconds] = []
        self.interim_lag: Seconds | None = None
        self.final_until: Seconds = 0.0

    @property
    def seconds(self) -> Seconds:
        """How much audio was sent."""
        return self._format.seconds(self._bytes)

    @property
    def anchors(self) -> int:
        """How many anchors are kept."""
        return len(self._starts)

    def add(self, block: AudioBlock) -> None:
        """Record that ``block`` is sent next."""
        sent = self.seconds
        ahead = block.at - sent
        if not self._ahead or abs(ahead - self._ahead[-1]) > DRIFT:
            self._starts.append(sent)
            self._ahead.append(ahead)
        self._bytes += len(block.pcm)
        dropped = bisect_right(self._starts, sent - ANCHORS_KEPT) - 1
        if dropped > 0:
            del self._starts[:dropped], self._ahead[:dropped]

    # A word never lies across a gap.  One that ends or begins at its edge is looked up from within,
    # for the service's times are 32-bit floats and may fall on either side.

    def start(self, sent: Seconds) -> Seconds:
        """Session time of something that begins after ``sent`` seconds of audio."""
        return sent + self._ahead_at(sent + SHORTEST_WORD)

    def end(self, sent: Seconds) -> Seconds:
        """Session time of something that ends after ``sent`` seconds of audio."""
        return sent + self._ahead_at(sent - SHORTEST_WORD)

    def _ahead_at(self, sent: Seconds) -> Seconds:
        return self._ahead[max(0, bisect_right(self._starts, sent) - 1)] if self._ahead else 0.0
