"""The greeting: a reply that no LLM writes, sent to the TTS while the session is still opening."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from voicecli.errors import ServiceError
from voicecli.pipeline.generation import ReplyText
from voicecli.services.interfaces import Synthesizer, TtsSettings, Usage
from voicecli.text.chunker import ClauseChunker
from voicecli.text.pacing import Pacing


@dataclass(eq=False)
class Greeting:
    """What a reply needs to know of its text, where it is given from the start.

    text: complete.
    is_ahead: whether the TTS has been sent it.
    """

    text: ReplyText
    is_ahead: bool = False

    failure: ClassVar[None] = None
    truncated: ClassVar[None] = None
    tokens: ClassVar[None] = None
    prompt_tokens: ClassVar[None] = None
    apologised: ClassVar[bool] = False
    has_begun: ClassVar[bool] = True
    used: ClassVar[Usage] = Usage(prompt_tokens=0, completion_tokens=0)

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Do nothing: the text is complete."""

    async def send_ahead(self, tts: Synthesizer) -> None:
        """Have it synthesised while the session is still opening; a failure is no error yet."""
        try:
            await tts.send(self.text.written, flush=True)
        except ServiceError:
            await tts.clear()
        else:
            self.is_ahead = True


def create_greeting(text: str, settings: TtsSettings) -> Greeting | None:
    """Create the greeting, in its spoken form; None if there is nothing to say."""
    chunker = ClauseChunker(Pacing(seconds_per_character=0.06))
    spoken = ReplyText(chunker, language=settings.language)
    spoken.push(text)
    if not spoken.flush():
        return None
    spoken.finish()
    return Greeting(spoken)
