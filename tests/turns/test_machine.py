"""Who has the floor: short conversations, and what holds in every possible conversation."""

from __future__ import annotations

import re
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.support.numbers import spell
from voicecli.events import (
    Action,
    AgentStopped,
    CancelReply,
    ClauseReady,
    ClauseSent,
    CommitReply,
    ConnectionLost,
    DeadlinePassed,
    DraftReply,
    Duck,
    EndOfTurnDetected,
    EndOfTurnPredicted,
    EndOfTurnScored,
    EndSession,
    Event,
    FinalTranscript,
    Hold,
    InputEnded,
    InterimTranscript,
    MicrophoneMuted,
    PlaybackStarted,
    PrepareSpeech,
    ReplyEvent,
    ReplyFailed,
    ReplyFinished,
    Resume,
    ScoreEndOfTurn,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    TextTyped,
    TurnResumed,
    TurnYielded,
    UserQuit,
    UtteranceEnded,
)
from voicecli.turns.barge_in import SUSPICION_TIMEOUT
from voicecli.turns.deadline import COMMIT_FALLBACK
from voicecli.turns.draft import SPEECH_LEAD
from voicecli.turns.machine import Phase, TurnMachine
from voicecli.turns.policy import UNSURE, BargeInPolicy, CommitWaits, TurnPolicy
from voicecli.turns.same_words import says_same
from voicecli.units import Seconds

# ── events, in short: times in seconds; ``end`` is the end of a word or of speech ────────────────


def voice(start: float, at: float | None = None) -> Event:
    return SpeechStarted(at=start + 0.05 if at is None else at, speech_start=start)


def stop(end: float, at: float | None = None) -> Event:
    return SpeechStopped(at=end + 0.2 if at is None else at, speech_end=end)


def pause(end: float, at: float | None = None) -> Event:
    return SpeechPaused(at=end + 0.1 if at is None else at, speech_end=end)


def resume(at: float) -> Event:
    return SpeechResumed(at=at)


def scored(end: float, probability: float, at: float | None = None) -> Event:
    return EndOfTurnScored(
        at=end + 0.16 if at is None else at, speech_end=end, probability=probability
    )


def interim(text: str, end: float, at: float | None = None, *, start: float | None = None) -> Event:
    return InterimTranscript(
        at=end + 0.1 if at is None else at,
        text=text,
        speech_start=_start(text, end) if start is None else start,
        speech_end=end,
    )


def said(
    text: str, end: float, at: float | None = None, *, start: float | None = None, **how: bool
) -> Event:
    """A final transcript."""
    return FinalTranscript(
        at=end + 0.25 if at is None else at,
        text=text,
        speech_start=_start(text, end) if start is None else start,
        speech_end=end,
        **how,
    )


def over(text: str, end: float, at: float | None = None) -> Event:
    """A final transcript with which the STT's endpointing ends the speech."""
    return said(text, end, at, speech_final=True)


def answer(text: str, end: float, at: float | None = None) -> Event:
    """A final transcript that answers Finalize."""
    return said(text, end, at, from_finalize=True)


def nothing(at: float) -> Event:
    """A final transcript of silence."""
    return said("", at - 0.05, at)


def utterance_end(last: float | None, at: float) -> Event:
    return UtteranceEnded(at=at, last_word_end=last)


def predicted(at: float) -> Event:
    """The STT expects that the turn has ended."""
    return EndOfTurnPredicted(at=at, confidence=0.4)


def resumed(at: float) -> Event:
    """The STT takes that back."""
    return TurnResumed(at=at, confidence=0.1)


def ended(at: float, trigger: str = "model") -> Event:
    """The STT found the end of the turn."""
    return EndOfTurnDetected(at=at, confidence=0.7, trigger=trigger)


def sounds(turn: int, at: float) -> Event:
    return PlaybackStarted(at=at, turn=turn)


def ready(turn: int, at: float) -> Event:
    return ClauseReady(at=at, turn=turn, text="It is noon.")


def sent(turn: int, text: str, at: float) -> Event:
    return ClauseSent(at=at, turn=turn, text=text, flushed=True)


def finished(turn: int, at: float) -> Event:
    return ReplyFinished(at=at, turn=turn, said="It is noon.", heard=1.0)


def failed(turn: int, at: float) -> Event:
    return ReplyFailed(at=at, turn=turn, service="tts", reason="gone")


def typed(text: str, at: float) -> Event:
    return TextTyped(at=at, text=text)


def _start(text: str, end: float) -> float:
    return max(0.0, end - 0.3 * len(text.split()))


# ── actions, in short ────────────────────────────────────────────────────────────────────────────


def short(action: Action) -> str:
    match action:
        case DraftReply():
            what = f"draft {action.turn}: {action.user_text}"
        case CommitReply():
            what = f"commit {action.turn}: {action.user_text} ({action.reason})"
        case CancelReply(committed=False):
            what = f"drop {action.turn}"
        case CancelReply(heard_nothing=True):
            what = f"take back {action.turn}"
        case CancelReply():
            what = f"cut {action.turn}"
        case Duck() | Hold() | Resume():
            what = f"{type(action).__name__.lower()} {action.turn}"
        case EndSession():
            what = f"end: {action.reason}"
        case PrepareSpeech():
            what = f"prepare {action.turn}"
        case _:
            what = type(action).__name__.lower()
    return f"{action.at:g} {what}"


class Talk:
    """A machine that is given events, and every deadline at its time.

    quick: the LLM answers at once.
    """

    def __init__(self, machine: TurnMachine, *, quick: bool = True) -> None:
        self.machine = machine
        self.quick = quick
        self.actions: list[Action] = []

    def tell(self, *events: Event, until: float | None = None) -> list[str]:
        """Return the actions for ``events`` and for the time until ``until``."""
        actions: list[Action] = []
        for event in events:
            actions += self._wait(event.at)
            actions += self._handle(event)
        actions += self._wait(until if until is not None else 0.0)
        self.actions += actions
        return [short(action) for action in actions]

    def _wait(self, at: float) -> list[Action]:
        actions: list[Action] = []
        while self.machine.deadline is not None and self.machine.deadline <= at:
            actions += self._handle(DeadlinePassed(at=self.machine.deadline))
        return actions

    def _handle(self, event: Event) -> list[Action]:
        actions = self.machine.handle(event)
        if self.quick and any(isinstance(action, DraftReply) for action in actions):
            actions += self.machine.handle(ready(self.machine.turn, event.at))
        return actions

    def commits(self) -> list[CommitReply]:
        return [action for action in self.actions if isinstance(action, CommitReply)]


WAITS = CommitWaits(complete=0.4, default=0.7, incomplete=1.2)
DUPLEX = BargeInPolicy(policy="headphones", backchannels=("uh-huh", "right"))


def create_machine(
    *,
    barge_in: BargeInPolicy | None = None,
    finalize_timeout: Seconds = 0.35,
    scored: bool = False,
    **policy: Any,
) -> TurnMachine:
    """A machine; in half duplex, unless ``barge_in`` says otherwise."""
    return TurnMachine(
        TurnPolicy(**policy),
        barge_in or BargeInPolicy(),
        finalize_timeout=finalize_timeout,
        scored=scored,
    )


def endpointing(**policy: Any) -> Talk:
    return Talk(create_machine(detect="endpointing", **policy))


def vad(**policy: Any) -> Talk:
    """Drafts text, on the final text, unless ``policy`` says otherwise."""
    policy = {"draft": "llm", "draft_on": "final", "commit": WAITS} | policy
    return Talk(create_machine(detect="vad", **policy))


def listening(**policy: Any) -> Talk:
    """Has a model that scores pauses."""
    return vad(scored=True, **policy)


def eager(**policy: Any) -> Talk:
    """Drafts on interims, and prepares the speech."""
    return vad(**{"draft": "llm+tts", "draft_on": "interim"} | policy)


def service(**policy: Any) -> Talk:
    """The STT finds the ends of turns."""
    return Talk(create_machine(detect="service", **policy))


both = pytest.mark.parametrize("strategy", [endpointing, vad])


# ── endpointing: the service decides ─────────────────────────────────────────────────────────────


class TestEndpointing:
    def test_speech_final_commits_at_once(self):
        talk = endpointing()
        assert talk.tell(
            voice(0.1),
            interim("What is", 0.8),
            interim("What is the time?", 1.5),
            over("What is the time?", 1.5, at=1.8),
        ) == ["1.8 draft 1: What is the time?", "1.8 commit 1: What is the time? (speech_final)"]
        assert talk.machine.phase is Phase.THINKING
        assert talk.machine.deadline is None

    def test_all_segments_are_one_turn(self):
        """The documentation's example: the service closes a segment at 3.26 s."""
        text = "yeah so my credit card number is two two two two three three three three"
        talk = endpointing()
        assert talk.tell(
            interim("yeah so", 1.1),
            interim("yeah so my credit card number", 2.2),
            interim("yeah so my credit card number is two two two two three", 4.3),
            said("yeah so my credit card number is two two", 3.26, at=4.5),
            interim("two two three three three three", 5.1),
            over("two two three three three three", 5.5),
        ) == [
            f"5.75 draft 1: {text}",
            f"5.75 commit 1: {text} (speech_final)",
        ]

    def test_an_empty_final_may_end_the_turn(self):
        talk = endpointing()
        assert talk.tell(said("Hello.", 0.8)) == []
        assert talk.tell(over("", 1.2))[-1] == "1.45 commit 1: Hello. (speech_final)"

    @both
    def test_silence_is_no_turn(self, strategy):
        talk = strategy()
        assert talk.tell(nothing(1), over("", 2), nothing(3), interim("", 4), until=60) == []
        assert talk.machine.deadline is None

    def test_each_final_can_be_a_turn(self):
        talk = endpointing(each_final_is_a_turn=True)
        assert talk.tell(nothing(0.5), said("I was thirty", 1, at=1.5)) == [
            "1.5 draft 1: I was thirty",
            "1.5 commit 1: I was thirty (final)",
        ]
        assert talk.tell(sounds(1, 2), finished(1, 3), said("years of age.", 4, at=5)) == [
            "5 draft 2: years of age.",
            "5 commit 2: years of age. (final)",
        ]

    def test_utterance_end_commits_what_noise_keeps_open(self):
        talk = endpointing()
        talk.tell(voice(0.1), interim("Hello there.", 1.2))
        assert (
            talk.tell(utterance_end(1.2, at=2.4))[-1]
            == "2.4 commit 1: Hello there. (utterance_end)"
        )

    @both
    def test_an_end_of_words_already_final_commits(self, strategy):
        talk = strategy()
        talk.tell(voice(0.1), said("Hello there.", 1.2))
        assert (
            talk.tell(utterance_end(None, at=2.4))[-1]
            == "2.4 commit 1: Hello there. (utterance_end)"
        )

    @both
    def test_an_end_of_words_already_final_leaves_an_open_segment(self, strategy):
        talk = strategy()
        talk.tell(voice(0.1), interim("And then", 1.2))
        assert talk.tell(utterance_end(None, at=1.4)) == []

    @both
    def test_a_stale_end_is_dropped(self, strategy):
        talk = strategy()
        talk.tell(voice(0.1), over("Hello.", 0.8), stop(0.8), until=2)
        talk.tell(sounds(1, 2), finished(1, 3), voice(3.5), interim("What", 4))
        assert talk.tell(utterance_end(0.8, at=4.2)) == []

    @both
    def test_an_end_without_words_is_no_turn(self, strategy):
        talk = strategy()
        assert talk.tell(utterance_end(None, at=1), utterance_end(0.5, at=2), until=60) == []

    @both
    def test_an_end_after_the_commit_is_ignored(self, strategy):
        talk = strategy()
        talk.tell(voice(0.1), over("Hello.", 0.8), stop(0.8), until=2)
        assert len(talk.commits()) == 1
        assert talk.tell(utterance_end(0.8, at=2.1), until=60) == []

    def test_words_that_no_rule_ends_are_committed_by_the_fallback(self):
        talk = endpointing()
        assert talk.tell(said("Hello", 0.8, at=1), until=0.99 + COMMIT_FALLBACK) == []
        assert talk.tell(until=1 + COMMIT_FALLBACK)[-1] == "6 commit 1: Hello (timeout)"

    def test_the_fallback_counts_from_the_last_word(self):
        talk = endpointing()
        talk.tell(
            interim("well", 0.5, at=1), interim("well I", 4, at=5), interim("well I", 4, at=6)
        )
        assert talk.machine.deadline == 5 + COMMIT_FALLBACK


