"""The distribution of mouth-to-ear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pictures import find_all, list_corners, list_texts, place, read_picture
from voicecli.report.html.ecdf import HEIGHT, Line, Sample, draw_ecdf, list_steps

VALUES = [500.0, 400.0, 700.0, 500.0]


def read_key(picture: object) -> list[str]:
    entries = find_all(picture, "span", "entry")  # type: ignore[arg-type]
    return [one.find("span").tail or "" for one in entries]  # type: ignore[union-attr]


def test_the_curve_passes_through_the_share_of_turns_at_each_value() -> None:
    picture = read_picture(draw_ecdf([Sample(name="measured", values=VALUES)]))
    (curve,) = find_all(picture, "path", "line-measured")
    # The scale: 350 to 750 ms, 1000 wide.
    corners = [(350 + 0.4 * x, 100 - 100 * y / HEIGHT) for x, y in list_corners(curve.get("d", ""))]
    for value, share in [(400, 25), (500, 75), (700, 100)]:
        assert (pytest.approx(value, abs=0.1), pytest.approx(share, abs=0.1)) in corners
    assert list_texts(picture, "tick") == [
        *("0", "20", "40", "60", "80", "100"), *("400", "500", "600", "700")
    ]  # fmt: skip


@given(st.lists(st.floats(1, 1e5), min_size=1, max_size=50))
def test_the_steps_rise_from_0_to_100(values: list[float]) -> None:
    steps = list_steps(values)
    assert steps == sorted(steps)
    assert (steps[0][1], steps[-1][1]) == (0, pytest.approx(100))


def test_dots_name_the_turns() -> None:
    sample = Sample(name="measured", values=VALUES, origins=["#1", "#2", "#3", "#4"])
    picture = read_picture(draw_ecdf([sample]))
    dots = find_all(picture, "circle")
    assert [one.findtext("title") for one in dots] == [
        "#2: 400 ms", "#1: 500 ms", "#4: 500 ms", "#3: 700 ms"
    ]  # fmt: skip
    assert place(dots[3], "cx") == pytest.approx(87.5)


def test_a_baseline_is_beside_it_with_its_own_numbers() -> None:
    slower = [value + 100 for value in VALUES] * 5
    picture = read_picture(
        draw_ecdf(
            [
                Sample(name="measured", values=VALUES),
                Sample(name="baseline", values=slower, kind="baseline"),
            ]
        )
    )
    assert read_key(picture) == [
        "measured: P50 500 ms (n = 4)", "baseline: P50 600 ms, P95 800 ms (n = 20)"
    ]  # fmt: skip
    assert len(find_all(picture, "path", "line-baseline")) == 1


def test_a_budget_far_away_is_named_but_does_not_squeeze_the_picture() -> None:
    sample = Sample(name="measured", values=VALUES)
    lines = [
        Line(name="budget", value=3000),
        Line(name="predicted P50", value=450, kind="predicted"),
    ]
    picture = read_picture(draw_ecdf([sample], lines))
    assert read_key(picture)[1:] == ["budget 3000 ms, outside of the picture"]
    (line,) = find_all(picture, "line", "line-predicted")
    assert place(line, "x1") == pytest.approx(25)
    assert "predicted P50 450" in list_texts(picture)


def test_one_turn_is_a_distribution_too() -> None:
    picture = read_picture(draw_ecdf([Sample(name="measured", values=[710.0])]))
    (curve,) = find_all(picture, "path", "line-measured")
    assert [y for _, y in list_corners(curve.get("d", ""))] == [HEIGHT, HEIGHT, 0, 0]
