"""The bars of ``load`` name what was measured: sessions, detector, rate."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.load import LOADS, Load, check_load

GOOD: dict[int, dict[str, Any]] = {
    1: {"cpu": 2.0, "rss": 80.0, "added95": 8.0, "turns": 3},
    64: {"cpu": 46.1, "rss": 150.0, "added95": 18.0, "turns": 174},
}


def test_a_bar_names_the_sessions_the_detector_and_the_rate() -> None:
    checks = check_load(Load(16_000, (1, 64), "off"), GOOD)
    assert ("64 sessions, Silero, 16 kHz: % of a core for each one added: 0.70 <= 0.8", True) in (
        checks
    )
    assert all(met for _, met in checks)


@pytest.mark.parametrize(
    ("key", "value"), [("cpu", 60.0), ("rss", 300.0), ("added95", 51.0), ("cpu", 101.0)]
)
def test_a_bar_that_is_missed_fails(key: str, value: float) -> None:
    measured = {**GOOD, 64: {**GOOD[64], key: value}}
    assert not all(met for _, met in check_load(LOADS[0], measured))


def test_the_users_default_detector_is_measured_at_16_and_48_khz() -> None:
    names = [str(load) for load in LOADS]
    assert names == ["Silero, 16 kHz", "Silero, 48 kHz", "Silero, Smart Turn, 16 kHz"]
    assert LOADS[0].counts[-1] == 64
