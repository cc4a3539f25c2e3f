"""What the user's hands do in a conversation: keys and typed lines become events."""

from __future__ import annotations

import signal
from collections.abc import Callable

from voicecli import clock
from voicecli.events import (
    AgentStopped,
    Event,
    InputEnded,
    MicrophoneMuted,
    TextTyped,
    TurnYielded,
    UserQuit,
)
from voicecli.terminal.keys import END, ENTER, ESCAPE, LineEditor
from voicecli.units import AudioBlock

Post = Callable[[Event], None]


class KeyBindings:
    """Turns keys and lines into events; what is typed before there is a session waits for it."""

    def __init__(self) -> None:
        self._post: Post | None = None
        self._early: list[str] = []
        self._ended_early = False
        self._muted = False
        self._prompt = LineEditor()

    def begin(self, post: Post) -> None:
        """The session is there."""
        self._post = post
        for line in self._early:
            self.typed(line)
        if self._ended_early:
            self.ended()

    def speaks(self, key: str) -> None:
        """A key of a user who speaks."""
        match key.lower():
            case "q":
                self.quit()
            case "m" if self._post is not None:
                self._muted = not self._muted
                self._post(MicrophoneMuted(at=clock.now(), muted=self._muted))
            case _ if key == ENTER and self._post is not None:
                self._post(TurnYielded(at=clock.now()))
            case _ if key == ESCAPE and self._post is not None:
                self._post(AgentStopped(at=clock.now()))

    def types(self, key: str) -> str:
        """A key of a user who types; the line so far."""
        if key == ESCAPE and self._post is not None:
            self._post(AgentStopped(at=clock.now()))
        elif key == END and not self._prompt.text:
            self.ended()
        elif line := self._prompt.press(key):
            self.typed(line)
        return self._prompt.text

    def typed(self, line: str) -> None:
        """The user has typed a whole line."""
        if self._post is None:
            self._early.append(line)
        else:
            self._post(TextTyped(at=clock.now(), text=line))

    def hear(self, block: AudioBlock) -> None:
        """A block of the silence in which the user types.

        The STT closes a connection that gets no audio at all; one block will do.
        """
        if not self._muted and self._post is not None:
            self._muted = True
            self._post(MicrophoneMuted(at=clock.now(), muted=True))

    def ended(self) -> None:
        """The user will type no more."""
        if self._post is None:
            self._ended_early = True
        else:
            self._post(InputEnded(at=clock.now()))

    def quit(self) -> None:
        """The user has had enough; before the conversation has begun, that is Ctrl-C."""
        if self._post is None:
            signal.raise_signal(signal.SIGINT)
        else:
            self._post(UserQuit(at=clock.now()))
