"""Whether somebody who makes a sound while the agent speaks takes the floor.  Pure.

In two stages: at the first voiced frames, or what may be such, the reply is ducked, and soon held,
for the user must not have to shout; only words, or a voice that goes on, cut it.  A cough,
"uh-huh" or the agent's own echo does not: the reply goes on from where it was held.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from voicecli.turns.end_of_turn import is_backchannel, is_echo
from voicecli.units import Seconds

CREDIT: Seconds = 0.2
"""So long a sound may be taken for a voice; a detector that needs longer was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeInPolicy:
    """When the user takes the floor from the agent.

    allowed: False is half duplex: what is heard while the agent speaks takes no floor.
    hold: so long after its first voiced frame a voice that goes on silences the reply.
    confirm: so much of a voice cuts the reply, words or none.
    min_words: words that cut it at once.
    backchannels: what takes no floor, as ``text.is_backchannel`` wants it.
    """

    allowed: bool = False
    hold: Seconds = 0.15
    confirm: Seconds = 0.8
    min_words: int = 1
    backchannels: frozenset[str] = frozenset()


class Escalation(Enum):
    """How far an interruption has come."""

    NONE = auto()
    SUSPECTED = auto()
    """Ducked, too, but by a sound that may be no voice."""
    DUCKED = auto()
    HELD = auto()


class Interruption:
    """One suspected barge-in, from the first voiced frame to the cut or the false alarm.

    said: what the agent is saying in this turn, as far as it was sent to the TTS.
    """

    def __init__(self, policy: BargeInPolicy) -> None:
        self._policy = policy
        self.stage = Escalation.NONE
        self.said = ""
        self._since: Seconds = 0.0
        self._ended: Seconds | None = None
        self._credulous = True

    @property
    def voiced(self) -> bool:
        """Whether a voice was heard."""
        return self.stage in (Escalation.DUCKED, Escalation.HELD)

    def suspect(self, at: Seconds) -> bool:
        """A sound may be a voice; whether to believe it: once wrong, not again before a voice."""
        if self.stage is not Escalation.NONE or not self._credulous:
            return False
        self.stage = Escalation.SUSPECTED
        self._since = at
        self._credulous = False
        return True

    def voice_began(self, speech_start: Seconds) -> None:
        """A voice is heard, for the first time or again; gaps do not count."""
        self._credulous = True
        if not self.voiced:
            self.stage = Escalation.DUCKED
            self._since = speech_start
        elif self._ended is not None:
            self._since += speech_start - self._ended
        self._ended = None

    def voice_ended(self, speech_end: Seconds) -> None:
        """It pauses: what it said, if anything, will decide."""
        self._ended = speech_end

    def end(self) -> None:
        """It was nothing, or it is over."""
        self.stage = Escalation.NONE

    @property
    def next_step(self) -> Seconds:
        """When a voice that goes on is to silence the reply, or else to cut it; or, a sound that
        is none, to be forgotten.
        """
        policy = self._policy
        if self.stage is Escalation.SUSPECTED:
            return self._since + CREDIT
        return self._since + (policy.hold if self.stage is Escalation.DUCKED else policy.confirm)

    def confirmed_by(self, text: str, *, interim: bool = False) -> bool:
        """Whether these words take the floor; ``interim``: more of them may be on their way."""
        return (
            len(text.split()) >= self._policy.min_words
            and not is_backchannel(text, self._policy.backchannels, begun=interim)
            and not is_echo(text, self.said)
        )
