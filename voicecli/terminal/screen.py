"""The live display: what was said and measured scrolls by, what is going on stays below it.

Only the rows that change are written, all at once, and never more often than the eye sees.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest
from math import ceil, log10
from types import TracebackType
from typing import Self

import numpy as np
from rich.cells import cell_len

from voicecli.audio.pcm import samples_of
from voicecli.events import EndSession
from voicecli.metrics.summary import Budgets
from voicecli.report.turn_lines import TurnLines
from voicecli.sanitize import sanitize_line
from voicecli.terminal.streams import NonBlockingWriter
from voicecli.terminal.view import DIM, QUIETEST, YELLOW, LiveView, Moment, meter, region, styled
from voicecli.timeline import Entry
from voicecli.units import AudioBlock, Seconds

INTERVAL: Seconds = 1 / 12
"""From one drawing to the next, at least."""

_TOGETHER, _NOW = "\x1b[?2026h", "\x1b[?2026l"
"""What lies between them is shown in one go, by terminals that know them; others ignore them."""

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_UP, _CLEAR_ROW = "\x1b[A", "\x1b[2K"
"""Row by row: tmux keeps a screen that is cleared as a whole in its history."""

_STYLES = re.compile(r"\x1b\[\d+m")


class Screen:
    """A follower of a timeline; a context manager, inside a running loop and an open outlet.

    terminal: the descriptor that knows the size.
    heard: what was heard of the reply under way.
    keys: what they do.
    prompt: whether what the user types is shown.
    """

    def __init__(
        self,
        outlet: NonBlockingWriter,
        terminal: int,
        budgets: Budgets,
        *,
        heard: Callable[[], str],
        keys: str = "",
        prompt: bool = False,
    ) -> None:
        self._outlet = outlet
        self._terminal = terminal
        self._heard = heard
        self._lines = TurnLines(self._scroll, budgets)
        self._view = LiveView()
        self._keys = keys
        self._typing = "" if prompt else None
        self._level: float | None = None
        self._above: list[str] = []
        self._drawn: list[str] = []
        self._drawn_at: Seconds = -INTERVAL
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGWINCH, self._resized)
        self._outlet.write(_HIDE_CURSOR)
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.remove_signal_handler(signal.SIGWINCH)
        if self._timer is not None:
            self._timer.cancel()
        self._clear()

    def say(self, at: Seconds, text: str) -> None:
        """A line of the program's own."""
        self._scroll(text)

    def hear(self, block: AudioBlock) -> None:
        """A block of the microphone: how loud it was."""
        before = self._cells()
        peak = int(np.abs(samples_of(block.pcm).astype(np.int32)).max(initial=0))
        level = 20 * log10(peak / 32768) if peak else QUIETEST
        drawn_since = self._timer is None
        self._level = level if self._level is None or drawn_since else max(self._level, level)
        if self._cells() != before:
            self._touch()

    def note(self, record: Entry) -> None:
        """``record`` is what comes next in the timeline."""
        self._view.note(record)
        self._lines(record)
        if isinstance(record, EndSession) and record.reason != "quit":
            self._scroll(f"ended: {sanitize_line(record.reason)}")
        self._touch()

    def type(self, text: str) -> None:
        """The user has typed ``text`` so far."""
        self._typing = text
        self._touch()

    def stopped(self, stopped: bool) -> None:
        """The program is about to be stopped by Ctrl-Z, or goes on."""
        self._stopped = stopped
        if stopped:
            self._clear()
        else:
            self._outlet.write(_HIDE_CURSOR)
            self._draw()

    def _cells(self) -> int | None:
        return None if self._level is None else meter(self._level)

    def _scroll(self, line: str) -> None:
        """``line`` is there to stay, above the region."""
        if line.startswith("!"):
            line = styled(line, YELLOW)
        elif "⏱" in line:
            line = styled(line, DIM)
        self._above.append(line)
        self._touch()

    def _touch(self) -> None:
        """Something has changed: draw soon."""
        if self._timer is None:
            due = max(self._drawn_at + INTERVAL, self._loop.time())
            self._timer = self._loop.call_at(due, self._draw)

    def _draw(self) -> None:
        self._timer = None
        self._drawn_at = self._loop.time()
        if self._stopped:
            return
        if self._outlet.busy:  # the terminal shows nothing at present
            self._touch()
            return
        width, height = self._size()
        rows = region(self._view, self._moment(), width)[-max(height - 1, 1) :]
        if text := self._scrolled(rows) if self._above else self._changed(rows):
            self._outlet.write(f"{_TOGETHER}{text}{_NOW}")
        self._drawn = rows
        if self._view.state == "speaking":  # more is heard as time goes
            self._touch()

    def _moment(self) -> Moment:
        return Moment(heard=self._heard(), level=self._level, typing=self._typing, keys=self._keys)

    def _scrolled(self, rows: list[str]) -> str:
        """What puts the lines above, and all rows anew below them."""
        above, self._above = self._above, []
        return self._home(self._drawn) + "\r\n".join([*above, *rows])

    def _changed(self, rows: list[str]) -> str:
        """What makes ``rows`` of those that were drawn; the cursor is in the last of them."""
        if len(rows) < len(self._drawn) or not self._drawn:
            return self._home(self._drawn) + "\r\n".join(rows)
        if rows == self._drawn:
            return ""
        up = len(self._drawn) - 1
        moves = [f"\x1b[{up}A" if up else ""]
        for new, old in zip_longest(rows, self._drawn):
            moves.append("" if new == old else f"\r{_CLEAR_ROW}{new}")
        return moves[0] + "\r\n".join(moves[1:])

    def _home(self, rows: list[str]) -> str:
        """What clears ``rows``, at whose end the cursor is."""
        width, _ = self._size()
        height = sum(max(ceil(cell_len(_STYLES.sub("", row)) / width), 1) for row in rows)
        return f"\r{_CLEAR_ROW}" + f"{_UP}{_CLEAR_ROW}" * (height - 1)

    def _clear(self) -> None:
        """Leave only what is there to stay."""
        above, self._above = self._above, []
        text = "".join(f"{line}\r\n" for line in above)
        self._outlet.write(self._home(self._drawn) + text + _SHOW_CURSOR)
        self._drawn = []

    def _resized(self) -> None:
        """The terminal has wrapped anew what is wider than it is now."""
        if self._stopped:
            return
        self._outlet.write(self._home(self._drawn))
        self._drawn = []
        self._touch()

    def _size(self) -> tuple[int, int]:
        """Columns and rows; those of a terminal that does not tell are the usual ones."""
        with suppress(OSError):
            size = os.get_terminal_size(self._terminal)
            if size.columns and size.lines:
                return size.columns, size.lines
        return 80, 24
