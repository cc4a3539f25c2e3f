"""What the user does: speech, its transcript, keys."""

from __future__ import annotations

from dataclasses import dataclass

from voicecli.events.entry import Event
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(Event):
    """The local detector found speech.

    speech_start: start of the first voiced frame, at the microphone.
    """

    speech_start: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSuspected(Event):
    """The local detector found a loud sound that may turn out to be speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechPaused(Event):
    """The local detector found a short silence within speech; it may become its end.

    speech_end: end of the last voiced frame, at the microphone.
    """

    speech_end: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechResumed(Event):
    """The local detector found that speech continues after a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStopped(Event):
    """The local detector found that speech has stopped, after its hangover time.

    speech_end: end of the last voiced frame, at the microphone.
    """

    speech_end: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfTurnScored(Event):
    """A model judged by the sound whether the turn has ended with the pause at ``speech_end``.

    probability: that it has, from 0 to 1.
    """

    speech_end: Seconds
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimTranscript(Event):
    """The text of the open segment so far; replaces the previous interim.

    text: the segment's words; may be empty.
    speech_start, speech_end: start of its first and end of its last word, at the microphone.
    """

    text: str
    speech_start: Seconds
    speech_end: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalTranscript(Event):
    """The final text of a segment.

    text: the segment's words; may be empty.
    speech_start, speech_end: start of its first and end of its last word, at the microphone.
    speech_final: whether the STT's endpointing ended the speech with this segment.
    from_finalize: whether it answers a ``Finalize``.
    """

    text: str
    speech_start: Seconds
    speech_end: Seconds
    speech_final: bool = False
    from_finalize: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceEnded(Event):
    """The STT recognised no word for a while (Deepgram's ``UtteranceEnd``); may be outdated.

    last_word_end: end of the last word; None when the service reports "already finalized".
    """

    last_word_end: Seconds | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputEnded(Event):
    """The recording ended; only silence follows."""


# ── turns, as an STT sees them that decides by itself when one has ended ──────


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Event):
    """The STT found that a turn of the user's has begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfTurnPredicted(Event):
    """The STT expects that the turn has ended; the user may still go on.

    confidence: that it has ended, from 0 to 1; None: the STT gives none.
    """

    confidence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResumed(Event):
    """The turn goes on, though the STT had predicted its end.

    confidence: that it has ended, from 0 to 1; None: the STT gives none.
    """

    confidence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfTurnDetected(Event):
    """The STT found that the turn has ended; the final transcript came before.

    confidence: that it has ended, from 0 to 1; None: the STT gives none.
    trigger: what ended it: "model", "timeout", "manual" (a ``Finalize``), or another word of the
        service's; "" where it names none.
    """

    confidence: float | None
    trigger: str


# ── keys ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnYielded(Event):
    """The user pressed the key that ends the turn and asks for an answer now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStopped(Event):
    """The user pressed the key that silences the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTyped(Event):
    """The user typed a complete turn; ``text`` is not empty."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrophoneMuted(Event):
    """The user muted or unmuted the microphone."""

    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserQuit(Event):
    """The user, or a limit of the session, ended the conversation.

    reason: "quit", "idle" or "time is up".
    """

    reason: str = "quit"
