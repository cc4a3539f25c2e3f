"""Terminals: one that a program runs in, and one that only draws what it is sent."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Self

from rich.cells import cell_len

_SEQUENCE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")


class Terminal:
    """A pseudo-terminal with ``command`` in the foreground of it; a context manager."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        columns: int = 90,
        rows: int = 24,
    ) -> None:
        self._command = command
        self._environment = {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | dict(environment or {})
        self._size = (columns, rows)
        self.output = ""

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        columns, rows = self._size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave  # kept open: what the program leaves behind can be looked at
        inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.program = subprocess.Popen(
            self._command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=inherited | self._environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self._slave)
        os.close(self._master)

    @property
    def now(self) -> list[object]:
        """The terminal's attributes."""
        return termios.tcgetattr(self._slave)

    def typed_ahead(self) -> str:
        """What was typed and not read: the next program on the terminal would get it."""
        os.set_blocking(self._slave, False)
        try:
            return os.read(self._slave, 4096).decode()
        except BlockingIOError:
            return ""
        finally:
            os.set_blocking(self._slave, True)

    def press(self, keys: str) -> None:
        """Press ``keys``; Ctrl-C is a signal as in life."""
        os.write(self._master, keys.encode())

    def until(self, pattern: str, within: float = 20.0) -> str:
        """Read until ``pattern`` is in what came since the last call; what came."""
        begin, deadline = len(self.output), time.monotonic() + within
        while not re.search(pattern, self.output[begin:]):
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"no {pattern!r} in {self.output[begin:]!r}")
        return self.output[begin:]

    def quiet_for(self, seconds: float) -> bool:
        """Whether nothing comes for so long, but for what is on its way."""
        time.sleep(0.2)
        while self._read(0.0):
            pass
        return not self._read(seconds)

    def ended(self, within: float = 20.0) -> int:
        """Read until the program has ended; its exit code."""
        deadline = time.monotonic() + within
        while self.program.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        while self._read(0.0):
            pass
        code = self.program.poll()
        assert code is not None, f"it goes on: {self.output!r}"
        return code

    def resize(self, columns: int, rows: int) -> None:
        """The window has another size."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        self.program.send_signal(number)

    def drawn(self) -> list[str]:
        """What all the output comes to on a screen."""
        return drawn(self.output, *self._size)

    def _read(self, timeout: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(timeout, 0.0))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.output += data.decode(errors="replace")
        return bool(data)


def drawn(output: str, columns: int, rows: int) -> list[str]:
    """The lines that ``output`` leaves on a screen and above it, without empty ones at the end."""
    return [
        "".join(character for character, _ in line).rstrip()
        for line in _cells(output, columns, rows)
    ]


def painted(output: str, columns: int, rows: int) -> list[str]:
    """The same with their colours, as ANSI sequences."""
    return [
        "".join(
            f"\x1b[{style}m{''.join(character for character, _ in cells)}\x1b[0m"
            for style, cells in groupby(line, key=itemgetter(1))
        )
        for line in _cells(output, columns, rows)
    ]


Cell = tuple[str, str]
"""A character, and the number of its style."""


def _cells(output: str, columns: int, rows: int) -> list[list[Cell]]:
    canvas = _Canvas(columns, rows)
    for private, numbers, final, control, character in _SEQUENCE.findall(output):
        if control:
            canvas.move(control)
        elif character:
            canvas.put(character)
        elif final == "m":
            canvas.style = numbers
        elif not private:
            canvas.obey(final, int(numbers or (0 if final == "K" else 1)))
    lines = canvas.lines
    while lines and not "".join(character for character, _ in lines[-1]).strip():
        lines.pop()
    return lines


class _Canvas:
    """The sequences that this program sends, and no others."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._row = self._column = 0
        self.style = "0"
        self.lines: list[list[Cell]] = [[]]

    def put(self, character: str) -> None:
        width = cell_len(character)
        if self._column + width > self._columns:
            self._column = 0
            self._down()
        line = self.lines[self._row]
        line += [(" ", "0")] * (self._column + width - len(line))
        rest = [("", "0")] * (width - 1)
        line[self._column : self._column + width] = [(character, self.style), *rest]
        self._column += width

    def move(self, control: str) -> None:
        if control == "\r":
            self._column = 0
        else:
            self._down()

    def obey(self, final: str, number: int) -> None:
        top = max(len(self.lines) - self._rows, 0)
        match final, number:
            case "A", _:
                self._row = max(self._row - number, top)
            case "K", 2:
                self.lines[self._row] = []
            case _:
                raise AssertionError(f"CSI {number} {final}")

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append([])
