"""Draws a recorded conversation: the user above, the agent below, and what happened when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from htpy import Element, Node, g, line, path, rect, svg, text
from numpy.typing import NDArray

from voicecli.metrics.labels import Span
from voicecli.report.html.marks import Mark, MarkKind
from voicecli.report.html.plot import (
    Scale,
    compose_figure,
    draw_area,
    draw_key,
    draw_x_axis,
    percent,
    tooltip,
)
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds

LANE = 52
"""Pixels of a voice's lane."""

LABELS = 15
"""Pixels of the lane with the labels."""

BAND = 6
"""Pixels of a band that marks speech, or a reply."""

GAP = 2 * BAND + 18
"""Pixels between the voices: two bands, and what was waited for between them."""

ROWS: tuple[Seconds, ...] = (30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""How long a row may be; the first that needs at most MOST_ROWS is used.  Less is in one row."""

MOST_ROWS = 8

Peaks = NDArray[np.float32]
"""The largest magnitude in each interval, from 0 to 1."""

LEGEND: dict[MarkKind, str] = {
    "speech": "speech, by the detector",
    "pause": "pause within it",
    "wait": "mouth-to-ear",
    "commit": "turn committed",
    "reply": "reply heard",
    "duck": "ducked",
    "hold": "held",
    "cut": "reply cut",
    "cutoff": "user cut off",
}
"""What the marks stand for; a turn is named by its number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Envelope:
    """How loud both voices were.

    rate: intervals per second.
    user, agent: a peak for each interval; equally long.
    """

    rate: float
    user: Peaks
    agent: Peaks

    @property
    def length(self) -> Seconds:
        """How long the recording is."""
        return len(self.user) / self.rate


def choose_row(length: Seconds) -> Seconds:
    """Choose how much of a recording of ``length`` is in one row."""
    if length <= ROWS[0]:
        return float(max(ceil(length), 1))
    return next((row for row in ROWS if length <= MOST_ROWS * row), ROWS[-1])


def draw_waveform(
    envelope: Envelope, marks: Sequence[Mark], labels: Sequence[Span] = ()
) -> Element:
    """Draw the recording in rows of equal duration, with its marks and labels.

    marks, labels: as positions in the recording.

    A row has ``data-start`` and ``data-length`` in seconds, and a line of class ``playhead``: a
    script may move it.
    """
    row = choose_row(envelope.length)
    starts = np.arange(0.0, max(envelope.length, 1e-3), row)
    loudest = [float(voice.max(initial=0.0)) or 1.0 for voice in (envelope.user, envelope.agent)]
    rows = [_draw_row(start, row, envelope, loudest, marks, labels) for start in starts.tolist()]
    kinds = {mark.kind for mark in marks}
    entries = [(f"mark-{kind}", words) for kind, words in LEGEND.items() if kind in kinds]
    if labels:
        entries.append(("mark-label", "label"))
    return compose_figure(rows, draw_key(*entries))


def _draw_row(
    start: Seconds,
    length: Seconds,
    envelope: Envelope,
    loudest: Sequence[float],
    marks: Iterable[Mark],
    labels: Sequence[Span],
) -> Element:
    scale = Scale(start, start + length)
    user_top = LABELS if labels else 0
    agent_top = user_top + LANE + GAP
    height = agent_top + LANE
    voices = [
        _draw_voice("user", envelope.user, envelope.rate, scale, user_top, loudest[0]),
        _draw_voice("agent", envelope.agent, envelope.rate, scale, agent_top, loudest[1]),
    ]
    lanes = _Lanes(scale, user_top + LANE, agent_top, height)
    here = [mark for mark in marks if _is_in(mark.start, mark.end, scale)]
    content: list[Node] = [
        [lanes.draw(mark) for mark in here if mark.kind == "turn"],
        draw_x_axis(scale, height, "s"),
        text(".name", x="0", dx="-8", y=str(user_top + LANE // 2 + 4), text_anchor="end")["user"],
        text(".name", x="0", dx="-8", y=str(agent_top + LANE // 2 + 4), text_anchor="end")["agent"],
        [_draw_label(span, scale) for span in labels if _is_in(span.start, span.end, scale)],
        voices,
        [lanes.name_turn(mark) for mark in here if mark.kind == "turn"],
        [lanes.draw(mark) for mark in here if mark.kind != "turn"],
        line(".playhead", x1="0", x2="0", y1="0", y2=str(height), visibility="hidden"),
    ]
    label = f"User and agent from {start:.0f} to {start + length:.0f} s"
    place = {"data-start": f"{start:g}", "data-length": f"{length:g}"}
    return draw_area("waveform", label, height, *content, **place)


def _is_in(start: Seconds, end: Seconds, scale: Scale) -> bool:
    """Whether a span is at least partly within a row; an instant belongs to one row."""
    return start < scale.high and (end > scale.low or start >= scale.low)


def _draw_voice(
    kind: str, peaks: Peaks, rate: float, scale: Scale, top: int, loudest: float
) -> Element:
    """Draw the outline of a voice, normalised to its loudest sample, silence as a thin line."""
    first, last = round(scale.low * rate), round(scale.high * rate)
    within = peaks[first:last] / loudest
    heights = np.maximum(np.round(within * 49), 1).astype(int).tolist()
    outline = "".join(_list_steps(heights)) if heights else ""
    stretched = {"viewBox": f"0 0 {last - first} 100", "preserveAspectRatio": "none"}
    return svg(stretched, x="0", y=str(top), width="100%", height=str(LANE))[
        path(class_=f"voice-{kind}", d=outline)
    ]


def _list_steps(heights: Sequence[int]) -> Iterator[str]:
    """Yield the outline of a voice: there along its upper side and back along the lower."""
    starts = [at for at, one in enumerate(heights) if at == 0 or one != heights[at - 1]]
    runs = list(zip(starts, [*starts[1:], len(heights)], strict=True))
    yield "M0 50"
    for start, end in runs:
        yield f"V{50 - heights[start]}H{end}"
    for start, end in reversed(runs):
        yield f"V{50 + heights[end - 1]}H{start}"
    yield "Z"


def _draw_label(span: Span, scale: Scale) -> Element:
    start, end = scale.place(span.start), scale.place(span.end)
    words = f" “{sanitize_line(span.text)}”" if span.text else ""
    where = f"{span.start:.2f}–{span.end:.2f} s"
    place = {"x": percent(start), "width": percent(end - start), "height": str(LABELS - 3)}
    return svg(place, class_="label")[
        tooltip(f"label {span.kind}{words}, {where}, the agent should {span.expect}"),
        rect(class_=f"mark-label label-{span.kind}", width="100%", height="100%"),
        text(".small", x="2", y="9")[span.kind],
    ]


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Where things are in a row, in pixels from its top."""

    scale: Scale
    user_bottom: int
    agent_top: int
    bottom: int

    def draw(self, mark: Mark) -> Element:
        """Draw a mark."""
        start, end = self.scale.place(mark.start), self.scale.place(mark.end)
        of = "" if mark.turn is None else f"#{mark.turn} "
        took = f": {1000 * (mark.end - mark.start):.0f} ms" if mark.end > mark.start else ""
        words = tooltip(f"{of}{mark.kind}{took}, from {mark.start:.2f} s")
        middle = (self.user_bottom + self.agent_top) // 2
        match mark.kind:
            case "turn":
                return self._band(mark.kind, start, end, self.user_bottom - LANE, LANE)[words]
            case "speech" | "pause":
                return self._band(mark.kind, start, end, self.user_bottom + 1, BAND)[words]
            case "reply":
                return self._band(mark.kind, start, end, self.agent_top - BAND - 1, BAND)[words]
            case "duck" | "hold":
                return self._band(mark.kind, start, end, self.agent_top, LANE)[words]
            case "wait":
                return g[words, self._draw_wait(mark, start, end, middle)]
            case "commit":
                x = percent(start)
                top, bottom = str(self.user_bottom), str(self.agent_top)
                return line(".mark-commit", x1=x, x2=x, y1=top, y2=bottom)[words]
            case "cut":
                return g[
                    words, self._draw_cut(mark.kind, percent(start), self.agent_top, self.bottom)
                ]
            case "cutoff":
                above = self.user_bottom - LANE
                return g[words, self._draw_cut(mark.kind, percent(start), above, self.agent_top)]

    def name_turn(self, mark: Mark) -> Element | None:
        """Write the number of a turn where it begins."""
        if mark.start < self.scale.low:
            return None
        place = {"x": percent(self.scale.place(mark.start)), "y": str(self.user_bottom - LANE + 10)}
        return text(".small", place, dx="3")[f"#{mark.turn}"]

    def _band(self, kind: str, start: float, end: float, top: int, height: int) -> Element:
        return rect(
            class_=f"mark-{kind}",
            x=percent(start),
            y=str(top),
            width=percent(max(end - start, 0.05)),
            height=str(height),
        )

    def _draw_wait(self, mark: Mark, start: float, end: float, y: int) -> Element:
        """Draw a line from the user's band down to the agent's, and how long it took."""
        took = f"{1000 * (mark.end - mark.start):.0f} ms"
        ends = {"x1": percent(start), "x2": percent(end), "y1": str(y), "y2": str(y)}
        anchor, x, dx = ("end", start, "-4") if end > 88 else ("start", end, "4")
        return g[
            line(ends, class_="mark-wait"),
            text(".took", x=percent(x), dx=dx, y=str(y + 4), text_anchor=anchor)[took],
        ]

    def _draw_cut(self, kind: str, x: str, top: int, bottom: int) -> Element:
        return g[
            line(class_=f"mark-{kind}", x1=x, x2=x, y1=str(top), y2=str(bottom)),
            text(".cut", x=x, dx="3", y=str(top + 12))["✕"],
        ]
