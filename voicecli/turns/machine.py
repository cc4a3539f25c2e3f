"""The turn machine: decides who has the floor, from events alone.

It does no I/O, reads no clock and starts no task: time is a number in the event, and ``deadline``
says when the machine must be given ``DeadlinePassed``.

    LISTENING ── commit ──▶ THINKING ── playback starts ──▶ SPEAKING ──▶ LISTENING …
        ▲ └ draft, drop draft    │ the user continues            │ playback ends, or barge-in
        └────────────────────────┘◀──────────────────────────────┘

Two strategies end the user's turn.  ``endpointing``: the STT's endpointing decides, and the reply
is drafted and committed at once.  ``vad``: when the local detector reports the end of speech, the
STT is asked for the final text, a reply is drafted for it, and the turn is committed once the pause
is long enough for what was said.  In both, words that arrive before the reply is audible revoke the
commit: the user's turn goes on, and one reply answers all of it.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Literal

from voicecli import events
from voicecli.events import Action, EndReason, Event, FinalTranscript, InterimTranscript
from voicecli.turns.barge_in import Escalation, Interruption
from voicecli.turns.end_of_turn import classify_ending
from voicecli.turns.policy import BargeInPolicy, TurnPolicy
from voicecli.turns.transcript import TurnTranscript
from voicecli.units import Seconds

COMMIT_FALLBACK: Seconds = 5.0
"""Commit pending words after this time if no rule has; a working STT never takes that long."""

UTTERANCE_END_TOLERANCE: Seconds = 0.05
"""An UtteranceEnded this much earlier than the last known word belongs to an earlier word."""

DETECTOR_MISS: Seconds = 0.3
"""If the words end this much later than the detected speech, the detector missed them."""


class Phase(Enum):
    """Whose turn it is."""

    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    ENDED = "ended"


DeadlineKind = Literal[
    "", "finalize", "commit", "yield", "fallback", "settle", "barge-in", "false alarm"
]
"""What the deadline is for; "" while there is none."""


class TurnMachine:
    """Decides who has the floor.

    phase: whose turn it is.
    deadline: when the machine must be given ``DeadlinePassed``; None for never.
    turn: the number of the current or last reply.
    """

    def __init__(
        self, policy: TurnPolicy, barge_in: BargeInPolicy, *, finalize_timeout: Seconds
    ) -> None:
        self.policy = policy
        self.barge_in = barge_in
        self._finalize_timeout = finalize_timeout
        self.phase = Phase.LISTENING
        self.deadline: Seconds | None = None
        self.turn: events.TurnId = 0
        self._deadline_kind: DeadlineKind = ""
        self._transcript = TurnTranscript()
        self._drafted: str | None = None
        """The text that the current draft answers."""
        self._committed = ""
        """The text that the committed reply answers."""
        self._committed_end: Seconds | None = None
        """The end of speech of the committed turn."""
        self._user_speaking = False
        self._speech_end: Seconds | None = None
        """The end of speech in this turn, by the detector; None while the user speaks."""
        self._finalizing = False
        """Whether the answer to a Finalize is pending."""
        self._interruption = Interruption(self.barge_in)
        self._input_ended = False

    def handle(self, event: Event) -> list[Action]:
        """Process ``event``; return the actions to perform, in order."""
        match event:
            case _ if self.phase is Phase.ENDED:
                return []
            case events.UserQuit() | events.ConnectionLost():
                return self._end_session(event.at, event.reason)
            case events.InputEnded():
                return self._end_input(event.at)
            case events.TextTyped():
                return self._commit_typed(event)
            case events.ReplyEvent():
                return self._follow_reply(event) if event.turn == self.turn else []
            case events.MicrophoneMuted(muted=True) if self._user_speaking:
                # The detector is reset, so it will not report the end of this speech.
                event = events.SpeechStopped(at=event.at, speech_end=event.at)
        match self.phase:
            case Phase.LISTENING:
                return self._handle_while_listening(event)
            case Phase.THINKING:
                return self._handle_while_thinking(event)
            case _:
                return self._handle_while_speaking(event)

    def _follow_reply(self, event: events.ReplyEvent) -> list[Action]:
        match event:
            case events.PlaybackStarted() if self.phase is Phase.THINKING:
                self.phase = Phase.SPEAKING
            case events.ClauseSent():
                self._interruption.said += event.text
            case events.ReplyFinished() | events.ReplyFailed():
                if self.phase is not Phase.LISTENING:
                    return self._give_floor_to_user(event.at)
                self._drafted = None  # the draft ended before the commit, which needs a new one
        return []

    # ── LISTENING: the user has the floor ────────────────────────────────────

    def _handle_while_listening(self, event: Event) -> list[Action]:
        match event:
            case events.SpeechStarted():
                self._start_speech()
                if self.policy.detect == "vad":
                    self._finalizing = False
                    self._await_speech_end(event.at)
                    return self._drop_draft(event.at)
            case events.SpeechStopped():
                self._stop_speech(event)
                if self.policy.detect == "vad" and self._deadline_kind != "yield":
                    return self._request_final_text(event.at, "finalize")
            case InterimTranscript():
                return self._handle_interim(event)
            case FinalTranscript():
                return self._handle_final(event)
            case events.UtteranceEnded() if self._is_end_of_turn(event):
                return self._commit(event.at, "utterance_end")
            case events.TurnYielded() if self._transcript.text or self._user_speaking:
                return self._request_final_text(event.at, "yield")
            case events.DeadlinePassed() if self._is_due(event):
                return self._handle_deadline(event.at)
        return []

    def _handle_interim(self, event: InterimTranscript) -> list[Action]:
        if not self._transcript.update(event):
            return []
        actions = self._drop_draft(event.at)
        if self._deadline_kind == "commit":  # words that the detector did not report as speech
            self._set_deadline(event.at + self.policy.commit.incomplete, "commit")
        elif self._deadline_kind in ("", "fallback", "settle"):
            self._arm_fallback(event.at)
        return actions

    def _handle_final(self, event: FinalTranscript) -> list[Action]:
        self._transcript.update(event)
        text = self._transcript.text
        if self._deadline_kind == "yield":
            return self._commit(event.at, "key") if text else []
        if self.policy.detect == "endpointing":
            if text and self.policy.each_final_is_a_turn:
                return self._commit(event.at, "final")
            if text and event.speech_final:
                return self._commit(event.at, "speech_final")
            if text and event.text:
                self._arm_fallback(event.at)
            return []
        if self._user_speaking:
            return []
        if self._finalizing and not (event.from_finalize or event.speech_final):
            return []
        return self._await_commit(event.at)

    def _is_end_of_turn(self, event: events.UtteranceEnded) -> bool:
        """Whether ``event`` refers to the current words and no better rule is pending."""
        end, last = self._transcript.speech_end, event.last_word_end
        if not self._transcript.text or end is None:
            return False
        if self._transcript.is_open if last is None else last < end - UTTERANCE_END_TOLERANCE:
            return False
        waits_for_better = self._deadline_kind in ("finalize", "commit")
        return self.policy.detect == "endpointing" or not waits_for_better

    def _request_final_text(self, at: Seconds, kind: DeadlineKind) -> list[Action]:
        self._finalizing = True
        self._set_deadline(at + self._finalize_timeout, kind)
        return [events.Finalize(at=at)]

    def _await_commit(self, at: Seconds) -> list[Action]:
        """The user is silent and the text final: draft a reply, commit after the right pause."""
        self._finalizing = False
        text = self._transcript.text
        actions = self._drop_draft(at) if self._drafted not in (None, text) else []
        if not text:
            self._await_user(at)
            return actions
        ending, silent_since = classify_ending(text), self._find_speech_end()
        pause: Seconds = getattr(self.policy.commit, ending)
        due = at if silent_since is None else silent_since + pause
        if due <= at:
            return [*actions, *self._commit(at, ending)]
        self._set_deadline(due, "commit")
        if self._drafted is None and self.policy.draft != "off":
            actions.append(self._draft_reply(at, text))
        return actions

    def _handle_deadline(self, at: Seconds) -> list[Action]:
        kind, text = self._deadline_kind, self._transcript.text
        self._clear_deadline()
        if kind == "finalize":
            return self._await_commit(at)
        if not text:
            if kind == "settle":
                return self._end_session(at, "input ended")
            self._finalizing = False
            self._await_user(at)
            return []
        reasons: dict[str, EndReason] = {"commit": classify_ending(text), "yield": "key"}
        return self._commit(at, reasons.get(kind, "timeout"))

    def _commit(self, at: Seconds, reason: EndReason) -> list[Action]:
        """End the user's turn, and have the reply spoken."""
        speech_end = self._find_speech_end()
        text = self._transcript.take()
        actions = self._drop_draft(at) if self._drafted not in (None, text) else []
        if self._drafted is None:
            actions.append(self._draft_reply(at, text))
        self._drafted = None
        self._committed, self._committed_end = text, speech_end
        self._finalizing, self._speech_end = False, None
        self.phase = Phase.THINKING
        self._clear_deadline()
        commit = events.CommitReply(
            at=at, turn=self.turn, user_text=text, speech_end=speech_end, reason=reason
        )
        return [*actions, commit]

    def _find_speech_end(self) -> Seconds | None:
        """Return when the user stopped: by the detector, unless it missed the last words."""
        detected, transcribed = self._speech_end, self._transcript.speech_end
        if detected is None or (transcribed is not None and transcribed > detected + DETECTOR_MISS):
            return transcribed
        return detected

    def _draft_reply(self, at: Seconds, text: str) -> Action:
        self.turn += 1
        self._drafted = text
        self._interruption = Interruption(self.barge_in)
        return events.DraftReply(at=at, turn=self.turn, user_text=text)

    def _drop_draft(self, at: Seconds) -> list[Action]:
        if self._drafted is None:
            return []
        self._drafted = None
        return [events.CancelReply(at=at, turn=self.turn, heard_nothing=True, committed=False)]

    # ── THINKING: the reply is committed and not audible yet ─────────────────

    def _handle_while_thinking(self, event: Event) -> list[Action]:
        match event:
            case events.SpeechStarted():
                self._start_speech()
                if self.policy.detect == "vad":
                    return self._reopen_turn(event)
            case events.SpeechStopped():  # the STT's endpointing may be faster than the detector
                self._stop_speech(event)
            case InterimTranscript() | FinalTranscript() if self._transcript.update(event):
                return self._reopen_turn(event)
            case events.AgentStopped():
                return self._stop_agent(event.at)
        return []

    def _reopen_turn(self, event: Event) -> list[Action]:
        """Revoke a commit that came too early: the user continues."""
        actions: list[Action] = [
            events.CancelReply(at=event.at, turn=self.turn, heard_nothing=True)
        ]
        self._transcript.put_back(self._committed, self._committed_end)
        self.phase = Phase.LISTENING
        if isinstance(event, events.SpeechStarted):
            self._await_speech_end(event.at)
            return actions
        self._arm_fallback(event.at)
        if isinstance(event, FinalTranscript):
            actions += self._handle_final(replace(event, text=""))
        return actions

    # ── SPEAKING: the reply is audible ───────────────────────────────────────

    def _handle_while_speaking(self, event: Event) -> list[Action]:
        interruption, allowed = self._interruption, self.barge_in.allowed
        match event:
            case events.SpeechStarted() if allowed:
                self._start_speech()
                is_first = interruption.stage is Escalation.NONE
                interruption.start_speech(event.speech_start)
                self._set_deadline(max(interruption.next_step, event.at), "barge-in")
                return [events.Duck(at=event.at, turn=self.turn)] if is_first else []
            case events.SpeechSuspected() if allowed and interruption.suspect(event.at):
                self._set_deadline(interruption.next_step, "barge-in")
                return [events.Duck(at=event.at, turn=self.turn)]
            case events.SpeechStopped():
                self._stop_speech(event)
                if interruption.is_speech:
                    interruption.stop_speech(event.speech_end)
                    return self._request_final_text(event.at, "false alarm")
            case InterimTranscript() | FinalTranscript():
                return self._handle_words_over_reply(event)
            case events.DeadlinePassed() if self._is_due(event):
                return self._escalate(event.at)
            case events.AgentStopped():
                return self._stop_agent(event.at)
        return []

    def _handle_words_over_reply(self, event: InterimTranscript | FinalTranscript) -> list[Action]:
        self._transcript.update(event)
        if not self.barge_in.allowed:
            return []
        is_final = isinstance(event, FinalTranscript)
        if self._interruption.is_confirmed_by(self._transcript.text, interim=not is_final):
            return self._cut_reply(event)
        if self._deadline_kind == "false alarm" and is_final and self._finalizing:
            return self._dismiss_interruption(event.at)
        if is_final and not self._interruption.is_speech:
            self._transcript.take()  # a back-channel or an echo that the detector missed
        return []

    def _escalate(self, at: Seconds) -> list[Action]:
        """Hold or cut the reply if speech goes on; resume if no words followed it."""
        interruption = self._interruption
        if self._deadline_kind == "false alarm" or interruption.stage is Escalation.SUSPECTED:
            return self._dismiss_interruption(at)
        if interruption.stage is Escalation.DUCKED:
            interruption.stage = Escalation.HELD
            self._set_deadline(max(interruption.next_step, at), "barge-in")
            return [events.Hold(at=at, turn=self.turn)]
        return self._cut_reply(events.DeadlinePassed(at=at))

    def _dismiss_interruption(self, at: Seconds) -> list[Action]:
        """Resume the reply: a false alarm."""
        self._interruption.end()
        self._transcript.take()
        self._finalizing, self._speech_end = False, None
        self._clear_deadline()
        return [events.Resume(at=at, turn=self.turn)]

    def _cut_reply(self, event: Event) -> list[Action]:
        """Cancel the reply: the user takes the floor with the words said so far."""
        self._interruption.end()
        actions = self._cancel_reply(event.at)
        self.phase = Phase.LISTENING
        if self._user_speaking and self.policy.detect == "vad":
            self._await_speech_end(event.at)
        elif self._finalizing and self._speech_end is not None and self.policy.detect == "vad":
            actions += self._await_commit(event.at)
        elif isinstance(event, FinalTranscript) and event.speech_final:
            actions += self._commit(event.at, "speech_final")
        else:
            self._arm_fallback(event.at)
        return actions

    # ── any phase ────────────────────────────────────────────────────────────

    def _cancel_reply(self, at: Seconds) -> list[Action]:
        """Cancel the reply if the agent has the floor."""
        if self.phase not in (Phase.THINKING, Phase.SPEAKING):
            return []
        return [events.CancelReply(at=at, turn=self.turn, heard_nothing=False)]

    def _stop_agent(self, at: Seconds) -> list[Action]:
        return [*self._cancel_reply(at), *self._give_floor_to_user(at)]

    def _give_floor_to_user(self, at: Seconds) -> list[Action]:
        """Listen; words that came too late for the previous turn begin this one."""
        self.phase = Phase.LISTENING
        if not self.barge_in.allowed:  # half duplex: the detector was off
            self._user_speaking, self._speech_end = False, None
        elif not self._interruption.is_speech:
            self._transcript.take()  # a back-channel: anything more would have cut the reply
        self._interruption.end()
        if self.policy.detect == "vad" and not self._user_speaking:
            if self._finalizing:  # words said over the end of the reply are on their way
                self._set_deadline(at + self._finalize_timeout, "finalize")
                return []
            if self._transcript.text:
                return self._await_commit(at)
        self._finalizing = False
        self._await_user(at)
        return []

    def _commit_typed(self, event: events.TextTyped) -> list[Action]:
        """Commit a typed turn, joined to the words spoken before it."""
        actions = self._cancel_reply(event.at)
        spoken = self._transcript.take()
        self._transcript.put_back(f"{spoken} {event.text}".strip(), event.at)
        self._speech_end = None
        return [*actions, *self._commit(event.at, "typed")]

    def _end_input(self, at: Seconds) -> list[Action]:
        self._input_ended = True
        if self.phase is Phase.LISTENING and self._deadline_kind in ("", "fallback"):
            self._await_user(at)
        return []

    def _end_session(self, at: Seconds, reason: str) -> list[Action]:
        actions = self._cancel_reply(at) or self._drop_draft(at)
        self.phase = Phase.ENDED
        self._clear_deadline()
        return [*actions, events.EndSession(at=at, reason=reason)]

    def _start_speech(self) -> None:
        self._user_speaking, self._speech_end = True, None

    def _stop_speech(self, event: events.SpeechStopped) -> None:
        self._user_speaking, self._speech_end = False, event.speech_end

    # ── the deadline ─────────────────────────────────────────────────────────

    def _await_user(self, at: Seconds) -> None:
        """Nobody speaks: wait for speech, or for the last words after the end of the input."""
        if self._transcript.text:
            self._arm_fallback(at)
        elif not self._input_ended:
            self._clear_deadline()
        elif self._deadline_kind != "settle":
            self._arm_fallback(at)

    def _await_speech_end(self, at: Seconds) -> None:
        """Wait for SpeechStopped; after the end of the input, use the fallback timeout."""
        if self._input_ended:
            self._arm_fallback(at)
        else:
            self._clear_deadline()

    def _arm_fallback(self, at: Seconds) -> None:
        if self._input_ended:
            self._set_deadline(at + self.policy.settle, "settle")
        else:
            self._set_deadline(at + COMMIT_FALLBACK, "fallback")

    def _is_due(self, event: events.DeadlinePassed) -> bool:
        return self.deadline is not None and event.at >= self.deadline

    def _set_deadline(self, when: Seconds, kind: DeadlineKind) -> None:
        self.deadline, self._deadline_kind = when, kind

    def _clear_deadline(self) -> None:
        self.deadline, self._deadline_kind = None, ""
