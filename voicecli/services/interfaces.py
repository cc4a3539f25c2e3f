"""What a conversation is made of, as the session sees it.

The session and the reply know these protocols and nothing of the adapters behind them.  Adapters
own no task, queue or callback: one sends to them and iterates over them.  Audio is linear16, mono.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from voicecli.events import ConnectionOpened, Event
from voicecli.units import AudioBlock


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
