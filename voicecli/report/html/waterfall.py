"""Draws where the time of a turn went: its stages as bars that sum to mouth-to-ear.

Takes turns as ``report.json_result`` encodes them: milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from htpy import Element, g, line, path, rect, style, svg, text

from voicecli.metrics.stages import LLM_TTFT, STAGES, order_stages
from voicecli.report.format import round_parts
from voicecli.report.html.plot import (
    Scale,
    compose_figure,
    draw_area,
    draw_key,
    draw_x_axis,
    fit_scale,
    number,
    percent,
    read_asset,
    tooltip,
)

ROW = 24
"""Pixels of a bar with its margin."""

Turn = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A stage within a turn, in milliseconds from the end of the user's voice.

    began: where the raw duration began; before ``start`` where something else was waited for.
    shown: its length as a whole number; those of a turn sum to the rounded total.
    """

    stage: str
    start: float
    end: float
    began: float
    shown: int

    @property
    def kind(self) -> str:
        """The class of its colour."""
        return name_kind(self.stage)


def name_kind(stage: str) -> str:
    """Return the class of a stage's colour."""
    return f"stage-{stage.replace('.', '-')}"


def lay_out_bars(turn: Turn) -> Iterator[Bar]:
    """Yield the stages of a measured turn that took time, on the critical path, in order."""
    total = turn["mouth_to_ear_ms"]
    took = {name: one for name, one in turn["stages_ms"].items() if one}
    shown = round_parts(took, total, 1)
    end = 0.0
    for name in order_stages(turn["drafted"]):
        if name in took:
            start, end = end, end + took[name]
            began = max(end - (turn["raw_ms"].get(name) or 0.0), 0.0)
            yield Bar(stage=name, start=start, end=end, began=min(began, start), shown=shown[name])


def draw_waterfall(turn: Turn, **place: str) -> Element:
    """Draw the waterfall of a measured turn.

    Bars: the stages.  Dashed: the raw duration, where more of it passed while something else was
    waited for.  A draft is marked where its request was made.

    place: attributes of the area; without any it fills a page's width.
    """
    total = turn["mouth_to_ear_ms"]
    if not total:
        raise ValueError("the turn was not measured")
    scale = Scale(0.0, total)
    bars = [bar for bar in lay_out_bars(turn) if bar.shown]
    height = ROW * len(bars)
    rows = [
        _draw_row(bar, ROW * index, scale, height, turn["drafted"] and bar.stage == LLM_TTFT.name)
        for index, bar in enumerate(bars)
    ]
    label = f"{total:.0f} ms: " + ", ".join(f"{bar.stage} {bar.shown} ms" for bar in bars)
    axis = draw_x_axis(scale, height, "ms after the end of the user's voice")
    if place:
        return svg(class_="area", height=str(height), **place)[axis, rows]
    return draw_area("waterfall", label, height, axis, rows)


def _draw_row(bar: Bar, y: int, scale: Scale, height: int, is_draft: bool) -> Element:
    start, end, began = (scale.place(one) for one in (bar.start, bar.end, bar.began))
    size = {"y": str(y + 3), "height": str(ROW - 6)}
    waited = f"{bar.stage}: {bar.shown} ms"
    marks = [rect(size, class_=f"bar {bar.kind}", x=percent(start), width=percent(end - start))]
    if bar.start - bar.began >= 1:
        waited += f" waited for, of {bar.end - bar.began:.0f} ms"
        marks.insert(0, rect(size, class_="raw", x=percent(began), width=percent(end - began)))
    if is_draft:
        x = percent(began)
        marks += [
            line(".draft", x1=x, x2=x, y1="-4", y2=str(height)),
            text(".small", x=x, y="-8", text_anchor="middle")["draft"],
        ]
    return g[
        tooltip(waited),
        marks,
        text(".name", x="0", dx="-8", y=str(y + 16), text_anchor="end")[bar.stage],
        text(".small", x=percent(end), dx="6", y=str(y + 16))[f"{bar.shown} ms"],
    ]


