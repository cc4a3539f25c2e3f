"""What a conversation is made of, as the session sees it.

The session and the reply know these protocols and nothing of the adapters behind them.  Adapters
own no task, queue or callback: one sends to them and iterates over them.  Audio is linear16, mono.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Protocol

from voicecli.events import Event
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds


class Source(Protocol):
    """Where the user's voice comes from: a microphone, or a recording paced like one."""

    @property
    def format(self) -> AudioFormat:
        """Of the blocks."""

    def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        """The audio, each block when its last sample is there; after the last, silence."""

    def pause(self) -> None:
        """The agent speaks and nobody listens: a recorded user waits, a live one need not."""

    def resume(self) -> None:
        """The user has the floor again."""


class Sink(Protocol):
    """Where the agent's voice goes to.  One reply at a time; nothing here waits but what is async.

    A reply is a ``start``, any number of ``write``, an ``end``, and a ``finish`` or a ``clear``.
    """

    @property
    def format(self) -> AudioFormat:
        """Of what is written."""

    def start(self) -> None:
        """Begin a reply."""

    def write(self, pcm: bytes) -> None:
        """Queue whole samples; they sound once a little is queued (the pre-buffer), or at
        the end.
        """

    def end(self) -> None:
        """Nothing more is written to this reply; what is queued need not wait for more."""

    async def started(self) -> Seconds:
        """Wait until the first audible sample of the reply has sounded; when that was."""

    async def finish(self) -> None:
        """Wait until all that was written has sounded."""

    def duck(self) -> None:
        """Play softly (-20 dB), with a short fade."""

    def hold(self) -> None:
        """Be silent after a short fade, and remember where; what is written is queued."""

    def resume(self) -> None:
        """Go on from the exact sample, as loud as before, with a short fade."""

    def clear(self) -> Samples:
        """Be silent after a short fade, and forget the rest; the samples that were heard."""

    @property
    def heard(self) -> Samples:
        """Samples of this reply that have sounded."""

    @property
    def queued(self) -> Seconds:
        """How long what is queued will take to sound."""

    @property
    def underruns(self) -> int:
        """How often this reply ran dry."""

    @property
    def estimated(self) -> bool:
        """Whether its times are guesses, because the sound card gives none."""


class Detector(Protocol):
    """Tells voice from silence, locally; on the sample clock, so files and life are alike."""

    def feed(self, block: AudioBlock) -> Iterable[Event]:
        """SpeechSuspected, SpeechStarted and SpeechStopped that this block brings to light.

        They are stamped with its end.
        """

    def reset(self) -> None:
        """What follows does not continue what came before; a voice under way is forgotten."""
