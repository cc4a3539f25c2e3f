"""What is scored in a timeline, with labels and without: every time in them is exact."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import PLAIN, Exchange, any_entry, inserted
from voicecli.events import (
    AgentStopped,
    CancelReply,
    Duck,
    FinalTranscript,
    Hold,
    PartiesMixed,
    PlaybackStarted,
    RecordedSpeechStarted,
    RecordedSpeechStopped,
    RecordingPaused,
    RecordingResumed,
    ReplyCancelled,
    Resume,
    SpeechStarted,
    VolumeChanged,
)
from voicecli.metrics.interaction import (
    Interaction,
    InteractionTally,
    Subject,
    decode_interaction,
    encode_interaction,
)
from voicecli.metrics.labels import EXPECTED, Expectation, Kind, Labels, Span
from voicecli.metrics.scoring import measure_interaction
from voicecli.metrics.summary import score
from voicecli.timeline import Entry

LONG = replace(PLAIN, start=1.0, heard=10.0)
"""Spoken from 1 to 2 s, committed at 2.3, heard from 2.726 to 12.726."""

HEARD = 2.726

PLAYED = RecordingResumed(at=0.0, since=0.0, position=0.0)


def span(
    kind: Kind, start: float, end: float, text: str = "", expect: Expectation | None = None
) -> Span:
    return Span(start=start, end=end, kind=kind, text=text, expect=expect or EXPECTED[kind])


TURN = span("turn", 1.0, 2.0)


def scored(
    entries: Iterable[Entry], *spans: Span, played: Entry = PLAYED, labelled: bool = True
) -> Interaction:
    labels = Labels(spans=tuple(sorted(spans, key=lambda one: one.start)))
    return measure_interaction([played, *entries], labels if labelled else None)


def outcomes(interaction: Interaction, subject: Subject) -> list[str]:
    return [event.outcome for event in interaction.events if event.subject == subject]


def cut(at: float, onset: float | None = None) -> list[Entry]:
    """The user speaks from ``onset``, or 0.2 s before ``at``, and cuts the reply then."""
    return [
        SpeechStarted(at=at - 0.1, speech_start=at - 0.2 if onset is None else onset),
        CancelReply(at=at, turn=1, heard_nothing=False),
        VolumeChanged(at=at + 0.01, turn=1, volume="silent"),
        ReplyCancelled(at=at + 0.02, turn=1, said="It", heard=at - HEARD),
    ]


def until(at: float, exchange: Exchange = LONG) -> list[Entry]:
    return [entry for entry in exchange.entries() if entry.at <= at]


def held(start: float, end: float) -> list[Entry]:
    """The reply is ducked, held and resumed."""
    return [
        Duck(at=start, turn=1),
        VolumeChanged(at=start + 0.012, turn=1, volume="ducked"),
        Hold(at=start + 0.1, turn=1),
        VolumeChanged(at=start + 0.112, turn=1, volume="silent"),
        Resume(at=end, turn=1),
        VolumeChanged(at=end + 0.012, turn=1, volume="full"),
    ]


# ── pauses and turns ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (2.0, 2.9, ["cut off and heard"]),  # heard 0.17 s before the user goes on
        (2.0, 2.5, ["cut off"]),
        (1.2, 1.5, ["waited"]),
        (2.25, 2.4, []),  # too short
        (2.0, 7.5, []),  # too long
    ],
)
def test_a_commitment_in_a_pause_is_a_cut_off(start: float, end: float, expected: list[str]):
    turn = span("turn", 1.0, 9.0)
    found = scored(LONG.entries(), turn, span("pause", start, end))
    assert outcomes(found, "pause") == expected


def test_a_polite_user_hears_every_reply_to_a_pause():
    waiting = [
        RecordingPaused(at=2.32, since=2.3, position=2.3),
        RecordingResumed(at=12.75, since=12.73, position=2.3),
    ]
    spans = span("turn", 1.0, 9.0), span("pause", 2.0, 2.4)
    assert outcomes(scored(LONG.entries(), *spans), "pause") == ["cut off"]
    found = scored(inserted(LONG.entries(), *waiting), *spans)
    assert outcomes(found, "pause") == ["cut off and heard"]
    assert score(found.tally)["yield_rate"].why.startswith("not scorable: the user waits")


@pytest.mark.parametrize(
    ("following", "answered"),
    [(None, "answered"), (3.0, "answered"), (2.6, "no reply"), (2.2, "no reply")],
)
def test_a_turn_is_answered_before_the_user_speaks_again(following: float | None, answered: str):
    """By a reply to all of it that is heard before that."""
    more = [] if following is None else [span("turn", following, following + 0.1)]
    assert outcomes(scored(LONG.entries(), TURN, *more), "turn")[0] == answered
    early = scored(LONG.entries(), span("turn", 1.0, 2.5), *more)
    assert outcomes(early, "turn")[0] == "no reply"


def test_an_agent_that_begins_while_the_user_speaks_interrupts():
    talking = span("turn", 1.0, 4.0)
    assert outcomes(scored(LONG.entries(), talking), "onset") == ["over the user"]
    pause = span("pause", 2.0, 3.0)
    assert outcomes(scored(LONG.entries(), talking, pause), "onset") == ["clear"]


# ── interruptions ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stop", "outcome"), [(0.5, "yielded"), (1.98, "yielded"), (2.1, "spoke on")]
)
def test_an_interrupted_agent_must_be_silent_within_two_seconds(stop: float, outcome: str):
    entries = [*until(4.0 + stop), *cut(4.0 + stop, 4.0)]
    found = scored(entries, TURN, span("interruption", 4.0, 5.0))
    (event,) = (one for one in found.events if one.subject == "interruption")
    assert event.outcome == outcome
    assert event.stop == pytest.approx(stop + 0.01)
    assert outcomes(found, "reply") == ["interrupted"]


def test_duck_and_stop_are_those_of_the_loudspeaker():
    """A hold that is not resumed is the silence."""
    quiet = held(4.1, 9.0)[:-2]
    found = scored([*until(4.5), *quiet, *cut(5.0)], TURN, span("interruption", 4.0, 6.0))
    (event,) = (one for one in found.events if one.subject == "interruption")
    assert (event.duck, event.stop) == (pytest.approx(0.112), pytest.approx(0.212))
    found = scored([*until(4.5), *held(4.1, 4.6), *cut(5.0)], TURN, span("interruption", 4.0, 6.0))
    (event,) = (one for one in found.events if one.subject == "interruption")
    assert (event.duck, event.stop) == (pytest.approx(0.112), pytest.approx(1.01))


def test_an_agent_that_is_not_interrupted_can_not_yield():
    over = HEARD + 10.0
    for start in (over - 1.5, over + 0.1, 0.5):  # ends by itself; is over; has not begun
        found = scored(LONG.entries(), TURN, span("interruption", start, start + 3))
        assert outcomes(found, "interruption") == []
    found = scored(LONG.entries(), TURN, span("interruption", over - 2.5, over + 1))
    assert outcomes(found, "interruption") == ["spoke on"]


def test_without_the_sinks_times_the_orders_count():
    """As in a timeline of an earlier version."""
    entries = [one for one in [*until(4.5), *cut(4.5)] if not isinstance(one, VolumeChanged)]
    found = scored(entries, TURN, span("interruption", 4.0, 5.0))
    (event,) = (one for one in found.events if one.subject == "interruption")
    assert event.stop == pytest.approx(0.51)


# ── sounds that are no interruption ──────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("backchannel", "backchannel"),
        ("tic", "tic"),
        ("other", "other"),
        ("background", "other"),
        ("noise", "noise"),
    ],
)
@pytest.mark.parametrize(
    ("stop", "outcome"), [(None, "held"), (0.5, "stopped"), (1.2, "stopped"), (1.4, "held")]
)
def test_a_reply_holds_until_a_second_after_such_a_sound(
    kind: Kind, subject: Subject, stop: float | None, outcome: str
):
    entries = LONG.entries() if stop is None else [*until(4.0 + stop), *cut(4.0 + stop)]
    found = scored(entries, TURN, span(kind, 4.0, 4.3))
    assert outcomes(found, subject) == [outcome]
    cause = "heard to its end" if stop is None else "stopped without words"
    assert outcomes(found, "reply") == [cause]


def test_a_duck_that_comes_back_is_held_and_told():
    entries = inserted(LONG.entries(), *held(4.1, 4.7))
    (event,) = (
        one for one in scored(entries, TURN, span("tic", 4.0, 4.3)).events if one.subject == "tic"
    )
    assert (event.outcome, event.ducked, event.duck) == ("held", True, pytest.approx(4.112))


def test_an_interruption_explains_a_stop():
    entries = [*until(4.6), *cut(4.6)]
    found = scored(entries, TURN, span("tic", 4.0, 4.2), span("interruption", 4.3, 5.0))
    assert outcomes(found, "tic") == ["held"]


@pytest.mark.parametrize(("kind", "expected"), [("noise", ["answered"]), ("backchannel", [])])
def test_a_silent_agent_must_not_answer_a_sound(kind: Kind, expected: list[str]):
    """Heard 0.726 s after it; committed after it began."""
    assert outcomes(scored(LONG.entries(), span(kind, 1.0, 2.0)), kind) == expected
    late = replace(LONG, ttft=2.0)  # heard after 2.5 s
    assert outcomes(scored(late.entries(), span("noise", 1.0, 2.0)), "noise") == ["ignored"]


def test_a_reply_that_is_due_answers_no_sound():
    assert outcomes(scored(LONG.entries(), TURN, span("noise", 2.1, 2.2)), "noise") == []
    assert outcomes(scored(LONG.entries(), span("turn", 1, 4), span("tic", 1.5, 2)), "tic") == []


# ── replies, overlap and silence ─────────────────────────────────────────────


def test_a_key_is_no_false_interruption():
    entries = [*until(4.0), AgentStopped(at=4.0), *cut(4.0)[1:]]
    assert outcomes(scored(entries, TURN), "reply") == ["stopped by a key"]


@pytest.mark.parametrize("said", [True, False])
def test_without_labels_the_words_tell_an_interruption(said: bool):
    words = FinalTranscript(at=4.3, text="Stop.", speech_start=3.9, speech_end=4.2)
    entries = [*until(4.0), *cut(4.0), *([words] if said else [])]
    found = scored(entries, labelled=False)
    assert outcomes(found, "reply") == ["interrupted" if said else "stopped without words"]


def test_both_voices_and_neither():
    """The user speaks from 4 to 6 s over a reply that is held from 5.012 to 9.012, and again 3.5 s
    after its end.
    """
    entries = inserted(LONG.entries(), *held(4.9, 9.0))
    again = HEARD + 10.0 + 3.5
    found = scored(entries, TURN, span("turn", 4.0, 6.0), span("turn", again, again + 1))
    scores = score(found.tally)
    assert scores["talk_over_s"].value == pytest.approx(1.012)
    assert scores["dead_air_s"].value == pytest.approx(3.012 + 3.5)


def test_a_polite_half_duplex_user_can_not_be_talked_over():
    waiting = [
        RecordingPaused(at=2.32, since=2.3, position=2.3),
        RecordingResumed(at=12.75, since=12.73, position=2.3),
    ]
    scores = score(scored(inserted(LONG.entries(), *waiting), labelled=False).tally)
    for name in ("agent_interruption_rate", "talk_over_s"):
        assert scores[name].value is None
        assert "--user oblivious" in scores[name].why


# ── without labels ───────────────────────────────────────────────────────────


def test_without_labels_turns_count():
    goes_on = [
        RecordedSpeechStarted(at=0.0, position=1.0),
        RecordedSpeechStopped(at=0.0, position=2.0),
        RecordedSpeechStarted(at=0.0, position=2.9),
        RecordedSpeechStopped(at=0.0, position=5.0),
    ]
    second = replace(LONG, number=2, start=20.0, ends="silent")
    entries = inserted([*LONG.entries(), *second.entries()], *goes_on)
    found = scored(entries, labelled=False)
    assert outcomes(found, "commit") == ["cut off and heard", "waited"]
    scores = score(found.tally)
    assert (scores["cutoff_rate"].hits, scores["cutoff_rate"].n) == (1, 2)
    assert scores["cutoff_rate"].why == "withheld: n is 2, 10 needed"
    assert (scores["response_rate"].hits, scores["no_reply"].value) == (1, 1.0)
    for name in ("yield_rate", "duck_ms", "hold_rate.tic", "wer"):
        assert scores[name].why == "not scorable: needs labels"


def test_labels_need_to_know_when_the_recording_was_played():
    found = measure_interaction(LONG.entries(), Labels(spans=(TURN,)))
    assert not found.labelled
    assert "the timeline does not say" in score(found.tally)["yield_rate"].why


@pytest.mark.parametrize(("ttft", "outcome"), [(0.001, "on time"), (2.4, "late"), (2.1, "on time")])
def test_replies_on_time(ttft: float, outcome: str):
    found = scored(replace(LONG, ttft=ttft).entries(), labelled=False)
    assert outcomes(found, "wait") == [outcome]


# ── words ────────────────────────────────────────────────────────────────────


def test_the_words_that_differ():
    said = span("turn", 1.0, 2.0, "Well, what's the time in Bern?")
    found = scored(LONG.entries(), said)  # "What is the time?"
    (row,) = found.transcripts
    assert (row.words, row.wrong) == (6, 4)
    assert ("in bern", "") in row.differences
    assert score(found.tally)["wer"].hits == 4
    assert scored(LONG.entries(), TURN).transcripts == ()


# ── many sessions ────────────────────────────────────────────────────────────


def test_sessions_add_up():
    yields = scored([*until(4.5), *cut(4.5)], TURN, span("interruption", 4.0, 5.0))
    spoke_on = scored(LONG.entries(), TURN, span("interruption", 4.0, 5.0))
    tally = InteractionTally()
    for one in [yields] * 9 + [spoke_on]:
        tally.add(one)
    scores = score(tally)
    assert (scores["yield_rate"].value, scores["yield_rate"].n) == (0.9, 10)
    assert scores["stop_ms"].distribution is not None
    assert scores["stop_ms"].distribution.n == 9
    assert scores["response_rate"].value == pytest.approx(0.5 + 0.0)


def test_turns_without_labels_do_not_count_beside_labelled_ones():
    labelled = scored(LONG.entries(), span("turn", 1.0, 9.0), span("pause", 2.0, 2.5))
    tally = InteractionTally()
    for one in (scored(LONG.entries(), labelled=False), labelled):
        tally.add(one)
    assert (score(tally)["cutoff_rate"].hits, score(tally)["cutoff_rate"].n) == (1, 1)


def test_what_is_kept_is_the_same_again():
    found = scored(
        [*until(4.5), *cut(4.5)], span("turn", 1, 2, "What's the time?"), span("tic", 4.2, 4.3)
    )
    kept: dict[str, Any] = json.loads(json.dumps(encode_interaction(found)))
    assert decode_interaction(kept) == found


SPANS = st.lists(
    st.builds(
        lambda kind, start, length: span(kind, start, start + length, "word"),
        st.sampled_from(list(EXPECTED)),
        st.floats(0, 60),
        st.floats(0.01, 6),
    ),
    max_size=8,
)


@given(
    st.lists(any_entry(at=st.floats(0, 60), turn=st.integers(0, 3)), max_size=60),
    SPANS,
)
def test_no_timeline_however_odd_is_refused(entries: list[Entry], spans: list[Span]):
    found = measure_interaction(entries, Labels(spans=tuple(spans)))
    for one in score(found.tally).values():
        assert one.hits >= 0
        if one.metric.unit == "rate" and one.value is not None and not one.metric.among:
            assert one.metric.name == "wer" or one.value <= 1
    assert decode_interaction(json.loads(json.dumps(encode_interaction(found)))) == found
    if not found.labelled and any(isinstance(entry, PartiesMixed) for entry in entries):
        assert not found.events
        return
    played = {entry.turn for entry in entries if isinstance(entry, PlaybackStarted)}
    assert len(outcomes(found, "reply")) == len(played)
