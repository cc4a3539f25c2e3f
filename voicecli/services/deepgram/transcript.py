"""What Nova-3 says, as events on the session's clock.  Pure.

The service counts time in seconds of audio sent on its connection; SentAudio turns that into the
session's time, so that a muted microphone leaves a gap in the conversation and none in the audio.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from typing import Any

from voicecli.errors import ServiceError
from voicecli.events import Event, FinalTranscript, InterimTranscript, UtteranceEnded, Warned
from voicecli.sanitize import replace_surrogates, sanitize_short
from voicecli.units import AudioBlock, AudioFormat, Seconds

REMEMBERED: Seconds = 120.0
"""Transcripts speak of audio not older than this; the longest segment seen is 10 s."""

SHORTEST_WORD: Seconds = 0.010
DRIFT: Seconds = 0.001


class SentAudio:
    """Where on the session's clock the audio lies that was sent.

    Kept as anchors: from this second of audio on, session time is that much ahead of it.
    """

    def __init__(self, rate: int) -> None:
        self._format = AudioFormat(rate)
        self._bytes = 0
        self._from: list[Seconds] = []
        self._ahead: list[Seconds] = []

    def add(self, block: AudioBlock) -> None:
        """Take note that ``block`` is sent next."""
        sent = self._format.seconds(self._bytes)
        ahead = block.at - sent
        if not self._ahead or abs(ahead - self._ahead[-1]) > DRIFT:
            self._from.append(sent)
            self._ahead.append(ahead)
        self._bytes += len(block.pcm)
        forgotten = bisect_right(self._from, sent - REMEMBERED) - 1
        if forgotten > 0:
            del self._from[:forgotten], self._ahead[:forgotten]

    # A word never lies across a gap.  One that ends or begins at its edge is looked up from within,
    # for the service's times are 32-bit floats and may fall on either side.

    def start(self, sent: Seconds) -> Seconds:
        """Session time of something that begins after ``sent`` seconds of audio."""
        return sent + self._ahead_at(sent + SHORTEST_WORD)

    def end(self, sent: Seconds) -> Seconds:
        """Session time of something that ends after ``sent`` seconds of audio."""
        return sent + self._ahead_at(sent - SHORTEST_WORD)

    def _ahead_at(self, sent: Seconds) -> Seconds:
        return self._ahead[max(0, bisect_right(self._from, sent) - 1)] if self._ahead else 0.0


def decode(message: str | bytes, sent: SentAudio, *, at: Seconds) -> Event | None:
    """The event a frame stands for, stamped ``at``; None where it tells nothing new.

    Types it does not know are nothing new: the service adds some every year.  Raises ServiceError
    where the frame is not what the service's reference promises.
    """
    try:
        frame = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise _malformed("a frame that is not JSON") from error
    match frame:
        case {"type": "Results"}:
            return _transcript(frame, sent, at)
        case {"type": "UtteranceEnd"}:
            end = _seconds(frame, "last_word_end")
            # -1: the words it means are final already.
            return UtteranceEnded(at=at, last_word_end=sent.end(end) if end >= 0 else None)
        case {"type": "Error"}:
            said = [frame.get(name) for name in ("variant", "description", "message")]
            text = ": ".join(part for part in said if isinstance(part, str) and part)
            return Warned(
                at=at, service="stt", text=sanitize_short(text) or "an error it does not explain"
            )
        case {"type": str()}:
            return None
        case _:
            raise _malformed("a frame without a type")


def _transcript(frame: dict[str, Any], sent: SentAudio, at: Seconds) -> Event:
    match frame:
        case {"channel": {"alternatives": [{"transcript": str(text), **rest}, *_]}}:
            words = rest.get("words") or []
        case _:
            raise _malformed("a Results frame without a transcript")
    if not isinstance(words, list):
        raise _malformed("a Results frame whose words are no list")
    start = _seconds(words[0] if words else frame, "start")
    end = _seconds(words[-1], "end") if words else start + _seconds(frame, "duration")
    text, speech_start, speech_end = replace_surrogates(text), sent.start(start), sent.end(end)
    speech_final = frame.get("speech_final") is True
    # An old example of the documentation has speech_final without is_final.
    if not (speech_final or frame.get("is_final") is True):
        return InterimTranscript(at=at, text=text, speech_start=speech_start, speech_end=speech_end)
    return FinalTranscript(
        at=at,
        text=text,
        speech_start=speech_start,
        speech_end=speech_end,
        speech_final=speech_final,
        from_finalize=frame.get("from_finalize") is True,
    )


def _seconds(frame: object, name: str) -> Seconds:
    value = frame.get(name) if isinstance(frame, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise _malformed(f"a frame whose {name} is no number")


def _malformed(what: str) -> ServiceError:
    # temporary: another connection may do better
    return ServiceError("stt", f"the service sent {what}", temporary=True)
