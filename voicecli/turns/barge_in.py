"""Barge-in: whether sound during a reply takes the floor from the agent.  Pure.

The reaction escalates.  The first voiced frames, or a loud sound that may become speech, duck the
reply; continued speech holds it, so that the user need not shout; words or sustained speech cut it.
After a cough, an "uh-huh" or the agent's own echo, the reply resumes where it was held.  A loud
sound before the reply is audible delays its playback, until it is known whether it is speech.
"""

from __future__ import annotations

from enum import Enum, auto

from voicecli import events
from voicecli.events import Action, Event, FinalTranscript, InterimTranscript, TurnId
from voicecli.turns.end_of_turn import is_backchannel, is_echo
from voicecli.turns.policy import BargeInPolicy
from voicecli.turns.user_turn import UserTurn
from voicecli.units import Seconds

SUSPICION_TIMEOUT: Seconds = 0.2
"""How long an unconfirmed sound may duck the reply, delay its playback or delay a commit; the
detector confirms speech sooner."""


class Escalation(Enum):
    """The reaction to an interruption so far."""

    NONE = auto()
    DELAYED = auto()
    """Held before it was audible by a sound that may not be speech."""
    SUSPECTED = auto()
    """Ducked by a sound that may not be speech."""
    DUCKED = auto()
    HELD = auto()
    CONFIRMED = auto()
    """The user takes the floor: the reply must be cancelled."""


class Interruption:
    """A possible barge-in into a reply, from the first sound to the cut or the false alarm.

    finalize_timeout: how long to wait for the STT's answer to a Finalize.
    stage: the reaction so far.
    deadline: when to give it ``DeadlinePassed``; None for never.
    awaits_final: whether speech has stopped, and the answer to a Finalize decides.
    said: the part of the reply that was sent to the TTS, to recognise its echo.
    """

    def __init__(self, policy: BargeInPolicy, finalize_timeout: Seconds) -> None:
        self._policy = policy
        self._finalize_timeout = finalize_timeout
        self.stage = Escalation.NONE
        self.deadline: Seconds | None = None
        self.begin(0)

    def begin(self, turn: TurnId) -> None:
        """Prepare for another reply."""
        self.end()
        self._turn = turn
        self.said = ""
        self._since: Seconds = 0.0
        """The start of the speech, later by the gaps in it."""
        self._ended: Seconds | None = None
        self._may_suspect = True

    @property
    def is_speech(self) -> bool:
        """Whether the detector has confirmed speech."""
        return self.stage in (Escalation.DUCKED, Escalation.HELD)

    def delay_playback(self, at: Seconds) -> list[Action]:
        """A loud sound before the reply is audible: do not let it begin."""
        if not self._suspect(at, Escalation.DELAYED):
            return []
        return [events.Hold(at=at, turn=self._turn)]

    def handle(self, event: Event, user: UserTurn) -> list[Action]:
        """React to ``event`` while the reply is audible; ``stage`` says whether to cancel it."""
        allowed = self._policy.allowed
        match event:
            case events.SpeechStarted() if self.stage is Escalation.DELAYED:
                self.stage = Escalation.CONFIRMED  # hardly a sample was heard
            case events.SpeechStarted() if allowed:
                return self._start_speech(event)
            case events.SpeechSuspected() if allowed and self._suspect(
                event.at, Escalation.SUSPECTED
            ):
                return [events.Duck(at=event.at, turn=self._turn)]
            case events.SpeechStopped() if self.is_speech:
                self._ended = event.speech_end
                self.awaits_final, self.deadline = True, event.at + self._finalize_timeout
                return [events.Finalize(at=event.at)]
            case InterimTranscript() | FinalTranscript():
                user.transcript.update(event)
                return self._weigh_words(event, user) if allowed else []
            case events.DeadlinePassed() if self.deadline is not None and event.at >= self.deadline:
                return self._escalate(event.at, user)
        return []

    def end(self) -> None:
        """Forget the interruption: it was a false alarm, or the reply is over."""
        self.stage = Escalation.NONE
        self.deadline, self.awaits_final = None, False

    def _suspect(self, at: Seconds, stage: Escalation) -> bool:
        """Note a loud sound; return whether to react: once a reply, and again only after speech."""
        if self.stage is not Escalation.NONE or not self._may_suspect:
            return False
        self.stage, self._may_suspect = stage, False
        self.deadline = at + SUSPICION_TIMEOUT
        return True

    def _start_speech(self, event: events.SpeechStarted) -> list[Action]:
        """Speech started or continues; gaps do not count towards ``confirm``."""
        is_first = self.stage is Escalation.NONE
        if not self.is_speech:
            self.stage = Escalation.DUCKED
            self._since = event.speech_start
        elif self._ended is not None:
            self._since += event.speech_start - self._ended
        self._may_suspect, self.awaits_final, self._ended = True, False, None
        self._await_next_step(event.at)
        return [events.Duck(at=event.at, turn=self._turn)] if is_first else []

    def _await_next_step(self, at: Seconds) -> None:
        """Escalate when speech has continued for long enough."""
        policy = self._policy
        pause = policy.hold if self.stage is Escalation.DUCKED else policy.confirm
        self.deadline = max(self._since + pause, at)

    def _weigh_words(
        self, event: InterimTranscript | FinalTranscript, user: UserTurn
    ) -> list[Action]:
        is_final = isinstance(event, FinalTranscript)
        if self.is_confirmed_by(user.transcript.text, interim=not is_final):
            self.stage = Escalation.CONFIRMED
        elif is_final and self.awaits_final:
            return self._dismiss(event.at, user)
        elif is_final and not self.is_speech:
            user.transcript.take()  # a back-channel or an echo that the detector missed
        return []

    def _escalate(self, at: Seconds, user: UserTurn) -> list[Action]:
        """Hold or cut the reply if speech goes on; resume if it did not, and no words came."""
        if self.awaits_final:
            return self._dismiss(at, user)
        match self.stage:
            case Escalation.DELAYED | Escalation.SUSPECTED:
                return self._resume(at)
            case Escalation.DUCKED:
                self.stage = Escalation.HELD
                self._await_next_step(at)
                return [events.Hold(at=at, turn=self._turn)]
        self.stage = Escalation.CONFIRMED
        return []

    def _dismiss(self, at: Seconds, user: UserTurn) -> list[Action]:
        """Speech without words of its own was a false alarm."""
        user.transcript.take()
        user.silent_since = None
        return self._resume(at)

    def _resume(self, at: Seconds) -> list[Action]:
        self.end()
        return [events.Resume(at=at, turn=self._turn)]

    def is_confirmed_by(self, text: str, *, interim: bool = False) -> bool:
        """Whether the words ``text`` take the floor; ``interim``: more may follow."""
        return (
            len(text.split()) >= self._policy.min_words
            and not is_backchannel(text, self._policy.backchannels, begun=interim)
            and not is_echo(text, self.said)
        )
