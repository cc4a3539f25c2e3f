"""How exact mouth-to-ear is: the errors in one number, and where it is shown."""

from __future__ import annotations

import pytest

from tests.support.timelines import PLAIN, inserted
from voicecli.events import ErrorCalibrated
from voicecli.metrics.accuracy import Calibration, summarize_errors
from voicecli.metrics.summary import Budgets
from voicecli.metrics.turns import measure_turns
from voicecli.report.json_result import encode_turn
from voicecli.report.turn_lines import draw_stages, format_reply


def test_nineteen_of_twenty_errors_are_smaller() -> None:
    errors = [0.001 * (-1) ** index * index for index in range(1, 21)]
    assert summarize_errors(errors) == Calibration(0.019, pytest.approx(0.0, abs=0.001), 20)
    assert summarize_errors([0.0021]).error == 0.003


def test_each_result_carries_the_error() -> None:
    known = ErrorCalibrated(at=0.0, error=0.0075, signals=24)
    (turn,) = measure_turns(inserted(PLAIN.entries(), known))
    assert turn.error == 0.0075
    assert "mouth-to-ear 726 ms ± 8 = stt.ttfs" in format_reply(turn, Budgets())[-1]
    drawn = "".join(piece.text for line in draw_stages(turn, Budgets(), 80) for piece in line)
    assert "726 ms ± 8" in drawn
    assert encode_turn(turn, Budgets())["error_ms"] == 7.5


def test_an_unknown_error_is_not_shown() -> None:
    (turn,) = measure_turns(PLAIN.entries())
    assert turn.error is None
    assert "±" not in "".join(format_reply(turn, Budgets()))
    assert encode_turn(turn, Budgets())["error_ms"] is None
