"""Bars for values in the live table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicecli.probe.text import sparkline


def test_a_sparkline_goes_from_the_least_to_the_greatest() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5, 5]) == "▁▁▁"
    assert sparkline([]) == ""


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_sparkline_has_a_bar_for_each_value(values: list[float]) -> None:
    assert len(sparkline(values)) == len(values)
