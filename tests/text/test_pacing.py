"""When a piece of a reply sounds long enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.text.pacing import (
    LONGEST_FIRST,
    LONGEST_FIRST_WAIT,
    MARGIN,
    NEXT_BOUNDARY,
    RECENT,
    Pacing,
    RecentValues,
    count_spoken,
)


def teach(*, writing: float = 0.0, ttfb: float = 0.1, delivery: float = 0.0) -> Pacing:
    pacing = Pacing(0.06)
    pacing.add_writing("x" * 100, 100 * writing)
    pacing.add_ttfb(ttfb)
    pacing.add_delivery(1.0, delivery)
    return pacing


def find_shortest(pacing: Pacing) -> int:
    """Return how many characters are enough."""
    return next(count for count in range(1, 1000) if pacing.covers("x" * count))


def test_a_recent_value_is_robust_and_follows():
    values = RecentValues(1.0)
    assert values.value == 1.0
    for value in (2.0, 2.0, 90.0):
        values.add(value)
    assert values.value == 2.0
    for _ in range(RECENT):
        values.add(5.0)
    assert values.value == 5.0


def test_enough_is_what_the_tts_needs_to_deliver_the_next():
    assert find_shortest(teach(ttfb=0.15)) * 0.06 == pytest.approx(0.15 + MARGIN)
    # Of each second a half passes until it has been delivered.
    assert find_shortest(teach(ttfb=0.15, delivery=0.5)) * 0.06 == pytest.approx(2 * 0.3)


def test_or_what_the_llm_needs_to_write_it():
    pacing = teach(writing=0.02, ttfb=0.1)
    assert find_shortest(pacing) * 0.06 == pytest.approx(NEXT_BOUNDARY * 0.02 + MARGIN, abs=0.06)


def test_the_pace_of_the_voice_is_learned_but_not_from_a_word():
    pacing = Pacing(0.06)
    pacing.add_speech("Yes.", 4.0)
    assert pacing.estimate_speech("x" * 10) == pytest.approx(0.6)
    pacing.add_speech(" It is twelve o'clock. ", 21 * 0.1)
    assert pacing.estimate_speech("x" * 10) == pytest.approx(1.0)
    assert count_spoken("你好") == 6


def test_the_flush_lead_is_a_slow_ttfb():
    pacing = Pacing(0.06)
    for ttfb in (0.1, 0.1, 0.1, 0.1, 0.3):
        pacing.add_ttfb(ttfb)
    assert 0.1 + MARGIN <= pacing.flush_lead < 0.3 + MARGIN
    pacing.add_ttfb(0.3)
    assert pacing.flush_lead == pytest.approx(0.3 + MARGIN)


def test_a_short_delivery_teaches_nothing():
    pacing = teach(delivery=0.3)
    pacing.add_delivery(0.5, 5.0)
    assert pacing.delivery.value == 0.3


def test_a_first_piece_is_overdue_by_its_length_or_by_the_time_it_took():
    assert not teach().is_overdue("x" * LONGEST_FIRST)
    assert teach().is_overdue("x" * (LONGEST_FIRST + 1))
    slow = teach(writing=LONGEST_FIRST_WAIT / 40)
    assert not slow.is_overdue("x" * 39)
    assert slow.is_overdue("x" * 41)


@given(st.floats(0, 0.05), st.floats(0, 2), st.floats(0, 0.9), st.integers(1, 400))
def test_more_text_is_never_less_enough(writing, ttfb, delivery, length):
    pacing = teach(writing=writing, ttfb=ttfb, delivery=delivery)
    if pacing.covers("x" * length):
        assert pacing.covers("x" * (length + 1))
