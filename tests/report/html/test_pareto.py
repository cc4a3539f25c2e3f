"""The picture of a sweep."""

from __future__ import annotations

import pytest

from tests.support.pictures import find_all, list_corners, list_texts, place, read_picture
from voicecli.report.html.pareto import HEIGHT, Point, draw_pareto

POINTS = [
    Point(name="a=250", latency=400, rate=0.4, kind="front", note="(4 of 10)"),
    Point(name="a=450", latency=600, rate=0.1, kind="front", recommended=True),
    Point(name="a=350", latency=600, rate=0.3, kind="other"),
    Point(name="timer 500", latency=500, rate=0.4, kind="timer"),
    Point(name="timer 900", latency=900, rate=0.2, kind="timer"),
]


def test_settings_are_where_they_came_to() -> None:
    picture = read_picture(draw_pareto(POINTS, latency="mouth_to_ear P50"))
    first, last = find_all(picture, "circle", "point-front")
    assert (place(first, "cx"), place(first, "cy")) == (0, 0)  # 400 to 900 ms, 0 to 40 %
    assert (place(last, "cx"), place(last, "cy")) == pytest.approx((40, HEIGHT * 0.75))
    (beaten,) = find_all(picture, "circle", "point-other")
    assert place(beaten, "cy") == pytest.approx(HEIGHT * 0.25)
    assert [place(one, "x") for one in find_all(picture, "rect", "point-timer")] == [20, 100]
    titles = [one.text for one in picture.iter("title")]
    assert "a=250: 400 ms, 40.0 % (4 of 10)" in titles
    assert list_texts(picture, "chosen") == ["a=450"]
    assert list_texts(picture, "axis") == ["cut-off rate, %", "mouth_to_ear P50, ms"]


def test_the_front_is_a_staircase() -> None:
    picture = read_picture(draw_pareto(POINTS, latency="mouth_to_ear P50"))
    (front,) = find_all(picture, "path", "front-front")
    assert list(list_corners(front.get("d", ""))) == [(0, 0), (400, 0), (400, HEIGHT * 0.75)]


def test_operating_points_within_the_picture_are_marked() -> None:
    picture = read_picture(
        draw_pareto(POINTS, latency="latency", rates=(0.05, 0.1, 0.5), waits=(300, 600))
    )
    assert list_texts(picture, "small") == ["5 % cut off", "10 % cut off", "600 ms"]
