"""Draws how mouth-to-ear is distributed: for each value, the share of turns that took no longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from htpy import Element, circle, g, line, text

from voicecli.metrics.summary import describe
from voicecli.report.html.plot import (
    Scale,
    compose_figure,
    draw_area,
    draw_curve,
    draw_key,
    draw_x_axis,
    draw_y_axis,
    fit_scale,
    percent,
    tooltip,
)

HEIGHT = 240
MOST_DOTS = 60
"""More values are a line only; their dots would hide it."""

SHARES = Scale(0.0, 100.0)
MARGIN = 0.03
"""Of the range of values, before the first and after the last."""

SampleKind = Literal["measured", "second", "third", "fourth", "baseline"]
"""The classes of the curves, which differ in their dashes as well as in colour."""

VARIANTS: tuple[SampleKind, ...] = ("measured", "second", "third", "fourth")
"""Of curves that are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Values of mouth-to-ear, in milliseconds.

    name: what they are: "measured", "baseline", a profile.
    origins: what each value is of; none for a large sample.
    """

    name: str
    values: Sequence[float]
    origins: Sequence[str] = ()
    kind: SampleKind = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A value to compare with, in milliseconds: a budget, a predicted percentile."""

    name: str
    value: float
    kind: str = "budget"


def draw_ecdf(samples: Sequence[Sample], lines: Sequence[Line] = ()) -> Element:
    """Draw the empirical distribution of each sample; the first is the one that matters.

    lines: those far beyond the values are left out of the picture and named below it.
    """
    samples = [one for one in samples if one.values]
    values = [value for one in samples for value in one.values]
    reach = max(values) + 0.5 * (max(values) - min(values) or max(values))
    near = [one for one in lines if one.value <= reach]
    shown = [*values, *(one.value for one in near)]
    margin = MARGIN * (max(shown) - min(shown))
    scale = fit_scale([*shown, max(shown) + margin, max(min(shown) - margin, 0.0)])
    curves = [g[_draw_sample(one, scale)] for one in samples]
    marks = [_draw_line(one, scale, index) for index, one in enumerate(near)]
    entries = [(f"line-{one.kind}", f"{one.name}: {_sum_up(one)}") for one in samples]
    entries += [
        (f"line-{one.kind}", f"{one.name} {one.value:.0f} ms, outside of the picture")
        for one in lines
        if one not in near
    ]
    label = "Distribution of mouth-to-ear: " + "; ".join(words for _, words in entries)
    area = draw_area(
        "ecdf",
        label,
        HEIGHT,
        draw_y_axis(SHARES, HEIGHT, "% of turns", most=6),
        draw_x_axis(scale, HEIGHT, "mouth-to-ear, ms", most=7),
        marks,
        reversed(curves),
    )
    return compose_figure(area, draw_key(*entries))


def list_steps(values: Sequence[float]) -> list[tuple[float, float]]:
    """List the corners of the distribution: (value, share in percent), rising from 0 to 100."""
    ordered = sorted(values)
    corners = []
    for index, value in enumerate(ordered):
        corners += [
            (value, 100 * index / len(ordered)),
            (value, 100 * (index + 1) / len(ordered)),
        ]
    return corners


def _draw_sample(sample: Sample, scale: Scale) -> list[Element]:
    corners = [(scale.low, 0.0), *list_steps(sample.values), (scale.high, 100.0)]
    points = [(scale.place(value), share) for value, share in corners]
    marks = [draw_curve(f"curve line-{sample.kind}", points, HEIGHT)]
    if sample.origins and len(sample.values) <= MOST_DOTS:
        ordered = sorted(zip(sample.values, sample.origins, strict=True))
        for rank, (value, origin) in enumerate(ordered, 1):
            place = {"cx": percent(scale.place(value)), "cy": _find_y(100 * rank / len(ordered))}
            dot = circle(place, class_=f"dot dot-{sample.kind}", r="3")
            marks.append(dot[tooltip(f"{origin}: {value:.0f} ms")])
    return marks


def _draw_line(one: Line, scale: Scale, index: int) -> Element:
    """Draw a vertical line; the names of neighbours are on different heights."""
    x = scale.place(one.value)
    anchor, dx = ("end", "-4") if x > 60 else ("start", "4")
    y = str(12 + 14 * index)
    return g[
        line(class_=f"line-{one.kind}", x1=percent(x), x2=percent(x), y1="0", y2=str(HEIGHT)),
        text(".small", x=percent(x), dx=dx, y=y, text_anchor=anchor)[f"{one.name} {one.value:.0f}"],
    ]


def _find_y(share: float) -> str:
    return f"{HEIGHT * (1 - share / 100):.1f}"


def _sum_up(sample: Sample) -> str:
    found = describe(sample.values)
    p95 = "" if found.p95 is None else f", P95 {found.p95:.0f} ms"
    return f"P50 {found.p50:.0f} ms{p95} (n = {found.n})"