# ── vad: the detector, the final text, and a pause that fits the words ───────────────────────────


class TestVad:
    def test_draft_on_the_final_text_and_commit_after_the_pause(self):
        talk = vad()
        assert talk.tell(
            voice(0.1),
            interim("What is", 0.8),
            stop(1.5),
            answer("What is the time?", 1.45, at=1.75),
            until=5,
        ) == [
            "1.7 finalize",
            "1.75 draft 1: What is the time?",
            "1.9 commit 1: What is the time? (complete)",
        ]
        assert talk.commits()[0].speech_end == 1.5

    @pytest.mark.parametrize(
        ("text", "reason", "wait"),
        [
            ("Hello.", "complete", WAITS.complete),
            ("I would say", "default", WAITS.default),
            ("I was there and", "incomplete", WAITS.incomplete),
            ("My number is two two three", "incomplete", WAITS.incomplete),
        ],
    )
    def test_the_pause_fits_what_was_said(self, text, reason, wait):
        talk = vad()
        lines = talk.tell(voice(0), stop(2), answer(text, 2, at=2.25), until=10)
        assert lines[-1] == f"{2 + wait:g} commit 1: {text} ({reason})"

    def test_a_sound_that_may_be_a_voice_delays_the_commit_once(self):
        talk = vad()
        talk.tell(voice(0), stop(2), answer("I was there", 2, at=2.25))
        lines = talk.tell(SpeechSuspected(at=2.65), SpeechSuspected(at=2.75), until=10)
        assert lines == [f"{2.65 + SUSPICION_TIMEOUT:g} commit 1: I was there (default)"]

    def test_a_sound_early_in_the_pause_delays_nothing(self):
        talk = vad()
        talk.tell(voice(0), stop(2), answer("I was there", 2, at=2.25))
        assert talk.tell(SpeechSuspected(at=2.3), until=10)[-1].startswith("2.7 commit 1:")

    def test_the_next_pause_may_be_delayed_again(self):
        talk = vad()
        talk.tell(voice(0), stop(2), answer("I was there", 2, at=2.25), SpeechSuspected(at=2.65))
        talk.tell(voice(2.6, at=2.8), stop(4), answer("again", 4, at=4.25))
        lines = talk.tell(SpeechSuspected(at=4.65), until=10)
        assert lines == ["4.85 commit 2: I was there again (default)"]

    def test_without_drafts_the_reply_begins_with_the_commit(self):
        talk = vad(draft="off")
        assert talk.tell(voice(0), stop(2), answer("Hello.", 2, at=2.25), until=10) == [
            "2.2 finalize",
            "2.4 draft 1: Hello.",
            "2.4 commit 1: Hello. (complete)",
        ]

    def test_a_final_text_that_is_late_is_committed_at_once(self):
        talk = vad(finalize_timeout=0.5)
        talk.tell(voice(0), stop(2))
        assert talk.tell(answer("Hello.", 2, at=2.6)) == [
            "2.6 draft 1: Hello.",
            "2.6 commit 1: Hello. (complete)",
        ]

    def test_without_an_answer_to_finalize_the_interim_counts(self):
        talk = vad()
        assert talk.tell(voice(0), interim("I would say", 1.9), stop(2), until=10) == [
            "2.2 finalize",
            "2.55 draft 1: I would say",
            "2.7 commit 1: I would say (default)",
        ]

    def test_a_late_answer_that_says_the_same_changes_nothing(self):
        talk = vad()
        talk.tell(voice(0), interim("I would say", 1.9), stop(2), until=2.6)
        assert talk.tell(answer("I would say", 1.95, at=2.65), until=10) == [
            "2.7 commit 1: I would say (default)"
        ]

    def test_a_late_answer_that_says_more_is_drafted_again(self):
        talk = vad()
        talk.tell(voice(0), interim("I would say", 1.5), stop(2), until=2.6)
        assert talk.tell(answer("I would say so, and", 1.95, at=2.65), until=10) == [
            "2.65 drop 1",
            "2.65 draft 2: I would say so, and",
            "3.2 commit 2: I would say so, and (incomplete)",
        ]

    def test_an_answer_that_restates_the_commit_is_not_said_twice(self):
        talk = vad()
        talk.tell(voice(0), interim("I would say", 1.9), stop(2), until=2.8)
        assert talk.tell(answer("I would say.", 1.95, at=2.9), sounds(1, 3), finished(1, 4)) == []
        assert talk.tell(until=60) == []

    def test_an_answer_that_says_more_reopens_the_turn(self):
        talk = vad()
        talk.tell(voice(0), interim("I would say", 1.4), stop(2), until=2.8)
        assert talk.tell(answer("I would say no.", 1.95, at=2.9), until=60) == [
            "2.9 take back 1",
            "2.9 draft 2: I would say no.",
            "2.9 commit 2: I would say no. (complete)",
        ]

    def test_an_empty_answer_leaves_earlier_segments(self):
        talk = vad()
        assert talk.tell(
            voice(0), said("Hello.", 1.9, at=1.95), stop(2), answer("", 2.2, at=2.3)
        ) == [
            "2.2 finalize",
            "2.3 draft 1: Hello.",
        ]

    def test_an_answer_that_retracts_the_words_drops_the_draft(self):
        talk = vad()
        talk.tell(voice(0), interim("Um", 1.9), stop(2), until=2.6)
        assert talk.tell(answer("", 2, at=2.7), until=60) == ["2.7 drop 1"]

    def test_a_cough_is_no_turn(self):
        talk = vad()
        assert talk.tell(voice(0), stop(0.3), until=60) == ["0.5 finalize"]
        assert talk.machine.deadline is None

    def test_a_final_that_is_no_answer_does_not_end_the_wait(self):
        talk = vad()
        talk.tell(voice(0), stop(2))
        assert talk.tell(said("I was", 1, at=2.25)) == []
        assert talk.tell(answer("there.", 2, at=2.3)) == ["2.3 draft 1: I was there."]

    def test_speech_final_counts_as_an_answer(self):
        talk = vad()
        talk.tell(voice(0), stop(2))
        assert talk.tell(over("I was there.", 2, at=2.25)) == ["2.25 draft 1: I was there."]

    def test_finals_during_speech_end_nothing(self):
        talk = vad()
        assert talk.tell(voice(0), said("I was", 1), over("there", 2), until=4) == []

    def test_continued_speech_drops_the_draft_and_joins_the_words(self):
        talk = vad()
        talk.tell(voice(0), stop(1), answer("I was there and", 1, at=1.25))
        assert talk.tell(voice(1.6), stop(2.5), answer("then I left.", 2.5, at=2.8), until=9) == [
            "1.65 drop 1",
            "2.7 finalize",
            "2.8 draft 2: I was there and then I left.",
            "2.9 commit 2: I was there and then I left. (complete)",
        ]

    def test_words_that_the_detector_missed_prolong_the_pause(self):
        talk = vad()
        talk.tell(voice(0), stop(1), answer("I was there.", 1, at=1.25))
        assert talk.tell(interim("and", 1.3, at=1.35), until=2.5) == ["1.35 drop 1"]
        assert talk.tell(until=9) == [
            "2.55 draft 2: I was there. and",
            "2.55 commit 2: I was there. and (incomplete)",
        ]

    def test_the_pause_counts_from_words_that_the_detector_missed(self):
        talk = vad()
        talk.tell(voice(0), stop(1), answer("I was there and", 1, at=1.25))
        assert talk.tell(interim("then", 1.8), over("then I left.", 2.1, at=2.3), until=9) == [
            "1.9 drop 1",
            "2.3 draft 2: I was there and then I left.",
            "2.5 commit 2: I was there and then I left. (complete)",
        ]
        assert talk.commits()[0].speech_end == 2.1

    def test_speech_in_noise_ends_with_its_words(self):
        """The detector never says that it stopped."""
        talk = vad()
        talk.tell(voice(0), said("Hello there.", 1))
        assert (
            talk.tell(utterance_end(1, at=2.1))[-1] == "2.1 commit 1: Hello there. (utterance_end)"
        )
        assert talk.tell(stop(8), until=60) == []

    def test_utterance_end_leaves_a_pause_to_the_detector(self):
        talk = vad()
        talk.tell(voice(0), stop(1), answer("I was there and", 1, at=1.25))
        assert talk.tell(utterance_end(1, at=2)) == []

    def test_muting_ends_the_speech(self):
        talk = vad()
        talk.tell(voice(0), said("Hello.", 0.8))
        assert talk.tell(MicrophoneMuted(at=1.1, muted=True), until=9) == [
            "1.1 finalize",
            "1.45 draft 1: Hello.",
            "1.5 commit 1: Hello. (complete)",
        ]

    def test_muting_in_silence_and_unmuting_change_nothing(self):
        talk = vad()
        assert (
            talk.tell(MicrophoneMuted(at=1, muted=True), MicrophoneMuted(at=2, muted=False)) == []
        )
        talk.tell(voice(3), stop(4), answer("Hello.", 4, at=4.25))
        assert talk.tell(MicrophoneMuted(at=4.3, muted=True), until=9) == [
            "4.4 commit 1: Hello. (complete)"
        ]


# ── service: the STT predicts the end of the turn, and takes that back or confirms it ────────────


