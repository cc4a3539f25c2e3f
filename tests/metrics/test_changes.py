"""What changed beyond noise: pairs, floors, rates, and what noise alone may not bring about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.metrics.changes import (
    Change,
    Floor,
    Pair,
    RateChange,
    compare_rate,
    find_changes,
)

FLOOR = Floor(absolute=20.0, relative=0.03)
RECORDINGS = np.random.default_rng(7).uniform(400, 1800, 12)
"""What each of them takes: they differ by far more than what is to be found."""


def measure(seed: int, slower: float = 0.0, repeats: int = 2) -> list[list[float]]:
    noise = np.random.default_rng(seed).normal(0, 12, (len(RECORDINGS), repeats))
    found: list[list[float]] = (RECORDINGS[:, None] + slower + noise).tolist()
    return found


def compare(before: list[list[float]], after: list[list[float]]) -> list[Change]:
    pairs = [Pair(one, other) for one, other in zip(before, after, strict=True)]
    return find_changes("mouth_to_ear", "ms", pairs, FLOOR)


def test_recordings_are_compared_with_themselves() -> None:
    median, p95 = compare(measure(1), measure(2, slower=60))
    assert (median.statistic, p95.statistic) == ("p50", "p95")
    assert median.worse
    assert median.low < 60 < median.high
    assert median.high - median.low < 120  # the recordings spread over 1400
    assert not compare(measure(2, slower=60), measure(1))[0].worse
    alone = Pair(sum(measure(1), []), sum(measure(2, slower=60), []))  # noqa: RUF017
    assert not find_changes("mouth_to_ear", "ms", [alone], FLOOR)[0].beyond_noise


@pytest.mark.parametrize("seed", range(3, 13))
def test_noise_is_no_change(seed: int) -> None:
    assert not any(one.beyond_noise for one in compare(measure(seed), measure(seed + 100)))


def test_what_is_certain_but_small_is_no_change() -> None:
    before, after = measure(1), [[value + 15 for value in one] for one in measure(1)]
    (median, _) = compare(before, after)
    assert median.low > 0
    assert not median.beyond_noise


def test_too_few_values_are_not_compared_unless_they_are_exact() -> None:
    pairs = [Pair([700.0], [760.0])] * 4
    assert find_changes("mouth_to_ear", "ms", pairs, FLOOR) == []
    (change,) = find_changes("mouth_to_ear", "ms", pairs[:1], FLOOR, exact=True)
    assert change.worse


@given(
    st.lists(
        st.tuples(st.lists(st.floats(0, 1e4), max_size=4), st.lists(st.floats(0, 1e4), max_size=4)),
        max_size=8,
    )
)
def test_any_values_can_be_compared(values: list[tuple[list[float], list[float]]]) -> None:
    for change in find_changes("x", "ms", [Pair(*one) for one in values], FLOOR, exact=True):
        assert change.low <= change.high


# ── rates ────────────────────────────────────────────────────────────────────


def rate(before: list[int], after: list[int], *, exact: bool = False) -> RateChange:
    pairs = [((one, 4), (other, 4)) for one, other in zip(before, after, strict=True)]
    return compare_rate("cutoff_rate", pairs, exact=exact)


def test_a_rate_is_worse_when_chance_does_not_explain_it() -> None:
    risen = rate([0] * 9, [1] * 5 + [0] * 4)
    assert (risen.before, risen.after) == ((0, 36), (5, 36))
    assert risen.chance == 0.5**5
    assert risen.worse
    assert not rate([0] * 9, [1] * 4 + [0] * 5).worse
    assert not rate([1] * 5, [0] * 5).worse


def test_without_noise_every_event_counts() -> None:
    assert rate([0, 0, 0], [0, 1, 0], exact=True).worse
    assert not rate([0, 1, 0], [0, 1, 0], exact=True).worse
    assert not rate([0, 1, 0], [1, 0, 0], exact=True).worse


def test_more_of_what_should_happen_is_better() -> None:
    pairs = [((4, 4), (0, 4))] * 5
    assert compare_rate("yield_rate", pairs, higher_is_better=True).worse
    swapped = [(after, before) for before, after in pairs]
    assert not compare_rate("yield_rate", swapped, higher_is_better=True).worse
