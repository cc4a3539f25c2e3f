"""The live display."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.live_screens import Paper, play, window
from tests.support.terminals import drawn
from tests.support.timelines import NASTY, OPENED, Exchange, any_entry, entries_until, transcript
from voicecli import clock
from voicecli.events import PlaybackStarted, ReplyFailed
from voicecli.metrics.summary import Budgets
from voicecli.terminal.screen import DRAW_INTERVAL, Screen
from voicecli.timeline import Entry
from voicecli.units import AudioBlock

PLAIN = Exchange()


def on_screen(
    act: Callable[[Screen, Paper], Any],
    *,
    columns: int = 80,
    budgets: Budgets | None = None,
    said: Callable[[], str] = str,
    **options: Any,
) -> Paper:
    """What a screen writes in virtual time while ``act`` runs, and a second after it."""
    paper = Paper()

    async def main(terminal: int) -> None:
        with Screen(paper, terminal, budgets or Budgets(), heard=said, **options) as screen:
            await act(screen, paper)
            await asyncio.sleep(1.0)

    with window(columns, 24) as terminal:
        clock.run(main(terminal), virtual=True)
    return paper


def lines_of(paper: Paper, columns: int = 80) -> list[str]:
    return drawn("".join(paper.written), columns, 24)


def test_what_is_left_on_the_screen_is_what_was_said_and_measured():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, [*OPENED, *PLAIN.entries()])
        await asyncio.sleep(1.0)
        assert lines_of(paper)[-1].startswith("● listening")

    assert lines_of(on_screen(act)) == [
        '#1 you   "What is the time?"',
        '#1 agent "It is noon."',
        "#1 ⏱ █████████████████▓▓▓▓▓▓▓▓▓▓▓██▓▓▓▓▓▓▓███ 726 ms  [speech_final]  cold",
        "     stt.ttfs 300 · llm.ttft 200 · llm.clause 45 · tts.ttfa 120 · playout 60",
        "     pipeline 1",
    ]


def test_the_bar_of_a_turn_is_coloured_against_its_budgets():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, [*OPENED, *PLAIN.entries()])

    paper = on_screen(act, budgets=Budgets(stt=1.0, llm=0.1))
    (bar,) = [row for row in "".join(paper.written).split("\r\n") if "█" in row and "⏱" in row]
    assert "\x1b[32m█████████████████\x1b[0m\x1b[31m▓▓▓▓▓▓▓▓▓▓▓\x1b[0m" in bar


@pytest.mark.parametrize("columns", [14, 25, 40, 57])
def test_transcript_lines_wrap_between_words_however_narrow_the_window(columns: int):
    said = "Once upon a time 漢字漢字 there was a king, incomprehensibilities included."

    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, [*OPENED, *replace(PLAIN, said=said, ends="silent").entries()])
        screen.announce(clock.now(), f"! {said}")

    lines = lines_of(on_screen(act, columns=columns), columns)
    assert max(map(cell_len, lines)) < columns
    words = [word for word in said.split() if cell_len(word) <= columns - 5]
    assert len(words) >= 10
    shown = " ".join(lines).split()
    assert all(f" {word} " in f" {' '.join(shown)} " for word in words[1:-1])


def test_a_bar_with_a_mark_that_no_row_holds_is_wrapped_between_its_words():
    failed = ReplyFailed(
        at=4.0, turn=1, service="tts", reason="the connection was closed " * 3, said="It", heard=0.5
    )

    async def act(screen: Screen, paper: Paper) -> None:
        entries = [entry for entry in PLAIN.entries() if entry.at < 2.0]
        await play(screen, [*OPENED, *entries, failed])

    lines = lines_of(on_screen(act, columns=40), 40)
    assert any("TTS failed: the connection" in line for line in lines)
    assert max(map(len, lines)) < 40


def test_the_reply_is_shown_as_it_is_heard_without_an_event():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, entries_until(PLAIN, PlaybackStarted))
        begun = clock.now()
        for second in range(1, 4):
            await asyncio.sleep(begun + second - clock.now() + 2 * DRAW_INTERVAL)
            assert f"agent {'word ' * second}".strip() in lines_of(paper)[-2]

    on_screen(act, said=lambda: "word " * int(clock.now() - 1.7))


def test_nothing_is_written_while_nothing_changes():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, OPENED)
        await asyncio.sleep(1.0)
        before = len(paper.written)
        for _ in range(500):
            screen.feed(AudioBlock(bytes(640), clock.now()))
            await asyncio.sleep(0.02)
        assert len(paper.written) <= before + 1  # the meter appears

    on_screen(act)


def test_it_is_drawn_twelve_times_a_second_at_most():
    loud = (np.ones(320, "<i2") * 9000).tobytes()

    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, OPENED)
        await asyncio.sleep(1.0)
        before = len(paper.written)
        for number in range(500):  # 10 s
            screen.feed(AudioBlock(loud if number % 2 else bytes(640), clock.now()))
            screen(transcript(str(number), final=False))
            await asyncio.sleep(0.02)
        assert 100 <= len(paper.written) - before <= 122

    on_screen(act)


def test_the_meter_shows_the_loudest_block_since_it_was_drawn():
    peak = np.zeros(320, "<i2")
    peak[7] = 16_384

    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, OPENED)
        await asyncio.sleep(1.0)
        for block in (bytes(640), peak.tobytes(), bytes(640)):
            screen.feed(AudioBlock(block, clock.now()))
        await asyncio.sleep(2 * DRAW_INTERVAL)
        assert "███████████░" in lines_of(paper)[-1]

    on_screen(act)


def test_a_stopped_terminal_is_written_to_when_it_goes_on():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, OPENED)
        await asyncio.sleep(1.0)
        paper.is_busy = True
        await play(screen, PLAIN.entries())
        paper.is_busy = False

    assert lines_of(on_screen(act))[0] == '#1 you   "What is the time?"'


def test_what_is_typed_is_shown():
    async def act(screen: Screen, paper: Paper) -> None:
        screen.show_typing("hello")
        await asyncio.sleep(2 * DRAW_INTERVAL)
        assert lines_of(paper)[-1] == "› hello▏"

    on_screen(act, prompt=True)


def test_the_region_is_gone_while_the_program_is_stopped():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, OPENED)
        screen.pause(True)
        assert lines_of(paper) == []
        screen.announce(clock.now(), "meanwhile")
        await asyncio.sleep(1.0)
        assert lines_of(paper) == []
        screen.pause(False)
        assert lines_of(paper)[0] == "meanwhile"
        assert lines_of(paper)[1].startswith("● listening")

    on_screen(act)


def test_the_cursor_is_hidden_only_meanwhile():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, OPENED)

    text = "".join(on_screen(act).written)
    assert text.startswith("\x1b[?25l")
    assert text.endswith("\x1b[?25h")
    assert text.count("\x1b[?2026h") == text.count("\x1b[?2026l") > 0


@given(
    st.lists(
        st.one_of(
            any_entry(text=st.sampled_from(["", "word " * 30, "漢字 " * 9, NASTY])),
            st.text(max_size=100).filter(str.isprintable),
        ),
        max_size=25,
    )
)
def test_the_region_never_eats_what_is_above_it(happens: list[Entry | str]):
    said = [f"<{number}>" for number in range(3)]

    async def act(screen: Screen, paper: Paper) -> None:
        for thing in [said[0], *happens, said[1], *happens, said[2]]:
            if isinstance(thing, str):
                if thing in said:
                    screen.announce(clock.now(), thing)
                else:
                    screen.show_typing(thing)
            else:
                screen(thing)
            await asyncio.sleep(DRAW_INTERVAL)

    left = lines_of(on_screen(act, prompt=True))
    assert [line for line in left if line in said] == said
    assert not any(line.startswith(("●", "›", "you  ", "agent ")) for line in left)
