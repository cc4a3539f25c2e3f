"""Keys as they are pressed, and the line they type.

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
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

from voicecli.sanitize import strip_controls
from voicecli.units import Seconds

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyPress

ENTER = "\r"
ESCAPE = "\x1b"
BACKSPACE = "\x7f"
END = "\x04"
"""Ctrl-D."""
ERASE_LINE = "\x15"
"""Ctrl-U."""
ERASE_WORD = "\x17"
"""Ctrl-W."""

LONE_ESCAPE: Seconds = 0.05
"""An ESC is the Escape key when nothing follows for this long: terminals send sequences at once."""

_NAMES = {
    "c-m": ENTER,
    "c-j": ENTER,
    "c-h": BACKSPACE,
    "c-d": END,
    "c-u": ERASE_LINE,
    "c-w": ERASE_WORD,
}
"""prompt_toolkit's names of the keys above.  It calls both Backspace and Ctrl-H "c-h"."""

_PASTE = "<bracketed-paste>"
_ENABLE_BRACKETED_PASTE, _DISABLE_BRACKETED_PASTE = b"\x1b[?2004h", b"\x1b[?2004l"

_SEQUENCE = re.compile(r"\x1b(?:[\[O][^@-~]*[@-~]|[^\[O])", re.DOTALL)
"""A key together with Alt, or an escape sequence."""

Press = Callable[[str], None]


class KeyTranslator:
    """Translates prompt_toolkit's key presses into keys.  Pure.

    A key is one of the constants above, or text: a character, or everything that was pasted.
    Arrows, function keys, unknown sequences and keys pressed together with Alt are dropped.
    """

    def __init__(self) -> None:
        self._sequence = ""

    def translate(self, presses: Iterable[KeyPress]) -> list[str]:
        """Return the keys among ``presses``.

        The parser reports an ESC that something follows as a key press of its own, then what
        followed: Alt, or a sequence that it does not know.
        """
        keys = []
        for press in presses:
            if press.key == _PASTE:
                self._sequence = ""
                keys.append(press.data)
            elif self._sequence or press.data == ESCAPE:
                self._sequence += press.data
                if len(press.data) > 1 or _SEQUENCE.fullmatch(self._sequence):
                    self._sequence = ""
            else:
                keys.append(_name(press))
        return list(filter(None, keys))

    def flush(self, presses: Iterable[KeyPress]) -> list[str]:
        """Return the keys among ``presses``, which the parser no longer holds back.

        That is a lone Escape, or an unfinished sequence, which is dropped.
        """
        sequence, self._sequence = self._sequence, ""
        held = [press.data for press in presses]
        return [ESCAPE] if set(held) == {ESCAPE} and not sequence else []


def _name(press: KeyPress) -> str:
    """The key of one press, or ""."""
    if not press.data:  # the rest of a combination
        return ""
    name = press.key.value if isinstance(press.key, Enum) else press.key
    typed = press.data if len(press.data) == 1 and press.data.isprintable() else ""
    return _NAMES.get(name, typed)


class LineEditor:
    """A line that is being typed, edited only at its end.  Pure.

    text: what has been typed so far.
    """

    def __init__(self) -> None:
        self.text = ""

    def press(self, key: str) -> str | None:
        """Apply ``key``; return the line if it completes one that is not blank."""
        match key:
            case _ if key == ENTER:
                line, self.text = strip_controls(self.text), ""
                return line or None
            case _ if key == BACKSPACE:
                self.text = self.text[:-1]
            case _ if key == ERASE_LINE:
                self.text = ""
            case _ if key == ERASE_WORD:
                self.text = self.text.rstrip().rpartition(" ")[0]
                self.text += " " if self.text else ""
            case _:
                self.text += "".join(c for c in key.replace("\n", " ") if c.isprintable())
        return None


def preload_keys() -> None:
    """Import prompt_toolkit, which takes 0.1 s, before anything waits for the event loop."""
    import_module("prompt_toolkit.input")


@contextmanager
def open_keys(file: int, press: Press, stopped: Callable[[bool], None]) -> Iterator[bool]:
    """Call ``press`` with each key, in the running loop; yields whether there will be any.

    There are none if ``file`` is not a terminal, or one whose foreground is another job.

    stopped: called with True before Ctrl-Z stops the program, with False when it continues.
    """
    if not owns_terminal(file):
        yield False
        return
    with open(file, encoding="utf-8", closefd=False) as terminal:
        keyboard = _Keyboard(terminal, press, stopped)
        try:
            keyboard.open()
            yield True
        finally:
            keyboard.close()


def owns_terminal(file: int) -> bool:
    """Whether ``file`` is a terminal whose keys are meant for this program."""
    try:
        return os.isatty(file) and os.tcgetpgrp(file) == os.getpgrp()
    except OSError:  # not our controlling terminal
        return False


class _Keyboard:
    def __init__(self, terminal: TextIO, press: Press, stopped: Callable[[bool], None]) -> None:
        from prompt_toolkit.input import create_input

        self._file = terminal.fileno()
        self._press = press
        self._stopped = stopped
        self._input = create_input(terminal)
        self._translator = KeyTranslator()
        self._loop = asyncio.get_running_loop()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._taken = ExitStack()

    def open(self) -> None:
        self._take_terminal()
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)

    def close(self) -> None:
        self._loop.remove_signal_handler(signal.SIGTSTP)
        self._taken.close()

    def _take_terminal(self) -> None:
        with ExitStack() as taken:
            taken.callback(self._send, _DISABLE_BRACKETED_PASTE)
            self._send(_ENABLE_BRACKETED_PASTE)
            before = termios.tcgetattr(self._file)
            taken.enter_context(self._input.raw_mode())
            taken.callback(self._discard_typeahead)
            self._keep_signals(before)
            taken.callback(self._cancel_flush)
            taken.enter_context(self._input.attach(self._read))
            self._taken = taken.pop_all()

    def _keep_signals(self, before: list[int | list[bytes | int]]) -> None:
        """Undo what raw mode does to Ctrl-C, Ctrl-Z, Ctrl-S and Ctrl-Q."""
        attributes = termios.tcgetattr(self._file)
        attributes[tty.IFLAG] = before[tty.IFLAG]
        attributes[tty.LFLAG] |= termios.ISIG
        # TCSADRAIN would wait for output that Ctrl-S has stopped.
        termios.tcsetattr(self._file, termios.TCSANOW, attributes)

    def _discard_typeahead(self) -> None:
        """Leave no keys to the shell."""
        with suppress(OSError, termios.error):  # the terminal has gone
            termios.tcflush(self._file, termios.TCIFLUSH)

    def _send(self, sequence: bytes) -> None:
        with suppress(OSError):
            os.write(self._file, sequence)

    def _read(self) -> None:
        presses = self._input.read_keys()
        if not presses and not owns_terminal(self._file):  # it has gone: it is readable for ever
            self._taken.close()
            return
        self._cancel_flush()
        self._flush_timer = self._loop.call_later(LONE_ESCAPE, self._flush)
        self._pass_on(self._translator.translate(presses))

    def _flush(self) -> None:
        self._pass_on(self._translator.flush(self._input.flush_keys()))

    def _cancel_flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()

    def _pass_on(self, keys: list[str]) -> None:
        for key in keys:
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
