"""Which entries of a timeline belong to a turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.timelines import PLAIN, inserted, ms, only
from voicecli.events import (
    AudioGlitched,
    ClauseSent,
    CommitReply,
    DraftReply,
    EndOfTurnScored,
    Event,
    FinalTranscript,
    InterimTranscript,
    LlmRequested,
    LoopLagged,
    PlaybackStarted,
    ReplyFinished,
    SpeechEndMeasured,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    UtteranceEnded,
)
from voicecli.metrics.turns import measure_turns
from voicecli.timeline import Entry


def test_a_late_decision_is_not_the_stt_s_fault():
    entries = [
        SpeechStopped(at=1.2, speech_end=1.0),
        FinalTranscript(at=1.3, text="Hello.", speech_start=0.2, speech_end=1.0),
        UtteranceEnded(at=2.3, last_word_end=1.0),
        DraftReply(at=2.3, turn=1, user_text="Hello."),
        CommitReply(at=2.3, turn=1, user_text="Hello.", speech_end=1.0, reason="utterance_end"),
        LlmRequested(at=2.3, turn=1),
        *PLAIN.agent()[1:],
    ]
    assert ms(only(entries).raw) == pytest.approx(
        ms(only(entries).raw) | {"stt.ttfs": 300, "turn.commit": 1000}
    )


def test_words_that_never_became_final_are_in_hand_when_they_are_taken():
    entries = [
        SpeechStopped(at=1.2, speech_end=1.0),
        InterimTranscript(at=1.1, text="Hello", speech_start=0.2, speech_end=1.0),
        DraftReply(at=1.55, turn=1, user_text="Hello"),
        CommitReply(at=1.6, turn=1, user_text="Hello", speech_end=1.0, reason="timeout"),
    ]
    assert ms(only(entries).raw)["stt.ttfs"] == 550


def test_an_empty_final_in_a_pause_is_not_the_text():
    entries = [
        FinalTranscript(at=1.2, text="Hello.", speech_start=0.2, speech_end=1.0),
        FinalTranscript(at=1.4, text="", speech_start=1.0, speech_end=1.4),
        DraftReply(at=1.5, turn=1, user_text="Hello."),
        CommitReply(at=1.5, turn=1, user_text="Hello.", speech_end=1.0, reason="utterance_end"),
    ]
    assert ms(only(entries).raw)["stt.ttfs"] == 200


def test_speech_from_words_sent_without_a_flush_is_measured_from_there():
    entries: list[Entry] = [
        replace(entry, flushed=False) if isinstance(entry, ClauseSent) else entry
        for entry in PLAIN.entries()
    ]
    late = ClauseSent(at=1.8, turn=1, text="More.", flushed=True)
    assert ms(only(inserted(entries, late)).stages) == ms(only(PLAIN.entries()).stages)


def test_a_detector_slower_than_the_endpointing_knows_better_all_the_same():
    entries = replace(PLAIN, stop=0.0, final=0.1).entries()
    stopped = SpeechStopped(at=1.4, speech_end=0.95)
    late = [stopped if isinstance(entry, SpeechStopped) else entry for entry in entries]
    turn = only(inserted(late))
    assert turn.mouth_to_ear == pytest.approx(1.526 - 0.95)
    assert turn.unreliable == ()


@pytest.mark.parametrize(
    ("trouble", "doubts"),
    [
        (AudioGlitched(at=0.5, xruns=3), ("the sound card lost samples (xruns: 3)",)),
        (AudioGlitched(at=1.9, xruns=3), ()),
        (LoopLagged(at=1.5, lag=0.0204), ("the event loop was 20 ms late",)),
        (LoopLagged(at=1.5, lag=0.02), ()),
        (LoopLagged(at=1.75, lag=0.04), ("the event loop was 40 ms late",)),
        (LoopLagged(at=1.9, lag=0.04), ()),
    ],
)
def test_trouble_counts_until_the_reply_is_heard(trouble, doubts):
    assert only(inserted(PLAIN.entries(), trouble)).unreliable == doubts


def test_trouble_of_one_turn_is_not_that_of_the_next():
    second = replace(PLAIN, number=2, start=10.0)
    glitch = AudioGlitched(at=0.5, xruns=1)
    first, after = measure_turns(inserted([*PLAIN.entries(), *second.entries()], glitch))
    assert first.unreliable
    assert not after.unreliable
    assert (first.cold, after.cold) == (True, False)


def scored(at: float, probability: float) -> Entry:
    return EndOfTurnScored(at=at, speech_end=at - 0.1, probability=probability)


def test_the_score_of_a_turn_is_that_of_its_last_pause():
    earlier, last = scored(0.6, 0.2), scored(1.2, 0.9)
    second = replace(PLAIN, number=2, start=10.0)
    entries = inserted([*PLAIN.entries(), *second.entries()], earlier, last)
    assert [turn.end_score for turn in measure_turns(entries)] == [0.9, None]


@pytest.mark.parametrize("more", [SpeechStarted(at=0.7, speech_start=0.65), SpeechResumed(at=0.7)])
def test_a_pause_that_was_not_the_last_is_no_score_of_the_turn(more: Entry):
    assert only(inserted(PLAIN.entries(), scored(0.6, 0.2), more)).end_score is None


@pytest.mark.parametrize(("after", "cut"), [(0.2, True), (1.49, True), (1.51, False)])
def test_who_speaks_again_soon_was_cut_off(after, cut):
    again = SpeechStarted(at=1.3 + after, speech_start=1.3 + after)
    assert only(inserted(PLAIN.entries(), again)).cut_off == cut


def test_who_speaks_again_before_a_slow_reply_was_cut_off():
    again = SpeechStarted(at=5.0, speech_start=4.9)
    assert only(inserted(replace(PLAIN, ttft=6.0).entries(), again)).cut_off


def test_who_speaks_after_a_short_reply_was_not():
    again = SpeechStarted(at=2.0, speech_start=1.95)
    assert not only(inserted(replace(PLAIN, heard=0.2).entries(), again)).cut_off


def test_events_about_nobody_are_no_trouble():
    assert measure_turns([Event(at=0.0)]) == []


def test_a_click_after_the_last_word_is_not_when_the_user_stopped():
    timeline = [
        SpeechStarted(at=0.1, speech_start=0.0),
        SpeechStopped(at=1.2, speech_end=1.0),
        SpeechStarted(at=1.3, speech_start=1.25),
        FinalTranscript(at=1.32, text="Yes.", speech_start=0.0, speech_end=1.0, speech_final=True),
        DraftReply(at=1.32, turn=1, user_text="Yes."),
        CommitReply(at=1.32, turn=1, user_text="Yes.", speech_end=1.0, reason="speech_final"),
        SpeechStopped(at=1.5, speech_end=1.29),
        PlaybackStarted(at=1.8, turn=1),
        ReplyFinished(at=2.5, turn=1, said="Good.", heard=0.7),
    ]
    assert measure_turns(timeline)[0].mouth_to_ear == pytest.approx(0.8)


@pytest.mark.parametrize("at", [1.25, 1.6], ids=["before the commitment", "after it"])
def test_the_measured_end_of_the_voice_counts(at: float):
    (turn,) = measure_turns(PLAIN.entries())
    measured = SpeechEndMeasured(at=at, reported=1.0, speech_end=1.06)
    (corrected,) = measure_turns(inserted(PLAIN.entries(), measured))
    assert turn.mouth_to_ear is not None
    assert corrected.mouth_to_ear == pytest.approx(turn.mouth_to_ear - 0.06)
    assert sum(corrected.stages.values()) == pytest.approx(corrected.mouth_to_ear)


def test_the_measured_end_of_another_voice_does_not_count():
    measured = SpeechEndMeasured(at=1.25, reported=0.9, speech_end=0.96)
    assert measure_turns(inserted(PLAIN.entries(), measured)) == measure_turns(PLAIN.entries())
