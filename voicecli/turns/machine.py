"""Who has the floor.

The machine is told what happened, in order, and says what must be done about it.  It does no I/O,
reads no clock and starts no task: time is a number in the event, and what it must be woken for is
its ``deadline``.

    LISTENING ── commit ──▶ THINKING ── first sound ──▶ SPEAKING ──▶ LISTENING …
        ▲ └ draft, dropped draft │  the user goes on             │  last sound, or barge-in
        └────────────────────────┘◀──────────────────────────────┘

Two strategies end the user's turn.  ``endpointing``: the service's endpointing decides, and the
reply is drafted and committed at once.  ``vad``: the local detector says that speech stopped, the
STT is asked for the final text, a reply is drafted on it, and the turn is committed once the pause
has lasted long enough for what was said.  In both, words that come before a sample of the reply was
heard take the commitment back: one turn, one reply.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Literal

from voicecli.events import (
    Action,
    AgentStopped,
    CancelReply,
    ClauseSent,
    CommitReply,
    ConnectionLost,
    DeadlinePassed,
    DraftReply,
    Duck,
    EndReason,
    EndSession,
    Event,
    Finalize,
    FinalTranscript,
    Hold,
    InputEnded,
    InterimTranscript,
    MicrophoneMuted,
    PlaybackStarted,
    ReplyEvent,
    ReplyFailed,
    ReplyFinished,
    Resume,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    TextTyped,
    TurnId,
    TurnYielded,
    UserQuit,
    UtteranceEnded,
)
from voicecli.turns.barge_in import Escalation, Interruption
from voicecli.turns.end_of_turn import classify_ending
from voicecli.turns.policy import TurnPolicy
from voicecli.turns.transcript import TurnTranscript
from voicecli.units import Seconds

PATIENCE: Seconds = 5.0
"""Words in hand that no rule has ended for so long are a turn; nothing should take this long."""

STALE: Seconds = 0.05
"""An end of utterance that lies further before the last word in hand means an earlier one."""

UNSEEN: Seconds = 0.3
"""Words that end so long after the last voice have another, which the detector missed; less is how
far the STT's idea of a word's end is from the detector's."""


class Phase(Enum):
    """Whose turn it is."""

    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    ENDED = "ended"


Wake = Literal["", "finalize", "commit", "yield", "patience", "settle", "barge-in", "false alarm"]
"""What the deadline is for; "" while there is none."""