class TestService:
    def test_a_predicted_end_is_drafted_on_and_a_found_one_committed(self):
        talk = service()
        assert talk.tell(voice(0.1), interim("What is the time?", 1.5), predicted(1.9)) == [
            "1.9 draft 1: What is the time?",
            "1.9 prepare 1",
        ]
        assert talk.tell(over("What is the time?", 1.5, at=2.1), ended(2.1)) == [
            "2.1 commit 1: What is the time? (end_of_turn)"
        ]
        assert talk.commits()[0].speech_end == 1.5

    @pytest.mark.parametrize(("draft", "prepared"), [("llm", []), ("llm+tts", ["2 prepare 1"])])
    def test_the_profile_says_what_is_prepared(self, draft, prepared):
        talk = service(draft=draft)
        found = talk.tell(interim("Hello there.", 1.5), predicted(2))
        assert found == ["2 draft 1: Hello there.", *prepared]

    def test_without_drafts_a_predicted_end_means_nothing(self):
        talk = service(draft="off")
        assert talk.tell(interim("Hello.", 1), predicted(1.5)) == []
        assert talk.tell(over("Hello.", 1, at=1.8), ended(1.8)) == [
            "1.8 draft 1: Hello.",
            "1.8 commit 1: Hello. (end_of_turn)",
        ]

    def test_a_turn_that_goes_on_drops_the_draft_and_joins_the_words(self):
        talk = service(draft="llm")
        talk.tell(interim("I would like", 1), predicted(1.4))
        assert talk.tell(resumed(1.8)) == ["1.8 drop 1"]
        assert talk.tell(interim("I would like some tea.", 2.5, start=0.1), predicted(3)) == [
            "3 draft 2: I would like some tea."
        ]
        text = "I would like some tea."
        assert talk.tell(said(text, 2.5, 3.2, start=0.1, speech_final=True), ended(3.2)) == [
            f"3.2 commit 2: {text} (end_of_turn)"
        ]

    def test_other_words_in_the_end_are_drafted_on_again(self):
        talk = service(draft="llm")
        talk.tell(interim("Buy two", 1), predicted(1.4))
        assert talk.tell(said("Buy tea too.", 1.2, 2, start=0.1, speech_final=True), ended(2)) == [
            "2 drop 1",
            "2 draft 2: Buy tea too.",
            "2 commit 2: Buy tea too. (end_of_turn)",
        ]

    def test_an_end_without_a_prediction_is_committed(self):
        talk = service()
        assert talk.tell(over("Stop.", 1, at=1.4), ended(1.4, "timeout"))[-1] == (
            "1.4 commit 1: Stop. (end_of_turn)"
        )

    def test_the_end_of_a_turn_without_words_is_none(self):
        talk = service()
        assert talk.tell(over("", 1), ended(1.25), predicted(2), resumed(3), until=60) == []

    def test_a_pause_may_be_as_long_as_the_service_goes_on_restating_the_words(self):
        talk = service()
        restated = [interim("Let me see and", 1, at=at / 4) for at in range(5, 60)]
        assert talk.tell(*restated) == []
        assert talk.tell(until=30)[-1] == (
            f"{14.75 + COMMIT_FALLBACK:g} commit 1: Let me see and (timeout)"
        )

    def test_words_before_the_reply_is_heard_reopen_the_turn(self):
        talk = service(draft="llm")
        talk.tell(over("I think", 1, at=1.4), ended(1.4))
        assert talk.tell(interim("so.", 2, at=1.9)) == ["1.9 take back 1"]
        assert talk.tell(predicted(2.3)) == ["2.3 draft 2: I think so."]
        assert talk.tell(over("so.", 2, at=2.5), ended(2.5)) == [
            "2.5 commit 2: I think so. (end_of_turn)"
        ]

    def test_the_key_that_ends_the_turn_does_not_wait_for_the_service(self):
        talk = service()
        assert talk.tell(interim("Tell me", 1), TurnYielded(at=1.4)) == ["1.4 finalize"]
        assert talk.tell(until=3)[-1] == "1.75 commit 1: Tell me (key)"

    def test_a_barge_in_is_committed_when_its_turn_has_ended(self):
        talk = Talk(create_machine(detect="service", draft="llm", barge_in=DUPLEX))
        talk.tell(over("Tell me a story.", 1, at=1.4), ended(1.4), sounds(1, 2), voice(3))
        assert talk.tell(interim("Another one please.", 3.6, at=3.7))[-1] == "3.7 cut 1"
        assert talk.tell(over("Another one please.", 4, at=4.5), ended(4.5)) == [
            "4.5 draft 2: Another one please.",
            "4.5 commit 2: Another one please. (end_of_turn)",
        ]

    @pytest.mark.parametrize("strategy", [endpointing, vad])
    def test_where_others_decide_its_predictions_mean_nothing(self, strategy):
        talk = strategy()
        talk.tell(voice(0), interim("Hello there.", 1))
        assert talk.tell(predicted(1.5), resumed(1.6), ended(1.7)) == []


# ── the model's opinion on the pause ─────────────────────────────────────────────────────────────


WHOLE, UNCLEAR, HANGING = "Hello.", "I would say", "I was there and"


class TestScores:
    def test_a_pause_is_scored_once(self):
        talk = listening()
        assert talk.tell(voice(0), pause(2), stop(2)) == ["2.1 scoreendofturn", "2.2 finalize"]
        assert ScoreEndOfTurn(at=2.1, speech_end=2) in talk.actions

    def test_the_end_of_the_speech_is_scored_if_no_pause_was_reported(self):
        talk = listening()
        assert talk.tell(voice(0), stop(2)) == ["2.2 finalize", "2.2 scoreendofturn"]

    def test_each_pause_is_scored(self):
        talk = listening()
        talk.tell(voice(0), pause(2), resume(2.15), pause(3), stop(3), voice(4), pause(5))
        orders = [one for one in talk.actions if isinstance(one, ScoreEndOfTurn)]
        assert [one.speech_end for one in orders] == [2, 3, 5]

    @pytest.mark.parametrize("talk", [vad(), endpointing()])
    def test_without_a_model_nothing_is_scored(self, talk):
        talk.tell(voice(0), pause(2), stop(2), voice(3))
        assert not [one for one in talk.actions if isinstance(one, ScoreEndOfTurn)]

    @pytest.mark.parametrize(
        ("text", "probability", "reason", "wait"),
        [
            (WHOLE, 0.95, "complete", WAITS.complete),
            (WHOLE, 0.5, "complete", WAITS.complete),
            (WHOLE, 0.05, "incomplete", WAITS.incomplete),
            (UNCLEAR, 0.95, "complete", WAITS.complete),
            (UNCLEAR, 0.5, "default", WAITS.default),
            (UNCLEAR, 0.05, "incomplete", WAITS.incomplete),
            (HANGING, 0.95, "incomplete", WAITS.incomplete),
            (HANGING, 0.05, "incomplete", WAITS.incomplete),
        ],
    )
    @pytest.mark.parametrize("late", [False, True])
    def test_the_sound_corrects_the_wait(self, text, probability, reason, wait, late):
        """Whether the score comes before the final text or within the wait."""
        talk = listening()
        events = [answer(text, 2, at=2.25), scored(2, probability, at=2.3 if late else 2.16)]
        talk.tell(voice(0), pause(2))
        lines = talk.tell(*sorted([stop(2), *events], key=lambda one: one.at), until=10)
        assert lines[-1] == f"{2 + wait:g} commit 1: {text} ({reason})"
        assert sum("draft" in line for line in lines) == 1

    def test_a_score_after_the_shorter_wait_commits_at_once(self):
        talk = listening()
        talk.tell(voice(0), pause(2), stop(2), answer(UNCLEAR, 2, at=2.25))
        assert talk.tell(scored(2, 0.95, at=2.6)) == ["2.6 commit 1: I would say (complete)"]

    def test_a_score_after_the_commit_changes_nothing(self):
        talk = listening()
        talk.tell(voice(0), pause(2), stop(2), answer(WHOLE, 2, at=2.25), until=2.4)
        assert len(talk.commits()) == 1
        assert talk.tell(scored(2, 0.05, at=2.5), until=20) == []
        talk.tell(sounds(1, 20), finished(1, 21), voice(22), stop(23), answer(WHOLE, 23, at=23.2))
        assert talk.tell(until=30)[-1] == "23.4 commit 2: Hello. (complete)"

    def test_a_score_of_an_earlier_pause_is_ignored(self):
        talk = listening()
        talk.tell(voice(0), pause(1), resume(1.15), pause(2), scored(1, 0.05, at=2.12))
        lines = talk.tell(stop(2), answer(WHOLE, 2, at=2.25), until=10)
        assert lines[-1] == "2.4 commit 1: Hello. (complete)"

    def test_a_voice_that_goes_on_ends_the_score(self):
        talk = listening()
        talk.tell(voice(0), pause(1), scored(1, 0.05), stop(1), voice(1.5))
        lines = talk.tell(pause(3), stop(3), answer(WHOLE, 3, at=3.25), until=10)
        assert lines[-1] == "3.4 commit 1: Hello. (complete)"

    def test_a_score_does_not_shorten_the_wait_for_words_that_the_detector_missed(self):
        talk = listening()
        talk.tell(voice(0), pause(2), stop(2), answer(UNCLEAR, 2, at=2.25))
        talk.tell(interim("I would say so", 2.6, at=2.65))
        assert talk.tell(scored(2, 0.95, at=2.66)) == []
        assert talk.machine.deadline == 2.65 + WAITS.incomplete

    @settings(deadline=None)
    @given(st.floats(0, 1), st.floats(2.1, 5))
    def test_the_turn_is_committed_once_whatever_the_score(self, probability, at):
        talk = listening()
        events = [stop(2), answer(UNCLEAR, 2, at=2.25), scored(2, probability, at=at)]
        talk.tell(voice(0), pause(2), *sorted(events, key=lambda one: one.at), until=10)
        (commit,) = talk.commits()
        assert commit.user_text == UNCLEAR
        assert 2 + WAITS.complete <= commit.at <= 2 + WAITS.incomplete


# ── drafts: on interims, and spoken ahead of the commit ──────────────────────────────────────────


QUESTION = "What is the time?"
DOLLARS = "It costs twenty five dollars"


