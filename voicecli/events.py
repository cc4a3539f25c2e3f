"""The vocabulary of a conversation: what happened, and what to do about it.

Events are facts, in the past tense; actions are orders, in the imperative.  Both are frozen data:
they can be compared, printed, saved and replayed.  Times are seconds on the session's clock
(``clock.now``); ``at`` is when the fact entered the process, or, for an action, the ``at`` of the
event that caused it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecli.audio import Seconds

TurnId = int
"""Counts the agent's turns from 1."""

Service = Literal["stt", "llm", "tts"]

EndReason = Literal["speech_final", "utterance_end", "final", "finalize", "timeout", "key"]
"""Which rule ended the user's turn.

speech_final: the service's endpointing saw enough silence.
utterance_end: the service saw no word for long enough.
final: each final segment is a turn (profile ``classic``).
finalize: the answer to our own ``Finalize``.
timeout: nobody decided in time; the words in hand were taken.
key: the user pressed a key.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    at: when the fact entered the process, in seconds on the session's clock.
    """

    at: Seconds


# ── the user ─────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(Event):
    """The local detector hears a voice.

    speech_start: its first voiced frame, at the microphone.
    """

    speech_start: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStopped(Event):
    """The local detector has heard silence for a while.

    speech_end: end of the last voiced frame, at the microphone.
    """

    speech_end: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimTranscript(Event):
    """What the open segment says so far; replaces the interim before it.

    text: the segment's words, possibly none.
    speech_start, speech_end: its first word's start and last word's end, at the microphone.
    """

    text: str
    speech_start: Seconds
    speech_end: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalTranscript(Event):
    """A segment that will not change any more.

    text: its words, possibly none.
    speech_start, speech_end: its first word's start and last word's end, at the microphone.
    speech_final: whether the service's endpointing ended the utterance with it.
    from_finalize: whether it answers our ``Finalize``.
    """

    text: str
    speech_start: Seconds
    speech_end: Seconds
    speech_final: bool = False
    from_finalize: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceEnded(Event):
    """The service has seen no word for a while (Deepgram's ``UtteranceEnd``); may be stale.

    last_word_end: end of the last word it knows of; None when it says "already finalized".
    """

    last_word_end: Seconds | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputEnded(Event):
    """The recording has ended; what follows is silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed(Event):
    """The machine's deadline has come."""


# ── the agent's turn ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEvent(Event):
    """Something that happened to the reply of one turn."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmRequested(ReplyEvent):
    """The request for the reply is on its way.

    attempt: counts the requests of this turn from 1.
    """

    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken(ReplyEvent):
    """The first content token of the reply has arrived (a role-only chunk is none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseSent(ReplyEvent):
    """A piece of the reply goes to the TTS.

    text: the words, as they are to be spoken.
    flushed: whether the service was told to synthesise at once.
    """

    text: str
    flushed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAudio(ReplyEvent):
    """The first audio of the reply has arrived.

    lead: silence at its head, in seconds; None when all of the first chunk is silent.
    """

    lead: Seconds | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStarted(ReplyEvent):
    """The first audible sample of the reply sounded; ``at`` is when, by the sink's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFinished(ReplyEvent):
    """The last sample of the reply was heard.

    said: the whole reply.
    heard: seconds of it that were played.
    underruns: how often the sink had run dry before the end.
    tokens: completion tokens, as the service counts them; None when it does not.
    """

    said: str
    heard: Seconds
    underruns: int = 0
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCancelled(ReplyEvent):
    """The reply was stopped; nothing of it sounds after this.

    said: the words that were heard, as far as flush boundaries tell.
    heard: seconds of it that were played.
    """

    said: str
    heard: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFailed(ReplyEvent):
    """A service failed in the agent's turn; the conversation goes on.

    service: which one.
    reason: one sentence.
    said, heard: as in ReplyCancelled.
    """

    service: Service
    reason: str
    said: str = ""
    heard: Seconds = 0.0


# ── the connections ──────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened(Event):
    """A service's socket is open.

    took: seconds from the first byte to the open socket.
    request_id: the service's id of the connection, or "".
    """

    service: Service
    took: Seconds
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost(Event):
    """A service's socket is gone, and the session with it.

    reason: one sentence.
    """

    service: Service
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Event):
    """Something that the user should know, and that stops nothing."""

    service: Service
    text: str


# ── actions ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do now.

    at: the ``at`` of the event that caused it.
    """

    at: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReply(Action):
    """Answer the user.

    user_text: all the user said in this turn.
    speech_end: end of its last word, as the STT has it; None when it does not say.
    reason: which rule ended the user's turn.
    """

    turn: TurnId
    user_text: str
    speech_end: Seconds | None
    reason: EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelReply(Action):
    """Stop being audible now, then stop everything else.

    heard_nothing: the user goes on before a sample of it was heard: the turns become one.
    """

    turn: TurnId
    heard_nothing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalize(Action):
    """Ask the STT for the final text of what it has, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession(Action):
    """Close the services and end.

    reason: "input ended" or one sentence on what was lost.
    """

    reason: str
