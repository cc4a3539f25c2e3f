"""What to do about it: orders, in the imperative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecli.events.entry import Action, TurnId
from voicecli.units import Seconds

Ending = Literal["complete", "default", "incomplete"]
"""How the words of a turn end."""

EndReason = Literal[
    "speech_final", "utterance_end", "final", Ending, "end_of_turn", "timeout", "key", "typed"
]
"""The rule that ended the user's turn.

speech_final: the STT's endpointing detected enough silence.
utterance_end: the STT recognised no word for long enough.
final: every final segment is a turn (profile ``classic``).
complete, default, incomplete: the pause was long enough for such words (``turn.commit_ms``), as
    their sound corrects them (``turn.end_model``).
end_of_turn: the STT found that the turn has ended.
timeout: no other rule applied in time.
key: the user pressed the key that ends the turn.
typed: the user typed the turn.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greet(Action):
    """Say the greeting, with which the conversation begins."""


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
