"""The state of a live conversation, and the live region."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.timelines import NASTY, OPENED, Exchange, any_entry, entries_until, transcript
from voicecli.events import (
    CancelReply,
    CommitReply,
    EndSession,
    FinalTranscript,
    MicrophoneMuted,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFinished,
    Resume,
)
from voicecli.terminal.view import (
    MAX_ROWS,
    METER_CELLS,
    LiveView,
    meter_cells,
    render_region,
    wrap,
)
from voicecli.timeline import Entry

PLAIN = Exchange()


def unstyled(line: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", line)


def viewed(*entries: Entry) -> LiveView:
    view = LiveView()
    for entry in entries:
        view(entry)
    return view


# ── the view ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        ([], "connecting"),
        (OPENED, "listening"),
        (entries_until(PLAIN, FinalTranscript), "listening"),
        (entries_until(PLAIN, CommitReply), "thinking"),
        (entries_until(PLAIN, PlaybackStarted), "speaking"),
        (entries_until(PLAIN, ReplyFinished), "listening"),
        ([*entries_until(PLAIN, PlaybackStarted), EndSession(at=9.0, reason="quit")], "ended"),
        (entries_until(replace(PLAIN, ends="taken back"), ReplyCancelled), "listening"),
        (entries_until(replace(PLAIN, ends="interrupted"), ReplyCancelled), "listening"),
        ([*OPENED, *replace(PLAIN, ends="llm failed").entries()], "listening"),
        ([*OPENED, *replace(PLAIN, ends="silent").entries()], "listening"),
    ],
)
def test_who_has_the_floor(entries: list[Entry], state: str):
    assert viewed(*entries).state == state


def test_the_users_words_are_shown_as_they_are_recognised():
    view = viewed(*OPENED, transcript("what", final=False), transcript("What is", final=False))
    assert view.words == "What is"
    view(transcript("What is the"))
    view(transcript("time", final=False, start=8.5))
    assert view.words == "What is the time"
    view(transcript("", start=8.5))  # a final of silence keeps what it knows
    assert view.words == "What is the"


def test_words_leave_when_they_are_answered_and_come_back_when_the_user_goes_on():
    view = viewed(*entries_until(PLAIN, CommitReply))
    assert view.words == ""
    view(CancelReply(at=2.0, turn=1, heard_nothing=True))
    view(transcript("Or no", final=False))
    assert view.words == "What is the time? Or no"


def test_a_back_channel_is_forgotten_and_an_interruption_is_not():
    speaking = entries_until(PLAIN, PlaybackStarted)
    assert viewed(*speaking, transcript("Uh-huh."), Resume(at=9.0, turn=1)).words == ""
    assert viewed(*speaking, transcript("Right."), PLAIN.end(3.0)[0]).words == ""
    cut = CancelReply(at=9.0, turn=1, heard_nothing=False)
    assert viewed(*speaking, transcript("Stop that", final=False), cut).words == "Stop that"


def test_a_late_word_of_a_reply_that_is_over_changes_nothing():
    view = viewed(*OPENED, *PLAIN.entries())
    view(PlaybackStarted(at=9.0, turn=1))
    assert view.state == "listening"


@given(st.lists(any_entry(), max_size=20))
def test_whatever_happens_can_be_shown(entries: list[Entry]):
    view = viewed(*entries)
    view.heard, view.level, view.typing = "word " * 50, -20.0, "x" * 99
    rows = render_region(view, 40)
    assert all(cell_len(unstyled(row)) < 40 for row in rows)


# ── the region ───────────────────────────────────────────────────────────────


def shown(view: LiveView, width: int = 60, keys: str = "", **state: Any) -> list[str]:
    for name, value in state.items():
        setattr(view, name, value)
    return [unstyled(row) for row in render_region(view, width, keys)]


def test_the_region_while_the_user_speaks():
    view = viewed(*OPENED, transcript("What is the capital of", final=False))
    assert shown(view, level=-20.0, keys="q quit") == [
        "you   What is the capital of",
        "● listening  ████████░░░░  q quit",
    ]


def test_the_region_while_the_agent_speaks():
    view = viewed(*entries_until(PLAIN, PlaybackStarted))
    assert shown(view, heard="It is", level=-70.0) == [
        "agent It is",
        "● speaking   ░░░░░░░░░░░░  ",
    ]


def test_the_region_while_the_user_types():
    view = viewed(*OPENED)
    assert shown(view, typing="hel", keys="Enter send") == [
        "● listening   Enter send",
        "› hel▏",
    ]
    assert shown(view, typing="x" * 100, width=20)[-1] == f"› {'x' * 16}▏"


def test_a_muted_microphone_is_shown_and_shows_no_level():
    view = viewed(*OPENED, MicrophoneMuted(at=1.0, muted=True))
    assert shown(view, level=-3.0) == ["● muted      ░░░░░░░░░░░░  "]
    view(MicrophoneMuted(at=2.0, muted=False))
    assert shown(view, level=-3.0)[0].startswith("● listening  ███████████░")


def test_of_many_words_the_last_are_shown():
    view = viewed(*OPENED, transcript(" ".join(map(str, range(100))), final=False))
    *rows, status = shown(view, width=30)
    assert len(rows) == MAX_ROWS
    assert rows[0].startswith("you  …")
    assert rows[-1].endswith(" 99")
    assert status.startswith("● listening")


def test_nothing_a_service_says_commands_the_terminal():
    view = viewed(*entries_until(PLAIN, PlaybackStarted), transcript(NASTY, final=False))
    text = "".join(shown(view, heard=NASTY))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "abcdefghijkl" not in text


def test_the_meter_goes_from_quiet_to_full_scale():
    levels = np.linspace(-90, 0, 200)
    cells = [meter_cells(level) for level in levels]
    assert (cells[0], cells[-1]) == (0, METER_CELLS)
    assert cells == sorted(cells)
    assert set(cells) == set(range(METER_CELLS + 1))


@given(st.text(max_size=200), st.integers(2, 40))
@example("0000 \u0300", 4)
def test_wrapping_loses_nothing(text: str, width: int):
    rows = wrap(text, width)
    assert "".join(rows).replace(" ", "") == "".join(text.split()).replace(" ", "")
    assert all(cell_len(row) <= width for row in rows)


@pytest.mark.parametrize(
    ("text", "width", "rows"),
    [
        ("", 10, []),
        ("one two three", 13, ["one two three"]),
        ("one two three", 12, ["one two", "   three"]),
        ("#1 you   well   then", 13, ["#1 you   well", "   then"]),  # spaces stay inside a row
        ("a Donaudampfschiff b", 8, ["a", "   Donau", "   dampf", "   schif", "   f b"]),
        ("漢字 漢字漢字", 9, ["漢字", "   漢字漢", "   字"]),  # two cells each
    ],
)
def test_lines_wrap_between_words_with_an_indent(text: str, width: int, rows: list[str]):
    assert wrap(text, width, indent=3) == rows


@given(st.text(alphabet="ab 漢é\t", max_size=200), st.integers(8, 40))
def test_wrapping_with_an_indent_loses_nothing_and_breaks_only_words_that_do_not_fit(
    text: str, width: int
):
    rows = wrap(text, width, indent=3)
    assert "".join(rows).replace(" ", "") == "".join(text.split())
    assert all(cell_len(row) <= width for row in rows)
    assert all(row.startswith("   ") for row in rows[1:])
    if all(cell_len(word) <= width - 3 for word in text.split()):
        assert " ".join(rows).split() == text.split()
