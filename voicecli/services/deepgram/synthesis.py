"""The bookkeeping of one connection to Aura-2.  Pure: it is given the time and does no I/O.

A flush that was asked for is *waiting*, then *in flight* with the Flush that carries it, then *due*
as a FLUSHED for its ``send``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from voicecli.clock import RateLimit
from voicecli.errors import ServiceError
from voicecli.sanitize import sanitize_short
from voicecli.services.deepgram.frames import OddFrameError, find_control
from voicecli.units import SAMPLE_SIZE, Seconds

LONGEST_TEXT = 2000
"""Characters per Speak; one more is an error."""

REFUSED_PAUSE: Seconds = 3.0
"""Wait before a refused Flush is sent again, when our own count would allow it at once."""

_log = logging.getLogger(__name__)


class Synthesis:
    """What one connection was sent and what it still owes.

    in_flight: flushes carried by the Flush whose Flushed is awaited; there is at most one.
    waiting: flushes asked for since, or not yet allowed.
    due: FLUSHED to be handed out.
    unflushed: whether the service holds text that no Flush has covered.
    progress: when a Flush was sent or a frame came, whichever was later.
    """

    def __init__(self, *, flushes: int, characters: int, window: Seconds) -> None:
        self.in_flight = self.waiting = self.due = 0
        self.unflushed = False
        self.progress: Seconds = 0.0
        self._flushes = RateLimit(flushes, window)
        self._characters = RateLimit(characters, window)
        self._not_before: Seconds = 0.0
        self._clears = 0
        self._held = ""
        self._odd = b""
        self._warned: set[str] = set()

    @property
    def clearing(self) -> bool:
        """Whether a Clear has not been confirmed yet."""
        return self._clears > 0

    @property
    def idle(self) -> bool:
        """Whether nothing is owed."""
        return not (self.unflushed or self.in_flight or self.due)

    def pieces(self, text: str) -> Iterator[str]:
        """Cut ``text`` after spaces into pieces that one Speak can hold.

        The service takes no text of white space alone: it is held back for the next text.
        """
        text, self._held = self._held + text, ""
        if not text.strip():
            self._held = text
            return
        limit = min(LONGEST_TEXT, self._characters.limit)
        while len(text) > limit:
            cut = text.rfind(" ", 0, limit) + 1 or limit
            yield text[:cut]
            text = text[cut:]
        yield text

    def text_at(self, text: str, now: Seconds) -> Seconds:
        """When a piece may be sent."""
        return self._characters.allowed_at(len(text), now)

    def text_sent(self, text: str, now: Seconds) -> None:
        """Record that a piece is being sent."""
        self._characters.spend(len(text), now)
        self.unflushed = True

    def ask_flush(self) -> None:
        """Ask for all text so far to be spoken; the last Flush may cover it already."""
        if self.unflushed:
            self.waiting += 1
        elif self.in_flight:
            self.in_flight += 1
        else:
            self.due += 1

    def flush_at(self, now: Seconds) -> Seconds | None:
        """When the next Flush may be sent; None if there is none to send or one is in flight."""
        if self.in_flight or not self.waiting:
            return None
        return max(self._not_before, self._flushes.allowed_at(1, now))

    def flushes_left(self, now: Seconds) -> int:
        """How many Flushes may be sent now."""
        return self._flushes.left(now)

    def budget_left(self, now: Seconds) -> float:
        """The share of the budget, of Flushes or of characters, that may be spent now."""
        limits = (self._flushes, self._characters)
        return min(limit.left(now) / limit.limit for limit in limits)

    def flush_allowed_at(self, characters: int, now: Seconds) -> Seconds:
        """When both this much text and a Flush may be sent."""
        text = self._characters.allowed_at(characters, now)
        return max(text, self._flushes.allowed_at(1, now))

    def flush_sent(self, now: Seconds) -> None:
        """Record that a Flush is being sent; it carries all that waits."""
        self._flushes.spend(1, now)
        self.in_flight, self.waiting, self.unflushed = self.waiting, 0, False
        self.progress = now

    def forget(self) -> bool:
        """Drop everything that is owed; return whether the service needs a Clear."""
        needed = self.unflushed or self.in_flight > 0
        self.in_flight = self.waiting = self.due = 0
        self.unflushed = False
        self._held, self._odd = "", b""
        self._clears += needed
        return needed

    def receive(self, message: str | bytes, now: Seconds) -> bytes:
        """Process a frame; return its audio, whole samples, possibly none.

        Raises ServiceError where the frame reports a failure.
        """
        try:
            frame = find_control(message)
        except OddFrameError as odd:
            self._warn(f"ignored {odd}")
            return b""
        if frame is not None:
            self._note(frame, now)
            return b""
        assert isinstance(message, bytes)
        self.progress = now
        if self._clears:  # of before the Clear
            return b""
        pcm = self._odd + message
        whole = len(pcm) // SAMPLE_SIZE * SAMPLE_SIZE
        self._odd = pcm[whole:]
        return pcm[:whole]

    def _warn(self, text: str) -> None:
        """Log ``text``, once."""
        if text not in self._warned:
            self._warned.add(text)
            _log.warning("TTS: %s", text)

    def _note(self, frame: dict[str, object], now: Seconds) -> None:
        type = frame["type"]
        if type in ("Metadata", "Flushed", "Cleared", "Warning"):  # others must not hide a stall
            self.progress = now
        match type:
            case "Error" | "error":
                raise ServiceError("tts", f"the service failed ({_describe(frame)})")
            case "Cleared":
                self._clears = max(0, self._clears - 1)
            case _ if self._clears:
                pass
            case "Flushed":
                self.due += self.in_flight
                self.in_flight, self._odd = 0, b""
            case "Warning" if "EXCESSIVE_FLUSH" in (frame.get("warn_code"), frame.get("code")):
                # No audio and no Flushed will come, but the text stays with the service.
                self.waiting += self.in_flight
                self.in_flight, self.unflushed = 0, True
                self._not_before = now + REFUSED_PAUSE
            case "Warning":
                self._warn(_describe(frame))


def _describe(frame: dict[str, object]) -> str:
    """Code and text: ``warn_…`` on the wire, ``code`` and ``description`` in the reference."""
    parts = (
        frame.get("warn_code") or frame.get("code") or frame.get("err_code"),
        frame.get("warn_msg") or frame.get("description") or frame.get("err_msg"),
    )
    return (
        sanitize_short(": ".join(part for part in parts if isinstance(part, str)))
        or "it does not say why"
    )
