"""Standard input and output that are never waited for: a stopped terminal stops no conversation."""

from __future__ import annotations

import asyncio
import codecs
import os
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from voicecli.sanitize import strip_controls

_PIECE = 65_536
"""Bytes read at a time."""


class NonBlockingWriter:
    """Writes to a file descriptor; a context manager, inside a running loop.

    What a terminal or a pipe does not accept at once is written when it does.  When the block ends
    without an error, the rest is waited for.

    file: not changed, because other programs share its flags: a terminal or pipe is opened again.
    unread: called once, when nobody reads any more; ``is_broken`` from then on.
    """

    def __init__(self, file: int, unread: Callable[[], None], encoding: str = "utf-8") -> None:
        self._given = file
        self._unread = unread
        self.is_broken = False
        self._encoding = encoding
        self._rest = b""

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._file = _open_again(self._given)
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        self._stop_waiting()
        with suppress(OSError):
            os.set_blocking(self._file, True)
            while self._rest and error is None:
                self._rest = self._rest[os.write(self._file, self._rest) :]
        if self._file != self._given:
            os.close(self._file)

    @property
    def busy(self) -> bool:
        """Whether something written has not been accepted yet."""
        return bool(self._rest)

    def write(self, text: str) -> None:
        """Write ``text``, now or later."""
        waiting = self.busy
        self._rest += text.encode(self._encoding, "replace")
        if not waiting:
            self._push()

    def write_line(self, text: str) -> None:
        """Write ``text`` and a line end."""
        self.write(f"{text}\n")

    def _push(self) -> None:
        try:
            self._rest = self._rest[os.write(self._file, self._rest) :]
        except BlockingIOError:
            pass
        except OSError:  # the pipe's reader or the terminal has gone
            self._rest = b""
            self._stop_waiting()
            if not self.is_broken:
                self.is_broken = True
                self._unread()
            return
        if self._rest:
            self._loop.add_writer(self._file, self._push)
        else:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        with suppress(OSError, ValueError):
            self._loop.remove_writer(self._file)


def _open_again(file: int) -> int:
    """Open the terminal or pipe behind ``file`` without blocking; other files are returned."""
    with suppress(OSError):
        path = os.ttyname(file) if os.isatty(file) else f"/proc/self/fd/{file}"
        if os.isatty(file) or stat.S_ISFIFO(os.fstat(file).st_mode):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return file


class LineReader:
    """Reads lines from a terminal, a pipe or a file, in the running loop, until ``close``.

    file: the descriptor; not read while lines wait to be taken.
    take: called with each line that is not blank, without unprintable characters.
    end: called once, after the last line.
    one_by_one: whether each line after the first waits for ``request_line``.
    """

    def __init__(
        self, file: int, take: Callable[[str], None], end: Callable[[], None], *, one_by_one: bool
    ) -> None:
        self._file = file
        self._take = take
        self._end = end
        self._one_by_one = one_by_one
        self._loop = asyncio.get_running_loop()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._lines: deque[str] = deque()
        self._rest = ""
        self._requested = True
        self._reading = self._ended = False
        self._proceed()

    def close(self) -> None:
        """Read no more."""
        self._ended = True
        self._stop_reading()

    def request_line(self) -> None:
        """Take the next line as soon as there is one."""
        self._requested = True
        self._proceed()

    def _proceed(self) -> None:
        """Hand over the requested lines; read on when none is left."""
        while self._lines and self._requested:
            self._requested = not self._one_by_one
            self._take(self._lines.popleft())
        if self._ended and self._requested and not self._lines:
            self._requested = False
            self._end()
        elif self._lines or self._ended:
            self._stop_reading()
        elif not self._reading:
            self._start_reading()

    def _start_reading(self) -> None:
        try:
            self._loop.add_reader(self._file, self._read)
            self._reading = True
        except PermissionError:  # a regular file is always readable
            self._loop.call_soon(self._read)
        except (OSError, ValueError):  # it is closed
            self._loop.call_soon(self._finish)

    def _stop_reading(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._file)
            self._reading = False

    def _read(self) -> None:
        if self._ended:
            return
        try:
            data = os.read(self._file, _PIECE)
        except BlockingIOError:
            return
        except OSError:  # the terminal has gone
            data = b""
        if not data:
            self._finish()
            return
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        self._lines.extend(filter(None, map(strip_controls, lines)))
        self._proceed()

    def _finish(self) -> None:
        if last := strip_controls(self._rest):
            self._lines.append(last)
        self._ended = True
        self._stop_reading()
        self._proceed()
