"""What the scripted STT hears of a labelled recording."""

from __future__ import annotations

from voicecli.corpus.hearing import hear_labels
from voicecli.metrics.labels import EXPECTED, Kind, Labels, Span
from voicecli.standin.script import Script

PAUSES: list[tuple[float, float, Kind, str]] = [(2.0, 2.5, "pause", ""), (4.5, 5.0, "pause", "")]


def label(*spans: tuple[float, float, Kind, str]) -> Labels:
    return Labels(
        spans=tuple(
            Span(start=start, end=end, kind=kind, expect=EXPECTED[kind], text=text)
            for start, end, kind, text in spans
        )
    )


def test_words_are_spread_over_the_stretches_of_a_turn() -> None:
    labels = label(
        (1.0, 6.0, "turn", "I need to see a doctor on Monday"),
        *PAUSES,
        (9.0, 9.3, "backchannel", "uh-huh"),
        (11.0, 11.2, "tic", ""),
        (12.0, 13.0, "turn", "thank you"),
    )
    assert hear_labels(Script(), labels).stt.hears == (
        "I need",
        "to see a doctor",
        "on Monday",
        "uh-huh",
        "",
        "thank you",
    )


def test_a_text_that_marks_its_pauses_is_divided_there() -> None:
    labels = label((1.0, 6.0, "turn", "A … table for four"), (4.0, 5.0, "pause", ""))
    assert hear_labels(Script(), labels).stt.hears == ("A", "table for four")


def test_marks_say_where_the_pauses_are() -> None:
    labels = label((1.0, 6.0, "turn", "I … need to see … a doctor."), *PAUSES)
    assert hear_labels(Script(), labels).stt.hears == ("I", "need to see", "a doctor.")
    labels = label((1.0, 6.0, "turn", "I need … to see a doctor on Monday"), *PAUSES)
    assert hear_labels(Script(), labels).stt.hears == ("I need", "to see a doctor", "on Monday")


def test_short_pauses_and_close_spans_are_one_stretch() -> None:
    labels = label(
        (1.0, 3.0, "turn", "one two three"),
        (2.0, 2.15, "pause", ""),
        (3.1, 4.0, "other", "not you"),
    )
    script = hear_labels(Script(), labels)
    assert script.stt.hears == ("one two three not you",)
    assert script.stt.gap == 0.2


def test_without_texts_the_script_stays() -> None:
    labels = label((1.0, 3.0, "turn", ""), (4.0, 4.2, "tic", ""))
    assert hear_labels(Script(), labels) == Script()
