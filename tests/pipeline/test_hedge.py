"""When a second request is sent beside a late one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.pipeline.generation import (
    HEDGE_MIN_SAMPLES,
    HEDGE_WINDOW,
    MAX_HEDGE_DELAY,
    MIN_HEDGE_DELAY,
    HedgeDelay,
)


def noted(*waits: float, fixed: float | str | None = "auto") -> HedgeDelay:
    hedge = HedgeDelay(fixed)
    for wait in waits:
        hedge.add(wait)
    return hedge


@pytest.mark.parametrize("fixed", [None, 0.0, 0.3, 5.0])
def test_a_fixed_delay_is_what_it_is(fixed):
    assert noted(*[0.9] * 20, fixed=fixed).delay == fixed


def test_until_enough_is_known_it_is_the_least():
    assert noted(*[1.0] * (HEDGE_MIN_SAMPLES - 1)).delay == MIN_HEDGE_DELAY
    assert noted(*[1.0] * HEDGE_MIN_SAMPLES).delay == 1.0


def test_it_is_what_nine_in_ten_requests_take():
    """Of 0.61, 0.62 … 1.10, fifty of them, 45 are at most 1.05."""
    delay = noted(*(0.6 + index / 100 for index in range(1, 51))).delay
    assert delay == pytest.approx(1.051)


def test_what_is_long_ago_is_forgotten():
    assert noted(*[9.0] * 100, *[0.7] * HEDGE_WINDOW).delay == 0.7


@given(st.lists(st.floats(0, 100), max_size=60))
def test_it_stays_within_bounds(waits):
    delay = noted(*waits).delay
    assert delay is not None
    assert MIN_HEDGE_DELAY <= delay <= MAX_HEDGE_DELAY
