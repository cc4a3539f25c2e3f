"""Standard input and output that are never waited for: a stopped terminal stops no conversation."""

from __future__ import annotations

import asyncio
import codecs
import errno
import io
import os
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from voicecli import clock
from voicecli.sanitize import strip_controls
from voicecli.units import Seconds


class NonBlockingWriter:
    """Writes to a file descriptor; a context manager, inside a running loop.

    What a terminal or a pipe does not accept at once is written when it does.  When the block ends
    without an error, the rest is waited for.

    file: not changed, because other programs share its flags: a terminal or pipe is opened again.
    unread: called once, when it takes no more; ``failure`` says why from then on: BrokenPipeError
        if the reader or the terminal has gone.
    encoding, errors: of the text, as ``str.encode`` takes them.
    """

    def __init__(
        self,
        file: int,
        unread: Callable[[], None],
        encoding: str = "utf-8",
        errors: str = "replace",
    ) -> None:
        self._given = file
        self._unread = unread
        self.failure: OSError | None = None
        self._encoding, self._errors = encoding, errors
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
        self._rest += text.encode(self._encoding, self._errors)
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
        except OSError as error:
            self._rest = b""
            if self.failure is None:
                gone = error.errno in (errno.EPIPE, errno.EIO)  # a pipe's reader, the terminal
                code = errno.EPIPE if gone else error.errno
                self.failure = OSError(code, error.strerror, "standard output")
                self._unread()
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


class StderrAbove(io.TextIOBase):
    """Standard error while a live region is on the terminal: whole lines go above the region."""

    def __init__(self, announce: Callable[[Seconds, str], None]) -> None:
        self._announce = announce
        self._rest = ""

    def write(self, text: str) -> int:
        """Announce the lines that are complete with ``text``."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._announce(clock.now(), line)
        return len(text)


class LineReader:
    """Reads lines from a terminal, a pipe or a file, in the running loop, until ``close``.

    file: the descriptor; not read while lines wait to be taken.
    take: called with each line that is not blank, without unprintable characters.
    end: called once, after the last line.
    one_by_one: whether each line after the first waits for ``request_line``.
    first_waits: whether the first one does, too.
    """

    def __init__(
        self,
        file: int,
        take: Callable[[str], None],
        end: Callable[[], None],
        *,
        one_by_one: bool,
        first_waits: bool = False,
    ) -> None:
        self._file = file
        self._take = take
        self._end = end
        self._one_by_one = one_by_one
        self._loop = asyncio.get_running_loop()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._lines: deque[str | None] = deque()
        """Complete lines that wait to be taken; None is the end."""
        self._rest = ""
        self._requested = not first_waits
        self._ended = False
        self._proceed()

    def close(self) -> None:
        """Read no more."""
        self._ended = True
        self._lines.clear()
        self._proceed()

    def request_line(self) -> None:
        """Take the next line as soon as there is one."""
        self._requested = True
        self._proceed()

    def _proceed(self) -> None:
        """Hand over the requested lines; read on when none is left."""
        while self._lines and self._requested:
            line = self._lines.popleft()
            self._requested = line is not None and not self._one_by_one
            if line is None:
                self._end()
            else:
                self._take(line)
        if self._lines or self._ended:
            with suppress(ValueError):  # closed
                self._loop.remove_reader(self._file)
            return
        try:
            self._loop.add_reader(self._file, self._read)
        except (OSError, ValueError):  # a regular file, always readable, or a closed descriptor
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        if self._ended:
            return
        try:
            data = os.read(self._file, 65_536)
        except BlockingIOError:
            return
        except OSError:  # closed, or the terminal has gone
            data = b""
        text = self._decoder.decode(data) if data else "\n"  # the end completes the last line
        *lines, self._rest = (self._rest + text).split("\n")
        self._lines.extend(filter(None, map(strip_controls, lines)))
        if not data:
            self._ended = True
            self._lines.append(None)
        self._proceed()
