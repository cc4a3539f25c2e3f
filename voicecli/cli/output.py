"""How a live conversation meets the terminal: its display, and what the user's keys do."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from voicecli import clock, events
from voicecli.audio.devices.host import silence_stderr
from voicecli.report.json_result import JsonLines
from voicecli.terminal.keys import END, ENTER, ESCAPE, LineEditor, owns_terminal
from voicecli.terminal.plain import PlainLines
from voicecli.terminal.screen import Screen
from voicecli.terminal.streams import NonBlockingWriter
from voicecli.terminal.view import Display
from voicecli.units import Seconds

if TYPE_CHECKING:
    from voicecli.profile import Profile

DisplayKind = Literal["screen", "plain", "json"]

SPEAKING_KEYS = "m mute · Enter answer me · Esc stop · q quit"
TYPING_KEYS = "Enter send · Esc stop · Ctrl-D end"
NO_KEYS = "Ctrl-C quit"


# ── the display ──────────────────────────────────────────────────────────────


class JsonDisplay(JsonLines, Display):
    """Writes the entries, and nothing that is not in the timeline."""


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


def stdin() -> int:
    """Return the descriptor of standard input; an invalid one if there is none."""
    return sys.stdin.fileno() if sys.stdin is not None else -1


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Discard what C libraries write to standard error; keep what Python writes.

    PortAudio prints a line when a device vanishes, in the middle of the display.
    """
    with silence_stderr() as saved:
        if saved is None:
            yield
            return
        with (
            open(saved, "w", buffering=1, errors="backslashreplace", closefd=False) as ours,
            redirect_stderr(ours),
        ):
            yield


@contextmanager
def open_display(
    kind: DisplayKind,
    profile: Profile,
    *,
    typed: bool,
    heard: Callable[[], str],
    unread: Callable[[], None],
) -> Iterator[Display]:
    """Show the conversation on standard output.

    typed: whether the user types instead of speaking.
    heard: returns what has been heard of the current reply.
    unread: called when nobody reads standard output any more.

    Raises BrokenPipeError at the end in that case.
    """
    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    file = sys.stdout.fileno() if sys.stdout is not None else os.open(os.devnull, os.O_WRONLY)
    with NonBlockingWriter(file, unread, encoding) as writer:
        match kind:
            case "json":
                yield JsonDisplay(writer.write_line)
            case "plain":
                midnight = datetime.now() - timedelta(seconds=clock.now())
                yield PlainLines(writer.write_line, midnight, profile.budgets, typed=typed)
            case "screen":
                keys = TYPING_KEYS if typed else SPEAKING_KEYS
                has_keys = owns_terminal(stdin())
                screen = Screen(
                    writer,
                    file,
                    profile.budgets,
                    heard=heard,
                    keys=keys if has_keys else NO_KEYS,
                    prompt=typed and has_keys,
                )
                shared = sys.stderr is not None and sys.stderr.isatty()
                above = redirect_stderr(StderrAbove(screen.announce)) if shared else nullcontext()
                with screen, above:
                    yield screen
    if writer.is_broken:
        raise BrokenPipeError


# ── keys ─────────────────────────────────────────────────────────────────────


class KeyBindings:
    """Turns keys and typed lines into events; lines typed before the session exists wait for it."""

    def __init__(self) -> None:
        self._post: Callable[[events.Event], None] | None = None
        self._early: list[events.Event] = []
        self._muted = False
        self._editor = LineEditor()

    def connect(self, post: Callable[[events.Event], None]) -> None:
        """Pass events to a session from now on."""
        self._post = post
        for event in self._early:
            post(replace(event, at=clock.now()))

    def press(self, key: str) -> None:
        """Handle a key of a user who speaks."""
        if key in ("q", "Q"):
            self.quit()
        elif self._post is None:
            return
        elif key in ("m", "M"):
            self._muted = not self._muted
            self._post(events.MicrophoneMuted(at=clock.now(), muted=self._muted))
        elif key == ENTER:
            self._post(events.TurnYielded(at=clock.now()))
        elif key == ESCAPE:
            self._post(events.AgentStopped(at=clock.now()))

    def press_typing(self, key: str) -> str:
        """Handle a key of a user who types; return the line so far."""
        if key == ESCAPE:
            if self._post is not None:
                self._post(events.AgentStopped(at=clock.now()))
        elif key == END and not self._editor.text:
            self.end_input()
        elif line := self._editor.press(key):
            self.submit(line)
        return self._editor.text

    def submit(self, line: str) -> None:
        """Post a line that the user has typed."""
        (self._post or self._early.append)(events.TextTyped(at=clock.now(), text=line))

    def end_input(self) -> None:
        """Post that the user will type no more."""
        (self._post or self._early.append)(events.InputEnded(at=clock.now()))

    def quit(self) -> None:
        """End the session; before it exists, act as Ctrl-C."""
        if self._post is None:
            signal.raise_signal(signal.SIGINT)
        else:
            self._post(events.UserQuit(at=clock.now()))
