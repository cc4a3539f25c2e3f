"""What pictures share: scales, ticks, axes, legends.

A picture is an SVG area whose horizontal places are percentages.  It fills the width that it is
given and its text keeps its size, so that one picture suits a phone, a screen and paper.  What
labels the axes lies outside the area, in margins that the style sheet reserves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import ceil, floor, log10

from htpy import Element, Node, figcaption, figure, g, line, path, span, svg, text, title
from markupsafe import Markup

STEPS = (1, 2, 5, 10)
"""Ticks are these times a power of ten apart."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from ``low`` to ``high`` onto 0 to 100 %."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where ``value`` lies, in percent; outside of the scale it lies at its end."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return 100 * min(max(share, 0.0), 1.0)

    def list_ticks(self, most: int = 8) -> list[float]:
        """List round values within the scale, at most ``most``."""
        step = choose_step(self.high - self.low, most - 1)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def choose_step(length: float, most: int) -> float:
    """Return the smallest round step that fits into ``length`` at most ``most`` times."""
    least = max(length, 1e-9) / most
    power = 10.0 ** floor(log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1 - 1e-9))


def fit_scale(values: Iterable[float], *, zero: bool = False) -> Scale:
    """Return the smallest scale with round ends that holds ``values``.

    zero: whether it begins at 0.
    """
    found = list(values) or [0.0, 1.0]
    low, high = 0.0 if zero else min(found), max(found)
    step = choose_step(high - low or abs(high) or 1.0, 7)
    return Scale(floor(low / step) * step, (floor(high / step * (1 - 1e-9)) + 1) * step)


def percent(place: float) -> str:
    """Format a place, a length or a share of a picture."""
    return f"{place:.3f}".rstrip("0").rstrip(".") + "%"


def number(value: float) -> str:
    """Format a number of an axis."""
    return f"{value:.10g}"


@cache
def read_asset(name: str) -> Markup:
    """Return the style sheet or script ``name`` of this package."""
    return Markup(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def draw_area(kind: str, label: str, height: int, *content: Node, **more: str) -> Element:
    """Return the SVG element of a picture.

    kind: the class by which the style sheet reserves its margins.
    label: what it shows, for who cannot see it.
    height: of the area, in pixels.
    more: attributes of the element.
    """
    attributes = {"role": "img", "aria-label": label, "height": str(height), **more}
    return svg(attributes, class_=f"area {kind}")[content]


def draw_x_axis(scale: Scale, height: int, name: str, *, most: int = 8) -> Element:
    """Return vertical grid lines with their values below the area, and the axis's name."""
    marks = []
    for tick in scale.list_ticks(most):
        x = percent(scale.place(tick))
        marks += [
            line(".grid", x1=x, x2=x, y1="0", y2=str(height)),
            text(".tick", x=x, y=str(height + 15), text_anchor="middle")[number(tick)],
        ]
    axis = text(".axis", x="100%", y=str(height + 31), text_anchor="end")[name]
    return g[marks, axis]


def draw_y_axis(scale: Scale, height: int, name: str, *, most: int = 6) -> Element:
    """Return horizontal grid lines with their values left of the area, and the axis's name."""
    marks = []
    for tick in scale.list_ticks(most):
        y = f"{height * (1 - scale.place(tick) / 100):.1f}"
        marks += [
            line(".grid", x1="0", x2="100%", y1=y, y2=y),
            text(".tick", x="0", dx="-6", y=y, dy="4", text_anchor="end")[number(tick)],
        ]
    return g[marks, text(".axis", x="0", dx="-6", y="-10")[name]]


def draw_curve(kind: str, points: Iterable[tuple[float, float]], height: int) -> Element:
    """Return a line through ``points``, in percent from the left and from the bottom."""
    steps = [f"{x * 10:.1f} {height * (1 - y / 100):.1f}" for x, y in points]
    stretched = {"viewBox": f"0 0 1000 {height}", "preserveAspectRatio": "none"}
    curve = path(class_=kind, d=f"M{'L'.join(steps)}", vector_effect="non-scaling-stroke")
    return svg(stretched, width="100%", height=str(height))[curve]


def tooltip(words: str) -> Element:
    """Return what is shown of a mark under the mouse, and read to who cannot see."""
    return title[words]


def draw_key(*entries: tuple[str, str]) -> Element:
    """Return a legend: (class of the swatch, what it stands for)."""
    return figcaption(".key")[
        (span(".entry")[span(class_=f"swatch {kind}"), words] for kind, words in entries)
    ]


def compose_figure(*content: Node) -> Element:
    """Return a picture together with its legend or notes."""
    return figure[content]
