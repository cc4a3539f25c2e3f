"""A live conversation: its devices, its display, its signals."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from voicecli import clock
from voicecli.audio.devices import open_loudspeaker, open_microphone
from voicecli.audio.echo import EchoCancellingSource, is_wanted
from voicecli.audio.interfaces import Sink, Source
from voicecli.audio.recorder import PlayedReader
from voicecli.audio.virtual import SilentSource, VirtualSpeaker
from voicecli.cli.options import open_recording
from voicecli.cli.output import DisplayKind, KeyBindings, open_display, silence_libraries, stdin
from voicecli.errors import INTERRUPTED, DeviceError
from voicecli.events import Event, ReplyCancelled, ReplyFailed, ReplyFinished, Warned
from voicecli.pipeline.wiring import open_services, open_session, preload
from voicecli.terminal.keys import open_keys, owns_terminal, preload_keys
from voicecli.terminal.screen import Screen
from voicecli.terminal.streams import LineReader
from voicecli.terminal.view import Display
from voicecli.timeline import Entry, Timeline

if TYPE_CHECKING:
    from voicecli.pipeline.session import Session
    from voicecli.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkOptions:
    """What the user asks for beside the profile.

    typed: whether the user types instead of speaking.
    out: the folder for the recording.
    warnings: shown once the conversation has begun.
    """

    typed: bool = False
    display: DisplayKind = "screen"
    out: Path | None = None
    warnings: Sequence[str] = ()


async def run_conversation(profile: Profile, options: TalkOptions, timeline: Timeline) -> None:
    """Hold the conversation; ``timeline`` has what happened, however it ends.

    Raises VoiceError, possibly in a group, and BrokenPipeError if nobody reads the output.
    """
    bindings, session = KeyBindings(), None

    def heard() -> str:
        return session.heard if session is not None else ""

    async with AsyncExitStack() as stack:
        stack.enter_context(silence_libraries())
        arm_signals = stack.enter_context(_open_signals())
        await preload(profile)
        if owns_terminal(stdin()):
            preload_keys()
        gc.collect()
        gc.freeze()  # a collection that went over all this took 35 ms; the loudspeaker ran dry
        stack.callback(gc.unfreeze)
        services = await stack.enter_async_context(open_services(profile))
        devices = await stack.enter_async_context(open_devices(profile, typed=options.typed))
        terminal = stack.enter_context(ExitStack())
        leave = partial(_leave_at_once, terminal)
        display = terminal.enter_context(
            open_display(
                options.display, profile, typed=options.typed, heard=heard, unread=bindings.quit
            )
        )
        terminal.enter_context(_open_input(bindings, options.typed, display, timeline))
        timeline.follow(display)
        display.announce(clock.now(), _describe_devices(profile, devices, typed=options.typed))
        session = await stack.enter_async_context(
            open_session(
                profile,
                services,
                devices.source,
                devices.sink,
                timeline=timeline,
                typed=options.typed,
            )
        )
        if options.out is not None:
            stack.enter_context(open_recording(options.out, profile, devices.played, session))
        if not options.typed:
            session.add_tap(display.feed)
        for source in devices.events:
            session.add_event_source(source)
        asyncio.get_running_loop().call_soon(_begin, session, bindings, options, devices)
        arm_signals(bindings.quit, leave)
        await session.run()
        arm_signals(leave, leave)


def _begin(
    session: Session, bindings: KeyBindings, options: TalkOptions, devices: SoundDevices
) -> None:
    """Pass the session what has waited for it."""
    for text in (*options.warnings, *devices.warnings):
        session.post(Warned(at=clock.now(), service="audio", text=text))
    bindings.connect(session.post)


def _open_input(
    bindings: KeyBindings, typed: bool, display: Display, timeline: Timeline
) -> AbstractContextManager[object]:
    """Pass ``bindings`` what the user presses or types."""
    file = stdin()
    screen = display if isinstance(display, Screen) else None
    stopped = screen.pause if screen is not None else lambda _: None
    if not typed:
        return open_keys(file, bindings.press, stopped)
    if screen is not None and owns_terminal(file):
        return open_keys(file, lambda key: screen.show_typing(bindings.press_typing(key)), stopped)
    one_by_one = not os.isatty(file)
    lines = LineReader(file, bindings.submit, bindings.end_input, one_by_one=one_by_one)

    def follow(entry: Entry) -> None:
        if isinstance(entry, ReplyFinished | ReplyFailed | ReplyCancelled):
            lines.request_line()

    timeline.follow(follow)
    return closing(lines)


# ── devices ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundDevices:
    """The source and the sink of a conversation.

    played: returns what the sink has played, for the recording.
    events: what happens to the devices.
    names: of the devices, for the user.
    warnings: what the user should know about them.
    """

    source: Source
    sink: Sink
    played: PlayedReader
    events: Sequence[AsyncGenerator[Event, None]] = ()
    names: Sequence[str] = ()
    warnings: Sequence[str] = ()


@asynccontextmanager
async def open_devices(profile: Profile, *, typed: bool) -> AsyncIterator[SoundDevices]:
    """Open the profile's microphone and loudspeaker.

    typed: no microphone is opened.  If there is no loudspeaker, and the profile names none,
        replies are only shown, each for as long as it would sound.

    Raises DeviceError; UsageError if echo is to be cancelled and the canceller is not installed.
    """
    audio = profile.audio
    loudspeaker, warnings = None, []
    async with AsyncExitStack() as stack:
        opening = open_loudspeaker(audio.speaker, profile.tts.sample_rate, audio.prebuffer)
        try:
            loudspeaker = await stack.enter_async_context(opening)
        except DeviceError as error:
            if not typed or audio.speaker is not None:
                raise
            warnings = [f"{error.cause}: replies are shown, not heard"]
        sink = loudspeaker or VirtualSpeaker(profile.tts.sample_rate, audio.prebuffer)
        source: Source = SilentSource(audio.sample_rate)
        names = [f"loudspeaker {loudspeaker.name!r}" if loudspeaker else "no loudspeaker"]
        events = [loudspeaker.events()] if loudspeaker else []
        if loudspeaker and not typed:
            microphone = await stack.enter_async_context(
                open_microphone(audio.microphone, audio.sample_rate, audio.block)
            )
            source = microphone
            names.insert(0, f"microphone {microphone.name!r}")
            events.insert(0, microphone.events())
            if is_wanted(audio.echo_cancellation, profile.interrupt.policy):
                source = EchoCancellingSource(microphone, loudspeaker)
                names.append("echo cancelled")
        yield SoundDevices(
            source=source,
            sink=sink,
            played=sink.take,
            events=events,
            names=names,
            warnings=warnings,
        )


def _describe_devices(profile: Profile, devices: SoundDevices, *, typed: bool) -> str:
    """Name the devices, and how they are used."""
    half = profile.interrupt.policy == "off"
    duplex = [] if typed else ["half duplex" if half else "the microphone stays live"]
    return ", ".join([*devices.names, *duplex])


# ── signals ──────────────────────────────────────────────────────────────────


Handler = Callable[[], object]


@contextmanager
def _open_signals() -> Iterator[Callable[[Handler, Handler], None]]:
    """Catch Ctrl-C and SIGTERM, in the running loop.

    Yields ``arm``: the next signal calls its first argument, those after it the second.  Before
    ``arm`` the handlers are unchanged.  Signals that the parent ignored stay ignored.
    """
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caught = [number for number, handler in handlers.items() if handler != signal.SIG_IGN]

    def arm(first: Handler, second: Handler) -> None:
        def handle() -> None:
            arm(second, second)
            first()

        for number in caught:
            loop.add_signal_handler(number, handle)

    try:
        yield arm
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
            signal.signal(number, handlers[number])


def _leave_at_once(terminal: ExitStack) -> NoReturn:
    """Exit without closing anything but the terminal.

    The files are complete at any moment, and the services notice a lost connection.
    """
    terminal.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    os._exit(INTERRUPTED)
