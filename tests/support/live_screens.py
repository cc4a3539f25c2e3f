"""A screen that draws on paper, and a timeline that is played to it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from voicecli import clock
from voicecli.terminal.screen import Screen
from voicecli.terminal.streams import NonBlockingWriter
from voicecli.timeline import Entry


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


async def play(screen: Screen, entries: Iterable[Entry]) -> None:
    """Show each entry when it happens."""
    for entry in entries:
        await asyncio.sleep(max(entry.at - clock.now(), 0))
        screen(entry)


@contextmanager
def window(columns: int, rows: int) -> Iterator[int]:
    """The descriptor of a terminal of that size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    yield slave
    os.close(master)
    os.close(slave)