class TestDrafts:
    def test_an_interim_is_drafted_on_in_the_first_pause(self):
        talk = eager()
        assert talk.tell(
            voice(0),
            interim("what is the time", 1.9, at=1.95),
            pause(2),
            stop(2),
            answer(QUESTION, 1.95, at=2.3),
            until=5,
        ) == [
            "2.1 draft 1: what is the time",
            "2.2 finalize",
            "2.3 prepare 1",
            "2.4 commit 1: What is the time? (complete)",
        ]

    def test_words_without_a_full_stop_are_drafted_on_a_little_later(self):
        least = TurnPolicy().draft_after
        for text, wait in (("What is the time?", least), ("what is the time", least + UNSURE)):
            talk = eager()
            talk.tell(voice(0), interim(text, 1.9), pause(2, at=2 + least))
            talk.tell(until=2.15)
            assert [short(one) for one in talk.actions] == [f"{2 + wait:g} draft 1: {text}"]

    def test_a_voice_that_resumes_before_that_is_not_drafted_on(self):
        talk = eager()
        talk.tell(voice(0), interim("what is the time", 1.9), pause(2, at=2.06))
        assert talk.tell(resume(2.07), until=3) == []

    def test_an_interim_that_comes_within_the_pause_is_drafted_on(self):
        talk = eager()
        talk.tell(voice(0), interim("what is", 1.3), pause(2))
        assert talk.tell(interim("what is the time", 1.9, at=2.15)) == [
            "2.15 draft 1: what is the time"
        ]

    def test_an_interim_that_says_nothing_new_may_complete_the_words(self):
        """Only its last word ends later."""
        talk = eager()
        talk.tell(voice(0), interim("what is the time", 1.7), pause(2))
        assert talk.tell(interim("what is the time", 1.95, at=2.15)) == [
            "2.15 draft 1: what is the time"
        ]

    @pytest.mark.parametrize("text", ["what is the", "I was there and", "my number is two two"])
    def test_words_that_look_unfinished_are_not_drafted_on(self, text):
        talk = eager()
        assert talk.tell(voice(0), interim(text, 1.95), pause(2), stop(2)) == ["2.2 finalize"]

    def test_words_that_end_before_the_voice_are_not_drafted_on(self):
        talk = eager()
        assert talk.tell(voice(0), interim("what is", 1.7), pause(2), stop(2)) == ["2.2 finalize"]

    def test_without_a_pause_nothing_is_drafted(self):
        talk = eager()
        assert talk.tell(voice(0), interim("what is the time", 2)) == []
        assert talk.tell(pause(2.1), resume(2.25))[-1:] == ["2.2 draft 1: what is the time"]

    def test_a_pause_without_words_drafts_nothing(self):
        talk = eager()
        assert talk.tell(voice(0), pause(2), stop(2), answer("", 2, at=2.3), until=60) == [
            "2.2 finalize"
        ]

    def test_an_interim_after_the_pause_is_not_drafted_on(self):
        talk = eager()
        talk.tell(voice(0), pause(2), resume(2.15))
        assert talk.tell(interim("what is the time", 2, at=2.2)) == []

    def test_the_end_of_the_speech_is_a_pause(self):
        """So it is if the hangover is not longer than a pause."""
        talk = eager()
        assert talk.tell(voice(0), interim("what is the time", 2), stop(2)) == [
            "2.2 finalize",
            "2.2 draft 1: what is the time",
        ]

    @pytest.mark.parametrize("final", ["It costs $25.", "it costs twenty-five dollars", DOLLARS])
    def test_a_final_text_that_says_the_same_keeps_the_draft(self, final):
        talk = eager(draft="llm")
        talk.tell(voice(0), interim(DOLLARS, 1.9), pause(2), stop(2))
        (commit,) = talk.tell(answer(final, 1.95, at=2.3), until=9)
        assert commit.startswith(f"2.{'4' if final.endswith('.') else '7'} commit 1: {final} (")

    def test_a_final_text_that_says_something_else_is_drafted_on(self):
        talk = eager()
        talk.tell(voice(0), interim("It costs fifteen dollars", 1.9), pause(2), stop(2))
        assert talk.tell(answer("It costs $50.", 1.95, at=2.3), until=9) == [
            "2.3 drop 1",
            "2.3 draft 2: It costs $50.",
            "2.3 prepare 2",
            "2.4 commit 2: It costs $50. (complete)",
        ]

    def test_an_interim_that_says_something_else_is_drafted_on(self):
        talk = eager()
        talk.tell(voice(0), interim("what is the time", 1.85), pause(2))
        assert talk.tell(interim("what is the time now", 1.95, at=2.15)) == [
            "2.15 drop 1",
            "2.15 draft 2: what is the time now",
        ]

    def test_words_that_go_on_drop_the_draft(self):
        talk = eager()
        talk.tell(voice(0), interim("I was there", 1.9), pause(2), resume(2.18))
        assert talk.tell(interim("I was there and", 2.5)) == ["2.6 drop 1"]

    def test_a_noise_in_the_pause_keeps_the_draft(self):
        talk = eager()
        talk.tell(voice(0), interim("I was there", 1.9), pause(2), resume(2.15), pause(2.2))
        assert talk.tell(stop(2.2), answer("I was there.", 1.95, at=2.5), until=9) == [
            "2.4 finalize",
            "2.5 prepare 1",
            "2.6 commit 1: I was there. (complete)",
        ]

    def test_new_speech_drops_the_draft(self):
        talk = eager()
        talk.tell(voice(0), interim("I was there", 1.9), pause(2), stop(2))
        assert talk.tell(voice(2.2)) == ["2.25 drop 1"]

    def test_a_segment_that_closes_within_the_pause_keeps_the_draft(self):
        talk = eager()
        talk.tell(voice(0), interim("I was there", 1.9), pause(2))
        assert talk.tell(over("I was there.", 1.9, at=2.15)) == []

    def test_a_time_out_of_finalize_confirms_the_draft(self):
        talk = eager()
        talk.tell(voice(0), interim("I was there", 1.9), pause(2), stop(2))
        assert talk.tell(until=9) == ["2.55 prepare 1", "2.7 commit 1: I was there (default)"]

    def test_speech_is_prepared_shortly_before_the_commit(self):
        talk = eager()
        talk.tell(voice(0), interim("I was there", 1.9), pause(2), stop(2))
        assert talk.tell(answer("I was there", 1.95, at=2.3), until=9) == [
            f"{2.7 - SPEECH_LEAD:g} prepare 1",
            "2.7 commit 1: I was there (default)",
        ]

    def test_words_after_the_final_text_take_the_speech_back(self):
        talk = eager()
        talk.tell(voice(0), stop(2), answer("I was there.", 1.95, at=2.3))
        assert talk.tell(interim("and", 2.4, at=2.35), until=9) == [
            "2.35 drop 1",
            "3.55 draft 2: I was there. and",
            "3.55 commit 2: I was there. and (incomplete)",
        ]

    def test_speech_is_not_prepared_unless_it_is_asked_for(self):
        for draft in ("off", "llm"):
            talk = eager(draft=draft)
            lines = talk.tell(voice(0), stop(2), answer(QUESTION, 1.95, at=2.3), until=9)
            assert not [line for line in lines if "prepare" in line]

    def test_without_drafts_a_pause_means_nothing(self):
        talk = eager(draft="off")
        assert talk.tell(voice(0), interim("what is the time", 1.95), pause(2)) == []

    def test_drafts_on_finals_ignore_pauses(self):
        talk = eager(draft_on="final")
        assert talk.tell(voice(0), interim("what is the time", 1.95), pause(2), stop(2)) == [
            "2.2 finalize"
        ]

    def test_a_failed_draft_is_repeated_with_the_next_words(self):
        talk = eager(draft="llm")
        talk.tell(voice(0), interim("what is the time", 1.95), pause(2))
        assert talk.tell(failed(1, 2.15), stop(2), answer(QUESTION, 1.95, at=2.3), until=9) == [
            "2.2 finalize",
            "2.2 draft 2: what is the time",
            "2.4 commit 2: What is the time? (complete)",
        ]

    def test_words_that_cut_a_reply_are_drafted_on_in_a_pause(self):
        talk = eager(barge_in=DUPLEX)
        talk.tell(typed("Hello", 1), sounds(1, 2), voice(3), pause(3.5, at=3.6))
        assert talk.tell(interim("stop please", 3.5, at=3.65)) == [
            "3.65 cut 1",
            "3.65 draft 2: stop please",
        ]

    @given(
        interims=st.lists(
            st.tuples(st.integers(0, 5), st.floats(0.3, 2.3), st.floats(0, 1.5)), max_size=6
        ),
        draft=st.sampled_from(["llm", "llm+tts"]),
    )
    def test_whatever_the_interims_the_commit_is_that_of_drafts_on_finals(self, interims, draft):
        """Whatever they say and however late they are, before the final text."""
        words = QUESTION.lower().split()
        shown = [
            interim(" ".join(words[:count]), end, at=min(end + lag, 2.29), start=0.0)
            for count, end, lag in interims
        ]
        rest = [voice(0), pause(2), stop(2), answer(QUESTION, 1.95, at=2.3)]
        told = sorted([*shown, *rest], key=lambda event: event.at)
        commits = []
        for draft_on in ("interim", "final"):
            talk = eager(draft=draft, draft_on=draft_on)
            talk.tell(*told, until=9)
            commits.append([(one.at, one.user_text, one.reason) for one in talk.commits()])
        assert commits[0] == commits[1] == [(2.4, QUESTION, "complete")]


# ── a commit that is due waits until the draft has something to speak ─────────────────────────────


class TestLateDraft:
    """The turn could be committed at 2.4; the LLM has written nothing by then."""

    def late(self, **policy: Any) -> Talk:
        talk = eager(**policy)
        talk.quick = False
        talk.tell(voice(0), interim("what is the time", 1.9), pause(2), stop(2))
        talk.tell(answer(QUESTION, 1.95, at=2.3))
        return talk

    @pytest.mark.parametrize("draft", ["llm", "llm+tts"])
    def test_it_is_committed_with_its_first_clause(self, draft):
        talk = self.late(draft=draft)
        assert [line for line in talk.tell(until=2.9) if "prepare" not in line] == []
        assert talk.tell(ready(1, 2.9)) == ["2.9 commit 1: What is the time? (complete)"]
        assert talk.machine.deadline is None

    def test_a_clause_before_the_pause_is_long_enough_commits_nothing(self):
        talk = self.late()
        assert talk.tell(ready(1, 2.35), until=9) == ["2.4 commit 1: What is the time? (complete)"]

    def test_it_waits_no_longer_than_unfinished_words_would(self):
        talk = self.late()
        assert talk.tell(until=9) == [f"{2 + WAITS.incomplete:g} commit 1: {QUESTION} (complete)"]

    def test_the_user_who_goes_on_has_not_been_cut(self):
        talk = self.late()
        assert talk.tell(voice(2.5)) == ["2.55 drop 1"]
        assert not talk.commits()

    def test_an_apology_is_committed_when_it_is_sent(self):
        talk = self.late()
        assert talk.tell(sent(1, "Sorry.", 2.7)) == ["2.7 commit 1: What is the time? (complete)"]

    def test_a_draft_that_fails_is_not_waited_for(self):
        talk = self.late()
        assert talk.tell(failed(1, 2.6)) == [
            "2.6 draft 2: What is the time?",
            "2.6 commit 2: What is the time? (complete)",
        ]

    def test_a_sound_that_may_be_a_voice_delays_this_commit_too(self):
        talk = self.late()
        talk.tell(SpeechSuspected(at=2.6))
        assert talk.tell(ready(1, 2.65), until=9) == [
            f"{2.6 + SUSPICION_TIMEOUT:g} commit 1: What is the time? (complete)"
        ]

    def test_a_score_that_the_user_goes_on_counts_until_then(self):
        talk = Talk(eager(scored=True).machine, quick=False)
        talk.tell(voice(0), interim("what is the time", 1.9), pause(2), stop(2))
        talk.tell(answer(QUESTION, 1.95, at=2.3), scored(2, 0.01, at=2.5))
        assert talk.tell(ready(1, 2.6), until=9)[-1].startswith("3.2 commit 1")

    def test_without_drafts_the_commit_is_not_late(self):
        talk = self.late(draft="off")
        assert talk.tell(until=9)[-1] == "2.4 commit 1: What is the time? (complete)"


