"""The vocabulary of a conversation: events (what happened) and actions (what to do about it).

Events are facts, in the past tense; actions are orders, in the imperative.  Both are frozen data
that can be compared, printed, saved and replayed.  All times are seconds on the session's clock
(``clock.now``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecli.units import Seconds

TurnId = int
"""Numbers the agent's turns from 1."""

Service = Literal["stt", "llm", "tts"]

Ending = Literal["complete", "default", "incomplete"]
"""How the words of a turn end."""

EndReason = Literal["speech_final", "utterance_end", "final", Ending, "timeout", "key", "typed"]
"""The rule that ended the user's turn.

speech_final: the STT's endpointing detected enough silence.
utterance_end: the STT recognised no word for long enough.
final: every final segment is a turn (profile ``classic``).
complete, default, incomplete: the pause was long enough for such words (``turn.commit_ms``), as
    their sound corrects them (``turn.end_model``).
timeout: no other rule applied in time.
key: the user pressed the key that ends the turn.
typed: the user typed the turn.
"""

MAX_LAG: Seconds = 0.020
"""The event loop may run this late before its time stamps are reported as unreliable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; ``at`` is when the fact entered the process."""

    at: Seconds


# ── the user ─────────────────────────────────────────────────────────────────


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
class SpeechEndMeasured(Event):
    """The sound that followed shows when speech stopped: more exactly than it was reported.

    reported: ``speech_end`` of the SpeechStopped that this corrects.
    """

    reported: Seconds
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


# ── the recording in the microphone's place ──────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResumed(Event):
    """The recording plays, from its beginning or from where it was paused.

    since: when its next sample was at the microphone.
    position: of that sample in the recording, in seconds from its beginning.
    """

    since: Seconds
    position: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPaused(Event):
    """The recording was paused, or ended; silence follows.

    since: when the silence began at the microphone.
    position: how far the recording was played, in seconds from its beginning.
    """

    since: Seconds
    position: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSpeechStarted(Event):
    """Speech was found in the part of the recording that is played next.

    position: of its first voiced frame, in seconds from the recording's beginning.
    new_turn: whether labels say that it does not go on with the turn before it.
    """

    position: Seconds
    new_turn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSpeechStopped(Event):
    """The end of that speech was found.

    position: of the end of its last voiced frame, in seconds from the recording's beginning.
    """

    position: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed(Event):
    """The turn machine's deadline passed."""


# ── the user's keys ──────────────────────────────────────────────────────────


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


# ── the agent's turn ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEvent(Event):
    """Something that happened to one turn's reply."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmRequested(ReplyEvent):
    """A request was sent to the LLM.

    attempt: numbers the requests of this turn from 1.
    hedge: whether it races a late request rather than replaces a failed one.
    """

    attempt: int = 1
    hedge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken(ReplyEvent):
    """The first token of the reply's answer arrived; one with only a role, white space or reasoning
    does not count.  It comes again if the text of the first turns out to be reasoning.

    attempt: the request that delivered it.
    """

    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseReady(ReplyEvent):
    """The reply's first clause is complete; speaking it may have to wait for the commit.

    text: the words as they will be spoken.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseSent(ReplyEvent):
    """A piece of the reply was sent to the TTS.

    text: the words as they will be spoken.
    flushed: whether the TTS was asked to synthesise at once.
    """

    text: str
    flushed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAudio(ReplyEvent):
    """The reply's first audible sample arrived from the TTS.

    first_byte: when the first audio arrived, audible or not.
    lead: seconds of silence before it, which were not played.
    """

    first_byte: Seconds
    lead: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStarted(ReplyEvent):
    """The reply's first audible sample was played; ``at`` is when, by the sink's clock.

    estimated: whether ``at`` is a guess because the sound card reports no times.
    """

    estimated: bool = False


Volume = Literal["full", "ducked", "silent"]
"""How loud the loudspeaker plays a reply; silent: it is held, or was cleared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeChanged(ReplyEvent):
    """The volume of a reply that was audible has changed.

    at: when the fade to it ends at the loudspeaker, by the sink's clock.
    """

    volume: Volume


PlaybackEnd = Literal["flushed", "empty", "stalled"]
"""How the session knew that a reply's audio was complete.

