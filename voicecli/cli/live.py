"""A conversation with somebody who is there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voicecli import clock
from voicecli.assemble import open_services, open_session
from voicecli.audio import AudioBlock
from voicecli.cli.hands import Hands
from voicecli.cli.holding import TIMELINE, header
from voicecli.cli.showing import Showing, Shown, open_shown, stdin
from voicecli.cli.sound import Sound, open_sound
from voicecli.events import ReplyCancelled, ReplyFailed, ReplyFinished, Warned
from voicecli.keyboard import is_ours, keys_pressed
from voicecli.record import Record
from voicecli.recorder import Recorder
from voicecli.report.screen import Screen
from voicecli.timeline import Timeline, writing
from voicecli.typed import TypedLines

if TYPE_CHECKING:
    from voicecli.profile import Profile
    from voicecli.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user wants beside the profile.

    typed: to type instead of speaking.
    showing: how the conversation is shown.
    out: the folder to keep the recording in.
    warnings: what the user is told once the conversation has begun.
    """

    typed: bool = False
    showing: Showing = "screen"
    out: Path | None = None
    warnings: Sequence[str] = ()


async def hold(profile: Profile, wishes: Wishes, timeline: Timeline) -> None:
    """Hold the conversation; what happened is in ``timeline``, however it ends.

    Raises VoiceError, perhaps in a group, and BrokenPipeError when nobody reads what is shown.
    """
    hands, session, taps = Hands(), None, list[Callable[[AudioBlock], None]]()

    def heard() -> str:
        return session.heard if session is not None else ""

    def tap(block: AudioBlock) -> None:
        for each in taps:
            each(block)

    async with AsyncExitStack() as stack:
        sound = await stack.enter_async_context(open_sound(profile, typed=wishes.typed))
        shown = stack.enter_context(
            open_shown(wishes.showing, profile, typed=wishes.typed, heard=heard, unread=hands.quit)
        )
        stack.enter_context(_listening_to(hands, wishes.typed, shown, timeline))
        timeline.follow(shown.note)
        shown.say(clock.now(), _told(profile, sound, typed=wishes.typed))
        services = await stack.enter_async_context(open_services(profile))
        session = await stack.enter_async_context(
            open_session(profile, services, sound.source, sound.sink, timeline=timeline, tap=tap)
        )
        if wishes.out is not None:
            taps.append(stack.enter_context(_recorded(wishes.out, profile, sound, timeline)))
        taps.append(hands.hear if wishes.typed else shown.hear)
        for notices in sound.notices:
            session.attend(notices)
        asyncio.get_running_loop().call_soon(_begin, session, hands, wishes, sound)
        with _signals(hands.quit):
            await session.run()


def _told(profile: Profile, sound: Sound, *, typed: bool) -> str:
    """What the conversation is held with."""
    half = profile.interrupt.policy == "off"
    duplex = [] if typed else ["half duplex" if half else "the microphone stays live"]
    return ", ".join([*sound.names, *duplex])


def _begin(session: Session, hands: Hands, wishes: Wishes, sound: Sound) -> None:
    """The conversation runs: what there is to tell at its beginning."""
    for text in (*wishes.warnings, *sound.warnings):
        session.post(Warned(at=clock.now(), service="audio", text=text))
    hands.begin(session.post)


@contextmanager
def _recorded(
    folder: Path, profile: Profile, sound: Sound, timeline: Timeline
) -> Iterator[Callable[[AudioBlock], None]]:
    """What is to be given the microphone's blocks; all is in ``folder`` then."""
    with (
        Recorder(
            folder,
            profile.tts.sample_rate,
            agent=sound.played,
            user_rate=profile.audio.sample_rate,
        ) as recorder,
        writing(folder / TIMELINE, header(profile)) as writer,
    ):
        timeline.follow(writer)
        yield recorder.user


def _listening_to(
    hands: Hands, typed: bool, shown: Shown, timeline: Timeline
) -> AbstractContextManager[object]:
    """Has ``hands`` told of what the user presses or types."""
    file = stdin()
    screen = shown if isinstance(shown, Screen) else None
    stopped = screen.stopped if screen is not None else _unmoved
    if not typed:
        return keys_pressed(file, hands.speaks, stopped)
    if screen is not None and is_ours(file):
        return keys_pressed(file, lambda key: screen.type(hands.types(key)), stopped)
    lines = TypedLines(file, hands.typed, hands.ended, patient=not os.isatty(file))
    timeline.follow(lambda record: lines.more() if _is_end(record) else None)
    return lines


def _is_end(record: Record) -> bool:
    """Whether the floor is the user's again."""
    return isinstance(record, ReplyFinished | ReplyFailed | ReplyCancelled)


def _unmoved(stopped: bool) -> None:
    """Lines that scroll by need not be cleared away."""


@contextmanager
def _signals(quit: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM calls ``quit``; the next does what it did before."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            if loop.remove_signal_handler(number):
                signal.signal(number, handler)

    def first() -> None:
        restore()
        quit()

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a script has put us into the background
            loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        restore()
