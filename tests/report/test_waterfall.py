"""The picture of a turn."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import Exchange
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.report.waterfall import LEFT, RIGHT, WIDTH, render_waterfall

DURATIONS = st.floats(0, 3)
DRAFTED = Exchange(commit=0.9, reason="default")


def measured(exchange: Exchange) -> Turn:
    (turn,) = measure_turns(exchange.entries())
    return turn


def elements(svg: str, tag: str, kind: str = "") -> list[ElementTree.Element]:
    found = ElementTree.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}")
    return [one for one in found if not kind or one.get("class") == kind]


def spans(svg: str, *kinds: str) -> list[tuple[float, float]]:
    """Where bars start and end, in order."""
    bars = [one for one in elements(svg, "rect") if one.get("class") in kinds]
    starts = [float(one.get("x", "")) for one in bars]
    return [(x, x + float(one.get("width", ""))) for x, one in zip(starts, bars, strict=True)]


@given(
    st.builds(
        Exchange,
        stop=DURATIONS,
        commit=st.none() | DURATIONS,
        ttft=DURATIONS,
        clause=DURATIONS,
        send=DURATIONS,
        playout=DURATIONS,
    )
)
def test_the_bars_follow_each_other_and_sum_to_mouth_to_ear(exchange: Exchange):
    bars = spans(render_waterfall(measured(exchange)), "stage", "pipeline")
    places = [LEFT, *(end for _, end in bars)]
    for (start, _), before in zip(bars, places, strict=False):
        assert start == pytest.approx(before, abs=2)  # a stage of less than 1 ms has no bar
    assert bars[-1][1] == pytest.approx(WIDTH - RIGHT, abs=2)


def test_labels_numbers_and_axis():
    svg = render_waterfall(measured(Exchange(ttft=0.2893)))
    texts = [one.text for one in elements(svg, "text")]
    assert texts[:2] == ["mouth-to-ear 815 ms", "#1 “What is the time?”"]
    assert texts[2:7] == ["0", "200", "400", "600", "800"]
    assert [text for text in texts if text and text.endswith(" ms")][1:] == [
        "300 ms",
        "289 ms",
        "45 ms",
        "120 ms",
        "60 ms",
        "1 ms",
    ]
    assert "@media (prefers-color-scheme: dark)" in svg


def test_a_draft_and_the_time_that_was_not_waited_for_are_visible():
    svg = render_waterfall(measured(DRAFTED))
    (raw,) = spans(svg, "raw")  # of turn.commit: 600 ms, of which 354 were waited for
    total = measured(DRAFTED).mouth_to_ear or 0
    scale = (WIDTH - LEFT - RIGHT) / total
    assert raw[1] - raw[0] == pytest.approx(0.6 * scale, abs=0.2)
    (draft,) = elements(svg, "line", "draft")
    assert float(draft.get("x1", "")) == pytest.approx(LEFT + 0.3 * scale, abs=1)
    assert elements(render_waterfall(measured(Exchange())), "line", "draft") == []


def test_text_is_escaped():
    turn = replace(measured(Exchange()), user_text='<script>&"\x1b[31m')
    assert elements(render_waterfall(turn), "text")[1].text == '#1 “<script>&"”'


def test_a_turn_that_was_not_measured_has_no_picture():
    with pytest.raises(ValueError, match="not measured"):
        render_waterfall(replace(measured(Exchange()), mouth_to_ear=None))
