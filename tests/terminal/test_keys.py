"""Keys of a terminal, and the terminal after them."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.input import PipeInput, create_pipe_input

from tests.support.terminals import Terminal
from voicecli import clock
from voicecli.events import (
    AgentStopped,
    Event,
    InputEnded,
    MicrophoneMuted,
    TextTyped,
    TurnYielded,
    UserQuit,
)
from voicecli.terminal.keys import (
    BACKSPACE,
    END,
    ENTER,
    ERASE_LINE,
    ERASE_WORD,
    ESCAPE,
    KeyBindings,
    KeyTranslator,
    LineEditor,
    open_keys,
    owns_terminal,
)

# ── characters to keys ───────────────────────────────────────────────────────


class Wire:
    """What a terminal sends, read by prompt_toolkit and translated."""

    def __init__(self, pipe: PipeInput) -> None:
        self._pipe = pipe
        self._translator = KeyTranslator()

    def send(self, data: bytes) -> list[str]:
        self._pipe.send_bytes(data)
        return self._translator.translate(self._pipe.read_keys())

    def pause(self) -> list[str]:
        return self._translator.flush(self._pipe.flush_keys())


@contextmanager
def wire() -> Iterator[Wire]:
    with create_pipe_input() as pipe:
        yield Wire(pipe)


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"mq", ["m", "q"]),
        (b"\r\n", [ENTER, ENTER]),
        (b"\x7f\x08\x04\x15\x17", [BACKSPACE, BACKSPACE, END, ERASE_LINE, ERASE_WORD]),
        ("é漢".encode(), ["é", "漢"]),
        (b"\xff\xfea", ["a"]),
        (b"\x1b[A\x1b[1;5C\x1bOP\x1b[3~m", ["m"]),  # arrows, F1, delete
        (b"\x1b[99;99~\x1b[57u\x1bO9zm", ["m"]),  # nobody knows these
        (b"\x1bq\x1b\rm", ["m"]),  # with Alt
        (b"\x1b\x1b[Dm", ["m"]),  # Alt-Left
        (b"\x1b\x1b", []),  # Alt-Esc
        (b"\x00\x1c\x1f\x0e", []),
        (b"\x1b[200~two\nlines q\x1b[201~m", ["two\nlines q", "m"]),
        (b"\x1b[200~\x1b[201~", []),
    ],
)
def test_what_a_terminal_sends_for_keys(sent: bytes, keys: list[str]):
    with wire() as terminal:
        assert terminal.send(sent) == keys


def test_an_escape_alone_is_the_key_after_a_pause():
    with wire() as terminal:
        assert terminal.send(b"\x1b") == []
        assert terminal.pause() == [ESCAPE]
        assert terminal.pause() == []
        assert terminal.send(b"m") == ["m"]


def test_a_sequence_that_comes_in_pieces_is_no_escape():
    with wire() as terminal:
        pieces = [terminal.send(piece) for piece in (b"\x1b", b"[", b"1;5", b"Cm")]
        assert pieces == [[], [], [], ["m"]]


@pytest.mark.parametrize("begun", [b"\x1b[", b"\x1b[99;", b"\x1bO9"])
def test_a_sequence_that_never_ends_is_given_up(begun: bytes):
    with wire() as terminal:
        assert terminal.send(begun) == []
        assert terminal.pause() == []
        assert terminal.send(b"m") == ["m"]


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_pieces_come_to_the_same_keys_as_the_whole(sent: bytes, cuts: list[int]):
    with wire() as whole, wire() as pieces:
        at = [0, *sorted(cuts), len(sent)]
        parts = [pieces.send(sent[a:b]) for a, b in pairwise(at)]
        assert [key for part in parts for key in part] == whole.send(sent)
        assert pieces.pause() == whole.pause()


@given(st.binary(max_size=60))
def test_no_key_commands_a_terminal(sent: bytes):
    named = {ENTER, ESCAPE, BACKSPACE, END, ERASE_LINE, ERASE_WORD}
    with wire() as terminal:
        keys = [*terminal.send(sent), *terminal.pause()]
    singles = [key for key in keys if key not in named and b"\x1b[200~" not in sent]
    assert all(key.isprintable() for key in singles)


# ── the line that is typed ───────────────────────────────────────────────────


def pressed(*keys: str) -> tuple[LineEditor, list[str]]:
    prompt = LineEditor()
    return prompt, [line for key in keys if (line := prompt.press(key)) is not None]


def test_a_line_is_typed_and_sent():
    assert pressed(*"hello", ENTER)[1] == ["hello"]


def test_a_line_is_edited_at_its_end():
    assert pressed(*"one two", BACKSPACE)[0].text == "one tw"
    assert pressed(*"one two ", ERASE_WORD)[0].text == "one "
    assert pressed(*"one", ERASE_WORD)[0].text == ""
    assert pressed(*"one two", ERASE_LINE)[0].text == ""
    assert pressed(BACKSPACE, ERASE_WORD, ERASE_LINE)[0].text == ""


def test_a_line_that_says_nothing_is_not_sent():
    assert pressed(" ", " ", ENTER, ENTER)[1] == []


def test_what_is_pasted_stays_one_line_and_commands_nothing():
    prompt, sent = pressed("two\nlines\x1b[31m\r", "!", ENTER)
    assert sent == ["two lines[31m!"]
    assert prompt.text == ""


# ── what keys do ─────────────────────────────────────────────────────────────


def test_keys_of_a_user_who_speaks():
    events: list[Event] = []

    async def main() -> None:
        bindings = KeyBindings()
        bindings.press("m")  # nobody is there yet
        bindings.connect(events.append)
        for key in "mM\r\x1bxq":
            bindings.press(key)

    clock.run(main(), virtual=True)
    assert events == [
        MicrophoneMuted(at=0.0, muted=True),
        MicrophoneMuted(at=0.0, muted=False),
        TurnYielded(at=0.0),
        AgentStopped(at=0.0),
        UserQuit(at=0.0),
    ]


def test_lines_of_a_user_who_types_wait_for_the_session():
    events: list[Event] = []

    async def main() -> None:
        bindings = KeyBindings()
        for key in "hi\r":
            bindings.press_typing(key)
        bindings.press_typing("\x04")
        bindings.connect(events.append)
        bindings.press_typing("\x1b")

    clock.run(main(), virtual=True)
    assert events == [
        TextTyped(at=0.0, text="hi"),
        InputEnded(at=0.0),
        AgentStopped(at=0.0),
    ]


# ── the terminal ─────────────────────────────────────────────────────────────

PROGRAM = """
import asyncio, sys
from voicecli import clock
from voicecli.terminal.keys import open_keys

