"""A possible barge-in, from the first voiced frame to the cut or the false alarm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli import events
from voicecli.turns.barge_in import SUSPICION_TIMEOUT, Escalation, Interruption
from voicecli.turns.policy import BargeInPolicy
from voicecli.turns.user_turn import UserTurn
from voicecli.units import Seconds

POLICY = BargeInPolicy(
    policy="headphones", hold=0.15, confirm=0.8, backchannels=("uh-huh", "i see", "right")
)
FINALIZE_TIMEOUT: Seconds = 0.5


class Over:
    """An interruption of a reply, and what the user says over it."""

    def __init__(self, policy: BargeInPolicy = POLICY) -> None:
        self.interruption = Interruption(policy, FINALIZE_TIMEOUT)
        self.user = UserTurn()

    @property
    def stage(self) -> Escalation:
        return self.interruption.stage

    @property
    def deadline(self) -> Seconds | None:
        return self.interruption.deadline

    def tell(self, event: events.Event) -> list[str]:
        return [type(one).__name__ for one in self.interruption.handle(event, self.user)]

    def start(self, at: Seconds, *, late: Seconds = 0.0) -> list[str]:
        return self.tell(events.SpeechStarted(at=at + late, speech_start=at))

    def stop(self, at: Seconds) -> list[str]:
        return self.tell(events.SpeechStopped(at=at, speech_end=at))

    def suspect(self, at: Seconds) -> list[str]:
        return self.tell(events.SpeechSuspected(at=at))

    def wait(self) -> list[str]:
        """Let the deadline pass."""
        assert self.deadline is not None
        return self.tell(events.DeadlinePassed(at=self.deadline))


def ducked(since: float) -> Interruption:
    over = Over()
    over.start(since)
    return over.interruption


def test_nothing_is_suspected_at_first():
    over = Over()
    assert (over.stage, over.deadline) == (Escalation.NONE, None)


def test_speech_ducks_then_holds_then_cuts():
    over = Over()
    assert over.start(3) == ["Duck"]
    assert over.deadline == pytest.approx(3.15)
    assert over.wait() == ["Hold"]
    assert over.deadline == pytest.approx(3.8)
    assert over.wait() == []
    assert over.stage is Escalation.CONFIRMED


@given(st.lists(st.tuples(st.floats(0.05, 0.3), st.floats(0.05, 0.3)), min_size=1, max_size=3))
def test_only_speech_counts_not_its_gaps(parts):
    over, now, gaps = Over(), 3.0, 0.0
    over.start(now)
    over.wait()
    for voiced, gap in parts:
        over.start(now)
        over.stop(now + voiced)
        now, gaps = now + voiced + gap, gaps + gap
    over.start(now)
    assert over.deadline == pytest.approx(max(3 + POLICY.confirm + gaps, now))


def test_speech_reported_twice_has_no_gap():
    over = Over()
    assert over.start(3) == ["Duck"]
    assert over.start(3.1) == []
    assert over.deadline == pytest.approx(3.15)


def test_a_false_alarm_is_forgotten():
    over = Over()
    over.start(3)
    assert over.stop(3.1) == ["Finalize"]
    assert over.deadline == pytest.approx(3.1 + FINALIZE_TIMEOUT)
    assert over.wait() == ["Resume"]
    assert (over.stage, over.deadline) == (Escalation.NONE, None)
    over.start(9)
    assert over.deadline == pytest.approx(9.15)


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
    policy = BargeInPolicy(policy="headphones", min_words=3, backchannels=())
    interruption = Interruption(policy, FINALIZE_TIMEOUT)
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
    over = Over()
    assert over.suspect(3.0) == ["Duck"]
    assert over.suspect(3.1) == []
    assert over.deadline == pytest.approx(3.0 + SUSPICION_TIMEOUT)
    assert over.wait() == ["Resume"]
    assert over.suspect(4.0) == []
    over.start(5.0)
    over.interruption.end()
    assert over.suspect(6.0) == ["Duck"]


def test_a_suspected_sound_that_is_speech_counts_from_its_start():
    over = Over()
    over.suspect(3.05)
    assert not over.interruption.is_speech
    assert over.start(2.98) == []
    assert over.interruption.is_speech
    assert over.deadline == pytest.approx(3.13)


def test_a_sound_delays_the_playback_of_a_reply_once():
    over = Over()
    (hold,) = over.interruption.delay_playback(3.0)
    assert hold == events.Hold(at=3.0, turn=0)
    assert over.deadline == pytest.approx(3.0 + SUSPICION_TIMEOUT)
    assert over.wait() == ["Resume"]
    assert over.interruption.delay_playback(4.0) == []
    over.interruption.begin(1)
    assert over.interruption.delay_playback(5.0) == [events.Hold(at=5.0, turn=1)]


@pytest.mark.parametrize("policy", [POLICY, BargeInPolicy()])
def test_speech_takes_the_floor_from_a_reply_that_had_hardly_begun(policy):
    """The sound card had the first samples already when playback was delayed."""
    over = Over(policy)
    over.interruption.delay_playback(3.0)
    assert over.start(2.96, late=0.1) == []
    assert over.stage is Escalation.CONFIRMED
