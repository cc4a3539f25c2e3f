"""Barge-in: whether sound during a reply takes the floor from the agent.  Pure.

The reaction escalates.  The first voiced frames, or a loud sound that may become speech, duck the
reply; continued speech holds it, so that the user need not shout; words or sustained speech cut it.
After a cough, an "uh-huh" or the agent's own echo, the reply resumes where it was held.
"""

from __future__ import annotations

from enum import Enum, auto

from voicecli.turns.end_of_turn import is_backchannel, is_echo
from voicecli.turns.policy import BargeInPolicy
from voicecli.units import Seconds

SUSPICION_TIMEOUT: Seconds = 0.2
"""How long an unconfirmed sound may duck the reply, delay its playback or delay a commit; the
detector confirms speech sooner."""


class Escalation(Enum):
    """The reaction to an interruption so far."""

    NONE = auto()
    SUSPECTED = auto()
    """Ducked by a sound that may not be speech."""
    DELAYED = auto()
    """Held, before it was audible, by a sound that may not be speech."""
    DUCKED = auto()
    HELD = auto()


class Interruption:
    """One possible barge-in, from the first voiced frame to the cut or the false alarm.

    stage: the reaction so far.
    said: the part of the agent's reply that was sent to the TTS, to recognise its echo.
    """

    def __init__(self, policy: BargeInPolicy) -> None:
        self._policy = policy
        self.stage = Escalation.NONE
        self.said = ""
        self._since: Seconds = 0.0
        self._ended: Seconds | None = None
        self._may_suspect = True

    @property
    def is_speech(self) -> bool:
        """Whether the detector has confirmed speech."""
        return self.stage in (Escalation.DUCKED, Escalation.HELD)

    @property
    def is_suspected(self) -> bool:
        """Whether a sound is to be confirmed as speech."""
        return self.stage in (Escalation.SUSPECTED, Escalation.DELAYED)

    def suspect(self, at: Seconds, *, audible: bool) -> bool:
        """Note a loud sound; return whether to react: once, and again only after speech.

        audible: whether the reply is; then it is ducked, otherwise its playback is delayed.
        """
        if self.stage is not Escalation.NONE or not self._may_suspect:
            return False
        self.stage = Escalation.SUSPECTED if audible else Escalation.DELAYED
        self._since = at
        self._may_suspect = False
        return True

    def start_speech(self, speech_start: Seconds) -> None:
        """Note that speech started or continues; gaps do not count towards ``confirm``."""
        self._may_suspect = True
        if not self.is_speech:
            delayed = self.stage is Escalation.DELAYED
            self.stage = Escalation.HELD if delayed else Escalation.DUCKED
            self._since = speech_start
        elif self._ended is not None:
            self._since += speech_start - self._ended
        self._ended = None

    def stop_speech(self, speech_end: Seconds) -> None:
        """Note that speech paused; its words, if any, decide."""
        self._ended = speech_end

    def end(self) -> None:
        """Forget the interruption: it was a false alarm, or the reply is over."""
        self.stage = Escalation.NONE

    @property
    def next_step(self) -> Seconds:
        """When to escalate if speech continues, or to dismiss an unconfirmed sound."""
        policy = self._policy
        if self.is_suspected:
            return self._since + SUSPICION_TIMEOUT
        return self._since + (policy.hold if self.stage is Escalation.DUCKED else policy.confirm)

    def is_confirmed_by(self, text: str, *, interim: bool = False) -> bool:
        """Whether the words ``text`` take the floor; ``interim``: more may follow."""
        return (
            len(text.split()) >= self._policy.min_words
            and not is_backchannel(text, self._policy.backchannels, begun=interim)
            and not is_echo(text, self.said)
        )
