"""The recording's time and speech, as a timeline tells them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.timelines import PLAIN, inserted
from voicecli.events import (
    RecordedSpeechStarted,
    RecordedSpeechStopped,
    RecordingPaused,
    RecordingResumed,
    SpeechStarted,
)
from voicecli.metrics.recording import Recording
from voicecli.metrics.turns import measure_turns
from voicecli.timeline import Entry

PAUSED = [
    RecordingResumed(at=0.52, since=0.5, position=0.0),
    RecordingPaused(at=3.52, since=3.5, position=3.0),
    RecordingResumed(at=8.02, since=8.0, position=3.0),
    RecordingPaused(at=10.02, since=10.0, position=5.0),
]
"""Begins at 0.5 s, waits from 3.5 to 8, ends at 10."""


@pytest.mark.parametrize(
    ("at", "position"), [(0.5, 0), (2, 1.5), (3.5, 3), (6, 3), (8, 3), (9, 4), (12, 5)]
)
def test_the_position_stands_still_while_the_recording_is_paused(at: float, position: float):
    assert Recording(PAUSED).find_position(at) == pytest.approx(position)


@pytest.mark.parametrize(
    ("position", "at"), [(0, 0.5), (2.9, 3.4), (3, 8), (4.5, 9.5), (5, None), (7, None)]
)
def test_a_position_was_played_at_one_time(position: float, at: float | None):
    assert Recording(PAUSED).find_time(position) == (None if at is None else pytest.approx(at))


def test_while_it_plays_its_end_is_open():
    recording = Recording(PAUSED[:3])
    assert recording.find_time(60.0) == pytest.approx(65.0)
    assert recording.find_position(65.0) == pytest.approx(60.0)
    assert recording.waited == pytest.approx(4.5)


def test_without_a_recording_there_is_no_position():
    recording = Recording([*PLAIN.entries()])
    assert not recording.exists
    assert recording.find_position(1.0) is None
    assert recording.find_time(1.0) is None


def stretch(start: float, end: float | None = None) -> list[Entry]:
    stopped = [] if end is None else [RecordedSpeechStopped(at=0.0, position=end)]
    return [RecordedSpeechStarted(at=0.0, position=start), *stopped]


def test_the_next_speech_is_what_lasts_longer_than_a_click():
    recording = Recording([*stretch(1, 2), *stretch(2.5, 2.55), *stretch(3, 4), *stretch(6)])
    assert recording.find_wait(2.2) == pytest.approx(0.8)
    assert recording.find_wait(3.5) == 0  # the user is speaking
    assert recording.find_wait(4.5) == pytest.approx(1.5)
    assert Recording(stretch(1, 2)).find_wait(2.0) is None


def commit_then(wait: float, *, waits: bool) -> list[Entry]:
    """A turn committed 1.3 s into the recording, whose user goes on ``wait`` after that; the reply
    is heard 0.426 s after it, for 1.5 s.
    """
    goes_on = PLAIN.commit_at + wait
    paused = [
        RecordingPaused(at=1.3, since=1.3, position=1.3),
        RecordingResumed(at=3.3, since=3.3, position=1.3),
    ]
    return inserted(
        PLAIN.entries(),
        RecordingResumed(at=0.0, since=0.0, position=0.0),
        *(paused if waits else []),
        *stretch(0.0, 1.0),
        *stretch(goes_on, goes_on + 1),
    )


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(
    ("wait", "cut_off", "heard_before"),
    [(0.2, True, False), (0.9, True, True), (1.499, True, True), (1.6, False, False)],
)
def test_a_user_who_would_have_gone_on_soon_was_cut_off(
    waits: bool, wait: float, cut_off: bool, heard_before: bool
):
    """A polite user hears every reply first."""
    (turn,) = measure_turns(commit_then(wait, waits=waits))
    assert turn.cut_off == cut_off
    assert turn.went_on == (pytest.approx(wait) if cut_off else None)
    assert turn.cut_off_heard == (cut_off and (waits or heard_before))


def test_what_is_heard_live_is_no_cut_off_where_the_recording_says_more():
    """A back-channel, by the labels, soon after the commitment."""
    live = SpeechStarted(at=PLAIN.commit_at + 0.6, speech_start=PLAIN.commit_at + 0.5)
    known = inserted(
        PLAIN.entries(),
        RecordingResumed(at=0.0, since=0.0, position=0.0),
        *stretch(0.0, 1.0),
        live,
    )
    assert not measure_turns(known)[0].cut_off
    assert measure_turns(inserted(PLAIN.entries(), live))[0].cut_off


def test_a_reply_that_was_taken_back_was_not_heard():
    taken_back = replace(PLAIN, ends="taken back").entries()
    entries = inserted(
        taken_back,
        RecordingResumed(at=0.0, since=0.0, position=0.0),
        *stretch(0.0, 1.0),
        *stretch(1.35),
    )
    (turn,) = measure_turns(entries)
    assert (turn.cut_off, turn.cut_off_heard) == (True, False)