def draw_bar(turn: Turn, longest: float) -> Element:
    """Draw a measured turn as one small bar, its stages side by side, with no axis.

    longest: mouth-to-ear in milliseconds that fills the bar's width.
    """
    bars = [bar for bar in lay_out_bars(turn) if bar.shown]
    scale = Scale(0.0, longest)
    shapes = []
    for bar in bars:
        start, end = (number(round(scale.place(one), 1)) for one in (bar.start, bar.end))
        shapes.append(path(class_=bar.kind, d=f"M{start} 0H{end}V1H{start}Z"))
    words = " + ".join(f"{bar.stage} {bar.shown}" for bar in bars)
    stretched = {"viewBox": "0 0 100 1", "preserveAspectRatio": "none"}
    return svg(stretched, class_="small-bar", role="img")[tooltip(words), shapes]


def draw_stacks(turns: Sequence[Turn], names: Sequence[str], budget: float | None) -> Element:
    """Draw one bar per measured turn on a common scale, its stages side by side.

    names: of the turns, as they are referred to.
    budget: of mouth-to-ear, in milliseconds; drawn if the scale reaches it.
    """
    measured = [pair for pair in zip(names, turns, strict=True) if pair[1]["mouth_to_ear_ms"]]
    scale = fit_scale((turn["mouth_to_ear_ms"] for _, turn in measured), zero=True)
    height = ROW * len(measured)
    rows = [_draw_stack(name, turn, ROW * row, scale) for row, (name, turn) in enumerate(measured)]
    limit: list[Element] = []
    if budget is not None and budget <= scale.high:
        x = percent(scale.place(budget))
        limit = [
            line(".budget", x1=x, x2=x, y1="-4", y2=str(height)),
            text(".small", x=x, y="-8", text_anchor="middle")[f"budget {budget:.0f}"],
        ]
    used = {bar.stage for _, turn in measured for bar in lay_out_bars(turn) if bar.shown}
    key = draw_key(*((name_kind(name), name) for name in STAGES if name in used))
    label = "The stages of every measured turn, which sum to its mouth-to-ear"
    axis = draw_x_axis(scale, height, "mouth-to-ear, ms")
    return compose_figure(draw_area("stacks", label, height, axis, rows, limit), key)


def _draw_stack(name: str, turn: Turn, y: int, scale: Scale) -> Element:
    bars = [
        rect(
            class_=f"bar {bar.kind}",
            x=percent(scale.place(bar.start)),
            y=str(y + 3),
            width=percent(scale.place(bar.end) - scale.place(bar.start)),
            height=str(ROW - 6),
        )[tooltip(f"{name} {bar.stage}: {bar.shown} ms")]
        for bar in lay_out_bars(turn)
    ]
    end = percent(scale.place(turn["mouth_to_ear_ms"]))
    return g[
        bars,
        text(".name", x="0", dx="-8", y=str(y + 16), text_anchor="end")[name],
        text(".small", x=end, dx="6", y=str(y + 16))[f"{turn['mouth_to_ear_ms']:.0f} ms"],
    ]


def render_turn(turn: Turn) -> str:
    """Render the waterfall of a measured turn as an SVG document of its own."""
    place = {"x": "110", "y": "74", "width": "580"}
    area = draw_waterfall(turn, **place)
    height = 74 + ROW * sum(bool(bar.shown) for bar in lay_out_bars(turn)) + 40
    heading = f"mouth-to-ear {turn['mouth_to_ear_ms']:.0f} ms"
    document = svg(xmlns="http://www.w3.org/2000/svg", width="760", height=str(height))[
        style[read_asset("picture.css")],
        text(".title", x="12", y="22")[heading],
        text(".small", x="12", y="42")[f"#{turn['turn']} “{turn['user_text']}”"],
        area,
    ]
    return f"{document}\n"
