"""What is marked in the picture of a recording, folded from a timeline."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.timelines import Exchange, inserted
from voicecli.events import Duck, Hold, Resume, SpeechPaused, SpeechResumed
from voicecli.metrics.interaction import Interaction, ScoredEvent
from voicecli.metrics.turns import measure_turns
from voicecli.report.html.marks import MarkKind, list_marks
from voicecli.timeline import Entry

UNLABELLED = Interaction()


def spans(entries: list[Entry]) -> dict[MarkKind, list[tuple[float, float]]]:
    found: dict[MarkKind, list[tuple[float, float]]] = {}
    for mark in list_marks(entries, measure_turns(entries), UNLABELLED):
        found.setdefault(mark.kind, []).append((round(mark.start, 6), round(mark.end, 6)))
    return found


def test_a_plain_turn() -> None:
    assert spans(Exchange(start=1.0).entries()) == {
        "speech": [(1.0, 2.0)],
        "turn": [(1.0, 2.0)],
        "commit": [(2.3, 2.3)],
        "wait": [(2.0, 2.726)],
        "reply": [(2.726, 4.226)],
    }


def test_pauses_within_speech() -> None:
    entries = inserted(
        Exchange().entries(), SpeechPaused(at=0.5, speech_end=0.4), SpeechResumed(at=0.7)
    )
    assert spans(entries)["pause"] == [(0.4, 0.7)]


def test_a_false_alarm_is_ducked_held_and_not_cut() -> None:
    more = [Duck(at=1.9, turn=1), Hold(at=2.0, turn=1), Resume(at=2.1, turn=1)]
    found = spans(inserted(Exchange().entries(), *more))
    assert (found["duck"], found["hold"]) == ([(1.9, 2.0)], [(2.0, 2.1)])
    assert "cut" not in found


def test_an_interruption_is_cut() -> None:
    entries = inserted(Exchange(ends="interrupted").entries(), Duck(at=3.0, turn=1))
    found = spans(entries)
    assert found["cut"] == [(3.226, 3.226)]
    assert found["duck"] == [(3.0, 3.226)]
    assert found["reply"] == [(1.726, 3.226)]


def test_a_duck_ends_with_the_reply() -> None:
    found = spans(inserted(Exchange().entries(), Duck(at=3.0, turn=1)))
    assert found["duck"] == [(3.0, pytest.approx(3.226))]


def test_a_discarded_turn_is_not_cut_audibly() -> None:
    found = spans(Exchange(ends="taken back").entries())
    assert "cut" not in found
    assert "reply" not in found
    assert "wait" not in found
    assert found["commit"] == found["cutoff"] == [(1.3, 1.3)]


def test_turns_follow_each_other() -> None:
    first, second = Exchange(), replace(Exchange(), number=2, start=5.0)
    found = list_marks([*first.entries(), *second.entries()], [], UNLABELLED)
    assert [(m.turn, m.start, m.end) for m in found if m.kind == "turn"] == [(1, 0, 1), (2, 5, 6)]


def test_labels_tell_who_was_cut_off() -> None:
    first, second = Exchange(), Exchange(number=2, start=5.0, ends="taken back")
    entries = [*first.entries(), *second.entries()]
    events = (
        ScoredEvent(subject="pause", outcome="cut off", start=1.0, end=1.5, turn=1),
        ScoredEvent(subject="pause", outcome="waited", start=6.0, end=6.5),
    )
    found = list_marks(entries, measure_turns(entries), Interaction(labelled=True, events=events))
    assert [mark.turn for mark in found if mark.kind == "cutoff"] == [1]