# ── the user goes on before a sample was heard ───────────────────────────────────────────────────


class TestSuspicionBeforeTheReplyIsHeard:
    """A loud sound after the commit: the reply must not begin while the user may be going on."""

    def committed(self, **policy: Any) -> Talk:
        talk = vad(**policy)
        talk.tell(voice(0), stop(2), answer(QUESTION, 2, at=2.25), until=2.4)
        assert talk.machine.phase is Phase.THINKING
        return talk

    @pytest.mark.parametrize("barge_in", [BargeInPolicy(), DUPLEX])
    def test_it_delays_the_reply_once_and_not_for_long(self, barge_in):
        talk = self.committed(barge_in=barge_in)
        assert talk.tell(SpeechSuspected(at=2.5), until=3) == [
            "2.5 hold 1",
            f"{2.5 + SUSPICION_TIMEOUT:g} resume 1",
        ]
        assert talk.tell(SpeechSuspected(at=3), until=4) == []
        assert talk.machine.deadline is None

    @pytest.mark.parametrize("barge_in", [BargeInPolicy(), DUPLEX])
    def test_speech_reopens_the_turn(self, barge_in):
        talk = self.committed(barge_in=barge_in)
        assert talk.tell(SpeechSuspected(at=2.5), voice(2.45, at=2.6), until=9) == [
            "2.5 hold 1",
            "2.6 take back 1",
        ]
        assert talk.tell(stop(10), answer("In Rome.", 10, at=10.25), until=20)[-1] == (
            f"10.4 commit 2: {QUESTION} In Rome. (complete)"
        )

    def test_words_reopen_the_turn(self):
        talk = self.committed()
        assert talk.tell(SpeechSuspected(at=2.5), interim("In Rome", 2.5, at=2.6), until=2.9) == [
            "2.5 hold 1",
            "2.6 take back 1",
        ]

    @pytest.mark.parametrize("barge_in", [BargeInPolicy(), DUPLEX])
    def test_a_reply_that_had_begun_already_is_held_or_cut(self, barge_in):
        """The sound card had its first samples."""
        talk = self.committed(barge_in=barge_in)
        lines = talk.tell(SpeechSuspected(at=2.5), sounds(1, 2.51), until=3)
        assert lines == ["2.5 hold 1", "2.7 resume 1"]
        talk = self.committed(barge_in=barge_in)
        lines = talk.tell(SpeechSuspected(at=2.5), sounds(1, 2.51), voice(2.45, at=2.6), until=3)
        assert lines == ["2.5 hold 1", "2.6 cut 1"]
        assert talk.tell(stop(4), answer("In Rome.", 4, at=4.25), until=9)[-1] == (
            "4.4 commit 2: In Rome. (complete)"
        )

    def test_the_next_reply_may_be_delayed_again(self):
        talk = self.committed()
        talk.tell(SpeechSuspected(at=2.5), sounds(1, 2.8), finished(1, 4), typed("And now?", 5))
        assert talk.tell(SpeechSuspected(at=5.1), until=9) == ["5.1 hold 2", "5.3 resume 2"]

    def test_endings_by_the_stt_ignore_it(self):
        talk = endpointing()
        talk.tell(over(QUESTION, 1))
        assert talk.tell(SpeechSuspected(at=1.3), until=9) == []

    def test_the_agent_can_be_silenced(self):
        talk = self.committed()
        assert talk.tell(SpeechSuspected(at=2.5), AgentStopped(at=2.55), until=9) == [
            "2.5 hold 1",
            "2.55 cut 1",
        ]
        assert talk.machine.deadline is None


class TestReopenedTurn:
    def test_words_while_thinking_make_one_turn(self):
        talk = endpointing()
        talk.tell(over("What is", 1))
        assert talk.tell(interim("the", 2.5), interim("the time", 2.8), over("the time?", 3)) == [
            "2.6 take back 1",
            "3.25 draft 2: What is the time?",
            "3.25 commit 2: What is the time? (speech_final)",
        ]

    def test_a_segment_that_no_rule_ends_makes_one_turn(self):
        talk = endpointing()
        talk.tell(over("What is", 1))
        assert talk.tell(said("the time", 2.5, at=2.75), until=60) == [
            "2.75 take back 1",
            "7.75 draft 2: What is the time",
            "7.75 commit 2: What is the time (timeout)",
        ]

    def test_several_revoked_commits_make_one_turn(self):
        talk = endpointing()
        talk.tell(over("I", 1), over("was", 2), over("there", 3))
        assert talk.commits()[-1].user_text == "I was there"
        assert talk.machine.turn == 3

    def test_speech_while_thinking_revokes_the_commit(self):
        talk = vad()
        talk.tell(voice(0), stop(2), answer("What is it?", 2, at=2.25), until=2.5)
        assert talk.tell(voice(2.6), stop(3.2), answer("Tell me.", 3.2, at=3.45), until=9) == [
            "2.65 take back 1",
            "3.4 finalize",
            "3.45 draft 2: What is it? Tell me.",
            "3.6 commit 2: What is it? Tell me. (complete)",
        ]

    def test_a_cough_while_thinking_only_delays_the_reply(self):
        talk = vad()
        talk.tell(voice(0), stop(2), answer("What is it?", 2, at=2.25), until=2.5)
        assert talk.tell(voice(2.6), stop(2.8), answer("", 3, at=3.1), until=9) == [
            "2.65 take back 1",
            "3 finalize",
            "3.1 draft 2: What is it?",
            "3.2 commit 2: What is it? (complete)",
        ]

    def test_speech_alone_revokes_nothing_with_endpointing(self):
        talk = endpointing()
        talk.tell(over("What is it?", 2))
        assert talk.tell(voice(2.6), stop(2.8), nothing(3.2)) == []
        assert talk.machine.phase is Phase.THINKING

    def test_the_detector_may_be_slower_than_the_service(self):
        talk = endpointing()
        talk.tell(voice(0), over("What is it?", 2, at=2.1))
        assert talk.tell(stop(2.05), sounds(1, 3), finished(1, 4)) == []
        talk.tell(over("And then?", 6))
        assert [commit.speech_end for commit in talk.commits()] == [2, 6]

    def test_events_of_the_cancelled_reply_are_ignored(self):
        talk = endpointing()
        talk.tell(over("What is", 1), interim("the time", 2.5))
        assert talk.tell(sounds(1, 2.7), finished(1, 3), failed(1, 3)) == []
        assert talk.machine.phase is Phase.LISTENING


# ── half duplex ──────────────────────────────────────────────────────────────────────────────────


class TestHalfDuplex:
    @both
    def test_words_during_the_reply_begin_the_next_turn(self, strategy):
        talk = strategy()
        talk.tell(typed("Hello", 1), sounds(1, 2))
        assert talk.tell(interim("and", 2.1), said("and then?", 2.3), until=4) == []
        talk.tell(finished(1, 5), until=60)
        assert [commit.user_text for commit in talk.commits()] == ["Hello", "and then?"]

    def test_words_whose_pause_passed_during_the_reply_are_answered(self):
        talk = vad()
        talk.tell(typed("Hello", 1), sounds(1, 2), said("and then?", 2.3))
        assert talk.tell(finished(1, 5)) == [
            "5 draft 2: and then?",
            "5 commit 2: and then? (complete)",
        ]

    def test_the_next_turn_joins_words_too_late_for_the_last(self):
        talk = endpointing()
        talk.tell(typed("Hello", 1), sounds(1, 2), said("and then", 2.3), finished(1, 4))
        assert talk.tell(over("what happened?", 6))[-1] == (
            "6.25 commit 2: and then what happened? (speech_final)"
        )

    def test_speech_does_not_interrupt(self):
        talk = vad()
        talk.tell(typed("Hello", 1), sounds(1, 2))
        assert talk.tell(voice(2.5), until=9) == []
        assert talk.tell(stop(9), finished(1, 10), until=60) == []

    def test_speech_at_the_end_of_the_reply_is_not_awaited(self):
        talk = vad()
        talk.tell(voice(0.5), typed("Hello", 1), sounds(1, 2), finished(1, 5))
        assert talk.tell(said("What?", 5.5), until=9)[-1] == "5.9 commit 2: What? (complete)"


# ── barge-in ─────────────────────────────────────────────────────────────────────────────────────


def speaking(strategy=vad) -> Talk:
    """The agent has said "It is twelve o'clock" from 2 on."""
    talk = strategy(barge_in=DUPLEX)
    talk.tell(typed("What is the time?", 1), sent(1, "It is twelve o'clock.", 1.5), sounds(1, 2))
    return talk


