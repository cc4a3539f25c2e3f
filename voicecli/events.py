"""The vocabulary of a conversation: what happened, and what to do about it.

Events are facts, in the past tense; actions are orders, in the imperative.  Both are frozen data:
they can be compared, printed, saved and replayed.  Times are seconds on the session's clock
(``clock.now``); ``at`` is when the fact entered the process, or, for an action, the ``at`` of the
event that caused it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecli.units import Seconds

TurnId = int
"""Counts the agent's turns from 1."""

Service = Literal["stt", "llm", "tts"]

EndReason = Literal[
    "speech_final",
    "utterance_end",
    "final",
    "complete",
    "default",
    "incomplete",
    "timeout",
    "key",
    "typed",
]
"""Which rule ended the user's turn.

speech_final: the service's endpointing saw enough silence.
utterance_end: the service saw no word for long enough.
final: each final segment is a turn (profile ``classic``).
complete, default, incomplete: the pause was long enough for what was said (``turn.commit_ms``).
timeout: nobody decided in time; the words in hand were taken.
key: the user pressed a key.
typed: the user typed instead of speaking.
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
class SpeechSuspected(Event):
    """The local detector hears something loud; whether it is a voice it will know later."""


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


# ── the user's keys ──────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnYielded(Event):
    """The user says by a key: I am done, answer now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStopped(Event):
    """The user says by a key: be quiet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTyped(Event):
    """The user typed a whole turn.

    text: never empty.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrophoneMuted(Event):
    """The user muted the microphone, or let it hear again.

    muted: which of the two.
    """

    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserQuit(Event):
    """The user ends the conversation.

    reason: by what: "quit", "idle" or "time is up".
    """

    reason: str = "quit"


# ── the agent's turn ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEvent(Event):
    """Something that happened to the reply of one turn."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmRequested(ReplyEvent):
    """A request for the reply is on its way.

    attempt: counts the requests of this turn from 1.
    hedge: whether it races an earlier one that is late, rather than follow one that failed.
    """

    attempt: int = 1
    hedge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken(ReplyEvent):
    """The first content token of the reply has arrived (a role-only chunk is none).

    attempt: of the request that won.
    """

    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseReady(ReplyEvent):
    """The first clause of the reply is complete; it may have to wait for the commitment.

    text: the words, as they are to be spoken.
    """

    text: str


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
    """The first audible sample of the reply has arrived.

    first_byte: when the first audio arrived, audible or not.
    lead: seconds of silence that came before it; they were not played.
    """

    first_byte: Seconds
    lead: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStarted(ReplyEvent):
    """The first audible sample of the reply sounded; ``at`` is when, by the sink's clock.

    estimated: whether the sink's clock is a guess, because the sound card gives no times.
    """

    estimated: bool = False


PlaybackEnd = Literal["flushed", "empty", "stalled"]
"""How the end of a reply's audio was known.

flushed: the service said that all was delivered, and the last sample was heard.
empty: it did not say so; the queue had been empty for a while (``tts.empty_ms``).
stalled: no audio came at all for a while (``tts.stall_ms``).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFinished(ReplyEvent):
    """The last sample of the reply was heard.

    said: the whole reply.
    heard: seconds of it that were played.
    underruns: how often the sink had run dry before the end.
    tokens: completion tokens, as the service counts them; None when it does not.
    prompt_tokens: likewise, of all the requests that told.
    ended_by: how the end was known.
    """

    said: str
    heard: Seconds
    underruns: int = 0
    tokens: int | None = None
    prompt_tokens: int | None = None
    ended_by: PlaybackEnd = "flushed"


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

    service: Service | Literal["audio"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioGlitched(Event):
    """The sound card lost samples: too many came in, or too few were there to go out.

    xruns: how often since the last such event.
    """

    xruns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLagged(Event):
    """The event loop was late: what was stamped lately may be stamped late by as much.

    lag: seconds.
    """

    lag: Seconds


# ── actions ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do now.

    at: the ``at`` of the event that caused it.
    """

    at: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftReply(Action):
    """Prepare an answer; nothing of it may be spoken yet.

    user_text: all the user said in this turn, as far as it is known.
    """

    turn: TurnId
    user_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReply(Action):
    """The user's turn has ended: speak the reply, drafted or not.

    user_text: all the user said in this turn.
    speech_end: when the user stopped, as the detector has it, or else the STT; None when neither
        says.
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
    committed: whether the reply was more than a draft.
    """

    turn: TurnId
    heard_nothing: bool
    committed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Duck(Action):
    """Somebody may be interrupting: speak softly."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Action):
    """Somebody goes on speaking: be silent, and remember where."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Action):
    """It was nothing: go on from where the reply was held, as loud as before."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalize(Action):
    """Ask the STT for the final text of what it has, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession(Action):
    """Close the services and end.

    reason: "input ended" or one sentence on what was lost.
    """

    reason: str