flushed: the TTS confirmed that everything was delivered.
empty: no confirmation came, and the playout queue had been empty for ``tts.empty_ms``.
stalled: no audio arrived at all for ``tts.first_audio_timeout_ms``.
"""


Truncation = Literal["length", "content_filter"]
"""Why an LLM ended a reply before it was complete.

length: the limit of tokens was reached (``llm.max_tokens``, or the server's own).
content_filter: the service withheld the rest.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFinished(ReplyEvent):
    """The reply's last sample was played.

    said: the whole text.
    heard: seconds of audio played.
    underruns: how often the sink ran dry during the reply.
    tokens, prompt_tokens: as the LLM service counts them; None when it does not report them.
    ended_by: how the end of the audio was known.
    truncated: why the text is not complete; None if it is.
    """

    said: str
    heard: Seconds
    underruns: int = 0
    tokens: int | None = None
    prompt_tokens: int | None = None
    ended_by: PlaybackEnd = "flushed"
    truncated: Truncation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCancelled(ReplyEvent):
    """The reply was stopped; nothing is played after this.

    said: the words that were played.
    heard: seconds of audio played.
    estimated: whether the end of ``said`` is estimated, because it lies within a flush.
    committed: False for a draft.
    tokens, prompt_tokens: what it used of the LLM; estimated from the text if the service, cut off,
        did not report them.
    characters: what was sent of it to the TTS.
    """

    said: str
    heard: Seconds
    estimated: bool = False
    committed: bool = True
    tokens: int = 0
    prompt_tokens: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFailed(ReplyEvent):
    """A service failed during the reply; the conversation goes on.

    reason: one sentence.
    stalled: whether the LLM had sent no token when the time for the first one was up.
    said, heard: as in ReplyCancelled.
    """

    service: Service
    reason: str
    stalled: bool = False
    said: str = ""
    heard: Seconds = 0.0


# ── the connections ──────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened(Event):
    """A connection to a service opened.

    took: seconds from the first byte to the open socket.
    request_id: the service's id for the connection, or "".
    """

    service: Service
    took: Seconds
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost(Event):
    """A connection was lost for good, which ends the session; ``reason`` is one sentence."""

    service: Service
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Event):
    """Something the user should know but that stops nothing."""

    service: Service | Literal["audio"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCalibrated(Event):
    """How exact this session's mouth-to-ear is, measured on signals whose ends are known.

    error: 95 of 100 measurements are off by less, in seconds.
    signals: how many were measured.
    """

    error: Seconds
    signals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioGlitched(Event):
    """The sound card lost samples ``xruns`` times since the last such event, in or out."""

    xruns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLagged(Event):
    """The event loop was ``lag`` seconds late; recent time stamps may be late by as much."""

    lag: Seconds


# ── actions ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do now; ``at`` is that of the event that caused it."""

    at: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftReply(Action):
    """Prepare a reply to ``user_text``, the user's turn so far; do not play it yet."""

    turn: TurnId
    user_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSpeech(Action):
    """Have the beginning of the drafted reply synthesised, but do not play it yet."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReply(Action):
    """Speak the drafted reply: the user's turn has ended.

    speech_end: when the user stopped speaking, by the detector or else the STT; None if unknown.
    reason: the rule that ended the user's turn.
    """

    turn: TurnId
    user_text: str
    speech_end: Seconds | None
    reason: EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelReply(Action):
    """Silence the agent now, then stop the reply.

    heard_nothing: the user continued before a sample was played: the turn goes on.
    committed: False for a draft.
    """

    turn: TurnId
    heard_nothing: bool
    committed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Duck(Action):
    """Lower the volume: the user may be interrupting."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Action):
    """Pause playback at the current sample, which may be the first: the user may be speaking."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Action):
    """Play from the held sample at full volume: it was a false alarm."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalize(Action):
    """Ask the STT for the final text of all audio sent so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEndOfTurn(Action):
    """Have the model judge the turn up to the pause that began at ``speech_end``."""

    speech_end: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession(Action):
    """Close the services and end the session.

    reason: "input ended", a UserQuit's reason, or one sentence on the service that was lost.
    """

    reason: str
