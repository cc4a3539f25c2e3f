"""What is behind the stand-ins: something that recognises, something that answers, a voice.

The servers speak the wire protocols and know nothing of what is behind them.  The ``scripted``
engines say what a script says, exactly when it says so; the ``local`` ones run small models and
take as long as they take.  A generator that is closed early must stop working at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from voicecli.units import Seconds

Result = Literal["interim", "forced", "final"]
"""Why the words of a segment are asked for.

interim: to show them; the same segment will be asked for again, longer.
forced: for the last time, though the speaker goes on: the segment became too long.
final: for the last time: the speaker has paused, or the client asked for the final text.
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """The audio that one final transcript covers, as far as it has been received.

    pcm: linear16, mono, silence included.
    rate: in hertz.
    voiced: start and end of each stretch of voice in it, in seconds from its beginning.
    """

    pcm: bytes
    rate: int
    voiced: tuple[tuple[Seconds, Seconds], ...]


class Recogniser(Protocol):
    """Hears one connection's audio, one segment after the other, never two at once."""

    async def recognise(self, segment: Segment, result: Result) -> str:
        """The words of ``segment``, which has voice; "" when there are none."""


class Responder(Protocol):
    """Answers; many requests may be under way at once."""

    def reply(
        self, messages: list[dict[str, Any]], *, max_tokens: int | None, temperature: float | None
    ) -> AsyncGenerator[str, None]:
        """The reply's tokens, each with its leading space; at most ``max_tokens``.

        messages: as the client sent them, every ``content`` a string.
        """


class Voice(Protocol):
    """Speaks; many connections may want it at once, each one text at a time."""

    def speak(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        """``text`` as linear16, mono, at ``rate`` hertz, in chunks of whole samples."""


def _at_once() -> Seconds:
    return 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """When the recogniser is asked, and how late its answers leave, beyond the time they take.

    interim: an interim per so much audio of a segment.
    pause: one more interim as soon as a pause has lasted this long, so that an engine that needs
        time can have the final ready at the endpoint; None for none.
    final: from the endpoint in the audio to the final; called for each one.
    finalize: from the client's Finalize to its answer; called for each one.
    finalize_silence: whether a Finalize is answered when no voice is buffered; the service may not.
    """

    interim: Seconds = 1.0
    pause: Seconds | None = None
    final: Callable[[], Seconds] = _at_once
    finalize: Callable[[], Seconds] = _at_once
    finalize_silence: bool = True


@dataclass(frozen=True, slots=True)
class Engines:
    """What is behind the three stand-ins.

    name: "scripted" or "local"; the chat server also lists it as a model.
    recogniser: makes the recogniser of a new connection.
    """

    name: str
    recogniser: Callable[[], Recogniser]
    responder: Responder
    voice: Voice
    pace: Pace = field(default_factory=Pace)
