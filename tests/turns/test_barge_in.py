"""A possible barge-in, from the first voiced frame to the cut or the false alarm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.turns.barge_in import Escalation, Interruption
from voicecli.turns.policy import BargeInPolicy

POLICY = BargeInPolicy(
    policy="headphones", hold=0.15, confirm=0.8, backchannels=("uh-huh", "i see", "right")
)


def ducked(since: float) -> Interruption:
    interruption = Interruption(POLICY)
    interruption.start_speech(since)
    return interruption


def test_nothing_is_suspected_at_first():
    assert Interruption(POLICY).stage is Escalation.NONE


def test_speech_ducks_then_holds_then_cuts():
    interruption = ducked(3)
    assert interruption.stage is Escalation.DUCKED
    assert interruption.next_step == pytest.approx(3.15)
    interruption.stage = Escalation.HELD
    assert interruption.next_step == pytest.approx(3.8)


@given(st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)), min_size=1, max_size=8))
def test_only_speech_counts_not_its_gaps(parts):
    interruption, now, gaps = Interruption(POLICY), 3.0, 0.0
    for voiced, gap in parts:
        interruption.start_speech(now)
        interruption.stage = Escalation.HELD
        interruption.stop_speech(now + voiced)
        now, gaps = now + voiced + gap, gaps + gap
    interruption.start_speech(now)
    assert interruption.next_step == pytest.approx(3 + POLICY.confirm + gaps)


def test_speech_reported_twice_has_no_gap():
    interruption = ducked(3)
    interruption.start_speech(3.1)
    assert interruption.next_step == pytest.approx(3.15)


def test_a_false_alarm_is_forgotten():
    interruption = ducked(3)
    interruption.stop_speech(3.1)
    interruption.end()
    assert interruption.stage is Escalation.NONE
    interruption.start_speech(9)
    assert interruption.next_step == pytest.approx(9.15)


@pytest.mark.parametrize("text", ["stop", "Wait!", "right, but", "uh-huh no", "What about Rome?"])
def test_words_take_the_floor(text):
    assert ducked(3).is_confirmed_by(text)


@pytest.mark.parametrize("text", ["", "  ", "Uh-huh.", "Right. I see.", "I see"])
def test_no_words_and_back_channels_take_none(text):
    assert not ducked(3).is_confirmed_by(text)


def test_words_that_may_become_a_back_channel_are_awaited():
    interruption = ducked(3)
    assert not interruption.is_confirmed_by("I", interim=True)
    assert interruption.is_confirmed_by("I want", interim=True)
    assert interruption.is_confirmed_by("I")


def test_min_words_are_required():
    interruption = Interruption(BargeInPolicy(policy="headphones", min_words=3, backchannels=()))
    assert not interruption.is_confirmed_by("wait a")
    assert interruption.is_confirmed_by("wait a minute")


def test_an_echo_of_the_agent_takes_no_floor():
    interruption = ducked(3)
    interruption.said = "The train to Rome leaves at noon. "
    assert not interruption.is_confirmed_by("train to Rome")
    assert not interruption.is_confirmed_by("the train to Rome leaves a noon")
    assert interruption.is_confirmed_by("when does the train leave")
    assert interruption.is_confirmed_by("Rome? No")


def test_a_sound_is_suspected_once_and_again_after_speech():
    interruption = Interruption(POLICY)
    assert interruption.suspect(3.0, audible=True)
    assert interruption.stage is Escalation.SUSPECTED
    assert not interruption.suspect(3.1, audible=True)
    assert interruption.next_step == pytest.approx(3.2)
    interruption.end()
    assert not interruption.suspect(4.0, audible=True)
    interruption.start_speech(5.0)
    interruption.end()
    assert interruption.suspect(6.0, audible=True)


def test_a_suspected_sound_that_is_speech_counts_from_its_start():
    interruption = Interruption(POLICY)
    interruption.suspect(3.05, audible=True)
    assert not interruption.is_speech
    interruption.start_speech(2.98)
    assert interruption.is_speech
    assert interruption.next_step == pytest.approx(3.13)
