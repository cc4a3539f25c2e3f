"""Draws what a sweep found: how often each setting cuts users off against how long it waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from htpy import Element, circle, g, line, rect, text

from voicecli.report.html.plot import (
    Scale,
    compose_figure,
    draw_area,
    draw_curve,
    draw_key,
    draw_x_axis,
    draw_y_axis,
    fit_scale,
    number,
    percent,
    tooltip,
)

HEIGHT = 300

PointKind = Literal["front", "other", "timer"]
"""A setting that no other beats in both; one that another beats; a plain timer."""

LEGEND: dict[PointKind, str] = {
    "front": "best for its latency or its cut-offs (Pareto front)",
    "other": "beaten by another",
    "timer": "a plain timer, the line to beat",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A setting and what it came to.

    name: the setting, as the user would write it.
    latency: in milliseconds.
    rate: the share that was cut off, from 0 to 1.
    note: the counts behind it.
    """

    name: str
    latency: float
    rate: float
    kind: PointKind
    note: str = ""
    recommended: bool = False


def draw_pareto(
    points: Sequence[Point],
    *,
    latency: str,
    rates: Sequence[float] = (),
    waits: Sequence[float] = (),
) -> Element:
    """Draw the settings, the front as a line, and the operating points to read off.

    latency: the name of the horizontal axis.
    rates: of cut-offs, for which the latency is of interest.
    waits: in milliseconds, for which the rate is of interest.
    """
    x = fit_scale([one.latency for one in points])
    y = fit_scale([100 * one.rate for one in points], zero=True)
    guides = [_draw_guide_across(100 * rate, y) for rate in rates if 100 * rate <= y.high]
    guides += [_draw_guide_up(wait, x) for wait in waits if x.low <= wait <= x.high]
    curves = [
        _draw_front([one for one in points if one.kind == kind], kind, x, y)
        for kind in ("timer", "front")
    ]
    dots = [_draw_point(one, x, y) for one in sorted(points, key=lambda one: one.recommended)]
    used = {one.kind for one in points}
    key = [(f"point-{kind}", words) for kind, words in LEGEND.items() if kind in used]
    if any(one.recommended for one in points):
        key.append(("point-recommended", "recommended"))
    label = f"Cut-off rate against {latency} of {len(points)} settings"
    area = draw_area(
        "pareto",
        label,
        HEIGHT,
        draw_y_axis(y, HEIGHT, "cut-off rate, %"),
        draw_x_axis(x, HEIGHT, f"{latency}, ms", most=7),
        guides,
        curves,
        dots,
    )
    return compose_figure(area, draw_key(*key))


def _draw_front(points: Sequence[Point], kind: str, x: Scale, y: Scale) -> Element | None:
    """Draw a staircase: between two settings, the better one's rate costs its latency."""
    places = ((x.place(one.latency), y.place(100 * one.rate)) for one in points)
    ordered = sorted(places, key=lambda place: (place[0], -place[1]))
    if len(ordered) < 2:
        return None
    corners = [ordered[0]]
    for place in ordered[1:]:
        corners += [(place[0], corners[-1][1]), place]
    return draw_curve(f"curve front-{kind}", corners, HEIGHT)


def _draw_point(one: Point, x: Scale, y: Scale) -> Element:
    left, top = x.place(one.latency), HEIGHT * (1 - y.place(100 * one.rate) / 100)
    words = tooltip(f"{one.name}: {one.latency:.0f} ms, {100 * one.rate:.1f} % {one.note}".strip())
    if one.kind == "timer":
        mark = rect(
            class_="point-timer", x=percent(left), y=f"{top - 4:.1f}", width="8", height="8",
            transform="translate(-4 0)",
        )  # fmt: skip
    else:
        mark = circle(class_=f"point-{one.kind}", cx=percent(left), cy=f"{top:.1f}", r="4.5")
    if not one.recommended:
        return g[words, mark]
    anchor, dx = ("end", "-12") if left > 50 else ("start", "12")
    ring = circle(class_="point-recommended", cx=percent(left), cy=f"{top:.1f}", r="9")
    name = text(".chosen", x=percent(left), dx=dx, y=f"{top - 8:.1f}", text_anchor=anchor)
    return g[words, mark, ring, name[one.name]]


def _draw_guide_across(rate: float, y: Scale) -> Element:
    at = f"{HEIGHT * (1 - y.place(rate) / 100):.1f}"
    name = text(".small", x="100%", dy="-4", y=at, text_anchor="end")[f"{number(rate)} % cut off"]
    return g[line(".guide", x1="0", x2="100%", y1=at, y2=at), name]


def _draw_guide_up(wait: float, x: Scale) -> Element:
    at = percent(x.place(wait))
    name = text(".small", x=at, dx="4", y="10")[f"{number(wait)} ms"]
    return g[line(".guide", x1=at, x2=at, y1="0", y2=str(HEIGHT)), name]
