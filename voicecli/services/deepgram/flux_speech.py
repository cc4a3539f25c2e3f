"""The bookkeeping of one connection to Flux TTS.  Pure: it is given the time and does no I/O.

Here a *speech* is what the service calls a turn: the text from its first Speak to its Flush.  It
ends with SpeechMetadata.  Flushed says nothing about that: it comes before the audio, or after the
end.  What arrives, in order, are ``items``: audio, and FLUSHED for each flush asked for.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from voicecli.sanitize import replace_surrogates, sanitize_short
from voicecli.services.deepgram.frames import OddFrameError, find_control
from voicecli.services.interfaces import FLUSHED, Flushed
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

LONGEST_TEXT = 2000
"""Characters per Speak: the limit of ``/v1/speak``; none is published for ``/v2/speak``."""

EXPECTED_WARNINGS = frozenset(("NO_ACTIVE_SPEECH", "NO_SYNTHESIZABLE_TEXT"))
"""Not worth a word: a barge-in came after the last audio; a reply was only punctuation."""

INTERRUPT_WARNINGS = frozenset(
    (
        "NO_ACTIVE_SPEECH",
        "NO_AUDIO_GENERATED",
        "INVALID_INTERRUPT_OFFSET",
        "INTERRUPT_IN_PROGRESS",
    )
)
"""Answers to an Interrupt that was ignored."""

_log = logging.getLogger(__name__)

Message = dict[str, Any]
"""A message to the service."""


class FatalFrameError(Exception):
    """The service reports, by code and description, that it ends the connection."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description


@dataclass(slots=True)
class Speech:
    """A speech that is not complete.

    asked: how many FLUSHED its end stands for.
    flushed: whether its Flush was sent: no more text is part of it.
    """

    asked: int = 0
    flushed: bool = False


@dataclass(slots=True)
class Interruption:
    """An Interrupt, and what became of it.

    old: speeches that were not complete at the time, and are not yet; their audio is dropped.
    open: whether the last of them was not flushed.
    offset: whether it told how much was played.
    done: whether the service has answered.
    again: what to wait for before it is sent again, because the service ignored it.
    text: the words that were heard, by the service's account.
    """

    old: int = 0
    open: bool = False
    offset: bool = False
    done: bool = False
    again: Literal["audio", "answer"] | None = None
    text: str | None = field(default=None, repr=False)


