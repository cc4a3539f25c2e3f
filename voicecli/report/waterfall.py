"""Draws a turn as an SVG: its stages as bars on a time axis, from the user's mouth to their ear."""

from __future__ import annotations

from html import escape

from voicecli.metrics.stages import LLM_TTFT, order_stages
from voicecli.metrics.turns import Turn
from voicecli.report.format import format_ms, round_parts
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 110, 70, 74, 26
"""Pixels: the picture, its margins, and a row; the rest is for the time axis."""

TICKS: tuple[Seconds, ...] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""The smallest with at most eight ticks is used."""

_STYLE = """
text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #24292f }
.title { font-weight: bold } .small { font-size: 11px; fill: #57606a }
.stage { fill: #2da44e } .raw { fill: none; stroke: #2da44e; stroke-dasharray: 3 2 }
.pipeline { fill: #8c959f } .line { stroke: #d0d7de } .draft { stroke: #bf8700 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .line { stroke: #3d444d }
}"""


def render_waterfall(turn: Turn) -> str:
    """Render the waterfall of a measured turn as an SVG document.

    Bars: the stages, which sum to mouth-to-ear.  Dashed: the raw duration, where more of it passed
    while something else was waited for.  A draft is marked where its request was made.
    """
    total = turn.mouth_to_ear
    if not total:
        raise ValueError("the turn was not measured")
    scale = (WIDTH - LEFT - RIGHT) / total
    numbers = round_parts(turn.stages, total, 1000)
    rows = [name for name in order_stages(turn.drafted) if numbers.get(name)]
    bottom = TOP + ROW * len(rows)
    parts = _axis(total, scale, bottom)
    end = 0.0
    for row, name in enumerate(rows):
        start, end = end, end + turn.stages[name]
        y, x = TOP + ROW * row, LEFT + start * scale
        began = max(end - turn.raw.get(name, 0.0), 0.0)
        if start - began >= 0.001:
            parts.append(_rect("raw", LEFT + began * scale, y + 3, (end - began) * scale))
        if turn.drafted and name == LLM_TTFT.name:
            parts.append(_line("draft", LEFT + began * scale, TOP - 4, bottom))
            parts.append(_text("small", LEFT + began * scale, TOP - 8, "draft", "middle"))
        kind = "stage" if name in turn.raw else "pipeline"
        parts.append(_rect(kind, x, y + 3, turn.stages[name] * scale))
        parts.append(_text("", LEFT - 8, y + 17, name, "end"))
        parts.append(_text("small", LEFT + end * scale + 6, y + 17, f"{numbers[name]} ms"))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 30}">',
        f"<style>{_STYLE}\n</style>",
        _text("title", 12, 22, f"mouth-to-ear {format_ms(total)} ms"),
        _text("small", 12, 42, f"#{turn.turn} “{sanitize_line(turn.user_text)}”"),
    ]
    return "\n".join([*lines, *parts, "</svg>\n"])


def _axis(total: Seconds, scale: float, bottom: float) -> list[str]:
    step = next((tick for tick in TICKS if total / tick <= 8), total)
    times = [index * step for index in range(int(total / step) + 1)]
    lines = [_line("line", LEFT + at * scale, TOP, bottom) for at in times]
    labels = [_text("small", LEFT + t * scale, bottom + 18, format_ms(t), "middle") for t in times]
    return lines + labels


def _rect(kind: str, x: float, y: float, width: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 6}"/>'


def _line(kind: str, x: float, top: float, bottom: float) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def _text(kind: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
