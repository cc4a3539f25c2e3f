"""Keys as they are pressed, the line they type, and what they do.

prompt_toolkit reads the terminal and parses what it sends.  Ctrl-C and Ctrl-Z stay signals; Ctrl-S
and Ctrl-Q still stop and start the terminal's output.  The terminal is restored on every way out,
and while the program is stopped by Ctrl-Z.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import termios
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from voicecli import clock, events
from voicecli.sanitize import strip_controls
from voicecli.units import Seconds

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyPress

KEYS = ENTER, ESCAPE, BACKSPACE, END, ERASE_LINE, ERASE_WORD = tuple("\r\x1b\x7f\x04\x15\x17")
"""END is Ctrl-D, ERASE_LINE Ctrl-U, ERASE_WORD Ctrl-W."""

SPEAKING_KEYS = "m mute · Enter answer me · Esc stop · q quit"
TYPING_KEYS = "Enter send · Esc stop · Ctrl-D end"

LONE_ESCAPE: Seconds = 0.05
"""An ESC is the Escape key when nothing follows for this long: terminals send sequences at once."""

_ALIASES = {"\n": ENTER, "\b": BACKSPACE}
_PASTE = "<bracketed-paste>"
_ENABLE_BRACKETED_PASTE, _DISABLE_BRACKETED_PASTE = b"\x1b[?2004h", b"\x1b[?2004l"

_SEQUENCE = re.compile(r"\x1b(?:[\[O][^@-~]*[@-~]|[^\[O])", re.DOTALL)
"""A key together with Alt, or an escape sequence."""


class KeyTranslator:
    """Translates prompt_toolkit's key presses into keys.  Pure.

    A key is one of KEYS, or text: a character, or everything that was pasted.  Arrows, function
    keys, unknown sequences and keys pressed together with Alt are dropped.
    """

    def __init__(self) -> None:
        self._sequence = ""

    def translate(self, presses: Iterable[KeyPress]) -> list[str]:
        """Return the keys among ``presses``.

        The parser reports Alt, and an ESC that begins an unknown sequence, as a press of its own.
        """
        keys = []
        for press in presses:
            key = _ALIASES.get(press.data, press.data)
            if press.key == _PASTE:
                self._sequence = ""
                keys.append(press.data)
            elif self._sequence or key == ESCAPE:
                self._sequence += press.data
                if len(press.data) > 1 or _SEQUENCE.fullmatch(self._sequence):
                    self._sequence = ""
            elif key in KEYS or (len(key) == 1 and key.isprintable()):
                keys.append(key)
        return list(filter(None, keys))

    def flush(self, presses: Iterable[KeyPress]) -> list[str]:
        """Return Escape if it is all of ``presses``, which the parser holds back no longer.

        Others are the beginning of a sequence that has no end.
        """
        sequence, self._sequence = self._sequence, ""
        return [ESCAPE] if {press.data for press in presses} == {ESCAPE} and not sequence else []


class LineEditor:
    """A line that is being typed, edited only at its end.  Pure.

    text: what has been typed so far.
    """

    def __init__(self) -> None:
        self.text = ""

    def press(self, key: str) -> str | None:
        """Apply ``key``; return the line if it completes one that is not blank."""
        if key == ENTER:
            line, self.text = strip_controls(self.text), ""
            return line or None
        if key == BACKSPACE:
            self.text = self.text[:-1]
        elif key == ERASE_LINE:
            self.text = ""
        elif key == ERASE_WORD:
            self.text = re.sub(r"\S*\s*$", "", self.text)
        else:
            self.text += "".join(c for c in key.replace("\n", " ") if c.isprintable())
        return None


class KeyBindings:
    """Turns keys and typed lines into events; lines typed before the session exists wait for it."""

    def __init__(self) -> None:
        self._post: Callable[[events.Event], None] | None = None
        self._early: list[events.Event] = []
        self._muted = False
        self._editor = LineEditor()

    def connect(self, post: Callable[[events.Event], None]) -> None:
        """Pass events to a session from now on."""
        self._post = post
        for event in self._early:
            post(replace(event, at=clock.now()))

    def press(self, key: str) -> None:
        """Handle a key of a user who speaks."""
        if key in ("q", "Q"):
            self.quit()
        elif self._post is None:
            return
        elif key in ("m", "M"):
            self._muted = not self._muted
            self._post(events.MicrophoneMuted(at=clock.now(), muted=self._muted))
        elif key == ENTER:
            self._post(events.TurnYielded(at=clock.now()))
        elif key == ESCAPE:
            self._post(events.AgentStopped(at=clock.now()))

    def press_typing(self, key: str) -> str:
        """Handle a key of a user who types; return the line so far."""
        if key == ESCAPE:
            self.press(key)
        elif key == END and not self._editor.text:
            self.end_input()
        elif line := self._editor.press(key):
            self.submit(line)
        return self._editor.text

    def submit(self, line: str) -> None:
        """Post a line that the user has typed."""
        (self._post or self._early.append)(events.TextTyped(at=clock.now(), text=line))

    def end_input(self) -> None:
        """Post that the user will type no more."""
        (self._post or self._early.append)(events.InputEnded(at=clock.now()))

    def quit(self) -> None:
        """End the session; before it exists, act as Ctrl-C."""
        if self._post is None:
            signal.raise_signal(signal.SIGINT)
        else:
            self._post(events.UserQuit(at=clock.now()))


def owns_terminal(file: int) -> bool:
    """Return whether ``file`` is a terminal whose keys are meant for this program."""
    try:
        return os.isatty(file) and os.tcgetpgrp(file) == os.getpgrp()
    except OSError:  # not our controlling terminal
        return False


@contextmanager
def open_keys(
    file: int, press: Callable[[str], None], stopped: Callable[[bool], None]
) -> Iterator[bool]:
    """Call ``press`` with each key, in the running loop; yields whether there will be any.

    There are none if ``file`` is not a terminal, or one whose foreground is another job.

    stopped: called with True before Ctrl-Z stops the program, with False when it continues.
    """
    if not owns_terminal(file):
        yield False
        return
    with open(file, encoding="utf-8", closefd=False) as stream, _Keyboard(stream, press, stopped):
        yield True


class _Keyboard:
    def __init__(
        self, terminal: TextIO, press: Callable[[str], None], stopped: Callable[[bool], None]
    ) -> None:
        from prompt_toolkit.input import create_input

        self._file = terminal.fileno()
        self._press = press
        self._stopped = stopped
        self._input = create_input(terminal)
        self._translator = KeyTranslator()
        self._loop = asyncio.get_running_loop()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._taken = ExitStack()

    def __enter__(self) -> None:
        self._take_terminal()
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)

    def __exit__(self, *_: object) -> None:
        self._loop.remove_signal_handler(signal.SIGTSTP)
        self._taken.close()

    def _take_terminal(self) -> None:
        with ExitStack() as taken:
            taken.callback(self._send, _DISABLE_BRACKETED_PASTE)
            self._send(_ENABLE_BRACKETED_PASTE)
            before = termios.tcgetattr(self._file)
            taken.enter_context(self._input.raw_mode())
            taken.callback(self._discard_typeahead)
            attributes = termios.tcgetattr(self._file)
            attributes[tty.IFLAG] = before[tty.IFLAG]  # Ctrl-S and Ctrl-Q
            attributes[tty.LFLAG] |= termios.ISIG  # Ctrl-C and Ctrl-Z
            # TCSADRAIN would wait for output that Ctrl-S has stopped.
            termios.tcsetattr(self._file, termios.TCSANOW, attributes)
            taken.callback(self._cancel_flush)
            taken.enter_context(self._input.attach(self._read))
            self._taken = taken.pop_all()

    def _send(self, sequence: bytes) -> None:
        with suppress(OSError):
            os.write(self._file, sequence)

    def _discard_typeahead(self) -> None:
        """Leave no keys to the shell."""
        with suppress(OSError, termios.error):  # the terminal has gone
            termios.tcflush(self._file, termios.TCIFLUSH)

    def _cancel_flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()

    def _read(self) -> None:
        presses = self._input.read_keys()
        if not presses and not owns_terminal(self._file):  # it has gone, and stays readable
            self._taken.close()
            return
        self._cancel_flush()
        self._flush_timer = self._loop.call_later(LONE_ESCAPE, self._flush)
        for key in self._translator.translate(presses):
            self._press(key)

    def _flush(self) -> None:
        for key in self._translator.flush(self._input.flush_keys()):
            self._press(key)

    def _stop(self) -> None:
        """Stop the program as Ctrl-Z does; give the shell its terminal meanwhile."""
        self._stopped(True)
        self._taken.close()
        self._loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)
        if owns_terminal(self._file):
            self._take_terminal()
        self._stopped(False)
