"""The turn machine: decides who has the floor, from events alone.

It does no I/O, reads no clock and starts no task: time is a number in the event, and ``deadline``
says when the machine must be given ``DeadlinePassed``.

    LISTENING ── commit ──▶ THINKING ── playback starts ──▶ SPEAKING ──▶ LISTENING …
        ▲ └ draft, drop draft    │ the user continues            │ playback ends, or barge-in
        └────────────────────────┘◀──────────────────────────────┘

Three strategies end the user's turn.  ``endpointing``: the STT's endpointing decides, and the reply
is drafted and committed at once.  ``service``: the STT predicts the end of the turn, on which a
reply is drafted, then confirms it or takes it back.  ``vad``: a reply is drafted in the first pause
in which the words look whole.  When the detector reports the end of speech, the STT is asked for
the final text; if that says something else, the reply is drafted again.  The turn is committed once
the pause is long enough for what was said and, where a model scores it, for how it sounded, and the
draft has something to speak; shortly before, the reply's speech is prepared.  In all three, words
that arrive before the reply is audible revoke the commit: one reply answers all of the turn.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from voicecli import events
from voicecli.events import Action, EndReason, Event, FinalTranscript, InterimTranscript
from voicecli.turns.barge_in import SUSPICION_TIMEOUT, Escalation, Interruption
from voicecli.turns.deadline import Deadline, DeadlineKind
from voicecli.turns.draft import SPEECH_LEAD, Draft
from voicecli.turns.policy import BargeInPolicy, TurnPolicy
from voicecli.turns.user_turn import UserTurn
from voicecli.units import Seconds


class Phase(Enum):
    """Whose turn it is."""

    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    ENDED = "ended"


class TurnMachine:
    """Decides who has the floor.

    phase: whose turn it is.
    scored: whether there is an end-of-turn model that scores pauses.
    """

    def __init__(
        self,
        policy: TurnPolicy,
        barge_in: BargeInPolicy,
        *,
        finalize_timeout: Seconds,
        scored: bool = False,
    ) -> None:
        self.policy = policy
        self._by_voice = policy.detect == "vad"
        self.barge_in = barge_in
        self._finalize_timeout = finalize_timeout
        self.phase = Phase.LISTENING
        self._deadline = Deadline(policy.settle)
        self.scored = scored
        self._user = UserTurn(scored=scored)
        self._draft = Draft()
        self._finalizing = False  # whether the answer to a Finalize is pending
        self._interruption = Interruption(barge_in, finalize_timeout)

    @property
    def turn(self) -> events.TurnId:
        """The number of the current or last reply."""
        return self._draft.turn

    @property
    def deadline(self) -> Seconds | None:
        """When the machine must be given ``DeadlinePassed``; None for never."""
        due = (self._deadline.next, self._interruption.deadline)
        return min((at for at in due if at is not None), default=None)

    def greet(self, at: Seconds) -> list[Action]:
        """Begin with the agent's greeting, which can be interrupted like a reply."""
        self.phase = Phase.THINKING
        return [events.Greet(at=at)]

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
            case events.AgentStopped() if self.phase is not Phase.LISTENING:
                return [*self._cancel_reply(event.at), *self._give_floor_to_user(event.at)]
            case events.ReplyEvent():
                return self._follow_reply(event) if event.turn == self.turn else []
            case events.MicrophoneMuted(muted=True) if self._user.speaking:
                # The detector is reset, so it will not report the end of this speech.
                event = events.SpeechStopped(at=event.at, speech_end=event.at)
        self._user.follow_voice(event)
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
            case events.ClauseReady() | events.ClauseSent() | events.FirstAudio():
                if isinstance(event, events.ClauseSent):
                    self._interruption.said += event.text
                self._draft.has_clause = True
            case events.ReplyFinished() | events.ReplyFailed():
                if self.phase is not Phase.LISTENING:
                    return self._give_floor_to_user(event.at)
                self._draft.end()  # it ended before the commit, which needs a new one
            case _:
                return []
        if self.phase is Phase.LISTENING and self._deadline.kind == "commit":
            return self._await_commit_time(event.at, self._deadline.commit_at)  # it may be ready
        return []

    # ── LISTENING: the user has the floor ────────────────────────────────────

    def _handle_while_listening(self, event: Event) -> list[Action]:
        match event:
            case events.EndOfTurnScored() if self._deadline.kind == "commit":
                return [] if self._user.transcript.is_open else self._await_commit(event.at)
            case InterimTranscript():
                return self._handle_interim(event)
            case FinalTranscript():
                return self._handle_final(event)
            case events.UtteranceEnded() if self._is_end_of_turn(event):
                return self._commit(event.at, "utterance_end")
            case events.TurnYielded() if self._user.transcript.text or self._user.speaking:
                return self._request_final_text(event.at, "yield")
            case events.DeadlinePassed() if self._deadline.is_draft_due(event.at):
                return self._redraft(event.at)
            case events.DeadlinePassed() if self._deadline.is_due(event.at):
                return self._handle_deadline(event.at)
            case _ if self._by_voice:
                return self._handle_voice(event)
            case _ if self.policy.detect == "service" and self._user.transcript.text:
                return self._follow_service(event)
        return []

    def _follow_service(self, event: Event) -> list[Action]:
        """Draft when the STT expects the end of the turn; commit when it has found it."""
        match event:
            case events.EndOfTurnPredicted() if self.policy.draft != "off":
                draft = [] if self._draft.text else [self._start_draft(event.at)]
                is_early = self.policy.draft == "llm+tts"
                return [*draft, *(self._draft.prepare_speech(event.at) if is_early else [])]
            case events.TurnResumed():
                return self._draft.drop(event.at)
            case events.EndOfTurnDetected():
                return self._commit(event.at, "end_of_turn")
        return []

    def _handle_voice(self, event: Event) -> list[Action]:
        match event:
            case events.SpeechStarted():
                self._finalizing = False
                self._deadline.await_speech_end(event.at)
                return self._draft.drop(event.at)
            case events.SpeechSuspected():
                self._deadline.hold_commit(event.at + SUSPICION_TIMEOUT)
            case events.SpeechPaused():
                return [*self._user.request_score(event.at), *self._redraft(event.at)]
            case events.SpeechStopped():
                asked = self._deadline.kind == "yield"
                finalize = [] if asked else self._request_final_text(event.at, "finalize")
                return [*finalize, *self._user.request_score(event.at), *self._redraft(event.at)]
        return []

    def _handle_interim(self, event: InterimTranscript) -> list[Action]:
        changed = self._user.transcript.update(event)
        actions = self._redraft(event.at)
        # a service that decides restates the words while the turn goes on
        goes_on = changed or (self.policy.detect == "service" and bool(event.text))
        if changed and self._deadline.kind == "commit":
            # words that the detector did not report as speech
            self._deadline.set_commit(event.at + self.policy.commit.incomplete)
        elif goes_on and self._deadline.kind in ("", "fallback", "settle"):
            self._deadline.arm_fallback(event.at)
        return actions

    def _handle_final(self, event: FinalTranscript) -> list[Action]:
        self._user.transcript.update(event)
        text = self._user.transcript.text
        if self._deadline.kind == "yield":
            return self._commit(event.at, "key") if text else []
        if self.policy.detect == "endpointing":
            if text and self.policy.each_final_is_a_turn:
                return self._commit(event.at, "final")
            if text and event.speech_final:
                return self._commit(event.at, "speech_final")
            if text and event.text:
                self._deadline.arm_fallback(event.at)
            return []
        is_answer = event.from_finalize or event.speech_final
        may_go_on = self._user.speaking or (self._finalizing and not is_answer)
        if may_go_on or self.policy.detect == "service":
            return self._redraft(event.at)
        return self._await_commit(event.at)

    def _is_end_of_turn(self, event: events.UtteranceEnded) -> bool:
        """Whether ``event`` refers to the current words and no better rule is pending."""
        waits_for_better = self._by_voice and self._deadline.kind in ("finalize", "commit")
        return self._user.ends_with(event) and not waits_for_better

    def _request_final_text(self, at: Seconds, kind: DeadlineKind) -> list[Action]:
        self._finalizing = True
        self._deadline.set(at + self._finalize_timeout, kind)
        return [events.Finalize(at=at)]

    def _redraft(self, at: Seconds) -> list[Action]:
        """Drop a draft that answers other words; in a pause, draft on words that look whole."""
        text = self._user.transcript.text
        actions = self._draft.drop_unless(text, at)
        draft_at = None if self._draft.text else self._user.find_draft_time(self.policy)
        if is_due := draft_at is not None and at >= draft_at:
            actions.append(self._start_draft(at))
        self._deadline.draft_at = None if is_due else draft_at
        return actions

    def _await_commit(self, at: Seconds) -> list[Action]:
        """The user is silent and the text final: draft a reply, commit after the right pause."""
        self._finalizing = False
        text = self._user.transcript.text
        actions = self._draft.drop_unless(text, at)
        if not text:
            self._deadline.await_user(at, has_words=False)
            return actions
        silent_since = self._user.speech_end
        pause: Seconds = getattr(self.policy.commit, self._user.ending)
        commit_at = at if silent_since is None else silent_since + pause
        if at < commit_at and self._draft.text is None and self.policy.draft != "off":
            actions.append(self._start_draft(at))
        return [*actions, *self._await_commit_time(at, commit_at)]

    def _await_commit_time(self, at: Seconds, commit_at: Seconds) -> list[Action]:
        """Commit, or wait for it and shortly before it prepare the draft's speech.

        While a draft has nothing to speak, a commit would only keep the user from going on; so it
        is put off, at most to the longest wait.
        """
        silent_since, longest = self._user.speech_end, self.policy.commit.incomplete
        latest = commit_at if silent_since is None else max(commit_at, silent_since + longest)
        if at >= (commit_at if self._draft.is_ready else latest):
            self._deadline.clear()
            return self._commit(at, self._user.ending)
        prepare_at = commit_at - SPEECH_LEAD if self.policy.draft == "llm+tts" else latest
        steps = (prepare_at, commit_at, latest)
        self._deadline.set_commit(commit_at, wake_at=min(step for step in steps if step > at))
        return self._draft.prepare_speech(at) if at >= prepare_at else []

    def _handle_deadline(self, at: Seconds) -> list[Action]:
        kind, text = self._deadline.kind, self._user.transcript.text
        if kind == "commit" and text:
            return self._await_commit_time(at, self._deadline.commit_at)
        self._deadline.clear()
        if kind == "finalize":
            return self._await_commit(at)
        if not text:
            if kind == "settle":
                return self._end_session(at, "input ended")
            self._finalizing = False
            self._deadline.await_user(at, has_words=False)
            return []
        return self._commit(at, "key" if kind == "yield" else "timeout")

    def _commit(self, at: Seconds, reason: EndReason) -> list[Action]:
        """End the user's turn, and have the reply spoken."""
        actions = self._draft.drop_unless(self._user.transcript.text, at)
        if self._draft.text is None:
            actions.append(self._start_draft(at))
        speech_end, text = self._user.speech_end, self._user.commit()
        self._draft.end()
        self._finalizing = False
        self.phase = Phase.THINKING
        self._deadline.clear()
        commit = events.CommitReply(
            at=at, turn=self.turn, user_text=text, speech_end=speech_end, reason=reason
        )
        return [*actions, commit]

    def _start_draft(self, at: Seconds) -> Action:
        draft = self._draft.start(at, self._user.transcript.text)
        self._interruption.begin(self.turn)
        return draft

    # ── THINKING: the reply is committed and not audible yet ─────────────────

    def _handle_while_thinking(self, event: Event) -> list[Action]:
        match event:
            case events.SpeechStarted() if self._by_voice:
                return self._reopen_turn(event)
            case events.SpeechSuspected() if self._by_voice:
                return self._interruption.delay_playback(event.at)
            case events.DeadlinePassed():
                return self._interruption.handle(event, self._user)
            case InterimTranscript() | FinalTranscript() if self._user.transcript.update(event):
                return self._reopen_turn(event)
        return []

    def _reopen_turn(self, event: Event) -> list[Action]:
        """Revoke a commit that came too early: the user continues."""
        cancel = events.CancelReply(at=event.at, turn=self.turn, heard_nothing=True)
        actions: list[Action] = [cancel]
        self._interruption.end()
        self._user.reopen()
        self.phase = Phase.LISTENING
        if isinstance(event, events.SpeechStarted):
            self._deadline.await_speech_end(event.at)
            return actions
        self._deadline.arm_fallback(event.at)
        if isinstance(event, FinalTranscript):
            actions += self._handle_final(replace(event, text=""))
        return actions

    # ── SPEAKING: the reply is audible ───────────────────────────────────────

    def _handle_while_speaking(self, event: Event) -> list[Action]:
        actions = self._interruption.handle(event, self._user)
        is_confirmed = self._interruption.stage is Escalation.CONFIRMED
        return self._cut_reply(event) if is_confirmed else actions

    def _cut_reply(self, event: Event) -> list[Action]:
        """Cancel the reply: the user takes the floor with the words said so far."""
        self._finalizing = self._interruption.awaits_final
        self._interruption.end()
        actions = self._cancel_reply(event.at)
        self.phase = Phase.LISTENING
        if self._user.speaking and self._by_voice:
            self._deadline.await_speech_end(event.at)
            actions += self._redraft(event.at)
        elif self._finalizing and self._by_voice and self._user.silent_since is not None:
            actions += self._await_commit(event.at)
        elif isinstance(event, FinalTranscript) and event.speech_final:
            actions += self._commit(event.at, "speech_final")
        else:
            self._deadline.arm_fallback(event.at)
        return actions

    def _cancel_reply(self, at: Seconds) -> list[Action]:
        """Cancel the reply if the agent has the floor."""
        if self.phase not in (Phase.THINKING, Phase.SPEAKING):
            return []
        return [events.CancelReply(at=at, turn=self.turn, heard_nothing=False)]

    def _give_floor_to_user(self, at: Seconds) -> list[Action]:
        """Listen; words that came too late for the previous turn begin this one."""
        self.phase = Phase.LISTENING
        if not self.barge_in.allowed:  # half duplex: the detector was off
            self._user.speaking, self._user.silent_since = False, None
        elif not self._interruption.is_speech:
            self._user.transcript.take()  # a back-channel: anything more would have cut the reply
        self._finalizing = self._interruption.awaits_final
        self._interruption.end()
        if self._by_voice and not self._user.speaking:
            if self._finalizing:  # words said over the end of the reply are on their way
                self._deadline.set(at + self._finalize_timeout, "finalize")
                return []
            if self._user.transcript.text:
                return self._await_commit(at)
        self._finalizing = False
        self._deadline.await_user(at, has_words=bool(self._user.transcript.text))
        return []

    def _commit_typed(self, event: events.TextTyped) -> list[Action]:
        """Commit a typed turn, joined to the words spoken before it."""
        actions = self._cancel_reply(event.at)
        spoken = self._user.transcript.take()
        self._user.transcript.put_back(f"{spoken} {event.text}".strip(), event.at)
        self._user.silent_since = None
        return [*actions, *self._commit(event.at, "typed")]

    def _end_input(self, at: Seconds) -> list[Action]:
        self._deadline.input_ended = True
        if self.phase is Phase.LISTENING and self._deadline.kind in ("", "fallback"):
            self._deadline.await_user(at, has_words=bool(self._user.transcript.text))
        return []

    def _end_session(self, at: Seconds, reason: str) -> list[Action]:
        actions = self._cancel_reply(at) or self._draft.drop(at)
        self.phase = Phase.ENDED
        self._deadline.clear()
        self._interruption.end()
        return [*actions, events.EndSession(at=at, reason=reason)]
