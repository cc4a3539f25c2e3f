"""Keys as they are pressed, from a terminal.

The terminal is told not to wait for a line end and not to show what is typed; Ctrl-C and Ctrl-Z
stay signals.  On every way out, the stop by Ctrl-Z included, it is as it was before.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from voicecli.units import Seconds

ENTER = "\r"
ESCAPE = "\x1b"
BACKSPACE = "\x7f"
END = "\x04"
"""Ctrl-D."""
ERASE_LINE = "\x15"
"""Ctrl-U."""
ERASE_WORD = "\x17"
"""Ctrl-W."""

LONE: Seconds = 0.05
"""An escape that nothing follows for so long is the key; a terminal sends a sequence in one go."""

_BEGIN_PASTE, _END_PASTE = "\x1b[200~", "\x1b[201~"
_PASTES, _PASTES_NO_MORE = b"\x1b[?2004h", b"\x1b[?2004l"

Press = Callable[[str], None]
Stopped = Callable[[bool], None]


class Keys:
    """Characters of a terminal as keys.  Pure.

    A key is one of the constants above, or text: a character, or all that was pasted.  Arrows,
    function keys, and keys together with Alt are none.
    """

    def __init__(self) -> None:
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")

    @property
    def undecided(self) -> bool:
        """Whether an escape may be a key, or the beginning of a sequence."""
        return bool(self._text) and not self._text.startswith(_BEGIN_PASTE)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete with ``data``."""
        self._text += self._decoder.decode(data)
        keys = []
        while (length := self._complete()) > 0:
            part, self._text = self._text[:length], self._text[length:]
            if key := _key(part):
                keys.append(key)
        return keys

    def decide(self) -> list[str]:
        """Nothing followed: the keys that are complete now."""
        text, self._text = self._text, ""
        return [ESCAPE] if text == ESCAPE else []

    def _complete(self) -> int:
        """How many characters of the text belong to its first key; 0: not all are there."""
        text = self._text
        if not text.startswith(ESCAPE):
            return min(len(text), 1)
        if text.startswith(_BEGIN_PASTE):
            end = text.find(_END_PASTE)
            return end + len(_END_PASTE) if end >= 0 else 0
        if text.startswith(("\x1b[", "\x1bO")):
            final = (index for index, c in enumerate(text) if index > 1 and "@" <= c <= "~")
            return next(final, -1) + 1
        return 2 if len(text) > 1 else 0  # with Alt


def _key(part: str) -> str | None:
    if part.startswith(_BEGIN_PASTE):
        return part[len(_BEGIN_PASTE) : -len(_END_PASTE)] or None
    if part == "\n":
        return ENTER
    if part == "\b":
        return BACKSPACE
    if part in (ENTER, BACKSPACE, END, ERASE_LINE, ERASE_WORD):
        return part
    return part if part.isprintable() else None


@contextmanager
def keys_pressed(file: int, press: Press, stopped: Stopped) -> Iterator[bool]:
    """``press`` is called with each key, in the running loop; whether there are any.

    There are none where ``file`` is no terminal, or that of another job in the foreground.

    stopped: is called with True before Ctrl-Z stops the program, with False when it goes on.
    """
    if not is_ours(file):
        yield False
        return
    keyboard = _Keyboard(file, press, stopped)
    try:
        keyboard.open()
        yield True
    finally:
        keyboard.close()


def is_ours(file: int) -> bool:
    """Whether ``file`` is a terminal whose keys are meant for this program."""
    try:
        return os.isatty(file) and os.tcgetpgrp(file) == os.getpgrp()
    except OSError:  # a terminal, but not the one that controls us
        return False


class _Keyboard:
    def __init__(self, file: int, press: Press, stopped: Stopped) -> None:
        self._file = file
        self._press = press
        self._stopped = stopped
        self._keys = Keys()
        self._loop = asyncio.get_running_loop()
        self._before = termios.tcgetattr(file)
        self._decision: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._take_terminal()
        self._loop.add_reader(self._file, self._read)
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)

    def close(self) -> None:
        self._loop.remove_signal_handler(signal.SIGTSTP)
        self._loop.remove_reader(self._file)
        if self._decision is not None:
            self._decision.cancel()
        self._give_terminal_back()

    def _take_terminal(self) -> None:
        attributes: list[Any] = termios.tcgetattr(self._file)
        attributes[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
        # At once: to wait until all output is shown may be for ever, after Ctrl-S.
        termios.tcsetattr(self._file, termios.TCSANOW, attributes)
        self._tell(_PASTES)

    def _give_terminal_back(self) -> None:
        with suppress(OSError, termios.error):  # it has gone
            termios.tcflush(self._file, termios.TCIFLUSH)  # keys are not for the shell
            termios.tcsetattr(self._file, termios.TCSANOW, self._before)
        self._tell(_PASTES_NO_MORE)

    def _tell(self, sequence: bytes) -> None:
        with suppress(OSError):
            os.write(self._file, sequence)

    def _read(self) -> None:
        try:
            data = os.read(self._file, 4096)
        except OSError:
            data = b""
        if not data:  # the terminal has gone
            self._loop.remove_reader(self._file)
            return
        if self._decision is not None:
            self._decision.cancel()
        self._pass_on(self._keys.feed(data))
        if self._keys.undecided:
            self._decision = self._loop.call_later(LONE, self._decide)

    def _decide(self) -> None:
        self._pass_on(self._keys.decide())

    def _pass_on(self, keys: list[str]) -> None:
        for key in keys:
            self._press(key)

    def _stop(self) -> None:
        """Ctrl-Z: the shell gets its terminal, and we take it again when we go on."""
        self._stopped(True)
        self._give_terminal_back()
        self._loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)
        if is_ours(self._file):
            self._take_terminal()
        self._stopped(False)
