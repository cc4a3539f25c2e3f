"""A user who types: lines from standard input, and the silence in the microphone meanwhile."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from voicecli.sanitize import strip_controls

_PIECE = 65_536
"""Bytes read at a time."""


class TypedLines:
    """Lines of text from a terminal, a pipe or a file, as they come; a context manager.

    file: the descriptor that is read; never while a line that was read is not wanted yet.
    take: is given a line, never empty, without what no terminal prints.
    end: is called once, after the last line.
    patient: whether each line but the first waits for ``more``.
    """

    def __init__(
        self, file: int, take: Callable[[str], None], end: Callable[[], None], *, patient: bool
    ) -> None:
        self._file = file
        self._take = take
        self._end = end
        self._patient = patient
        self._wanted = True
        self._reading = False
        self._ended = False
        self._lines: deque[str] = deque()
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._offer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended = True
        self._stop_reading()

    def more(self) -> None:
        """The next line may come."""
        self._wanted = True
        self._offer()

    def _offer(self) -> None:
        """Hand over what is wanted; read on when nothing is left to hand over."""
        while self._lines and self._wanted:
            self._wanted = not self._patient
            self._take(self._lines.popleft())
        if self._ended and self._wanted and not self._lines:
            self._wanted = False
            self._end()
        elif self._lines or self._ended:
            self._stop_reading()
        else:
            self._read_on()

    def _read_on(self) -> None:
        if self._reading:
            return
        try:
            self._loop.add_reader(self._file, self._read)
            self._reading = True
        except PermissionError:  # a file, which is always there to be read
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
        self._offer()

    def _finish(self) -> None:
        if last := strip_controls(self._rest):
            self._lines.append(last)
        self._ended = True
        self._stop_reading()
        self._offer()
