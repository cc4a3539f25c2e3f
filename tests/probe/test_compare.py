"""What stands apart, what changed beyond noise, and what may be compared at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.errors import UsageError
from voicecli.probe.compare import (
    check_comparable,
    compare_results,
    find_changes,
    find_outliers,
)


def spread_about(middle: float, count: int = 30, seed: int = 1) -> list[float]:
    return list(np.random.default_rng(seed).normal(middle, middle * 0.08, count))


# ── what stands apart ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "apart"),
    [
        ([0.2, 0.21, 0.19, 0.2, 0.22, 0.2, 0.9], [6]),
        ([0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2001], []),  # equal, for all that matters
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0001], []),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.02], [5]),
        ([0.1, 0.1, 0.1, 9.0], []),  # too few to tell
        ([0.1] * 6 + [0.5] * 4, []),  # two kinds
    ],
)
def test_outliers(values: list[float], apart: list[int]) -> None:
    assert find_outliers(values) == apart


@given(st.lists(st.floats(0, 100), max_size=60))
def test_outliers_are_few(values: list[float]) -> None:
    assert len(find_outliers(values)) <= 0.2 * len(values)


# ── what changed ─────────────────────────────────────────────────────────────


def test_noise_is_no_change() -> None:
    for one in find_changes("llm.ttft", spread_about(300), spread_about(300, seed=2)):
        assert not one.beyond_noise
        assert one.low < one.after - one.before < one.high


def test_a_change_is_sure_and_large_and_large_for_what_is_measured() -> None:
    before = spread_about(300)
    found = find_changes("llm.ttft", before, spread_about(400, seed=2))
    assert [one.beyond_noise for one in found] == [True, True]
    # Sure, and less than 10 %:
    many = spread_about(3000, 2000)
    p50 = find_changes("llm.ttft", many, spread_about(3200, 2000, seed=2))[0]
    assert p50.low > 0
    assert not p50.beyond_noise
    # Sure, more than 10 %, and less than the floor:
    p50 = find_changes("llm.ttft", spread_about(30), spread_about(40, seed=2))[0]
    assert p50.low > 0
    assert not p50.beyond_noise
    # Large, and not sure:
    loose = [100.0, 900.0, 150.0, 800.0, 120.0, 700.0]
    assert not find_changes("llm.ttft", loose, [one * 1.3 for one in loose])[0].beyond_noise


def test_percentiles_are_compared_where_there_are_values_enough() -> None:
    few, many = spread_about(300, 6), spread_about(300, 20)
    assert [one.statistic for one in find_changes("llm.ttft", many, many)] == ["p50", "p95"]
    assert [one.statistic for one in find_changes("llm.ttft", few, many)] == ["p50"]
    assert find_changes("llm.ttft", few[:4], many) == []


def saved(**metrics: list[float]) -> dict[str, Any]:
    return {"metrics": {name: {"values_ms": values} for name, values in metrics.items()}}


def test_worse_is_more_time_and_fewer_tokens() -> None:
    before = {"llm.ttft": [300.0] * 6, "llm.rate": [80.0] * 6, "tts.ttfa": [200.0] * 6}
    after = {"llm.ttft": [400.0] * 6, "llm.rate": [40.0] * 6, "tts.ttfa": [100.0] * 6}

    found = {one.metric: one.worse for one in compare_results(saved(**before), saved(**after))}
    assert found == {"llm.ttft": True, "llm.rate": True, "tts.ttfa": False}


def test_a_file_without_the_values_compares_nothing() -> None:
    whole = saved(**{"llm.ttft": [300.0] * 6})
    for broken in ({}, {"metrics": 3}, {"metrics": {"llm.ttft": {"values_ms": ["x"]}}}):
        assert compare_results(broken, whole) == compare_results(whole, broken) == []


def test_probes_of_different_things_are_refused() -> None:
    basis = {"llm.model": "gpt-4o-mini", "workers": 1}
    check_comparable({"basis": dict(basis)}, basis)
    check_comparable({"basis": basis}, basis | {"llm.provider": "openai"})
    with pytest.raises(UsageError, match=r"workers was 1, and is 4"):
        check_comparable({"basis": basis}, basis | {"workers": 4})
    with pytest.raises(UsageError, match=r"llm.model was None, and is 'gpt-4o-mini'"):
        check_comparable({}, basis)
