"""Limits of the services: kept over all workers, by how many sessions run at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus.test_store import make_unit
from voicecli import clock
from voicecli.corpus.dispatch import Slot, dispatch_units
from voicecli.corpus.limits import LIMITS, Gate, choose_limits, parse_limits
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.errors import UsageError
from voicecli.metrics.usage import Cost, SessionUsage
from voicecli.profile import load_profile
from voicecli.report.json_result import encode_cost, encode_usage

MINUTE = 60.0


class Sessions:
    """An engine whose sessions send requests at random times, and count what is open."""

    def __init__(self, seconds: float, requests: int, tokens: int) -> None:
        self.usage = SessionUsage(
            seconds=seconds, llm_requests=requests, prompt_tokens=requests * tokens, tokens=0
        )
        self.open = self.most = 0
        self.requests: list[float] = []
        self._random = random.Random(7)

    async def acquire(self) -> Slot:
        return self.measure

    async def measure(self, unit: Unit) -> UnitResult:
        self.open += 1
        self.most = max(self.most, self.open)
        began, length = clock.now(), self.usage.seconds
        times = [began + self._random.random() * length for _ in range(self.usage.llm_requests)]
        self.requests += times
        await asyncio.sleep(length)
        self.open -= 1
        result = {"ledger": encode_usage(self.usage), "cost": encode_cost(Cost()), "turns": []}
        return UnitResult(unit=unit, result=result)

    def count_busiest(self, settled: float = 0.0) -> int:
        """Return the most requests within any minute that begins after ``settled``."""
        times = sorted(one for one in self.requests if one >= settled)
        return max(sum(at <= one < at + MINUTE for one in times) for at in times)


def run_sessions(
    count: int, limits: Mapping[str, int], sessions: Sessions, forecast: SessionUsage
) -> float:
    """Run sessions in virtual time; return how long it took."""
    units = [replace(make_unit(), repeat=number) for number in range(1, count + 1)]
    found: list[UnitResult] = []

    async def run() -> float:
        gate = Gate(limits, lambda _: forecast)
        await dispatch_units(units, found.append, sessions, gate)
        return clock.now()

    took = clock.run(run(), virtual=True)
    assert len(found) == count
    return took


@settings(deadline=None)
@given(count=st.integers(1, 30), stt=st.integers(1, 12), tts=st.integers(1, 12))
def test_connections_are_never_exceeded_and_always_used(count: int, stt: int, tts: int) -> None:
    sessions = Sessions(30.0, 1, 10)
    took = run_sessions(count, {"stt": stt, "tts": tts}, sessions, sessions.usage)
    most = min(stt, tts)
    assert sessions.most == min(count, most)
    assert took == pytest.approx(30.0 * -(-count // most))


def test_requests_a_minute_are_kept() -> None:
    sessions = Sessions(120.0, 12, 500)
    run_sessions(60, {"llm.requests": 100}, sessions, sessions.usage)
    assert 60 < sessions.count_busiest() <= 100


def test_tokens_a_minute_are_kept() -> None:
    """50,000 tokens are 100 requests of 500."""
    sessions = Sessions(120.0, 12, 500)
    run_sessions(60, {"llm.tokens": 50_000}, sessions, sessions.usage)
    assert 60 < sessions.count_busiest() <= 100


def test_a_forecast_that_is_wrong_is_corrected() -> None:
    """Sessions need twice as much as was forecast; after the first have ended, that is known."""
    sessions = Sessions(120.0, 24, 500)
    run_sessions(100, {"llm.requests": 100}, sessions, replace(sessions.usage, llm_requests=12))
    assert sessions.count_busiest() > 100
    assert sessions.count_busiest(settled=240.0) <= 100


def test_one_session_is_always_admitted() -> None:
    sessions = Sessions(60.0, 50, 500)
    took = run_sessions(3, {"llm.requests": 10}, sessions, sessions.usage)
    assert (sessions.most, took) == (1, 180.0)


def test_without_limits_nothing_waits() -> None:
    sessions = Sessions(60.0, 50, 500)
    assert run_sessions(40, {}, sessions, sessions.usage) == 60.0


def test_real_services_have_the_limits_of_their_smallest_plan() -> None:
    scripted, default = load_profile("scripted"), load_profile("default")
    choose = partial(choose_limits, given={"llm.tokens": 5})
    assert choose([scripted]) == {"llm.tokens": 5}
    assert choose([scripted, default]) == {"llm.tokens": 5, "stt": 50, "tts": 15}
    assert choose_limits([default], {"tts": 45}) == {"stt": 50, "tts": 45}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stt", "not a number from 1 on"),
        ("stt=0", "not a number from 1 on"),
        ("stt=-1", "not a number from 1 on"),
        ("llm.request=5", "Did you mean llm.requests?"),
        ("x=5", "no such limit"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limits([text])
    assert message in str(caught.value)


def test_every_limit_is_parsed() -> None:
    given: dict[str, Any] = {name: number for number, name in enumerate(LIMITS, 1)}
    assert parse_limits(f"{name}={number}" for name, number in given.items()) == given
