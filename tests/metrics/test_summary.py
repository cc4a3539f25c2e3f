"""Percentiles, the summary of a session, budgets."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import DRAFTED, PLAIN, Exchange, only
from voicecli.metrics.scoring import measure_interaction
from voicecli.metrics.stages import (
    BUDGETED,
    MOUTH_TO_EAR,
    RAW,
)
from voicecli.metrics.summary import (
    Budgets,
    Distribution,
    Overrun,
    Summary,
    describe,
    find_overruns,
    summarize,
)
from voicecli.metrics.turns import measure_turns
from voicecli.metrics.usage import (
    count_usage,
)


@given(st.lists(st.floats(0, 1e6), min_size=100, max_size=120))
def test_percentiles_are_those_of_the_standard_library(values):
    quantiles = statistics.quantiles(values, n=100, method="inclusive")
    found = describe(values)
    assert [found.p50, found.p90, found.p95, found.p99] == pytest.approx(
        [quantiles[49], quantiles[89], quantiles[94], quantiles[98]], rel=1e-9, abs=1e-9
    )


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=19))
def test_percentiles_lie_within_the_values(values):
    found = describe(values)
    assert found.min <= found.p50 <= found.p90 <= found.max


def test_what_few_values_cannot_tell_is_withheld():
    assert describe([]) == Distribution()
    assert describe([2.0]) == Distribution(n=1, min=2.0, p50=2.0, p90=2.0, max=2.0)
    assert describe(range(19)).p95 is None
    assert describe(range(20)).p95 == pytest.approx(18.05)
    assert describe(range(99)).p99 is None
    assert describe(range(101)).p99 == 99.0


def summed(*exchanges: Exchange) -> Summary:
    entries = [entry for exchange in exchanges for entry in exchange.entries()]
    found = measure_turns(entries)
    return summarize(found, count_usage(entries, found), measure_interaction(entries))


def test_the_summary_has_every_metric_and_every_count():
    numbers = summed(PLAIN, replace(DRAFTED, number=2, start=10.0))
    assert numbers.distributions["mouth_to_ear"].n == 2
    assert numbers.distributions["mouth_to_ear"].min == pytest.approx(0.726)
    assert numbers.distributions["turn.commit"].max == pytest.approx(0.354)
    assert numbers.distributions["raw.turn.commit"].max == pytest.approx(0.6)
    assert numbers.counts["answered"] == 2
    assert numbers.counts["interruption_rate"] == 0.0
    assert {metric.name for metric in BUDGETED.values()} <= {MOUTH_TO_EAR.name, *RAW}


def test_a_budget_is_for_what_a_service_took_by_itself():
    turn = only(replace(DRAFTED, commit=2.0, ttft=0.5).entries())
    budgets = Budgets(stt=0.3001, llm=0.3, tts=0.2, total=2.0)
    assert find_overruns(turn, budgets) == [
        Overrun(metric="llm.ttft", took=pytest.approx(0.5), budget=0.3),
        Overrun(metric="mouth_to_ear", took=pytest.approx(2.18), budget=2.0),
    ]
