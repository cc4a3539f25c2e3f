"""A live conversation as plain lines."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import NASTY, OPENED, Exchange, any_entry, entries_until
from voicecli.events import (
    AgentStopped,
    AudioGlitched,
    CancelReply,
    ConnectionLost,
    EndSession,
    InputEnded,
    LoopLagged,
    MicrophoneMuted,
    PlaybackStarted,
    ReplyCancelled,
    Warned,
)
from voicecli.metrics.summary import Budgets
from voicecli.terminal.plain import PlainLines
from voicecli.timeline import Entry
from voicecli.units import AudioBlock

PLAIN = Exchange()


NOON = datetime(2026, 11, 25, 12, 0, 0)


def plain(*entries: Entry, block: AudioBlock | None = None, typed: bool = False) -> list[str]:
    printed: list[str] = []
    lines = PlainLines(printed.append, NOON, Budgets(), typed=typed)
    if block is not None:
        lines.feed(block)
        lines.feed(block)
    for entry in entries:
        lines(entry)
    return printed


def test_a_turn_in_plain_lines():
    printed = plain(*OPENED, *PLAIN.entries())
    assert printed == [
        "12:00:00.050 STT open (41 ms)",
        "12:00:00.060 TTS open (52 ms)",
        '12:00:01.300 you: "What is the time?"',
        "12:00:01.501 LLM first token 200 ms",
        "12:00:01.726 reply audio started",
        "12:00:03.226 playback finished",
        '12:00:03.226 agent: "It is noon."',
        "12:00:03.226 ⏱ mouth-to-ear 726 ms = stt.ttfs 300 + llm.ttft 200 + llm.clause 45"
        " + tts.ttfa 120 + playout 60 + pipeline 1   [speech_final]  cold",
        "12:00:03.226 you can speak now",
    ]


def test_the_microphone_is_reported_once():
    assert plain(block=AudioBlock(bytes(640), 0.5)) == [
        "12:00:00.500 microphone streaming",
        "12:00:00.500 you can speak now",
    ]


def test_lines_of_the_day_after_midnight():
    printed: list[str] = []
    midnight = datetime(2026, 11, 25, 23, 59, 59)
    PlainLines(printed.append, midnight, Budgets(), typed=False).announce(1.25, "late")
    assert printed == ["00:00:00.250 late"]


@pytest.mark.parametrize(
    ("entry", "printed"),
    [
        (Warned(at=1, service="tts", text="slow"), "! TTS: slow"),
        (ConnectionLost(at=1, service="stt", reason="STT: gone"), "! STT: gone"),
        (AudioGlitched(at=1, xruns=2), "! the sound card lost samples (xruns: 2)"),
        (LoopLagged(at=1, lag=0.03), "! the program was 30 ms late"),
        (MicrophoneMuted(at=1, muted=True), "microphone muted"),
        (MicrophoneMuted(at=1, muted=False), "microphone on"),
        (EndSession(at=1, reason="idle"), "ended: idle"),
        (CancelReply(at=1, turn=1, heard_nothing=True), "you go on: the reply is dropped"),
        (ReplyCancelled(at=1, turn=1, said="It", heard=0.5), "playback stopped after 0.5 s"),
    ],
)
def test_other_entries_that_have_a_line(entry: Entry, printed: str):
    assert plain(entry) == [f"12:00:01.000 {printed}"]


@pytest.mark.parametrize(
    ("entries", "invited"),
    [
        (PLAIN.entries(), True),
        (replace(PLAIN, ends="llm failed").entries(), True),
        (replace(PLAIN, ends="interrupted").entries(), False),  # the user speaks already
        (replace(PLAIN, ends="taken back").entries(), False),
        ([*entries_until(PLAIN, PlaybackStarted), AgentStopped(at=2.0), *PLAIN.end(2.0)], True),
        ([InputEnded(at=0.0), *PLAIN.entries()], False),
    ],
)
def test_the_user_is_invited_when_the_floor_is_free(entries: list[Entry], invited: bool):
    assert any("you can speak now" in line for line in plain(*entries)) == invited


def test_a_user_who_types_reads_nothing_about_a_microphone():
    printed = plain(*PLAIN.entries(), typed=True)
    assert "you can type now" in printed[-1]
    assert not any("microphone" in line for line in printed)


@given(st.lists(any_entry(text=st.just(NASTY), reason=st.just(NASTY)), max_size=5))
def test_plain_lines_are_single_and_harmless(entries: list[Entry]):
    harmless = [replace(r, at=abs(r.at) % 1e6) for r in entries]
    for line in plain(*harmless):
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", line)
