"""The tables of the report, and bars for values in the live table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicecli.metrics.summary import Summary
from voicecli.metrics.usage import Cost
from voicecli.probe.json_result import RunContext
from voicecli.probe.prediction import Evaluation
from voicecli.probe.results import COUNTS, ProbeResults
from voicecli.probe.schedule import Plan
from voicecli.probe.text import draw_sparkline, format_report
from voicecli.probe.trace import ConnectionTrace


def test_the_network_has_a_row_per_service() -> None:
    phases = {"dns": 0.004, "tcp": 0.012, "open": 0.018}
    traces = [
        ConnectionTrace(service="stt", host="stt.example", address="10.0.0.1", phases=phases),
        ConnectionTrace(service="llm", host="llm.example", failed="dns", why="unknown"),
    ]
    results = ProbeResults(wanted=("stt", "llm"), traces=traces)
    evaluation = Evaluation(
        summary=Summary(counts=dict.fromkeys(COUNTS, 0)),
        cost=Cost(),
        prediction=None,
        best=None,
        budgets=(),
        expectations=(),
    )
    context = RunContext(profile="default", profile_hash="", plan=Plan(), basis={})
    lines = format_report(results, evaluation, context)

    assert lines[2:6] == [
        "network, ms       address  dns  tcp  open",
        "stt stt.example  10.0.0.1  4.0   12    18",
        "llm llm.example         –    –    –     –",
        "stt: 12 ms away, nothing in the way; a new connection costs 34 ms, once.",
    ]


def test_a_sparkline_goes_from_the_least_to_the_greatest() -> None:
    assert draw_sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert draw_sparkline([5, 5, 5]) == "▁▁▁"
    assert draw_sparkline([]) == ""


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_sparkline_has_a_bar_for_each_value(values: list[float]) -> None:
    assert len(draw_sparkline(values)) == len(values)
