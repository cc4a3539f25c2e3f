"""What is shown of a conversation while it is held: live, as plain lines, as JSON lines."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.terminals import drawn
from tests.support.timelines import Exchange, any_entry
from voicecli import clock
from voicecli.events import (
    AgentStopped,
    AudioGlitched,
    CancelReply,
    CommitReply,
    ConnectionLost,
    ConnectionOpened,
    EndSession,
    FinalTranscript,
    InputEnded,
    InterimTranscript,
    LoopLagged,
    MicrophoneMuted,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFinished,
    Resume,
    Warned,
)
from voicecli.metrics.summary import Budgets
from voicecli.report.json_lines import JsonLines, result_line
from voicecli.terminal.plain import PlainLines
from voicecli.terminal.screen import INTERVAL, Screen
from voicecli.terminal.streams import NonBlockingWriter
from voicecli.terminal.view import METER, ROWS, LiveView, Moment, meter, region, wrapped
from voicecli.timeline import Entry, decode
from voicecli.units import AudioBlock

PLAIN = Exchange()
OPENED = [
    ConnectionOpened(at=0.05, service="stt", took=0.041, request_id="a"),
    ConnectionOpened(at=0.06, service="tts", took=0.052, request_id="b"),
]
NASTY = "\x1b]0;title\x07red\x1b[31m \u202eleft\nnext sk-abcdefghijkl " + "long " * 50


def unstyled(line: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", line)


def viewed(*records: Entry) -> LiveView:
    view = LiveView()
    for record in records:
        view.note(record)
    return view


def until(exchange: Exchange, kind: type[Entry]) -> list[Entry]:
    """The exchange up to its first record of a kind."""
    records = exchange.entries()
    index = next(i for i, record in enumerate(records) if isinstance(record, kind))
    return [*OPENED, *records[: index + 1]]


def heard(text: str, *, final: bool = True) -> Entry:
    kind: Any = FinalTranscript if final else InterimTranscript
    return kind(at=9.0, text=text, speech_start=8.0, speech_end=8.5)


# ── the view ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ([], "connecting"),
        (OPENED, "listening"),
        (until(PLAIN, FinalTranscript), "listening"),
        (until(PLAIN, CommitReply), "thinking"),
        (until(PLAIN, PlaybackStarted), "speaking"),
        (until(PLAIN, ReplyFinished), "listening"),
        ([*until(PLAIN, PlaybackStarted), EndSession(at=9.0, reason="quit")], "ended"),
        (until(replace(PLAIN, ends="taken back"), ReplyCancelled), "listening"),
        (until(replace(PLAIN, ends="interrupted"), ReplyCancelled), "listening"),
        ([*OPENED, *replace(PLAIN, ends="llm failed").entries()], "listening"),
        ([*OPENED, *replace(PLAIN, ends="silent").entries()], "listening"),
    ],
)
def test_who_has_the_floor(records: list[Entry], state: str):
    assert viewed(*records).state == state


def test_the_users_words_are_shown_as_they_are_recognised():
    view = viewed(*OPENED, heard("what", final=False), heard("What is", final=False))
    assert view.words == "What is"
    view.note(heard("What is the"))
    view.note(heard("time", final=False))
    assert view.words == "What is the time"
    view.note(heard(""))  # a final of silence keeps what it knows
    assert view.words == "What is the"


def test_words_leave_when_they_are_answered_and_come_back_when_the_user_goes_on():
    view = viewed(*until(PLAIN, CommitReply))
    assert view.words == ""
    view.note(CancelReply(at=2.0, turn=1, heard_nothing=True))
    view.note(heard("Or no", final=False))
    assert view.words == "What is the time? Or no"


def test_a_back_channel_is_forgotten_and_an_interruption_is_not():
    speaking = until(PLAIN, PlaybackStarted)
    assert viewed(*speaking, heard("Uh-huh."), Resume(at=9.0, turn=1)).words == ""
    assert viewed(*speaking, heard("Right."), PLAIN.end(3.0)[0]).words == ""
    cut = CancelReply(at=9.0, turn=1, heard_nothing=False)
    assert viewed(*speaking, heard("Stop that", final=False), cut).words == "Stop that"


def test_a_late_word_of_a_reply_that_is_over_changes_nothing():
    view = viewed(*OPENED, *PLAIN.entries())
    view.note(PlaybackStarted(at=9.0, turn=1))
    assert view.state == "listening"


@given(st.lists(any_entry(), max_size=20))
def test_whatever_happens_can_be_shown(records: list[Entry]):
    view = viewed(*records)
    rows = region(view, Moment(heard="word " * 50, level=-20.0, typing="x" * 99), 40)
    assert all(cell_len(unstyled(row)) < 40 for row in rows)


# ── the region ───────────────────────────────────────────────────────────────


def shown(view: LiveView, width: int = 60, **moment: Any) -> list[str]:
    return [unstyled(row) for row in region(view, Moment(**moment), width)]


def test_the_region_while_the_user_speaks():
    view = viewed(*OPENED, heard("What is the capital of", final=False))
    assert shown(view, level=-20.0, keys="q quit") == [
        "you   What is the capital of",
        "● listening  ████████░░░░  q quit",
    ]


def test_the_region_while_the_agent_speaks():
    view = viewed(*until(PLAIN, PlaybackStarted))
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
    view.note(MicrophoneMuted(at=2.0, muted=False))
    assert shown(view, level=-3.0)[0].startswith("● listening  ███████████░")


def test_of_many_words_the_last_are_shown():
    view = viewed(*OPENED, heard(" ".join(map(str, range(100))), final=False))
    *rows, status = shown(view, width=30)
    assert len(rows) == ROWS
    assert rows[0].startswith("you  …")
    assert rows[-1].endswith(" 99")
    assert status.startswith("● listening")


def test_nothing_a_service_says_commands_the_terminal():
    view = viewed(*until(PLAIN, PlaybackStarted), heard(NASTY, final=False))
    text = "".join(shown(view, heard=NASTY))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "abcdefghijkl" not in text


def test_the_meter_goes_from_quiet_to_full_scale():
    levels = np.linspace(-90, 0, 200)
    cells = [meter(level) for level in levels]
    assert (cells[0], cells[-1]) == (0, METER)
    assert cells == sorted(cells)
    assert set(cells) == set(range(METER + 1))


@given(st.text(max_size=200), st.integers(2, 40))
def test_wrapping_loses_nothing(text: str, width: int):
    rows = wrapped(text, width)
    assert "".join(rows).replace(" ", "") == "".join(text.split()).replace(" ", "")
    assert all(cell_len(row) <= width for row in rows)


# ── the screen ───────────────────────────────────────────────────────────────


class Paper(NonBlockingWriter):
    """Takes all that is written, unless it is busy."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.is_busy = False

    @property
    def busy(self) -> bool:
        return self.is_busy

    def write(self, text: str) -> None:
        assert not self.is_busy
        self.written.append(text)


