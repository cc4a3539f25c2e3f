"""The live display: the transcript and its numbers scroll by, the live region stays below them.

Only rows that change are written, all of them at once, at most 12 times a second.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from math import ceil, log10
from typing import Self

import numpy as np
from rich.cells import cell_len
from typing_extensions import override

from voicecli.audio.pcm import samples_of
from voicecli.events import EndSession
from voicecli.metrics.summary import Budgets
from voicecli.report.turn_lines import format_entry
from voicecli.sanitize import sanitize_line
from voicecli.terminal import view
from voicecli.terminal.streams import NonBlockingWriter
from voicecli.timeline import Entry
from voicecli.units import AudioBlock, Seconds

DRAW_INTERVAL: Seconds = 1 / 12
"""Minimum time between two drawings."""

_BEGIN_UPDATE, _END_UPDATE = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know these show what lies between them in one step; others ignore them."""

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_UP, _CLEAR_ROW = "\x1b[A", "\x1b[2K"
"""Rows are cleared one by one: tmux keeps a screen that is cleared as a whole in its history."""

_STYLES = re.compile(r"\x1b\[\d+m")


@dataclass(eq=False)
class Screen(view.Display):
    """Draws on a terminal; a context manager, inside a running loop and an open writer.

    terminal: the descriptor that knows the size.
    heard: returns what has been heard of the current reply.
    keys: what the keys do.
    prompt: whether the user types, so that a line for it is shown.
    """

    writer: NonBlockingWriter
    terminal: int
    budgets: Budgets
    heard: Callable[[], str]
    keys: str = ""
    prompt: bool = False
    _view: view.LiveView = field(default_factory=view.LiveView, init=False)
    _above: list[str] = field(default_factory=list, init=False)
    """Rows to be written above the region."""
    _drawn: list[str] = field(default_factory=list, init=False)
    """The rows of the region as they are on the terminal."""
    _drawn_at: Seconds = field(default=-DRAW_INTERVAL, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _paused: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        self._view.typing = "" if self.prompt else None
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGWINCH, self._resize)
        self.writer.write(_HIDE_CURSOR)
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_signal_handler(signal.SIGWINCH)
        if self._timer is not None:
            self._timer.cancel()
        self._clear()

    @override
    def __call__(self, entry: Entry) -> None:
        self._view(entry)
        columns = self._size()[0] - 1
        for line in format_entry(entry, self._view.ended_turn, self.budgets, columns):
            self._scroll(line)
        if isinstance(entry, EndSession) and entry.reason != "quit":
            self._scroll(f"ended: {sanitize_line(entry.reason)}")
        self._schedule()

    @override
    def announce(self, at: Seconds, text: str) -> None:
        self._scroll(text)

    @override
    def feed(self, block: AudioBlock) -> None:
        peak = int(np.abs(samples_of(block.pcm).astype(np.int32)).max(initial=0))
        level = 20 * log10(peak / 32768) if peak else view.METER_FLOOR
        before = self._view.level
        if before is not None and self._timer is not None:  # the loudest since the last drawing
            level = max(before, level)
        self._view.level = level
        if before is None or view.meter_cells(level) != view.meter_cells(before):
            self._schedule()

    def show_typing(self, text: str) -> None:
        """Show what the user has typed so far."""
        self._view.typing = text
        self._schedule()

    def pause(self, paused: bool) -> None:
        """Clear the region before Ctrl-Z stops the program, draw it again afterwards."""
        self._paused = paused
        if paused:
            self._clear()
        else:
            self.writer.write(_HIDE_CURSOR)
            self._draw()

    def _scroll(self, line: str) -> None:
        """Put ``line`` above the region, for good."""
        width = self._size()[0] - 1
        text = _STYLES.sub("", line)
        if text != line and cell_len(text) <= width:  # a bar of stages
            rows = [line]
        else:
            rows = view.wrap(text, width, indent=3 if width > 30 else 0) or [""]  # beside "#1 "
            number = view.YELLOW if text[:1] == "!" else view.DIM if "⏱" in text else view.RESET
            rows = [view.style(row, number) for row in rows]
        self._above += rows
        self._schedule()

    def _schedule(self) -> None:
        """Draw soon: something has changed."""
        if self._timer is None:
            due = max(self._drawn_at + DRAW_INTERVAL, self._loop.time())
            self._timer = self._loop.call_at(due, self._draw)

    def _draw(self) -> None:
        self._timer = None
        self._drawn_at = self._loop.time()
        if self._paused:
            return
        if self.writer.busy:  # the terminal accepts nothing at present
            self._schedule()
            return
        width, height = self._size()
        self._view.heard = self.heard()
        rows = view.render_region(self._view, width, self.keys)[-max(height - 1, 1) :]
        if text := self._update(rows):
            self.writer.write(f"{_BEGIN_UPDATE}{text}{_END_UPDATE}")
        self._drawn = rows
        if self._view.state == "speaking":  # more is heard as time passes
            self._schedule()

    def _update(self, rows: list[str]) -> str:
        """Return what makes the region ``rows``; the cursor is in the last drawn row."""
        above, self._above = self._above, []
        if above or not self._drawn or len(rows) < len(self._drawn):
            return self._erase() + "\r\n".join([*above, *rows])
        if rows == self._drawn:
            return ""
        pairs = zip_longest(rows, self._drawn)
        updates = ["" if new == old else f"\r{_CLEAR_ROW}{new}" for new, old in pairs]
        return _UP * (len(self._drawn) - 1) + "\r\n".join(updates)

    def _erase(self) -> str:
        """Return what erases the region, which is not drawn any more; the cursor is at its end."""
        width, _ = self._size()
        cells = [cell_len(_STYLES.sub("", row)) for row in self._drawn]
        self._drawn = []
        height = sum(max(ceil(count / width), 1) for count in cells)
        return f"\r{_CLEAR_ROW}" + f"{_UP}{_CLEAR_ROW}" * (height - 1)

    def _clear(self) -> None:
        """Erase the region; keep what scrolled by."""
        text = "".join(f"{row}\r\n" for row in self._above)
        self._above = []
        self.writer.write(self._erase() + text + _SHOW_CURSOR)

    def _resize(self) -> None:
        """Draw for the new size; the terminal has wrapped the old rows to it."""
        if not self._paused:
            self.writer.write(self._erase())
            self._schedule()

    def _size(self) -> tuple[int, int]:
        """Return columns and rows; 80 × 24 where the terminal does not report them."""
        with suppress(OSError):
            if all(size := os.get_terminal_size(self.terminal)):
                return size
        return 80, 24