class TestBargeIn:
    @both
    def test_speech_ducks_then_holds_then_cuts(self, strategy):
        talk = speaking(strategy)
        assert talk.tell(voice(3), until=6) == ["3.05 duck 1", "3.15 hold 1", "3.8 cut 1"]
        assert talk.machine.phase is Phase.LISTENING

    def test_speech_detected_late_holds_and_cuts_sooner(self):
        talk = speaking()
        assert talk.tell(voice(3, at=3.2), until=6) == ["3.2 duck 1", "3.2 hold 1", "3.8 cut 1"]

    def test_words_cut_the_reply_and_begin_the_turn(self):
        talk = speaking()
        assert talk.tell(
            voice(3), interim("No", 3.2), stop(4), answer("No, wait.", 4, at=4.25), until=9
        ) == [
            "3.05 duck 1",
            "3.15 hold 1",
            "3.3 cut 1",
            "4.2 finalize",
            "4.25 draft 2: No, wait.",
            "4.4 commit 2: No, wait. (complete)",
        ]

    def test_words_cut_the_reply_with_endpointing(self):
        talk = speaking(endpointing)
        assert talk.tell(voice(3), interim("No", 3.2), over("No, wait.", 4))[-3:] == [
            "3.3 cut 1",
            "4.25 draft 2: No, wait.",
            "4.25 commit 2: No, wait. (speech_final)",
        ]

    def test_speech_final_that_interrupts_is_answered(self):
        talk = speaking(endpointing)
        assert talk.tell(voice(3), over("Stop.", 3.3))[-3:] == [
            "3.55 cut 1",
            "3.55 draft 2: Stop.",
            "3.55 commit 2: Stop. (speech_final)",
        ]

    def test_words_from_finalize_cut_the_reply_and_are_answered(self):
        talk = speaking()
        assert talk.tell(voice(3), stop(3.3), answer("Stop.", 3.3, at=3.55), until=9) == [
            "3.05 duck 1",
            "3.15 hold 1",
            "3.5 finalize",
            "3.55 cut 1",
            "3.55 draft 2: Stop.",
            "3.7 commit 2: Stop. (complete)",
        ]

    def test_words_that_the_detector_missed_cut_the_reply(self):
        talk = speaking()
        assert talk.tell(interim("Wait", 3), over("Wait.", 3, at=3.25), until=9) == [
            "3.1 cut 1",
            "3.25 draft 2: Wait.",
            "3.4 commit 2: Wait. (complete)",
        ]
        assert talk.commits()[-1].speech_end == 3

    def test_speech_before_the_reply_is_not_the_end_of_the_interruption(self):
        talk = vad(barge_in=DUPLEX)
        talk.tell(
            voice(0), said("Hello.", 1, at=1.2), utterance_end(1, at=2.1), stop(2.1), sounds(1, 3)
        )
        assert talk.tell(over("Wait.", 5)) == [
            "5.25 cut 1",
            "5.25 draft 2: Wait.",
            "5.25 commit 2: Wait. (speech_final)",
        ]
        assert talk.commits()[-1].speech_end == 5

    @both
    @pytest.mark.parametrize("words", ["Uh-huh.", "Right. Uh-huh."])
    def test_a_back_channel_takes_no_floor(self, strategy, words):
        talk = speaking(strategy)
        assert talk.tell(voice(3), interim(words, 3.2), stop(3.3), answer(words, 3.3, at=3.55)) == [
            "3.05 duck 1",
            "3.15 hold 1",
            "3.5 finalize",
            "3.55 resume 1",
        ]
        assert talk.tell(finished(1, 5), until=60) == []

    @both
    def test_an_echo_of_the_agents_words_takes_no_floor(self, strategy):
        talk = speaking(strategy)
        lines = talk.tell(voice(3), stop(3.3), answer("is twelve o'clock", 3.3, at=3.55))
        assert lines[-1] == "3.55 resume 1"
        assert talk.tell(finished(1, 5), until=60) == []

    @both
    @pytest.mark.parametrize("words", ["Uh-huh.", "is twelve o'clock"])
    def test_what_takes_no_floor_begins_no_turn(self, strategy, words):
        talk = speaking(strategy)
        assert talk.tell(interim(words, 3), said(words, 3), finished(1, 5), until=60) == []

    def test_echoes_do_not_pile_up_over_the_users_words(self):
        talk = speaking()
        talk.tell(said("it is", 2.5), said("twelve", 3), said("o'clock", 3.5))
        assert talk.tell(interim("stop", 4)) == ["4.1 cut 1"]
        assert talk.tell(said("stop", 4), until=9)[-1] == "4.4 commit 2: stop (complete)"

    def test_an_echo_of_text_sent_as_a_draft_is_recognised(self):
        talk = vad(barge_in=DUPLEX)
        talk.tell(voice(0), stop(2), answer("What is the time?", 2, at=2.25))
        talk.tell(sent(1, "It is twelve o'clock.", 2.3), sounds(1, 2.6))
        assert talk.tell(interim("it is twelve", 3.5)) == []

    def test_a_late_back_channel_takes_no_floor(self):
        """Its words come after the false alarm."""
        talk = speaking()
        assert talk.tell(voice(3), stop(3.1), until=3.7) == [
            "3.05 duck 1",
            "3.15 hold 1",
            "3.3 finalize",
            "3.65 resume 1",
        ]
        assert talk.tell(said("Uh-huh.", 3.1, at=3.8), finished(1, 5), until=60) == []

    @both
    def test_a_cough_resumes_the_reply(self, strategy):
        talk = speaking(strategy)
        assert talk.tell(voice(3), stop(3.3), answer("", 3.3, at=3.55), until=4) == [
            "3.05 duck 1",
            "3.15 hold 1",
            "3.5 finalize",
            "3.55 resume 1",
        ]
        assert talk.machine.phase is Phase.SPEAKING
        assert talk.machine.deadline is None

    def test_a_short_cough_only_ducks(self):
        talk = speaking()
        assert talk.tell(voice(3, at=3.02), stop(3.08, at=3.14), until=4) == [
            "3.02 duck 1",
            "3.14 finalize",
            "3.49 resume 1",
        ]

    @both
    def test_a_suspected_sound_only_ducks_and_not_for_long(self, strategy):
        talk = speaking(strategy)
        assert talk.tell(SpeechSuspected(at=3), until=4) == ["3 duck 1", "3.2 resume 1"]
        assert talk.tell(SpeechSuspected(at=4), until=5) == []

    @both
    def test_a_suspected_sound_may_become_speech(self, strategy):
        talk = speaking(strategy)
        assert talk.tell(SpeechSuspected(at=3.05), voice(3, at=3.17), until=6) == [
            "3.05 duck 1",
            "3.17 hold 1",
            "3.8 cut 1",
        ]

    def test_words_cut_the_reply_during_a_suspicion(self):
        talk = speaking()
        assert talk.tell(SpeechSuspected(at=3), interim("Wait", 3)) == ["3 duck 1", "3.1 cut 1"]

    def test_in_half_duplex_no_sound_ducks_the_reply(self):
        talk = vad()
        talk.tell(typed("Hello", 1), sounds(1, 2))
        assert talk.tell(SpeechSuspected(at=3), until=4) == []

    def test_a_false_alarm_may_be_followed_by_another(self):
        talk = speaking()
        talk.tell(voice(3), stop(3.1), until=4)
        assert talk.tell(voice(5), stop(5.1), until=6) == [
            "5.05 duck 1",
            "5.15 hold 1",
            "5.3 finalize",
            "5.65 resume 1",
        ]

    def test_gaps_do_not_count_as_speech(self):
        """0.3 s of voice, a gap of 0.4 s, and 0.5 s are the 0.8 s that take the floor."""
        talk = speaking()
        assert talk.tell(voice(3), stop(3.3), voice(3.7), until=9) == [
            "3.05 duck 1",
            "3.15 hold 1",
            "3.5 finalize",
            "4.2 cut 1",
        ]

    def test_one_word_is_not_enough_for_min_words_two(self):
        policy = BargeInPolicy(policy="headphones", min_words=2, backchannels=())
        talk = vad(barge_in=policy)
        talk.tell(typed("Hello", 1), sounds(1, 2))
        assert talk.tell(voice(3), interim("well", 3.1)) == ["3.05 duck 1", "3.15 hold 1"]
        assert talk.tell(interim("well then", 3.4)) == ["3.5 cut 1"]

    def test_muting_ends_the_interruption(self):
        talk = speaking()
        assert talk.tell(voice(3), MicrophoneMuted(at=3.2, muted=True), until=9) == [
            "3.05 duck 1",
            "3.15 hold 1",
            "3.2 finalize",
            "3.55 resume 1",
        ]

    def test_a_reply_that_ends_during_an_interruption_leaves_the_floor(self):
        talk = speaking()
        assert talk.tell(voice(3), finished(1, 3.1), stop(4), answer("Thanks.", 4, at=4.25)) == [
            "3.05 duck 1",
            "4.2 finalize",
            "4.25 draft 2: Thanks.",
        ]

    def test_an_answer_after_the_reply_begins_the_next_turn(self):
        talk = speaking()
        talk.tell(voice(3), stop(3.1, at=3.14), finished(1, 3.2))
        assert talk.tell(said("and", 3.05, at=3.3), until=60) == [
            "3.55 draft 2: and",
            "4.3 commit 2: and (incomplete)",
        ]

    def test_speech_that_cut_without_words_is_awaited(self):
        talk = speaking()
        talk.tell(voice(3), until=3.9)
        assert talk.tell(stop(5), until=60) == ["5.2 finalize"]
        assert talk.machine.deadline is None


# ── keys and typing ──────────────────────────────────────────────────────────────────────────────


class TestKeysAndTyping:
    @both
    def test_a_key_commits_what_the_stt_has(self, strategy):
        talk = strategy()
        talk.tell(voice(0), interim("Hello", 0.8))
        assert talk.tell(TurnYielded(at=1), answer("Hello there.", 0.95, at=1.1)) == [
            "1 finalize",
            "1.1 draft 1: Hello there.",
            "1.1 commit 1: Hello there. (key)",
        ]

    @both
    def test_a_key_commits_even_if_the_stt_is_silent(self, strategy):
        talk = strategy()
        talk.tell(voice(0), interim("Hello", 0.8))
        assert talk.tell(TurnYielded(at=1), until=9)[-1] == "1.35 commit 1: Hello (key)"

    @both
    def test_a_key_counts_before_the_detector_notices_the_end(self, strategy):
        talk = strategy()
        talk.tell(voice(0), interim("I was there and", 0.95))
        assert talk.tell(TurnYielded(at=1.05), stop(1), until=9) == [
            "1.05 finalize",
            "1.4 draft 1: I was there and",
            "1.4 commit 1: I was there and (key)",
        ]

    def test_a_key_commits_a_draft(self):
        talk = vad()
        talk.tell(voice(0), stop(1), answer("I was there and", 1, at=1.25))
        assert talk.tell(TurnYielded(at=1.3), answer("", 1.2, at=1.35)) == [
            "1.3 finalize",
            "1.35 commit 1: I was there and (key)",
        ]

    @both
    def test_a_key_after_speech_without_words_ends_nothing(self, strategy):
        talk = strategy()
        assert talk.tell(voice(0), TurnYielded(at=1), answer("", 1, at=1.2), until=60) == [
            "1 finalize"
        ]
        assert talk.machine.deadline is None

    @both
    def test_a_key_in_silence_does_nothing(self, strategy):
        talk = strategy()
        assert talk.tell(TurnYielded(at=1), AgentStopped(at=2)) == []
        talk.tell(typed("Hello", 3))
        assert talk.tell(TurnYielded(at=4)) == []

    @both
    def test_a_key_silences_the_agent(self, strategy):
        for begun in ([], [sounds(1, 2)]):
            talk = strategy()
            talk.tell(typed("Hello", 1), *begun)
            assert talk.tell(AgentStopped(at=3), until=60) == ["3 cut 1"]
            assert talk.machine.phase is Phase.LISTENING
            assert talk.tell(typed("Go on", 61)) == [
                "61 draft 2: Go on",
                "61 commit 2: Go on (typed)",
            ]

    @both
    def test_what_is_typed_is_a_turn(self, strategy):
        talk = strategy()
        assert talk.tell(typed("Hello", 1)) == ["1 draft 1: Hello", "1 commit 1: Hello (typed)"]
        assert talk.commits()[0].speech_end == 1

    @both
    @pytest.mark.parametrize("begun", [[], [sounds(1, 2)]])
    def test_typing_cuts_the_reply(self, strategy, begun):
        talk = strategy()
        talk.tell(typed("Hello", 1), *begun)
        assert talk.tell(typed("Stop", 3)) == [
            "3 cut 1",
            "3 draft 2: Stop",
            "3 commit 2: Stop (typed)",
        ]

    def test_what_is_typed_follows_what_was_said(self):
        talk = vad()
        talk.tell(voice(0), stop(1), answer("My name is", 1, at=1.25))
        assert talk.tell(typed("Łukasz", 2)) == [
            "2 drop 1",
            "2 draft 2: My name is Łukasz",
            "2 commit 2: My name is Łukasz (typed)",
        ]

    def test_an_earlier_cough_is_not_the_end_of_typing(self):
        talk = vad()
        talk.tell(voice(0), stop(0.3), typed("Hello", 60))
        assert talk.commits()[0].speech_end == 60


# ── failures ─────────────────────────────────────────────────────────────────────────────────────