def on_screen(
    act: Callable[[Screen, Paper], Any], *, said: Callable[[], str] = str, **options: Any
) -> Paper:
    """What a screen writes in virtual time while ``act`` runs, and a second after it."""
    paper = Paper()

    async def main() -> None:
        with Screen(paper, -1, Budgets(), heard=said, **options) as screen:
            await act(screen, paper)
            await asyncio.sleep(1.0)

    clock.run(main(), virtual=True)
    return paper


def lines_of(paper: Paper) -> list[str]:
    return drawn("".join(paper.written), 80, 24)


async def play(screen: Screen, records: Iterable[Entry]) -> None:
    for record in records:
        await asyncio.sleep(max(record.at - clock.now(), 0))
        screen.note(record)


def test_what_is_left_on_the_screen_is_what_was_said_and_measured():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, [*OPENED, *PLAIN.entries()])
        await asyncio.sleep(1.0)
        assert lines_of(paper)[-1].startswith("● listening")

    assert lines_of(on_screen(act)) == [
        '#1 you   "What is the time?"',
        '#1 agent "It is noon."',
        "#1 ⏱ mouth-to-ear 726 ms = stt.ttfs 300 + llm.ttft 200 + llm.clause 45 + tts.ttf",
        "a 120 + playout 60 + pipeline 1   [speech_final]  cold",
    ]


def test_the_reply_is_shown_as_it_is_heard_without_an_event():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, until(PLAIN, PlaybackStarted))
        begun = clock.now()
        for second in range(1, 4):
            await asyncio.sleep(begun + second - clock.now() + 2 * INTERVAL)
            assert f"agent {'word ' * second}".strip() in lines_of(paper)[-2]

    on_screen(act, said=lambda: "word " * int(clock.now() - 1.7))


def test_nothing_is_written_while_nothing_changes():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, OPENED)
        await asyncio.sleep(1.0)
        before = len(paper.written)
        for _ in range(500):
            screen.hear(AudioBlock(bytes(640), clock.now()))
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
            screen.hear(AudioBlock(loud if number % 2 else bytes(640), clock.now()))
            screen.note(heard(str(number), final=False))
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
            screen.hear(AudioBlock(block, clock.now()))
        await asyncio.sleep(2 * INTERVAL)
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
        screen.type("hello")
        await asyncio.sleep(2 * INTERVAL)
        assert lines_of(paper)[-1] == "› hello▏"

    on_screen(act, prompt=True)


def test_the_region_is_gone_while_the_program_is_stopped():
    async def act(screen: Screen, paper: Paper) -> None:
        await play(screen, OPENED)
        screen.stopped(True)
        assert lines_of(paper) == []
        screen.say(clock.now(), "meanwhile")
        await asyncio.sleep(1.0)
        assert lines_of(paper) == []
        screen.stopped(False)
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
                    screen.say(clock.now(), thing)
                else:
                    screen.type(thing)
            else:
                screen.note(thing)
            await asyncio.sleep(INTERVAL)

    left = lines_of(on_screen(act, prompt=True))
    assert [line for line in left if line in said] == said
    assert not any(line.startswith(("●", "›", "you  ", "agent ")) for line in left)