async def main():
    ended = asyncio.Event()
    def press(key):
        print(f"key {ascii(key)}", flush=True)
        if key == "q":
            ended.set()
        if key == "x":
            raise KeyboardInterrupt
    def stopped(stopped):
        print("stopped" if stopped else "resumed", flush=True)
    with open_keys(0, press, stopped) as any:
        print(f"keys: {any}", flush=True)
        await ended.wait()
        if sys.argv[1:] == ["fail"]:
            raise ValueError("on purpose")
clock.run(main())
print("over", flush=True)
"""


def terminal(*arguments: str) -> Terminal:
    return Terminal([sys.executable, "-c", PROGRAM, *arguments])


def test_keys_arrive_at_once_and_unseen_and_the_terminal_is_as_before():
    with terminal() as shown:
        shown.until("keys: True")
        assert shown.now != shown.before
        shown.press("m")
        assert "key 'm'" in shown.until("key 'm'")
        shown.press("\x1b")
        shown.until(r"key '\\x1b'")
        shown.press("\x1b[A")
        shown.press("q")
        assert shown.ended() == 0
        assert shown.now == shown.before
    assert "mkey" not in shown.output
    assert shown.output.count("key ") == 3
    assert shown.output.rindex("\x1b[?2004l") > shown.output.rindex("\x1b[?2004h")


@pytest.mark.parametrize(
    ("arguments", "keys", "code"),
    [(["fail"], "q", 1), ([], "x", 130), ([], "\x03", 130)],
    ids=["an exception", "an exception in a callback", "Ctrl-C"],
)
def test_the_terminal_is_as_before_however_it_ends(arguments: list[str], keys: str, code: int):
    with terminal(*arguments) as shown:
        shown.until("keys: True")
        shown.press(keys)
        assert shown.ended() in (code, -signal.SIGINT)
        assert shown.now == shown.before


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash, which stops and continues jobs")
def test_ctrl_z_gives_the_terminal_back_until_the_program_goes_on(tmp_path: Path):
    program = tmp_path / "keys.py"
    program.write_text(PROGRAM)
    with Terminal(["bash", "--norc", "--noprofile", "-i"], {"PS1": "$ "}) as shell:
        shell.until(r"\$ ")
        shell.press(f"{sys.executable} {program}\n")
        shell.until("keys: True")
        shell.press("\x1a")
        shell.until(r"(?s)stopped.*Stopped.*\$ ")
        shell.press("stty -a\n")
        assert "isig icanon iexten echo " in shell.until(r"(?s)lnext.*\$ ")
        shell.press("fg\n")
        shell.until("resumed")
        shell.press("mq")
        assert "key 'm'" in shell.until("over")


def test_what_is_pressed_before_the_end_is_not_left_to_the_shell():
    with terminal() as shown:
        shown.until("keys: True")
        shown.press("qls\r")
        assert shown.ended() == 0
        assert shown.typed_ahead() == ""


def test_a_pipe_has_no_keys():
    reading, writing = os.pipe()

    async def main() -> bool:
        with open_keys(reading, lambda _: None, lambda _: None) as keyed:
            return keyed

    assert clock.run(main()) is False
    os.close(reading)
    os.close(writing)


def test_another_terminal_than_ones_own_has_no_keys():
    master, slave = pty.openpty()
    assert not owns_terminal(slave)
    os.close(master)
    os.close(slave)