class TurnMachine:
    """Decides who has the floor.

    phase: whose turn it is.
    deadline: when the machine must be told ``DeadlinePassed``; None for never.
    turn: of the reply under way, or the last one.
    """

    def __init__(self, policy: TurnPolicy | None = None) -> None:
        self.policy = policy or TurnPolicy()
        self.phase = Phase.LISTENING
        self.deadline: Seconds | None = None
        self.turn: TurnId = 0
        self._wake: Wake = ""
        self._utterance = TurnTranscript()
        self._draft: str | None = None
        """What the draft under way answers."""
        self._answering = ""
        """What the committed reply answers."""
        self._answered_end: Seconds | None = None
        self._voiced = False
        self._stopped_at: Seconds | None = None
        """When the voice of this turn last ended, by the detector."""
        self._asked = False
        """Whether the answer to a Finalize is outstanding."""
        self._interruption = Interruption(self.policy.barge_in)
        self._input_ended = False

    def handle(self, event: Event) -> list[Action]:
        """Take note of ``event``; what must be done about it, in order."""
        match event:
            case _ if self.phase is Phase.ENDED:
                return []
            case UserQuit() | ConnectionLost():
                return self._end(event.at, event.reason)
            case InputEnded():
                return self._input_has_ended(event.at)
            case TextTyped():
                return self._typed(event)
            case ReplyEvent():
                return self._reply_went_on(event) if event.turn == self.turn else []
            case MicrophoneMuted(muted=True) if self._voiced:  # the detector forgets the voice
                event = SpeechStopped(at=event.at, speech_end=event.at)
        match self.phase:
            case Phase.LISTENING:
                return self._while_listening(event)
            case Phase.THINKING:
                return self._while_thinking(event)
            case _:
                return self._while_speaking(event)

    def _reply_went_on(self, event: ReplyEvent) -> list[Action]:
        match event:
            case PlaybackStarted() if self.phase is Phase.THINKING:
                self.phase = Phase.SPEAKING
            case ClauseSent():
                self._interruption.said += event.text
            case ReplyFinished() | ReplyFailed() if self.phase is Phase.LISTENING:
                self._draft = None  # it ended before the commitment, which will need another
            case ReplyFinished() | ReplyFailed():
                return self._listen(event.at)
        return []

    # ── the user has the floor ───────────────────────────────────────────────

    def _while_listening(self, event: Event) -> list[Action]:
        match event:
            case SpeechStarted():
                self._voice_begins()
                if self.policy.detect == "vad":
                    self._asked = False
                    self._hear_out(event.at)
                    return self._drop_draft(event.at)
            case SpeechStopped():
                self._voice_ends(event)
                if self.policy.detect == "vad" and self._wake != "yield":
                    return self._ask(event.at, "finalize")
            case InterimTranscript():
                return self._words_changed(event)
            case FinalTranscript():
                return self._final(event)
            case UtteranceEnded() if self._ends_utterance(event):
                return self._commit(event.at, "utterance_end")
            case TurnYielded() if self._utterance.text or self._voiced:
                return self._ask(event.at, "yield")
            case DeadlinePassed() if self.deadline is not None and event.at >= self.deadline:
                return self._woken(event.at)
        return []

    def _words_changed(self, event: InterimTranscript) -> list[Action]:
        if not self._utterance.hear(event):
            return []
        actions = self._drop_draft(event.at)
        if self._wake == "commit":  # words without a voice, in a pause: it is none yet
            self._sleep_until(event.at + self.policy.commit.incomplete, "commit")
        elif self._wake in ("", "patience", "settle"):
            self._be_patient(event.at)
        return actions

    def _final(self, event: FinalTranscript) -> list[Action]:
        self._utterance.hear(event)
        if self._wake == "yield":
            return self._commit(event.at, "key") if self._utterance.text else []
        if self.policy.detect == "endpointing":
            text = self._utterance.text
            if text and self.policy.each_final_is_a_turn:
                return self._commit(event.at, "final")
            if text and event.speech_final:
                return self._commit(event.at, "speech_final")
            if text and event.text:
                self._be_patient(event.at)
            return []
        if self._voiced:
            return []
        if self._asked and not (event.from_finalize or event.speech_final):
            return []  # the answer to Finalize is still to come
        return self._pause(event.at)

    def _ends_utterance(self, event: UtteranceEnded) -> bool:
        """Whether it speaks of the words in hand, and nobody who knows better waits."""
        end = self._utterance.speech_end
        if not self._utterance.text or end is None:
            return False
        if event.last_word_end is None and self._utterance.open:
            return False
        if event.last_word_end is not None and event.last_word_end < end - STALE:
            return False
        return self.policy.detect == "endpointing" or self._wake not in ("finalize", "commit")

    def _ask(self, at: Seconds, wake: Wake) -> list[Action]:
        """Have the STT say at once what it has."""
        self._asked = True
        self._sleep_until(at + self.policy.finalize_timeout, wake)
        return [Finalize(at=at)]

    def _pause(self, at: Seconds) -> list[Action]:
        """The user is silent, and all words are in hand: prepare the answer, and wait a little."""
        self._asked = False
        text = self._utterance.text
        actions = self._drop_draft(at) if self._draft not in (None, text) else []
        if not text:
            self._idle(at)
            return actions
        since = self._silent_since()
        wait: Seconds = getattr(self.policy.commit, classify_ending(text))
        due = at if since is None else since + wait
        if due <= at:
            return [*actions, *self._commit(at, classify_ending(text))]
        self._sleep_until(due, "commit")
        if self._draft is None and self.policy.draft:
            actions.append(self._prepare(at, text))
        return actions

    def _woken(self, at: Seconds) -> list[Action]:
        """The deadline has come, and the user has the floor."""
        wake = self._wake
        self._sleep()
        text = self._utterance.text
        if wake == "finalize":
            return self._pause(at)
        if not text:
            if wake == "settle":
                return self._end(at, "input ended")
            self._asked = False
            self._idle(at)
            return []
        reason: EndReason = "timeout"
        if wake == "commit":
            reason = classify_ending(text)
        elif wake == "yield":
            reason = "key"
        return self._commit(at, reason)

    def _commit(self, at: Seconds, reason: EndReason) -> list[Action]:
        """The user's turn has ended."""
        speech_end = self._silent_since()
        text = self._utterance.take()
        actions = self._drop_draft(at) if self._draft not in (None, text) else []
        if self._draft is None:
            actions.append(self._prepare(at, text))
        self._draft = None
        self._answering, self._answered_end = text, speech_end
        self._asked, self._stopped_at = False, None
        self.phase = Phase.THINKING
        self._sleep()
        actions.append(
            CommitReply(at=at, turn=self.turn, user_text=text, speech_end=speech_end, reason=reason)
        )
        return actions

    def _silent_since(self) -> Seconds | None:
        """When the user stopped: by the detector, unless it did not hear the words in hand."""
        stopped, words = self._stopped_at, self._utterance.speech_end
        if stopped is None or (words is not None and words > stopped + UNSEEN):
            return words
        return stopped

    def _prepare(self, at: Seconds, text: str) -> Action:
        """Begin a reply to ``text``."""
        self.turn += 1
        self._draft = text
        self._interruption = Interruption(self.policy.barge_in)
        return DraftReply(at=at, turn=self.turn, user_text=text)

    def _drop_draft(self, at: Seconds) -> list[Action]:
        if self._draft is None:
            return []
        self._draft = None
        return [CancelReply(at=at, turn=self.turn, heard_nothing=True, committed=False)]

    # ── the agent has the floor, and nothing of it was heard yet ─────────────

    def _while_thinking(self, event: Event) -> list[Action]:
        match event:
            case SpeechStarted():
                self._voice_begins()
                if self.policy.detect == "vad":
                    return self._take_back(event)
            case SpeechStopped():  # the service's endpointing may be faster than the detector
                self._voice_ends(event)
            case InterimTranscript() | FinalTranscript() if self._utterance.hear(event):
                return self._take_back(event)
            case AgentStopped():
                return self._hushed(event.at)
        return []

    def _take_back(self, event: Event) -> list[Action]:
        """The user goes on: the commitment was too early."""
        actions = self._cancel(event.at, heard_nothing=True)
        self._utterance.put_back(self._answering, self._answered_end)
        self.phase = Phase.LISTENING
        if isinstance(event, SpeechStarted):
            self._hear_out(event.at)
            return actions
        self._be_patient(event.at)
        if isinstance(event, FinalTranscript):
            actions += self._final(replace(event, text=""))
        return actions

    def _cancel(self, at: Seconds, *, heard_nothing: bool) -> list[Action]:
        return [CancelReply(at=at, turn=self.turn, heard_nothing=heard_nothing)]

    # ── the agent speaks ─────────────────────────────────────────────────────

    def _while_speaking(self, event: Event) -> list[Action]:
        interruption = self._interruption
        match event:
            case SpeechStarted():
                if not self.policy.barge_in.allowed:
                    return []
                self._voice_begins()
                first = interruption.stage is Escalation.NONE
                interruption.voice_began(event.speech_start)
                self._sleep_until(max(interruption.next_step, event.at), "barge-in")
                return [Duck(at=event.at, turn=self.turn)] if first else []
            case SpeechSuspected() if self.policy.barge_in.allowed:
                if interruption.suspect(event.at):
                    self._sleep_until(interruption.next_step, "barge-in")
                    return [Duck(at=event.at, turn=self.turn)]
            case SpeechStopped():
                self._voice_ends(event)
                if interruption.voiced:
                    interruption.voice_ended(event.speech_end)
                    return self._ask(event.at, "false alarm")
            case InterimTranscript() | FinalTranscript():
                return self._heard_over(event)
            case DeadlinePassed() if self.deadline is not None and event.at >= self.deadline:
                return self._interrupted_still(event.at)
            case AgentStopped():
                return self._hushed(event.at)
        return []

    def _heard_over(self, event: InterimTranscript | FinalTranscript) -> list[Action]:
        """Words while the agent speaks."""
        self._utterance.hear(event)
        if not self.policy.barge_in.allowed:
            return []
        interim = isinstance(event, InterimTranscript)
        if self._interruption.confirmed_by(self._utterance.text, interim=interim):
            return self._cut(event)
        if self._wake == "false alarm" and isinstance(event, FinalTranscript) and self._asked:
            return self._false_alarm(event.at)
        if isinstance(event, FinalTranscript) and not self._interruption.voiced:
            self._utterance.take()  # a back-channel or an echo, too soft or too late for a voice
        return []

    def _interrupted_still(self, at: Seconds) -> list[Action]:
        """The voice has gone on, or the words after it did not come."""
        interruption = self._interruption
        if self._wake == "false alarm" or interruption.stage is Escalation.SUSPECTED:
            return self._false_alarm(at)
        if interruption.stage is Escalation.DUCKED:
            interruption.stage = Escalation.HELD
            self._sleep_until(max(interruption.next_step, at), "barge-in")
            return [Hold(at=at, turn=self.turn)]
        return self._cut(DeadlinePassed(at=at))

    def _false_alarm(self, at: Seconds) -> list[Action]:
        self._interruption.end()
        self._utterance.take()
        self._asked, self._stopped_at = False, None
        self._sleep()
        return [Resume(at=at, turn=self.turn)]

    def _cut(self, event: Event) -> list[Action]:
        """The user takes the floor, with the words in hand."""
        self._interruption.end()
        actions = self._cancel(event.at, heard_nothing=False)
        self.phase = Phase.LISTENING
        if self._voiced and self.policy.detect == "vad":
            self._hear_out(event.at)
        elif self._asked and self._stopped_at is not None and self.policy.detect == "vad":
            actions += self._pause(event.at)
        elif isinstance(event, FinalTranscript) and event.speech_final:
            actions += self._commit(event.at, "speech_final")
        else:
            self._be_patient(event.at)
        return actions

    # ── both ─────────────────────────────────────────────────────────────────

    def _hushed(self, at: Seconds) -> list[Action]:
        return [*self._cancel(at, heard_nothing=False), *self._listen(at)]

    def _input_has_ended(self, at: Seconds) -> list[Action]:
        self._input_ended = True
        if self.phase is Phase.LISTENING and self._wake in ("", "patience"):
            self._idle(at)
        return []

    def _listen(self, at: Seconds) -> list[Action]:
        """The floor is the user's again; what came too late for the turn before begins this one."""
        self.phase = Phase.LISTENING
        if not self.policy.barge_in.allowed:  # nobody listened while the agent spoke
            self._voiced, self._stopped_at = False, None
        elif not self._interruption.voiced:
            self._utterance.take()  # had it been more than a back-channel, it had cut the reply
        self._interruption.end()
        if self.policy.detect == "vad" and not self._voiced:
            if self._asked:  # what was said over the end of the reply is still to come
                self._sleep_until(at + self.policy.finalize_timeout, "finalize")
                return []
            if self._utterance.text:
                return self._pause(at)
        self._asked = False
        self._idle(at)
        return []

    def _voice_begins(self) -> None:
        self._voiced, self._stopped_at = True, None

    def _voice_ends(self, event: SpeechStopped) -> None:
        self._voiced, self._stopped_at = False, event.speech_end

    def _typed(self, event: TextTyped) -> list[Action]:
        actions: list[Action] = []
        if self.phase in (Phase.THINKING, Phase.SPEAKING):
            actions = self._cancel(event.at, heard_nothing=False)
        spoken = self._utterance.take()
        self._utterance.put_back(f"{spoken} {event.text}".strip(), event.at)
        self._stopped_at = None
        return [*actions, *self._commit(event.at, "typed")]

    def _end(self, at: Seconds, reason: str) -> list[Action]:
        actions = self._drop_draft(at)
        if self.phase in (Phase.THINKING, Phase.SPEAKING):
            actions = self._cancel(at, heard_nothing=False)
        self.phase = Phase.ENDED
        self._sleep()
        return [*actions, EndSession(at=at, reason=reason)]

    def _idle(self, at: Seconds) -> None:
        """Nobody speaks: wait for the user, or for the last words of an input that has ended."""
        if self._utterance.text:
            self._be_patient(at)
        elif not self._input_ended:
            self._sleep()
        elif self._wake != "settle":
            self._be_patient(at)

    def _hear_out(self, at: Seconds) -> None:
        """The user speaks, and the detector will tell the end; after the input, perhaps not."""
        if self._input_ended:
            self._be_patient(at)
        else:
            self._sleep()

    def _be_patient(self, at: Seconds) -> None:
        """Words are in hand, and somebody should say soon that they are all."""
        wait = self.policy.settle if self._input_ended else PATIENCE
        self._sleep_until(at + wait, "settle" if self._input_ended else "patience")

    def _sleep(self) -> None:
        self.deadline, self._wake = None, ""

    def _sleep_until(self, when: Seconds, wake: Wake) -> None:
        self.deadline, self._wake = when, wake