LOST = ConnectionLost(at=9, service="stt", reason="STT: gone")
ENDS = [(UserQuit(at=9, reason="time is up"), "9 end: time is up"), (LOST, "9 end: STT: gone")]


class TestFailures:
    @both
    @pytest.mark.parametrize("begun", [[], [sounds(1, 2)]])
    def test_a_failed_or_silent_reply_gives_the_floor_back(self, strategy, begun):
        for end in (failed, finished):
            talk = strategy()
            talk.tell(typed("Hello", 1), *begun)
            assert talk.tell(end(1, 3), until=60) == []
            assert talk.machine.phase is Phase.LISTENING
            assert talk.tell(typed("Again", 61))[-1] == "61 commit 2: Again (typed)"

    @pytest.mark.parametrize("end", [failed, finished])
    def test_a_draft_that_ends_before_the_commit_is_repeated(self, end):
        talk = vad()
        talk.tell(voice(0), stop(1), answer("Hello.", 1, at=1.25))
        assert talk.tell(end(1, 1.3), until=9) == [
            "1.4 draft 2: Hello.",
            "1.4 commit 2: Hello. (complete)",
        ]

    def test_the_end_of_a_dropped_draft_does_not_end_the_next(self):
        talk = vad()
        talk.tell(voice(0), stop(1), answer("Hello,", 1, at=1.25), voice(1.5), stop(2))
        talk.tell(answer("you.", 2, at=2.25))
        assert talk.tell(failed(1, 2.3), finished(1, 2.3), until=9) == [
            "2.4 commit 2: Hello, you. (complete)"
        ]

    @both
    @pytest.mark.parametrize(("event", "end"), ENDS)
    def test_the_end_stops_what_is_under_way(self, strategy, event, end):
        beginnings: list[tuple[list[Event], list[str]]] = [
            ([], []),
            ([interim("Hello", 8)], []),
            ([typed("Hello", 8)], ["9 cut 1"]),
            ([typed("Hello", 7), sounds(1, 8)], ["9 cut 1"]),
        ]
        for before, stopped in beginnings:
            talk = strategy()
            talk.tell(*before)
            assert talk.tell(event) == [*stopped, end]
            assert talk.machine.phase is Phase.ENDED
            assert talk.machine.deadline is None

    def test_the_end_drops_the_draft(self):
        talk = vad()
        talk.tell(voice(7), stop(8.5), answer("I was there and", 8.5, at=8.75))
        assert talk.tell(LOST) == ["9 drop 1", "9 end: STT: gone"]


# ── the input ends ───────────────────────────────────────────────────────────────────────────────


class TestEndOfInput:
    @both
    def test_only_the_last_words_are_awaited(self, strategy):
        talk = strategy(settle=2)
        assert talk.tell(InputEnded(at=1), until=2.99) == []
        assert talk.tell(until=3) == ["3 end: input ended"]

    def test_the_last_words_are_answered_before_the_end(self):
        for talk in (endpointing(settle=2), vad(settle=2)):
            talk.tell(voice(0), interim("Hello", 0.8), InputEnded(at=1), stop(0.9))
            talk.tell(over("Hello.", 0.9, at=1.3), until=2.9)
            assert talk.commits()[-1].user_text == "Hello."
            assert talk.tell(sounds(1, 3), finished(1, 4), until=9) == ["6 end: input ended"]

    @both
    def test_last_words_that_no_rule_ends_are_answered(self, strategy):
        talk = strategy(settle=2)
        talk.tell(interim("Hello", 0.8), InputEnded(at=1))
        assert talk.tell(until=9) == ["3 draft 1: Hello", "3 commit 1: Hello (timeout)"]

    @both
    def test_new_words_are_given_the_same_time(self, strategy):
        talk = strategy(settle=2)
        talk.tell(InputEnded(at=1), interim("Hello", 2.4))
        assert talk.tell(until=9)[-1] == "4.5 commit 1: Hello (timeout)"

    @both
    def test_empty_finals_do_not_delay_the_end(self, strategy):
        talk = strategy(settle=2)
        talk.tell(InputEnded(at=1))
        assert talk.tell(*(nothing(at) for at in (1.5, 2, 2.5)), until=3) == ["3 end: input ended"]

    @both
    @pytest.mark.parametrize("begun", [[], [sounds(1, 2)]])
    def test_the_current_reply_is_played_to_its_end(self, strategy, begun):
        talk = strategy(settle=2)
        talk.tell(typed("Hello", 1), *begun, InputEnded(at=3))
        assert talk.tell(finished(1, 8), until=20) == ["10 end: input ended"]

    def test_speech_after_the_input_is_not_awaited_forever(self):
        talk = vad(settle=2)
        talk.tell(InputEnded(at=1))
        assert talk.tell(voice(1.5), until=9) == ["3.55 end: input ended"]

    @both
    def test_a_key_without_words_does_not_delay_the_end(self, strategy):
        talk = strategy(settle=2)
        talk.tell(voice(0), TurnYielded(at=1), InputEnded(at=1.1))
        assert talk.tell(until=9) == ["3.35 end: input ended"]

    def test_a_false_alarm_does_not_delay_the_end(self):
        talk = vad(settle=2, barge_in=DUPLEX)
        talk.tell(typed("Hello", 1), sounds(1, 2), InputEnded(at=3), voice(3), stop(3.1))
        assert talk.tell(finished(1, 4), until=9) == ["3.65 resume 1", "6 end: input ended"]


# ── what holds in every conversation ─────────────────────────────────────────────────────────────


class Floor:
    """Sees every event and action, and objects where they do not fit together.

    turn: of the newest reply; alive: of the one that was begun and has not ended.
    """

    def __init__(self, machine: TurnMachine) -> None:
        self.machine = machine
        self.turn = 0
        self.alive: int | None = None
        self.user_text = ""
        self.committed = self.sounding = self.prepared = False
        self.softness = ""
        self.delayed: int | None = None
        self.taken_back: str | None = None
        self.answered: list[str] = []
        self.scored_ends: list[Seconds] = []

    def handle(self, event: Event) -> list[Action]:
        ended = self.machine.phase is Phase.ENDED
        if isinstance(event, ReplyEvent) and event.turn == self.alive:
            self._reply_went_on(event)
        actions = self.machine.handle(event)
        if ended:
            assert actions == []
        for action in actions:
            assert action.at == event.at
            self._act(action)
        if self.machine.phase is Phase.ENDED:
            assert self.alive is None
            assert self.machine.deadline is None
        elif self.machine.phase is Phase.LISTENING:
            assert not self.committed
        else:
            assert self.committed
            assert self.sounding == (self.machine.phase is Phase.SPEAKING)
        return actions

    def _reply_went_on(self, event: ReplyEvent) -> None:
        match event:
            case PlaybackStarted():
                self.sounding = self.committed
            case ReplyFinished() | ReplyFailed():
                self._over()

    def _over(self) -> None:
        self.alive, self.softness = None, ""
        self.committed = self.sounding = self.prepared = False

    def _act(self, action: Action) -> None:
        match action:
            case DraftReply():
                assert self.alive is None
                assert action.turn == self.turn + 1
                assert action.user_text.strip()
                self.turn = self.alive = action.turn
                self.user_text = action.user_text
            case ScoreEndOfTurn():
                assert self.machine.scored
                assert self.machine.phase is Phase.LISTENING
                self.scored_ends.append(action.speech_end)
            case PrepareSpeech():
                assert action.turn == self.alive
                assert not self.committed
                assert not self.prepared
                self.prepared = True
            case CommitReply():
                assert action.turn == self.alive
                assert not self.committed
                assert says_same(action.user_text, self.user_text)
                if self.taken_back is not None:
                    assert set(say(self.taken_back).split()) <= set(say(action.user_text).split())
                self.committed, self.taken_back = True, None
                self.answered.append(action.user_text)
            case CancelReply():
                assert action.turn == self.alive
                assert action.committed == self.committed
                if action.heard_nothing and action.committed:
                    assert not self.sounding
                    self.taken_back = self.answered.pop()
                self._over()
            case Duck() | Hold() | Resume():
                self._soften(action)
            case EndSession():
                assert self.machine.phase is Phase.ENDED

    def _soften(self, action: Duck | Hold | Resume) -> None:
        assert action.turn == self.alive
        assert self.committed
        if isinstance(action, Hold) and not self.sounding:
            assert self.delayed != self.turn
            self.delayed = self.turn
        first = "Duck" if self.sounding else "Hold"
        order = {"": first, "Duck": "Hold Resume", "Hold": "Resume"}
        now = type(action).__name__
        assert now in order[self.softness].split()
        self.softness = "" if now == "Resume" else now


BACKCHANNEL = "uh-huh"

MACHINES = st.builds(
    create_machine,
    detect=st.sampled_from(["endpointing", "vad", "service"]),
    each_final_is_a_turn=st.booleans(),
    draft=st.sampled_from(["off", "llm", "llm+tts"]),
    draft_on=st.sampled_from(["interim", "final"]),
    barge_in=st.sampled_from([BargeInPolicy(), DUPLEX]),
    scored=st.booleans(),
)

SOON = st.floats(0.01, 0.4)
WHILE = st.floats(0.01, 6)


def say(text: str) -> str:
    """``text`` as interims have it: numbers in words."""
    return re.sub(r"\$(\d+)", lambda match: f"{spell(int(match[1]))} dollars", text)


