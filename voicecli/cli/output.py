"""How a live conversation is shown: on a screen, as plain lines, or as JSON lines."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol

from voicecli import clock
from voicecli.audio.devices.host import hushed
from voicecli.cli.result import budgets_of
from voicecli.report.json_lines import JsonLines
from voicecli.terminal.keys import owns_terminal
from voicecli.terminal.plain import PlainLines
from voicecli.terminal.screen import Screen
from voicecli.terminal.streams import NonBlockingWriter
from voicecli.timeline import Entry
from voicecli.units import AudioBlock, Seconds

if TYPE_CHECKING:
    from voicecli.profile import Profile

Showing = Literal["screen", "plain", "json"]

SPOKEN_KEYS = "m mute · Enter answer me · Esc stop · q quit"
TYPED_KEYS = "Enter send · Esc stop · Ctrl-D end"
NO_KEYS = "Ctrl-C quit"


class Shown(Protocol):
    """A conversation as it is shown while it is held."""

    def say(self, at: Seconds, text: str) -> None:
        """A line of the program's own."""

    def hear(self, block: AudioBlock) -> None:
        """A block of the microphone."""

    def note(self, record: Entry) -> None:
        """What comes next in the timeline."""


class Above(io.TextIOBase):
    """Standard error while there is a region on the terminal that it would write into."""

    def __init__(self, say: Callable[[Seconds, str], None]) -> None:
        self._say = say
        self._rest = ""

    def write(self, text: str) -> int:
        """Every whole line of it goes above the region."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._say(clock.now(), line)
        return len(text)


def has_screen() -> bool:
    """Whether standard output is a terminal on which things may move."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


def stdin() -> int:
    """The descriptor of standard input; one that nothing can be read from where there is none."""
    return sys.stdin.fileno() if sys.stdin is not None else -1


@contextmanager
def libraries_hushed() -> Iterator[None]:
    """What libraries write to standard error by themselves leads nowhere; what we write does not.

    PortAudio tells of a device that vanishes in a line of its own, in the middle of everything.
    """
    with hushed() as saved:
        if saved is None:
            yield
            return
        with (
            open(saved, "w", buffering=1, errors="backslashreplace", closefd=False) as ours,
            redirect_stderr(ours),
        ):
            yield


@contextmanager
def open_shown(
    showing: Showing,
    profile: Profile,
    *,
    typed: bool,
    heard: Callable[[], str],
    unread: Callable[[], None],
) -> Iterator[Shown]:
    """The conversation as it is shown on standard output.

    typed: whether the user types instead of speaking.
    heard: what was heard of the reply under way.
    unread: is called when nobody reads standard output any more; and BrokenPipeError is raised at
        the end then.
    """
    broken = False

    def closed() -> None:
        nonlocal broken
        broken = True
        unread()

    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    file = sys.stdout.fileno() if sys.stdout is not None else os.open(os.devnull, os.O_WRONLY)
    with NonBlockingWriter(file, closed, encoding) as outlet:
        match showing:
            case "json":
                yield JsonLines(outlet.write_line)
            case "plain":
                midnight = datetime.now() - timedelta(seconds=clock.now())
                yield PlainLines(outlet.write_line, midnight, budgets_of(profile), typed=typed)
            case "screen":
                with _on_screen(outlet, file, profile, typed, heard) as screen:
                    yield screen
    if broken:
        raise BrokenPipeError


@contextmanager
def _on_screen(
    outlet: NonBlockingWriter,
    terminal: int,
    profile: Profile,
    typed: bool,
    heard: Callable[[], str],
) -> Iterator[Screen]:
    keyed = owns_terminal(stdin())
    screen = Screen(
        outlet,
        terminal,
        budgets_of(profile),
        heard=heard,
        keys=(TYPED_KEYS if typed else SPOKEN_KEYS) if keyed else NO_KEYS,
        prompt=typed and keyed,
    )
    shared = sys.stderr is not None and sys.stderr.isatty()
    with screen, redirect_stderr(Above(screen.say)) if shared else nullcontext():
        yield screen
