"""The picture of a recording."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pictures import Shape, find_all, list_spans, list_texts, place, read_picture
from voicecli.metrics.labels import Span
from voicecli.report.html.marks import Mark, MarkKind
from voicecli.report.html.waveform import LEGEND, ROWS, Envelope, choose_row, draw_waveform

RATE = 10.0


def envelope(seconds: float) -> Envelope:
    user = np.zeros(int(seconds * RATE), np.float32)
    user[10:20] = 0.5
    return Envelope(rate=RATE, user=user, agent=np.full(len(user), 0.25, np.float32))


def mark(kind: MarkKind, start: float, end: float, turn: int | None = 1) -> Mark:
    return Mark(kind=kind, start=start, end=end, turn=turn)


def rows_of(picture: Shape) -> list[Shape]:
    return find_all(picture, "svg", "waveform")


def test_the_outline_is_loud_where_the_voice_is() -> None:
    picture = read_picture(draw_waveform(envelope(10), []))
    (voice,) = find_all(picture, "path", "voice-user")
    # A tenth of a second per unit; 49 of 50 is the loudest sample, 1 is silence.
    assert voice.get("d") == "M0 50V49H10V1H20V49H100V51H20V99H10V51H0Z"
    (agent,) = find_all(picture, "path", "voice-agent")
    assert agent.get("d") == "M0 50V1H100V99H0Z"


def test_marks_are_where_they_happened() -> None:
    marks = [
        mark("turn", 1.0, 2.0), mark("speech", 1.0, 2.0, None), mark("pause", 1.4, 1.6, None),
        mark("commit", 2.5, 2.5), mark("wait", 2.0, 2.8), mark("reply", 2.8, 6.0),
        mark("duck", 5.0, 5.2), mark("hold", 5.2, 5.5), mark("cut", 5.5, 5.5),
        mark("cutoff", 2.5, 2.5),
    ]  # fmt: skip
    picture = read_picture(draw_waveform(envelope(10), marks))
    for kind, span in {
        "turn": (10, 20), "speech": (10, 20), "pause": (14, 16), "reply": (28, 60),
        "duck": (50, 52), "hold": (52, 55),
    }.items():  # fmt: skip
        assert list_spans(picture, f"mark-{kind}") == [pytest.approx(span)]
    for kind, at in {
        "commit": (25, 25),
        "cut": (55, 55),
        "cutoff": (25, 25),
        "wait": (20, 28),
    }.items():
        (line,) = find_all(picture, "line", f"mark-{kind}")
        assert (place(line, "x1"), place(line, "x2")) == pytest.approx(at)
    assert list_texts(picture, "took") == ["800 ms"]
    key = [one.find("span").tail for one in find_all(picture, "span", "entry")]  # type: ignore[union-attr]
    assert key == list(LEGEND.values())


def test_labels_say_what_the_agent_should_do() -> None:
    span = Span(start=3.0, end=3.5, kind="backchannel", expect="hold", text="<b>mhm\x1b[1m")
    picture = read_picture(draw_waveform(envelope(10), [], [span]))
    (label,) = find_all(picture, "svg", "label")
    assert (place(label, "x"), place(label, "width")) == pytest.approx((30, 5))
    assert list_texts(label) == ["backchannel"]
    titles = [one.text for one in picture.iter("title")]
    assert "label backchannel “<b>mhm”, 3.00–3.50 s, the agent should hold" in titles


@pytest.mark.parametrize(
    ("seconds", "row", "count"),
    [(0.0, 1, 1), (11.3, 12, 1), (30, 30, 1), (31, 30, 2), (500, 120, 5)],
)
def test_a_long_recording_has_rows(seconds: float, row: float, count: int) -> None:
    rows = rows_of(read_picture(draw_waveform(envelope(seconds), [])))
    assert [float(one.get("data-start", "")) for one in rows] == [row * n for n in range(count)]
    assert {float(one.get("data-length", "")) for one in rows} == {row}


def test_an_hour_has_few_rows() -> None:
    assert choose_row(3600) in ROWS
    assert 3600 / choose_row(3600) <= 12


def test_a_mark_over_the_end_of_a_row_is_in_both() -> None:
    marks = [mark("turn", 28.0, 33.0), mark("commit", 30.0, 30.0)]
    first, second = rows_of(read_picture(draw_waveform(envelope(40), marks)))
    assert list_spans(first, "mark-turn") == [pytest.approx((100 * 28 / 30, 100), abs=0.01)]
    assert list_spans(second, "mark-turn") == [pytest.approx((0, 10))]
    assert list_texts(first).count("#1") == 1
    assert list_texts(second).count("#1") == 0
    assert [len(find_all(one, "line", "mark-commit")) for one in (first, second)] == [0, 1]
