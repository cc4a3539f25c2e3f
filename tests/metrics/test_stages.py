"""Stages and raw durations of a turn."""

from __future__ import annotations

from dataclasses import replace
from math import fsum, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import DRAFTED, PLAIN, Exchange, ms, only
from voicecli.events import (
    FirstToken,
    LlmRequested,
)
from voicecli.metrics.stages import (
    STAGES,
    Milestones,
    measure_raw,
    measure_stages,
)
from voicecli.timeline import Entry

TIMES = st.none() | st.floats(0, 100, allow_subnormal=False)

MILESTONES = st.builds(Milestones, **dict.fromkeys(Milestones.__dataclass_fields__, TIMES))


def test_the_stages_of_a_turn_that_the_services_endpointing_ended():
    turn = only(PLAIN.entries())
    assert turn.mouth_to_ear == pytest.approx(0.726, abs=1e-9)
    assert ms(turn.stages) == {
        "stt.ttfs": 300,
        "turn.commit": 0,
        "llm.ttft": 200,
        "llm.clause": 45,
        "tts.ttfa": 120,
        "playout": 60,
        "pipeline": 1,
    }
    assert list(turn.stages) == list(STAGES)
    assert turn.outcome == "answered"
    assert not turn.drafted
    assert not turn.cut_off
    assert turn.unreliable == ()


def test_a_draft_that_is_ready_before_the_commitment_costs_nothing():
    turn = only(DRAFTED.entries())
    assert turn.drafted
    assert ms(turn.stages) == {
        "stt.ttfs": 300,
        "turn.commit": 354,
        "llm.ttft": 200,
        "llm.clause": 45,
        "tts.ttfa": 120,
        "playout": 60,
        "pipeline": 1,
    }
    assert ms(turn.raw)["turn.commit"] == 600
    assert ms(turn.raw)["endpointing"] == 900


def test_a_commitment_that_comes_before_the_draft_is_ready_costs_nothing():
    turn = only(replace(DRAFTED, commit=0.45).entries())
    assert ms(turn.stages)["turn.commit"] == 0
    assert ms(turn.stages)["llm.ttft"] == 200
    assert turn.mouth_to_ear == pytest.approx(0.726, abs=1e-9)


def test_waiting_for_a_failed_request_is_waiting_for_the_first_token():
    def retried(entry: Entry) -> list[Entry]:
        if isinstance(entry, LlmRequested):
            return [LlmRequested(at=entry.at - 0.5, turn=1), replace(entry, attempt=2)]
        return [replace(entry, attempt=2)] if isinstance(entry, FirstToken) else [entry]

    exchange = replace(PLAIN, request=0.501)
    turn = only([new for old in exchange.entries() for new in retried(old)])
    assert ms(turn.stages)["llm.ttft"] == 700
    assert ms(turn.stages)["pipeline"] == 1
    assert ms(turn.raw)["llm.ttft"] == 200
    assert (turn.requests, turn.retries, turn.hedges) == (2, 1, 0)


def test_silence_before_the_voice_is_part_of_the_first_audio():
    turn = only(replace(PLAIN, lead=0.2).entries())
    assert ms(turn.raw)["tts.ttfb"] == 100
    assert ms(turn.raw)["tts.ttfa"] == 300


def test_words_held_back_from_the_tts_are_our_own_delay():
    turn = only(replace(PLAIN, send=0.25).entries())
    assert ms(turn.stages)["pipeline"] == 251
    assert ms(turn.stages)["tts.ttfa"] == 120


@given(MILESTONES)
def test_stages_are_never_negative_and_sum_to_mouth_to_ear(milestones: Milestones):
    parts = measure_stages(milestones)
    total = milestones.mouth_to_ear
    assert (total is None) == (parts == {})
    assert all(took >= 0 for took in parts.values())
    assert isclose(fsum(parts.values()), total or 0.0, abs_tol=1e-9)
    assert set(parts) <= set(STAGES)
    assert all(took >= 0 for took in measure_raw(milestones).values())


DURATIONS = st.floats(0, 3, allow_subnormal=False)

EXCHANGES = st.builds(
    Exchange,
    spoken=st.floats(0.6, 5),
    stop=DURATIONS,
    final=DURATIONS,
    commit=st.none() | DURATIONS,
    request=DURATIONS,
    ttft=DURATIONS,
    clause=DURATIONS,
    send=DURATIONS,
    ttfb=DURATIONS,
    lead=DURATIONS,
    playout=DURATIONS,
    ends=st.sampled_from(["finished", "interrupted", "tts failed"]),
)


@given(EXCHANGES)
def test_what_the_stages_are_called_is_what_they_were(exchange: Exchange):
    turn = only(exchange.entries())
    total = turn.mouth_to_ear
    assert total is not None
    assert isclose(fsum(turn.stages.values()), total, abs_tol=1e-9)
    assert turn.stages["stt.ttfs"] == pytest.approx(exchange.stop + exchange.final)
    assert turn.stages["tts.ttfa"] == pytest.approx(exchange.ttfb + exchange.lead)
    assert turn.stages["playout"] == pytest.approx(exchange.playout)
    assert turn.raw["llm.ttft"] == pytest.approx(exchange.ttft)
    for name, took in turn.stages.items():
        assert name == "pipeline" or took <= turn.raw[name] + 1e-9
