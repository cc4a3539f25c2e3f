"""The pictures of a turn's time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pictures import find_all, list_spans, list_texts, place, read_picture
from tests.support.timelines import DRAFTED, Exchange
from voicecli.metrics.stages import STAGES
from voicecli.metrics.summary import Budgets
from voicecli.metrics.turns import measure_turns
from voicecli.report.html.plot import read_asset
from voicecli.report.html.waterfall import draw_stacks, draw_waterfall, name_kind, render_turn
from voicecli.report.json_result import encode_turn

DURATIONS = st.floats(0, 3)
EXCHANGES = st.builds(
    Exchange,
    stop=DURATIONS,
    commit=st.none() | DURATIONS,
    ttft=DURATIONS,
    clause=DURATIONS,
    send=DURATIONS,
    playout=DURATIONS,
)
PIXEL = 0.2
"""Of a picture 500 pixels wide, in percent."""


def measured(exchange: Exchange) -> dict[str, Any]:
    (turn,) = measure_turns(exchange.entries())
    return encode_turn(turn, Budgets())


@given(EXCHANGES)
def test_the_bars_follow_each_other_and_sum_to_mouth_to_ear(exchange: Exchange) -> None:
    turn = measured(exchange)
    bars = list_spans(read_picture(draw_waterfall(turn)), "bar")
    places = [0.0, *(end for _, end in bars)]
    unshown = 100 * 6 / turn["mouth_to_ear_ms"]  # a stage that rounds to 0 ms has no bar
    for (start, _), before in zip(bars, places, strict=False):
        assert start == pytest.approx(before, abs=PIXEL + unshown)
    assert bars[-1][1] == pytest.approx(100, abs=PIXEL + unshown)


@given(st.lists(EXCHANGES, min_size=1, max_size=4))
def test_stacks_sum_to_mouth_to_ear_on_one_scale(exchanges: list[Exchange]) -> None:
    turns = [measured(one) for one in exchanges]
    picture = read_picture(draw_stacks(turns, [str(n) for n in range(len(turns))], None))
    (area,) = find_all(picture, "svg", "stacks")
    groups = [one for one in area if one.find("rect") is not None]
    scale = {
        100 * t["mouth_to_ear_ms"] / sum(w for w in widths(g))
        for t, g in zip(turns, groups, strict=True)
    }
    assert max(scale) == pytest.approx(min(scale), rel=0.002)


def widths(group: Any) -> list[float]:
    return [place(one, "width") for one in group.iter("rect")]


def test_labels_numbers_and_axis() -> None:
    picture = read_picture(draw_waterfall(measured(Exchange(ttft=0.2893))))
    assert list_texts(picture, "tick") == [f"{tick}" for tick in range(0, 900, 200)]
    assert list_texts(picture, "axis") == ["ms after the end of the user's voice"]
    assert list_texts(picture, "name") == [
        "stt.ttfs", "llm.ttft", "llm.clause", "tts.ttfa", "playout", "pipeline"
    ]  # fmt: skip
    numbers = ["300 ms", "289 ms", "45 ms", "120 ms", "60 ms", "1 ms"]
    assert list_texts(picture, "small") == numbers
    assert "815 ms: stt.ttfs 300 ms, llm.ttft 289 ms" in picture.get("aria-label", "")


def test_a_draft_and_the_time_that_was_not_waited_for_are_visible() -> None:
    turn = measured(DRAFTED)
    picture = read_picture(draw_waterfall(turn))
    (raw,) = list_spans(picture, "raw")  # of turn.commit: 600 ms, of which 354 were waited for
    share = 100 / turn["mouth_to_ear_ms"]
    assert raw[1] - raw[0] == pytest.approx(600 * share, abs=0.1)
    (draft,) = find_all(picture, "line", "draft")
    assert place(draft, "x1") == pytest.approx(301 * share, abs=0.1)
    assert not find_all(read_picture(draw_waterfall(measured(Exchange()))), "line", "draft")


def test_every_stage_has_a_colour_in_the_picture_and_in_its_key() -> None:
    style = read_asset("picture.css")
    for stage in STAGES:
        assert f".{name_kind(stage)} {{ fill: var(--" in style


def test_the_key_names_the_stages_that_took_time() -> None:
    picture = read_picture(draw_stacks([measured(Exchange(playout=0.0))], ["#1"], 700.0))
    key = [one.find("span").tail for one in find_all(picture, "span", "entry")]  # type: ignore[union-attr]
    assert key == ["stt.ttfs", "llm.ttft", "llm.clause", "tts.ttfa", "pipeline"]
    assert "budget 700" in list_texts(picture)


def test_the_picture_alone_is_a_document() -> None:
    text = render_turn(measured(Exchange(text='<script>&"\x1b[31m')))
    texts = list_texts(read_picture(text))
    assert texts[:2] == ["mouth-to-ear 726 ms", '#1 “<script>&"”']
    assert "@media (prefers-color-scheme: dark)" in text


def test_a_turn_that_was_not_measured_has_no_picture() -> None:
    with pytest.raises(ValueError, match="not measured"):
        draw_waterfall(measured(Exchange(ends="silent")))
