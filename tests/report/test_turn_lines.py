"""The lines of a turn, and its bar on a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import Exchange
from voicecli.events import ConnectionLost, Warned
from voicecli.metrics.summary import Budgets
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.usage import Prices
from voicecli.report.turn_lines import TurnLines, draw_stages, format_reply, format_user, paint
from voicecli.timeline import Entry

PLAIN = Exchange(ttft=0.2893)

BUDGETS = Budgets(llm=0.3)

OURS = Prices(stt=0.0077, llm=(0.15, 0.60), tts=0.030)


def turn_lines(turn: Turn, budgets: Budgets) -> list[str]:
    return [format_user(turn.turn, turn.user_text), *format_reply(turn, budgets)]


def lines(exchange: Exchange, *more: Entry, budgets: Budgets = BUDGETS) -> list[str]:
    second = measure_turns([*PLAIN.entries(), *more, *exchange.entries()])[-1]
    return turn_lines(second, budgets)


def later(**changes: Any) -> Exchange:
    return replace(PLAIN, number=2, start=10.0, **changes)


def test_the_lines_of_a_turn():
    (turn,) = measure_turns(PLAIN.entries())
    assert turn_lines(turn, BUDGETS) == [
        '#1 you   "What is the time?"',
        '#1 agent "It is noon."',
        "#1 ⏱ mouth-to-ear 815 ms = stt.ttfs 300 + llm.ttft 289 + llm.clause 45 + tts.ttfa 120"
        " + playout 60 + pipeline 1   [speech_final]  cold",
    ]


@pytest.mark.parametrize(
    ("exchange", "agent", "printed"),
    [
        (later(ends="interrupted"), '"It is noon. …"', "[speech_final]  interrupted after 1.5 s"),
        (
            later(ends="taken back"),
            None,
            "not answered: the user continued, and the words are in a later turn   [speech_final]",
        ),
        (later(ends="silent"), '"It is noon."', "no reply: no audio was played   [speech_fin"),
        (later(ends="llm failed"), '"Sorry."', "no reply   [speech_final]  LLM failed: no token"),
        (later(ends="tts failed"), '"It"', "pipeline 1   [speech_final]  TTS failed: gone"),
        (later(reason="typed"), '"It is noon."', "⏱ not measured: typed, not spoken   [typed]"),
        (later(ttft=0.4), '"It is noon."', "over budget: llm.ttft 400 > 300"),
        (later(ttft=3.0), '"It is noon."', "over budget: mouth_to_ear 3526 > 3000"),
    ],
)
def test_the_outcome_of_a_turn(exchange, agent, printed):
    user, *replied, waited = lines(exchange)
    assert user == '#2 you   "What is the time?"'
    assert replied == ([] if agent is None else [f"#2 agent {agent}"])
    assert waited.startswith("#2 ⏱ ")
    assert printed in waited
    assert "cold" not in waited


def test_all_the_marks():
    (turn,) = measure_turns(PLAIN.entries())
    doubtful = ("the event loop was 30 ms late", "the reply sounded before the user had stopped")
    worst = replace(
        turn,
        cold=False,
        end_score=0.956,
        requests=4,
        hedges=1,
        underruns=1,
        cut_off=True,
        unreliable=doubtful,
    )
    assert turn_lines(worst, BUDGETS)[-1].partition("   ")[2] == (
        "[speech_final]  end score 0.96  retried 2 times  hedged once  ran dry once  cut off"
        "  unreliable: the event loop was 30 ms late"
        "  unreliable: the reply sounded before the user had stopped"
    )


def test_a_turn_without_an_end_of_speech_is_not_measured():
    (turn,) = measure_turns(PLAIN.entries())
    blind = replace(turn, mouth_to_ear=None, stages={})
    assert turn_lines(blind, BUDGETS)[-1].startswith("#1 ⏱ not measured   [speech_final]")


def test_nothing_a_service_says_commands_the_terminal():
    nasty = "\x1b]0;title\x07red\x1b[31m \u202eleft\n#9 you sk-abcdefghijkl " + "long " * 200
    text = "\n".join(lines(later(text=nasty, said=nasty)))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert text.count("\n") == 2
    assert "abcdefghijkl" not in text
    assert text.count("long") == 400


def waterfall(line: str) -> tuple[int, list[int]]:
    total, terms = re.findall(r"mouth-to-ear (\d+) ms = (.*?)   \[", line)[0]
    return int(total), [int(term.split()[-1]) for term in terms.split(" + ")]


DURATIONS = st.floats(0, 3)


@given(st.builds(Exchange, stop=DURATIONS, ttft=DURATIONS, clause=DURATIONS, playout=DURATIONS))
def test_the_printed_stages_sum_to_the_printed_total(exchange: Exchange):
    (turn,) = measure_turns(exchange.entries())
    total, parts = waterfall(turn_lines(turn, BUDGETS)[-1])
    assert sum(parts) == total
    assert total == round((turn.mouth_to_ear or 0) * 1000)


def test_lines_are_written_when_something_happens():
    printed: list[str] = []
    follower = TurnLines(printed.append, BUDGETS)
    entries = PLAIN.entries()
    for entry in entries[:-1]:
        follower(entry)
    assert printed == ['#1 you   "What is the time?"']
    follower(entries[-1])
    assert printed[1:] == turn_lines(measure_turns(entries)[0], BUDGETS)[1:]


def test_warnings_and_losses_are_written():
    printed: list[str] = []
    follower = TurnLines(printed.append)
    follower(Warned(at=1, service="audio", text="only\x1b[2J zeros"))
    follower(ConnectionLost(at=2, service="stt", reason="STT: connection lost"))
    follower(ConnectionLost(at=3, service="tts", reason="no answer"))
    assert printed == ["! AUDIO: only zeros", "! STT: connection lost", "! TTS: no answer"]


def bar(turn: Turn, columns: int, budgets: Budgets = BUDGETS) -> list[str]:
    return ["".join(one.text for one in line) for line in draw_stages(turn, budgets, columns)]


def test_the_bar_of_a_turn():
    (turn,) = measure_turns(PLAIN.entries())
    assert bar(turn, 100) == [
        "#1 ⏱ ███████████████▓▓▓▓▓▓▓▓▓▓▓▓▓▓██▓▓▓▓▓▓███ 815 ms  [speech_final]  cold",
        "     stt.ttfs 300 · llm.ttft 289 · llm.clause 45 · tts.ttfa 120 · playout 60 · pipeline 1",
    ]
    assert bar(turn, 44) == [
        "#1 ⏱ ████████████▓▓▓▓▓▓▓▓▓▓▓██▓▓▓▓▓██ 815 ms",
        "     [speech_final]  cold",
        "     stt.ttfs 300 · llm.ttft 289",
        "     llm.clause 45 · tts.ttfa 120",
        "     playout 60 · pipeline 1",
    ]


def test_the_bar_is_coloured_against_the_budgets():
    (turn,) = measure_turns(PLAIN.entries())
    first, second = draw_stages(turn, Budgets(stt=0.4, llm=0.2, tts=0.2, total=0.8), 200)
    styles = {one.text.split()[0]: one.style for one in second if one.text.strip(" ·")}
    assert styles == {
        "stt.ttfs": "met",
        "llm.ttft": "over",
        "llm.clause": "",
        "tts.ttfa": "met",
        "playout": "",
        "pipeline": "",
    }
    assert [one.style for one in first if set(one.text) <= set("█▓")] == [
        "met",
        "over",
        "",
        "met",
        "",
    ]
    assert "\x1b[31m815 ms\x1b[0m" in paint(first)
    assert paint(first).count("\x1b[0m") == 4


@given(
    st.builds(Exchange, stop=DURATIONS, ttft=DURATIONS, clause=DURATIONS, playout=DURATIONS),
    st.integers(20, 200),
)
def test_the_bar_is_in_proportion_and_fits(exchange: Exchange, columns: int):
    (turn,) = measure_turns(exchange.entries())
    first, *others = draw_stages(turn, BUDGETS, columns)
    cells = [len(one.text) for one in first if one.text.strip() and set(one.text) <= set("█▓")]
    head, total = first[0].text, f" {round((turn.mouth_to_ear or 0) * 1000)} ms"
    assert sum(cells) == min(40, columns - len(head) - len(total))
    for line in others:
        words = [one for one in line if one.text.strip(" ·")]
        assert len(words) == 1 or sum(len(one.text) for one in line) <= columns


def test_a_terminal_shows_the_bar_and_a_pipe_does_not():
    (turn,) = measure_turns(PLAIN.entries())
    assert format_reply(turn, BUDGETS)[1:] == turn_lines(turn, BUDGETS)[2:]
    assert format_reply(turn, BUDGETS, 100)[1:] == [*map(paint, draw_stages(turn, BUDGETS, 100))]
    typed = replace(turn, reason="typed", mouth_to_ear=None)
    assert format_reply(typed, BUDGETS, 100) == format_reply(typed, BUDGETS)
