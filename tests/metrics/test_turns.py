"""Turns: outcomes, and doubts about a measurement."""

from __future__ import annotations

from dataclasses import replace
from math import fsum
from typing import Any

import pytest

from tests.support.timelines import PLAIN, inserted, ms, only
from voicecli.events import (
    CancelReply,
    ClauseSent,
    CommitReply,
    DraftReply,
    FinalTranscript,
    LlmRequested,
    ReplyCancelled,
    ReplyFinished,
    SpeechStopped,
)
from voicecli.metrics.turns import TurnReader, measure_turns
from voicecli.metrics.usage import (
    count_usage,
)
from voicecli.timeline import Entry


def test_a_hedge_is_no_retry():
    hedge = LlmRequested(at=1.35, turn=1, attempt=2, hedge=True)
    turn = only(inserted(PLAIN.entries(), hedge))
    assert (turn.requests, turn.retries, turn.hedges) == (2, 0, 1)


def test_a_voice_that_goes_on_after_the_commitment_is_doubtful():
    entries = replace(PLAIN, stop=0.0, final=0.1).entries()
    stopped = SpeechStopped(at=1.4, speech_end=1.25)
    late = [stopped if isinstance(entry, SpeechStopped) else entry for entry in entries]
    turn = only(inserted(late))
    assert turn.mouth_to_ear == pytest.approx(0.526)
    assert turn.unreliable == ("detector and STT are 280 ms apart on when the user stopped",)


@pytest.mark.parametrize(("apart", "doubted"), [(0.149, False), (0.151, True), (-0.151, True)])
def test_detector_and_stt_may_differ_a_little(apart, doubted):
    entries: list[Entry] = [
        replace(entry, speech_end=1.0 + apart) if isinstance(entry, FinalTranscript) else entry
        for entry in PLAIN.entries()
    ]
    assert bool(only(entries).unreliable) == doubted


def changed(**changes: Any) -> list[Entry]:
    return [
        replace(entry, **changes) if isinstance(entry, CommitReply) else entry
        for entry in PLAIN.entries()
    ]


def test_without_an_end_of_speech_nothing_is_made_up():
    turn = only(changed(speech_end=None))
    assert turn.mouth_to_ear is None
    assert turn.stages == {}
    assert ms(turn.raw)["llm.ttft"] == 200
    assert "stt.ttfs" not in turn.raw
    assert turn.unreliable == ("neither detector nor STT reported when the user stopped",)


def test_a_typed_turn_has_no_mouth():
    turn = only(changed(reason="typed"))
    assert turn.mouth_to_ear is None
    assert turn.unreliable == ()
    assert "endpointing" not in turn.raw
    assert ms(turn.raw)["tts.ttfa"] == 120


def test_a_reply_that_sounds_before_the_user_has_stopped_is_doubtful():
    turn = only(changed(speech_end=5.0))
    assert turn.mouth_to_ear == 0.0
    assert fsum(turn.stages.values()) == 0.0
    assert "the reply sounded before the user had stopped" in turn.unreliable


def test_an_interrupted_reply_was_heard_and_counts():
    turn = only(replace(PLAIN, ends="interrupted").entries())
    assert turn.outcome == "interrupted"
    assert turn.mouth_to_ear == pytest.approx(0.726)
    assert turn.replied


def test_a_turn_that_went_on_is_discarded():
    turn = only(replace(PLAIN, ends="taken back").entries())
    assert turn.outcome == "discarded"
    assert turn.mouth_to_ear is None
    assert turn.cut_off
    assert not turn.replied


def test_an_apology_is_no_reply():
    turn = only(replace(PLAIN, ends="llm failed").entries())
    assert turn.outcome == "failed"
    assert turn.failure is not None
    assert (turn.failure.service, turn.failure.reason) == ("llm", "no token")
    assert turn.mouth_to_ear is None
    assert not turn.replied


def test_a_reply_that_failed_half_way_was_heard():
    turn = only(replace(PLAIN, ends="tts failed").entries())
    assert turn.outcome == "failed"
    assert turn.mouth_to_ear == pytest.approx(0.726)
    assert turn.replied


def test_a_reply_that_nobody_heard_is_silent():
    turn = only(replace(PLAIN, ends="silent").entries())
    assert turn.outcome == "silent"
    assert turn.mouth_to_ear is None


def test_a_timeline_that_breaks_off_keeps_its_turn():
    entries = PLAIN.entries()
    outcomes = {only(entries[:length]).outcome for length in range(8, len(entries))}
    assert outcomes == {"silent", "interrupted"}


def test_a_greeting_and_a_dropped_draft_are_no_turns():
    entries: list[Entry] = [
        ClauseSent(at=0.1, turn=0, text="Welcome.", flushed=True),
        ReplyFinished(at=0.2, turn=0, said="Welcome.", heard=1.0),
        DraftReply(at=1, turn=1, user_text="What"),
        LlmRequested(at=1, turn=1),
        CancelReply(at=1.1, turn=1, heard_nothing=True, committed=False),
        ReplyCancelled(at=1.1, turn=1, said="", heard=0.0),
    ]
    assert measure_turns(entries) == []
    book = count_usage(entries, [])
    assert (book.turns, book.drafts, book.drafts_discarded) == (0, 1, 1)
    assert (book.characters, book.flushes, book.llm_requests) == (8, 1, 1)
    assert book.draft_discard_rate == 1.0


def test_a_turn_is_told_when_it_has_ended():
    reader = TurnReader()
    told = [reader.note(entry) for entry in PLAIN.entries()]
    assert told[:-1] == [None] * (len(told) - 1)
    assert told[-1:] == reader.list_turns()
