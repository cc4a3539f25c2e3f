"""Standard output that is never waited for: a stopped terminal must not stop the conversation."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class NonBlockingWriter:
    """Writes to a file descriptor; a context manager, inside a running loop.

    What a terminal or a pipe does not take at once is written when it does; at a good end it is
    waited for, as by any program.

    file: stays as it is: others share its flags, so a terminal or a pipe is opened once more.
    broken: is called once, when nobody reads any more.
    """

    def __init__(self, file: int, broken: Callable[[], None], encoding: str = "utf-8") -> None:
        self._given = file
        self._broken = broken
        self._encoding = encoding
        self._rest = b""

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._file = _reopened(self._given)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forget_writer()
        with suppress(OSError):
            os.set_blocking(self._file, True)
            while self._rest and error is None:
                self._rest = self._rest[os.write(self._file, self._rest) :]
        if self._file != self._given:
            os.close(self._file)

    @property
    def busy(self) -> bool:
        """Whether something written has not been taken yet."""
        return bool(self._rest)

    def write(self, text: str) -> None:
        """Write ``text``, now or later."""
        waiting = self.busy
        self._rest += text.encode(self._encoding, "replace")
        if not waiting:
            self._push()

    def line(self, text: str) -> None:
        """Write ``text`` and a line end."""
        self.write(f"{text}\n")

    def _push(self) -> None:
        try:
            self._rest = self._rest[os.write(self._file, self._rest) :]
        except BlockingIOError:
            pass
        except OSError:  # the pipe's reader or the terminal has gone
            self._rest = b""
            self._forget_writer()
            broken, self._broken = self._broken, _nothing
            broken()
            return
        if self._rest:
            self._loop.add_writer(self._file, self._push)
        else:
            self._forget_writer()

    def _forget_writer(self) -> None:
        with suppress(OSError, ValueError):
            self._loop.remove_writer(self._file)


def _nothing() -> None:
    """Whoever wanted to know was told."""


def _reopened(file: int) -> int:
    """Another way to the terminal or pipe behind ``file``, which does not wait; or ``file``."""
    with suppress(OSError):
        path = os.ttyname(file) if os.isatty(file) else f"/proc/self/fd/{file}"
        if os.isatty(file) or stat.S_ISFIFO(os.fstat(file).st_mode):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return file