class AnyConversation(RuleBasedStateMachine):
    """A user, a detector, an STT and replies, each keeping to its own protocol.

    Every word is another one, so that none can be lost or doubled unnoticed.  The STT restates the
    whole open segment, may close it at any word, and answers Finalize or does not; it is sometimes
    late, and its ends of utterances are sometimes stale.  Interims have numbers in words, finals in
    digits.
    """

    @initialize(machine=MACHINES)
    def begin(self, machine: TurnMachine) -> None:
        self.machine = machine
        self.floor = Floor(self.machine)
        self.now = 1.0
        self.words = 0
        self.shown: set[str] = set()
        self.segment: list[tuple[str, float]] = []
        self.closed: list[tuple[str, float]] = []
        self.last_end: float | None = None
        self.voiced = self.muted = self.input_ended = False

    def happens(self, event: Event) -> None:
        self.floor.handle(event)

    def passes(self, duration: float) -> None:
        """Let time pass; report the deadlines within it."""
        until = self.now + duration
        while (deadline := self.machine.deadline) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.happens(DeadlinePassed(at=self.now))
        self.now = until

    @rule(duration=WHILE)
    def time_passes(self, duration: float) -> None:
        self.passes(duration)

    # ── the user and the detector

    @rule(delay=SOON)
    def voice_begins_or_ends(self, delay: float) -> None:
        if self.muted:
            return
        self.passes(delay)
        self.voiced = not self.voiced
        if self.voiced and delay > 0.1:
            self.happens(SpeechSuspected(at=self.now))
            self.passes(0.1)
        if self.voiced:
            self.happens(SpeechStarted(at=self.now, speech_start=self.now - 0.05))
        else:
            end = self.now
            self.passes(0.1)
            self.happens(pause(end, self.now))
            self.passes(0.1)
            self.happens(stop(end, self.now))

    @precondition(lambda self: self.voiced)
    @rule(silence=st.floats(0.01, 0.1))
    def voice_pauses(self, silence: float) -> None:
        self.passes(0.1)
        self.happens(pause(self.now - 0.1, self.now))
        self.passes(silence)
        self.happens(resume(self.now))

    @precondition(lambda self: self.floor.scored_ends)
    @rule(which=st.integers(0, 2), probability=st.floats(0, 1), delay=SOON)
    def model_scores_a_pause(self, which: int, probability: float, delay: float) -> None:
        """The last pause, or an earlier one."""
        self.passes(delay)
        end = self.floor.scored_ends[-1 - which % len(self.floor.scored_ends)]
        self.happens(scored(end, probability, at=self.now))

    @precondition(lambda self: not (self.voiced or self.muted))
    @rule(soon=st.booleans())
    def makes_a_loud_sound(self, soon: bool) -> None:
        """Not a voice; perhaps while the reply is about to begin."""
        self.happens(SpeechSuspected(at=self.now))
        if soon and self.floor.committed and not self.floor.sounding:
            self.reply_sounds(0.05)

    @rule()
    def mutes_or_unmutes(self) -> None:
        self.muted, self.voiced = not self.muted, False
        self.happens(MicrophoneMuted(at=self.now, muted=self.muted))

    # ── the STT

    @rule(count=st.integers(1, 4), lag=SOON)
    def hears_words(self, count: int, lag: float) -> None:
        end = max(self.now, self.last_end or 0.0)
        for _ in range(count):
            self.words += 1
            end += 0.3
            word = f"w{self.words}" if self.words % 3 else f"${self.words}"
            self.segment.append((word, end))
        self.restates(end, lag)

    @rule(lag=SOON)
    def hears_a_back_channel(self, lag: float) -> None:
        if not self.segment:
            end = max(self.now, self.last_end or 0.0) + 0.3
            self.segment.append((BACKCHANNEL, end))
            self.restates(end, lag)

    def restates(self, end: float, lag: float) -> None:
        self.last_end = end
        self.passes(max(0.0, end - self.now) + lag)
        start = self.segment[0][1] - 0.3
        self.happens(interim(say(self.text(self.segment)), end, at=self.now, start=start))
        self.shown.update(word for word, _ in self.segment)

    def text(self, words: list[tuple[str, float]]) -> str:
        return " ".join(word for word, _ in words)

    @rule(left=st.sampled_from([0, 0, 0, 1, 2]), how=st.sampled_from(["", "over", "answer"]))
    def closes_the_segment(self, left: int, how: str) -> None:
        """A final transcript, perhaps of silence, perhaps of less than the last interim."""
        cut = max(0, len(self.segment) - left) if how == "" else len(self.segment)
        closed, self.segment = self.segment[:cut], self.segment[cut:]
        silence_until = self.segment[0][1] - 0.3 if self.segment else self.now
        end = closed[-1][1] if closed else silence_until
        final = {"speech_final": how == "over", "from_finalize": how == "answer"}
        start = closed[0][1] - 0.3 if closed else None
        self.happens(said(self.text(closed), end, self.now, start=start, **final))
        self.closed = closed or self.closed
        if self.segment:
            self.restates(self.segment[-1][1], 0.3)

    @precondition(lambda self: self.closed)
    @rule(left=st.integers(0, 2))
    def an_interim_comes_after_its_final(self, left: int) -> None:
        words = self.closed[: max(1, len(self.closed) - left)]
        start, end = words[0][1] - 0.3, words[-1][1]
        self.happens(interim(say(self.text(words)), end, at=self.now, start=start))

    @rule(stale=st.booleans(), known=st.booleans())
    def utterance_ends(self, stale: bool, known: bool) -> None:
        last = self.last_end if known else None
        if stale and last is not None:
            last -= 2
        self.happens(utterance_end(last, self.now))

    @rule(delay=SOON, what=st.sampled_from([predicted, resumed, ended]))
    def finds_or_predicts_the_end_of_the_turn(self, delay: float, what: Any) -> None:
        self.passes(delay)
        if what is ended:
            self.closes_the_segment(0, "over")
        self.happens(what(self.now))

    # ── the reply

    @precondition(lambda self: self.floor.alive is not None)
    @rule(delay=SOON)
    def reply_has_a_clause(self, delay: float) -> None:
        self.passes(delay)
        if self.floor.alive is not None:
            self.happens(ready(self.floor.alive, self.now))

    @precondition(lambda self: self.floor.alive is not None)
    @rule(delay=SOON)
    def reply_is_sent_to_the_tts(self, delay: float) -> None:
        self.passes(delay)
        if self.floor.alive is not None:
            self.happens(sent(self.floor.alive, "It is noon. ", self.now))

    @precondition(lambda self: self.floor.committed and not self.floor.sounding)
    @rule(delay=SOON)
    def reply_sounds(self, delay: float) -> None:
        self.passes(delay)
        if self.floor.alive is not None and self.floor.committed:
            self.happens(sounds(self.floor.alive, self.now))

    @precondition(lambda self: self.floor.alive is not None)
    @rule(fails=st.booleans())
    def reply_ends(self, fails: bool) -> None:
        assert self.floor.alive is not None
        self.happens((failed if fails else finished)(self.floor.alive, self.now))

    @rule(ago=st.integers(1, 3), what=st.sampled_from([sounds, finished, failed]))
    def an_old_reply_is_heard_of(self, ago: int, what: Any) -> None:
        turn = self.floor.turn + (self.floor.alive is None) - ago
        self.happens(what(turn, self.now))

    # ── keys, and ends

    @rule()
    def user_yields(self) -> None:
        self.happens(TurnYielded(at=self.now))

    @rule()
    def user_stops_the_agent(self) -> None:
        self.happens(AgentStopped(at=self.now))

    @rule()
    def user_types(self) -> None:
        self.words += 1
        self.shown.add(f"w{self.words}")
        self.happens(typed(f"w{self.words}", self.now))

    @precondition(lambda self: self.words > 8)
    @rule()
    def input_ends(self) -> None:
        self.input_ended = True
        self.happens(InputEnded(at=self.now))

    # ── what holds at any time

    @invariant()
    def a_deadline_lies_not_in_the_past(self) -> None:
        deadline = self.machine.deadline
        assert deadline is None or deadline >= self.now - 1e-9

    @invariant()
    def a_reply_that_is_not_heard_yet_is_not_held_for_long(self) -> None:
        floor = self.floor
        if floor.softness and not floor.sounding:
            assert (self.machine.deadline or inf) <= self.now + SUSPICION_TIMEOUT

    def teardown(self) -> None:
        """The voice stops, the STT falls silent, replies are heard: all words are answered."""
        if not hasattr(self, "machine"):
            return
        if self.voiced:
            self.voice_begins_or_ends(0.1)
        for _ in range(20):
            self.passes(30)
            if self.floor.alive is None and self.machine.deadline is None:
                break
            assert self.machine.phase is not Phase.LISTENING
            if not self.floor.sounding:
                self.reply_sounds(0.1)
            self.passes(10)
            if self.floor.alive is not None:
                self.reply_ends(False)
        assert self.machine.deadline is None
        assert self.machine.phase is (Phase.ENDED if self.input_ended else Phase.LISTENING)
        self.no_word_is_lost_or_doubled()

    def no_word_is_lost_or_doubled(self) -> None:
        answered = " ".join(self.floor.answered)
        for number in range(self.words, 0, -1):  # an interim that no final text followed
            answered = answered.replace(say(f"${number}"), f"${number}")
        answered = answered.split()
        words = [word for word in answered if word != BACKCHANNEL]
        assert len(words) == len(set(words))
        assert set(words) <= self.shown
        if not self.input_ended:  # after its end words may come too late
            assert set(words) == self.shown - {BACKCHANNEL}


TestAnyConversation = AnyConversation.TestCase
TestAnyConversation.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)

TIMES = st.floats(0, 20)
TEXTS = st.sampled_from(["", "well", "uh-huh", "it is noon", "stop it now, please."])
TURNS = st.integers(0, 4)

ANYTHING = st.one_of(
    st.builds(SpeechStarted, at=TIMES, speech_start=TIMES),
    st.builds(SpeechStopped, at=TIMES, speech_end=TIMES),
    st.builds(SpeechPaused, at=TIMES, speech_end=TIMES),
    st.builds(SpeechResumed, at=TIMES),
    st.builds(SpeechSuspected, at=TIMES),
    st.builds(InterimTranscript, at=TIMES, text=TEXTS, speech_start=TIMES, speech_end=TIMES),
    st.builds(
        FinalTranscript,
        at=TIMES,
        text=TEXTS,
        speech_start=TIMES,
        speech_end=TIMES,
        speech_final=st.booleans(),
        from_finalize=st.booleans(),
    ),
    st.builds(UtteranceEnded, at=TIMES, last_word_end=st.none() | TIMES),
    st.builds(predicted, TIMES),
    st.builds(resumed, TIMES),
    st.builds(ended, TIMES),
    st.builds(ready, TURNS, TIMES),
    st.builds(sent, TURNS, TEXTS, TIMES),
    st.builds(sounds, TURNS, TIMES),
    st.builds(finished, TURNS, TIMES),
    st.builds(failed, TURNS, TIMES),
    st.builds(typed, st.just("hello"), TIMES),
    st.builds(DeadlinePassed, at=TIMES),
    st.builds(TurnYielded, at=TIMES),
    st.builds(AgentStopped, at=TIMES),
    st.builds(MicrophoneMuted, at=TIMES, muted=st.booleans()),
    st.builds(InputEnded, at=TIMES),
)


@given(MACHINES, st.lists(ANYTHING, max_size=40), st.booleans())
@settings(max_examples=500, deadline=None)
def test_whatever_happens_there_is_one_reply_at_a_time(machine, events, in_order):
    floor = Floor(machine)
    for event in sorted(events, key=lambda event: event.at) if in_order else events:
        floor.handle(event)


@given(MACHINES, st.lists(ANYTHING, max_size=30), st.sampled_from([event for event, _ in ENDS]))
@settings(max_examples=300, deadline=None)
def test_whatever_has_happened_an_end_is_the_end(machine, events, end):
    floor = Floor(machine)
    for event in events:
        floor.handle(event)
    if floor.machine.phase is not Phase.ENDED:
        assert isinstance(floor.handle(end)[-1], EndSession)
    for event in [*events, end]:
        assert floor.handle(event) == []


@given(MACHINES, st.lists(ANYTHING, max_size=30))
@settings(max_examples=300, deadline=None)
def test_whatever_has_happened_the_end_of_the_input_ends_it(machine, events):
    floor = Floor(machine)
    for event in [*events, InputEnded(at=20)]:
        floor.handle(event)
    at = 20.0
    for _ in range(20):
        while (deadline := floor.machine.deadline) is not None:
            at = max(at, deadline)
            floor.handle(DeadlinePassed(at=at))
        if floor.alive is None:
            break
        floor.handle(finished(floor.alive, at))
    assert floor.machine.phase is Phase.ENDED
