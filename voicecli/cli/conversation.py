"""A live conversation: its devices, its display, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from itertools import chain, repeat
from pathlib import Path
from typing import Literal, NoReturn

from voicecli import clock
from voicecli.audio.devices import Loudspeaker, open_loudspeaker, open_microphone
from voicecli.audio.devices.calibrations import load_calibration
from voicecli.audio.devices.host import silence_stderr
from voicecli.audio.echo import EchoCancellingSource, is_wanted
from voicecli.audio.interfaces import Source
from voicecli.audio.virtual import SilentSource, VirtualSpeaker
from voicecli.cli.cassettes import CassetteUse
from voicecli.errors import INTERRUPTED, DeviceError
from voicecli.events import Event, ReplyCancelled, ReplyFailed, ReplyFinished, Warned
from voicecli.loading import end_start
from voicecli.metrics.accuracy import Calibration
from voicecli.pipeline.greeting import create_greeting
from voicecli.pipeline.recording import open_recording
from voicecli.pipeline.wiring import create_session, open_connections
from voicecli.profile import Profile
from voicecli.report.json_result import JsonLines
from voicecli.terminal import keys
from voicecli.terminal.plain import PlainLines
from voicecli.terminal.screen import Screen
from voicecli.terminal.streams import LineReader, NonBlockingWriter, StderrAbove
from voicecli.terminal.view import Display
from voicecli.timeline import Entry, Timeline

DisplayKind = Literal["screen", "plain", "json"]


async def run_conversation(
    profile: Profile,
    timeline: Timeline,
    use: CassetteUse,
    *,
    typed: bool,
    kind: DisplayKind,
    out: Path | None,
    warning: str | None,
) -> None:
    """Hold the conversation; ``timeline`` has what happened, however it ends.

    use: of cassettes.
    typed: whether the user types instead of speaking.
    out: the folder for the recording.
    warning: shown once the conversation has begun.

    Raises VoiceError, possibly in a group, and OSError if the output takes no more: BrokenPipeError
    if nobody reads it.
    """
    bindings, session = keys.KeyBindings(), None
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_silence_libraries())
        arm_signals = stack.enter_context(_open_signals())
        if keys.owns_terminal(_stdin()):
            import_module("prompt_toolkit.input")  # 0.1 s, before anything waits for the loop
        stack.enter_context(end_start())
        services = await stack.enter_async_context(use.open_services(profile))
        terminal = stack.enter_context(contextlib.ExitStack())
        opening = _open_display(
            kind, profile, typed, lambda: session.heard if session else "", bindings.quit
        )
        display = terminal.enter_context(opening)
        greets = create_greeting(profile.agent.greeting, profile.tts) is not None
        terminal.enter_context(_open_input(bindings, typed, display, timeline, greets=greets))
        timeline.follow(display)

        async def enter_devices() -> SoundDevices:
            found = await stack.enter_async_context(open_devices(profile, typed=typed))
            display.announce(clock.now(), found.description)
            return found

        async with asyncio.TaskGroup() as tasks:  # either takes up to seconds
            opening_devices = tasks.create_task(enter_devices(), name="open devices")
            connections = await stack.enter_async_context(
                open_connections(profile, services, timeline, typed=typed)
            )
        devices = opening_devices.result()
        source, sink = devices.source, devices.sink
        session = create_session(profile, connections, source, sink, timeline=timeline)
        if out is not None:
            stack.enter_context(open_recording(out, profile, sink.take, session))
        if not typed:
            session.add_tap(display.feed)
        for events in devices.events:
            session.add_event_source(events)
        post = session.post

        def begin() -> None:
            if devices.calibration is not None:
                post(devices.calibration.make_event(clock.now()))
            for text in filter(None, (warning, devices.warning)):
                post(Warned(at=clock.now(), service="audio", text=text))
            bindings.connect(post)

        def leave() -> NoReturn:
            """Exit without closing anything but the terminal.

            The files are complete at any moment, and the services notice a lost connection.
            """
            terminal.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
            os._exit(INTERRUPTED)

        asyncio.get_running_loop().call_soon(begin)
        arm_signals(bindings.quit, leave)
        await session.run()
        arm_signals(leave)


def _stdin() -> int:
    """Return the descriptor of standard input."""
    return sys.stdin.fileno()


@contextlib.contextmanager
def _silence_libraries() -> Iterator[None]:
    """Discard what C libraries write to standard error; keep what Python writes.

    PortAudio prints a line when a device vanishes, in the middle of the display.
    """
    with silence_stderr() as saved, contextlib.ExitStack() as stack:
        if saved is not None:
            ours = stack.enter_context(
                open(saved, "w", 1, sys.stderr.encoding, sys.stderr.errors, closefd=False)
            )
            stack.enter_context(contextlib.redirect_stderr(ours))
        yield


class _JsonDisplay(JsonLines, Display):
    """Writes the entries, and nothing that is not in the timeline."""


@contextlib.contextmanager
def _open_display(
    kind: DisplayKind,
    profile: Profile,
    typed: bool,
    heard: Callable[[], str],
    unread: Callable[[], None],
) -> Iterator[Display]:
    """Show the conversation on standard output.

    heard: returns what has been heard of the current reply.
    unread: called when nobody reads the output any more, or the disk is full; the OSError is raised
        at the end then.
    """
    budgets = profile.budgets
    sys.stdout.flush()
    file, encoding, errors = sys.stdout.fileno(), sys.stdout.encoding, sys.stdout.errors
    with NonBlockingWriter(file, unread, encoding, errors or "replace") as writer:
        match kind:
            case "json":
                yield _JsonDisplay(writer.write_line)
            case "plain":
                midnight = datetime.now() - timedelta(seconds=clock.now())
                yield PlainLines(writer.write_line, midnight, budgets, typed=typed)
            case "screen":
                has_keys = keys.owns_terminal(_stdin())
                usable = keys.TYPING_KEYS if typed else keys.SPEAKING_KEYS
                shown = usable if has_keys else "Ctrl-C quit"
                prompt = typed and has_keys
                screen = Screen(writer, file, budgets, heard=heard, keys=shown, prompt=prompt)
                shared = sys.stderr.isatty()
                stderr = StderrAbove(screen.announce) if shared else sys.stderr
                with screen, contextlib.redirect_stderr(stderr):
                    yield screen
    if writer.failure is not None:
        raise writer.failure


def _open_input(
    bindings: keys.KeyBindings, typed: bool, display: Display, timeline: Timeline, *, greets: bool
) -> contextlib.AbstractContextManager[object]:
    """Pass ``bindings`` what the user presses or types.

    greets: whether the agent begins; then lines from a pipe wait for the end of the greeting.
    """
    file = _stdin()
    screen = display if isinstance(display, Screen) else None
    stopped = screen.pause if screen is not None else lambda _: None
    if not typed:
        return keys.open_keys(file, bindings.press, stopped)
    if screen is not None and keys.owns_terminal(file):
        return keys.open_keys(
            file, lambda key: screen.show_typing(bindings.press_typing(key)), stopped
        )
    piped = not os.isatty(file)
    lines = LineReader(
        file,
        bindings.submit,
        bindings.end_input,
        one_by_one=piped,
        first_waits=piped and greets,
    )

    def follow(entry: Entry) -> None:
        if isinstance(entry, ReplyFinished | ReplyFailed | ReplyCancelled):
            lines.request_line()

    timeline.follow(follow)
    return contextlib.closing(lines)


@dataclass(frozen=True, slots=True)
class SoundDevices:
    """The source and the sink of a conversation.

    events: what happens to the devices.
    description: their names and how they are used, for the user.
    warning: what the user should know about them, if anything.
    calibration: how exact measurements with them are; None if that is not known.
    """

    source: Source
    sink: Loudspeaker | VirtualSpeaker
    events: Sequence[AsyncGenerator[Event, None]]
    description: str
    warning: str | None
    calibration: Calibration | None


@contextlib.asynccontextmanager
async def open_devices(profile: Profile, *, typed: bool) -> AsyncIterator[SoundDevices]:
    """Open the profile's microphone and loudspeaker.

    typed: no microphone is opened.  If there is no loudspeaker, and the profile names none,
        replies are only shown, each for as long as it would sound.

    Raises DeviceError; UsageError if echo is to be cancelled and the canceller is not installed.
    """
    audio, rate, policy = profile.audio, profile.tts.sample_rate, profile.interrupt.policy
    source: Source = SilentSource(audio.sample_rate)
    loudspeaker, warning, calibration = None, None, None
    async with contextlib.AsyncExitStack() as stack:
        opening = open_loudspeaker(audio.speaker, rate, audio.prebuffer)
        try:
            loudspeaker = await stack.enter_async_context(opening)
        except DeviceError as error:
            if not typed or audio.speaker is not None:
                raise
            warning = f"{error.cause}: replies are shown, not heard"
        names = [f"loudspeaker {loudspeaker.name!r}" if loudspeaker else "no loudspeaker"]
        events = [loudspeaker.events()] if loudspeaker else []
        if loudspeaker and not typed:
            source = microphone = await stack.enter_async_context(
                open_microphone(audio.microphone, audio.sample_rate, audio.block)
            )
            names.insert(0, f"microphone {microphone.name!r}")
            calibration = load_calibration(microphone.name, loudspeaker.name)
            events.append(microphone.events())
            if is_wanted(audio.echo_cancellation, policy):
                source = EchoCancellingSource(microphone, loudspeaker.echo_reference)
                names.append("echo cancelled")
            names.append("half duplex" if policy == "off" else "the microphone stays live")
        sink = loudspeaker or VirtualSpeaker(rate, audio.prebuffer)
        yield SoundDevices(source, sink, events, ", ".join(names), warning, calibration)


@contextlib.contextmanager
def _open_signals() -> Iterator[Callable[..., None]]:
    """Catch Ctrl-C and SIGTERM, in the running loop.

    Yields ``arm``: the next signal calls its first argument, the one after it the second, and so
    on; all others the last.  Before ``arm`` the handlers are unchanged.  Signals that the parent
    ignored stay ignored.
    """
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caught = [number for number, handler in handlers.items() if handler != signal.SIG_IGN]

    def arm(*actions: Callable[[], object]) -> None:
        coming = chain(actions, repeat(actions[-1]))
        for number in caught:
            loop.add_signal_handler(number, lambda: next(coming)())

    try:
        yield arm
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
            signal.signal(number, handlers[number])
