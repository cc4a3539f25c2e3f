"""What a conversation is made of, as the session sees it.

The session and the reply know these protocols and nothing of the adapters behind them.  Adapters
own no task, queue or callback: one sends to them and iterates over them.  Audio is linear16, mono.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from voicecli.audio import AudioBlock, AudioFormat, Samples, Seconds
from voicecli.events import ConnectionOpened, Event


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


class Transcriber(Protocol):
    """An open connection to the STT."""

    @property
    def opened(self) -> ConnectionOpened:
        """When it was opened, how long that took, and the service's id of it."""

    async def send(self, block: AudioBlock) -> None:
        """Send audio; its place in time is remembered for the transcripts' times."""

    async def finalize(self) -> None:
        """Ask for the final text of all that was sent."""

    async def finish(self) -> None:
        """No more audio follows; ``events`` ends after the last transcript."""

    def events(self) -> AsyncGenerator[Event, None]:
        """Transcripts and what else the service says; keeps the connection alive while iterated."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation, as the LLM is given it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost, as the service counts it."""

    prompt_tokens: int
    completion_tokens: int


class LanguageModel(Protocol):
    """The LLM."""

    def reply(self, messages: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        """The pieces of a reply as they arrive, none empty; at most one Usage, at the end."""

    async def warm(self) -> None:
        """Have a connection open before it is waited for."""


class Flushed:
    """Everything that was flushed so far has been synthesised and delivered."""


FLUSHED = Flushed()


class Synthesizer(Protocol):
    """An open connection to the TTS.  One reply at a time."""

    @property
    def opened(self) -> ConnectionOpened:
        """When it was opened, how long that took, and the service's id of it."""

    @property
    def flushes(self) -> int:
        """So many flushes it would take now without a wait; beyond that, replies fall silent."""

    async def send(self, text: str, *, flush: bool) -> None:
        """Text to speak, joined to the text before it as it stands; ``flush``: synthesise now."""

    def audio(self) -> AsyncGenerator[bytes | Flushed, None]:
        """The reply's audio, whole samples, and FLUSHED after the audio of each flush."""

    async def clear(self) -> None:
        """Forget what was sent; what still arrives of it never reaches ``audio``."""