# ── plain lines ──────────────────────────────────────────────────────────────

NOON = datetime(2026, 11, 25, 12, 0, 0)


def plain(*records: Entry, block: AudioBlock | None = None, **options: Any) -> list[str]:
    told: list[str] = []
    lines = PlainLines(told.append, NOON, Budgets(), **options)
    if block is not None:
        lines.hear(block)
        lines.hear(block)
    for record in records:
        lines.note(record)
    return told


def test_a_turn_in_plain_lines():
    told = plain(*OPENED, *PLAIN.entries())
    assert told == [
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


def test_the_microphone_is_told_of_once():
    assert plain(block=AudioBlock(bytes(640), 0.5)) == [
        "12:00:00.500 microphone streaming",
        "12:00:00.500 you can speak now",
    ]


def test_lines_of_the_day_after_midnight():
    told: list[str] = []
    PlainLines(told.append, datetime(2026, 11, 25, 23, 59, 59)).say(1.25, "late")
    assert told == ["00:00:00.250 late"]


@pytest.mark.parametrize(
    ("record", "told"),
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
def test_what_else_befalls(record: Entry, told: str):
    assert plain(record) == [f"12:00:01.000 {told}"]


@pytest.mark.parametrize(
    ("records", "invited"),
    [
        (PLAIN.entries(), True),
        (replace(PLAIN, ends="llm failed").entries(), True),
        (replace(PLAIN, ends="interrupted").entries(), False),  # the user speaks already
        (replace(PLAIN, ends="taken back").entries(), False),
        ([*until(PLAIN, PlaybackStarted), AgentStopped(at=2.0), *PLAIN.end(2.0)], True),
        ([InputEnded(at=0.0), *PLAIN.entries()], False),
    ],
)
def test_the_user_is_invited_when_the_floor_is_free(records: list[Entry], invited: bool):
    assert any("you can speak now" in line for line in plain(*records)) == invited


def test_who_types_is_told_nothing_of_a_microphone():
    told = plain(MicrophoneMuted(at=0, muted=True), *PLAIN.entries(), typed=True)
    assert "you can type now" in told[-1]
    assert not any("microphone" in line for line in told)


@given(st.lists(any_entry(text=st.just(NASTY), reason=st.just(NASTY)), max_size=5))
def test_plain_lines_are_single_and_harmless(records: list[Entry]):
    harmless = [replace(r, at=abs(r.at) % 1e6) for r in records]
    for line in plain(*harmless):
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", line)


# ── JSON lines ───────────────────────────────────────────────────────────────


@given(st.lists(any_entry(), max_size=5))
def test_json_lines_are_the_records(records: list[Entry]):
    told: list[str] = []
    lines = JsonLines(told.append)
    for record in records:
        lines.note(record)
    parsed = [json.loads(line) for line in told]
    assert [one.pop("schema_version") for one in parsed] == [1] * len(records)
    assert [decode(json.dumps(one)) for one in parsed] == records
    assert all(line.isascii() and line.isprintable() for line in told)


def test_the_result_is_the_last_line():
    assert json.loads(result_line('{"turns": [],\n "x": 1}')) == {
        "schema_version": 1,
        "event": "Result",
        "result": {"turns": [], "x": 1},
    }


# ── the outlet ───────────────────────────────────────────────────────────────


def test_a_full_pipe_is_not_waited_for_and_loses_nothing():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    text = "".join(f"{number}\n" for number in range(60_000))

    async def main() -> bytes:
        taken = b""
        with NonBlockingWriter(writing, pytest.fail) as outlet:
            outlet.write(text)
            assert outlet.busy
            outlet.write_line("last")
            while outlet.busy:
                with suppress(BlockingIOError):
                    taken += os.read(reading, 65536)
                await asyncio.sleep(0)
            assert os.get_blocking(writing)  # whoever shares it is not surprised
        return taken + os.read(reading, 65536)

    assert clock.run(main()).decode() == f"{text}last\n"
    os.close(reading)
    os.close(writing)


def test_a_pipe_that_nobody_reads_is_told_of_once():
    reading, writing = os.pipe()
    told: list[str] = []

    async def main() -> None:
        with NonBlockingWriter(writing, lambda: told.append("broken")) as outlet:
            os.close(reading)
            outlet.write_line("one")
            outlet.write_line("two")
            assert not outlet.busy

    clock.run(main())
    assert told == ["broken"]
    os.close(writing)


def test_what_the_encoding_lacks_is_replaced(tmp_path):
    file = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)

    async def main() -> None:
        with NonBlockingWriter(file, pytest.fail, "ascii") as outlet:
            outlet.write_line("⏱ 1 ms")

    clock.run(main())
    os.close(file)
    assert (tmp_path / "out").read_text() == "? 1 ms\n"
