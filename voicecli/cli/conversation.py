"""A conversation with somebody who is there."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from voicecli import clock
from voicecli.audio.recorder import Recorder
from voicecli.cli.keybindings import KeyBindings
from voicecli.cli.opening import SoundDevices, open_devices
from voicecli.cli.options import RESULT, TIMELINE, create_header
from voicecli.cli.output import Showing, Shown, libraries_hushed, open_shown, stdin
from voicecli.errors import INTERRUPTED
from voicecli.events import ReplyCancelled, ReplyFailed, ReplyFinished, Warned
from voicecli.pipeline.wiring import open_services, open_session, preload
from voicecli.terminal import keys
from voicecli.terminal.keys import open_keys, owns_terminal
from voicecli.terminal.screen import Screen
from voicecli.terminal.streams import LineReader
from voicecli.timeline import Entry, Timeline, open_writer
from voicecli.units import AudioBlock

if TYPE_CHECKING:
    from voicecli.pipeline.session import Session
    from voicecli.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkOptions:
    """What the user wants beside the profile.

    typed: to type instead of speaking.
    showing: how the conversation is shown.
    out: the folder to keep the recording in.
    force: whether to replace an earlier session there.
    warnings: what the user is told once the conversation has begun.
    """

    typed: bool = False
    showing: Showing = "screen"
    out: Path | None = None
    force: bool = False
    warnings: Sequence[str] = ()


async def run_conversation(profile: Profile, wishes: TalkOptions, timeline: Timeline) -> None:
    """Hold the conversation; what happened is in ``timeline``, however it ends.

    Raises VoiceError, perhaps in a group, and BrokenPipeError when nobody reads what is shown.
    """
    hands, session, taps = KeyBindings(), None, list[Callable[[AudioBlock], None]]()

    def heard() -> str:
        return session.heard if session is not None else ""

    def tap(block: AudioBlock) -> None:
        for each in taps:
            each(block)

    async with AsyncExitStack() as stack:
        stack.enter_context(libraries_hushed())
        signals = stack.enter_context(_Signals())
        await preload(profile)
        if owns_terminal(stdin()):
            keys.preload()
        stack.enter_context(_loaded_left_alone())
        services = await stack.enter_async_context(open_services(profile))
        sound = await stack.enter_async_context(open_devices(profile, typed=wishes.typed))
        terminal = stack.enter_context(ExitStack())
        leave = partial(_leave, terminal)
        shown = terminal.enter_context(
            open_shown(wishes.showing, profile, typed=wishes.typed, heard=heard, unread=hands.quit)
        )
        terminal.enter_context(_listening_to(hands, wishes.typed, shown, timeline))
        timeline.follow(shown.note)
        shown.say(clock.now(), _told(profile, sound, typed=wishes.typed))
        session = await stack.enter_async_context(
            open_session(
                profile,
                services,
                sound.source,
                sound.sink,
                timeline=timeline,
                tap=tap,
                typed=wishes.typed,
            )
        )
        if wishes.out is not None:
            taps.append(stack.enter_context(_recorded(wishes, profile, sound, timeline)))
        taps.append(hands.hear if wishes.typed else shown.hear)
        for notices in sound.notices:
            session.add_event_source(notices)
        asyncio.get_running_loop().call_soon(_begin, session, hands, wishes, sound)
        signals.arm(hands.quit, leave)
        await session.run()
        signals.arm(leave, leave)


@contextmanager
def _loaded_left_alone() -> Iterator[None]:
    """The garbage collector does not go over what is loaded by now.

    That took 35 ms, and a loudspeaker ran dry meanwhile.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _told(profile: Profile, sound: SoundDevices, *, typed: bool) -> str:
    """What the conversation is held with."""
    half = profile.interrupt.policy == "off"
    duplex = [] if typed else ["half duplex" if half else "the microphone stays live"]
    return ", ".join([*sound.names, *duplex])


def _begin(session: Session, hands: KeyBindings, wishes: TalkOptions, sound: SoundDevices) -> None:
    """The conversation runs: what there is to tell at its beginning."""
    for text in (*wishes.warnings, *sound.warnings):
        session.post(Warned(at=clock.now(), service="audio", text=text))
    hands.begin(session.post)


@contextmanager
def _recorded(
    wishes: TalkOptions, profile: Profile, sound: SoundDevices, timeline: Timeline
) -> Iterator[Callable[[AudioBlock], None]]:
    """What is to be given the microphone's blocks; all is in ``wishes.out`` then."""
    assert wishes.out is not None
    folder = wishes.out
    with (
        Recorder(
            folder,
            profile.tts.sample_rate,
            agent=sound.played,
            user_rate=profile.audio.sample_rate,
            overwrite=wishes.force,
        ) as recorder,
        open_writer(folder / TIMELINE, create_header(profile)) as writer,
    ):
        (folder / RESULT).unlink(missing_ok=True)  # of the session that is replaced
        timeline.follow(writer)
        yield recorder.user


def _listening_to(
    hands: KeyBindings, typed: bool, shown: Shown, timeline: Timeline
) -> AbstractContextManager[object]:
    """Has ``hands`` told of what the user presses or types."""
    file = stdin()
    screen = shown if isinstance(shown, Screen) else None
    stopped = screen.stopped if screen is not None else _unmoved
    if not typed:
        return open_keys(file, hands.speaks, stopped)
    if screen is not None and owns_terminal(file):
        return open_keys(file, lambda key: screen.type(hands.types(key)), stopped)
    lines = LineReader(file, hands.typed, hands.ended, one_by_one=not os.isatty(file))
    timeline.follow(lambda record: lines.request_line() if _is_end(record) else None)
    return lines


def _is_end(record: Entry) -> bool:
    """Whether the floor is the user's again."""
    return isinstance(record, ReplyFinished | ReplyFailed | ReplyCancelled)


def _unmoved(stopped: bool) -> None:
    """Lines that scroll by need not be cleared away."""


class _Signals:
    """Ctrl-C and SIGTERM while a conversation is held; a context manager, inside a running loop.

    Until ``arm`` they do what they always do.  Those that a script made us ignore stay ignored.
    """

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}
        self._before = {n: handler for n, handler in before.items() if handler != signal.SIG_IGN}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            self._loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def arm(self, first: Callable[[], object], second: Callable[[], object]) -> None:
        """The next signal calls ``first``, those after it ``second``."""

        def signalled() -> None:
            self.arm(second, second)
            first()

        for number in self._before:
            self._loop.add_signal_handler(number, signalled)


def _leave(terminal: ExitStack) -> NoReturn:
    """End at once: what is kept is whole at any moment, and other ends notice by themselves."""
    terminal.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    os._exit(INTERRUPTED)