class SpeechLedger:
    """What one connection was sent, what it owes, and how much of its audio was played.

    items: what has arrived and was not taken.
    speeches: those that are not complete, the oldest first.
    progress: when a Flush was sent or a frame came, whichever was later.
    """

    def __init__(self, rate: int) -> None:
        self.items: deque[bytes | Flushed] = deque()
        self.speeches: deque[Speech] = deque()
        self.progress: Seconds = 0.0
        self.interruption = Interruption(done=True)
        self._format = AudioFormat(rate)
        self._position: Samples = 0
        """Where the audio received ends, counted as the service does: from the start of the
        connection, without what it knows was not played."""
        self._established = 0
        """Milliseconds that the offset of the next Interrupt must exceed."""
        self._ended: str | None = None
        """The speech that was interrupted last: it is over, whatever else comes of it."""
        self._odd = b""
        self._warned: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing is owed, and nothing of an interrupted speech can come."""
        return not (self.speeches or self.items or self.is_blocked)

    @property
    def owes_audio(self) -> bool:
        """Whether the service must send something: a speech waits for no more text."""
        return bool(self.speeches and self.speeches[0].flushed)

    @property
    def is_blocked(self) -> bool:
        """Whether new text might be taken for a part of an interrupted speech."""
        return bool(self.interruption.old and not self.interruption.done)

    # ── sending ──────────────────────────────────────────────────────────────

    def speak(self, text: str) -> Iterator[Message]:
        """Return the messages that add ``text``, as it is, to the open speech."""
        while text:
            cut = len(text)
            if cut > LONGEST_TEXT:
                cut = text.rfind(" ", 0, LONGEST_TEXT) + 1 or LONGEST_TEXT
            if not self.speeches or self.speeches[-1].flushed:
                self.speeches.append(Speech())
            yield {"type": "Speak", "text": text[:cut]}
            text = text[cut:]

    def flush(self, now: Seconds) -> Iterator[Message]:
        """Return the message that ends the open speech; the one before may cover it already."""
        if not self.speeches:
            self.items.append(FLUSHED)
            return
        last = self.speeches[-1]
        last.asked += 1
        if not last.flushed:
            last.flushed = True
            self.progress = now
            yield {"type": "Flush"}

    def interrupt(self, unplayed: Samples | None) -> Iterator[Message]:
        """Drop what is owed; return the Interrupt, if the service needs or can use one.

        unplayed: samples taken and not played; None: nothing was played.
        """
        pending = sum(len(one) for one in self.items if isinstance(one, bytes)) // SAMPLE_SIZE
        old, is_open = len(self.speeches), bool(self.speeches and not self.speeches[-1].flushed)
        played = None
        if unplayed is not None:
            played = self._to_milliseconds(self._position - pending - unplayed)
        if played is not None and played <= self._established:
            played = None
        self.items.clear()
        self.speeches.clear()
        self._odd = b""
        if self.is_blocked:
            return  # at most one is handled at a time, and nothing was sent since
        self.interruption = Interruption(done=True)
        if old or (played is not None and (pending or unplayed)):
            self.interruption = Interruption(old, is_open, offset=played is not None)
            yield _interrupt(played)

    def _to_milliseconds(self, samples: Samples) -> int:
        return max(0, int(1000 * self._format.seconds(SAMPLE_SIZE * samples)))

    # ── receiving ────────────────────────────────────────────────────────────

    def receive(self, message: str | bytes, now: Seconds) -> Iterator[Message]:
        """Process a frame; return the messages that it calls for.  Raises FatalFrameError."""
        try:
            frame = find_control(message)
        except OddFrameError as odd:
            self._warn(f"ignored {odd}")
            return
        if frame is not None:
            yield from self._note(frame, now)
            return
        assert isinstance(message, bytes)
        self.progress = now
        pcm = self._odd + message
        whole = len(pcm) // SAMPLE_SIZE * SAMPLE_SIZE
        self._odd = pcm[whole:]
        self._position += whole // SAMPLE_SIZE
        if not self.is_blocked:
            if whole:
                self.items.append(pcm[:whole])
        elif self.interruption.again == "audio":
            self.interruption.again = None
            yield _interrupt(None)

    def _note(self, frame: Message, now: Seconds) -> Iterator[Message]:
        kind = frame["type"]
        if kind in ("SpeechStarted", "SpeechMetadata", "SpeechInterrupted", "Warning"):
            self.progress = now  # others must not hide a stall
        match kind:
            case "Error" | "error":
                raise FatalFrameError(*_read_reason(frame))
            case "SpeechMetadata":
                self._complete(frame)
            case "SpeechInterrupted":
                self._note_interrupted(frame)
                yield from self._finish_interruption()
            case "Warning" | "ConfigureFailure":
                yield from self._note_warning(frame)

    def _complete(self, frame: Message) -> None:
        """Note that all audio of the oldest speech has arrived."""
        if self._ended is not None and self._ended == frame.get("speech_id"):
            return
        self._odd = b""
        running = self.interruption
        if self.is_blocked:
            running.old -= 1  # it was complete before the Interrupt came
            if not running.old and running.again == "audio":  # it had none
                running.again, running.done = None, True
        elif self.speeches:
            self.items.extend([FLUSHED] * self.speeches.popleft().asked)

    def _note_interrupted(self, frame: Message) -> None:
        """Note what the service says of the interrupted speech."""
        self._odd = b""
        match frame.get("metadata"):
            case {"speech_id": str(ended)}:
                self._ended = ended
        played, text = frame.get("audio_played_ms"), frame.get("text_spoken")
        if isinstance(played, int) and not isinstance(played, bool) and 0 <= played < 1 << 40:
            self._established = played
            self._position = self._format.samples(played / 1000)
        if isinstance(text, str) and self.interruption.offset:
            self.interruption.text = replace_surrogates(text)

    def _finish_interruption(self) -> Iterator[Message]:
        """Note the service's answer; send an Interrupt again that it ignored meanwhile."""
        if self.interruption.again == "answer":
            self.interruption.again = None
            yield _interrupt(None)
        else:
            self.interruption.done = True

    def _note_warning(self, frame: Message) -> Iterator[Message]:
        code, description = _read_reason(frame)
        running = self.interruption
        if running.done or code not in INTERRUPT_WARNINGS:
            if code not in EXPECTED_WARNINGS:
                self._warn(": ".join(filter(None, (code, description))) or "it does not say why")
            return
        if not running.old or code == "NO_ACTIVE_SPEECH":
            yield from self._finish_interruption()
        elif code == "INVALID_INTERRUPT_OFFSET":
            running.offset = False
            yield _interrupt(None)
        elif code == "NO_AUDIO_GENERATED":
            # The first speech of the connection goes on.  It can be interrupted once it has audio,
            # which a Flush makes sure of.
            running.offset, running.again = False, "audio"
            if running.open:
                running.open = False
                yield {"type": "Flush"}
        else:
            running.offset, running.again = False, "answer"

    def _warn(self, text: str) -> None:
        """Log ``text``, once."""
        if text not in self._warned:
            self._warned.add(text)
            _log.warning("TTS: %s", text)


def _interrupt(played: int | None) -> Message:
    """An Interrupt; ``played``: the offset in milliseconds, if it is to have one."""
    if played is None:
        return {"type": "Interrupt"}
    return {"type": "Interrupt", "playback_offset": {"type": "time_ms", "value": played}}


def _read_reason(frame: Message) -> tuple[str, str]:
    """Code and description, sanitized."""
    values = (frame.get("code"), frame.get("description"))
    code, description = (sanitize_short(one) if isinstance(one, str) else "" for one in values)
    return code, description
