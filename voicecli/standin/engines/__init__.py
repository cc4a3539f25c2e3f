"""What the stand-ins recognise, answer and speak with: scripts or small local models.

The servers know the engines by these protocols only.  The ``scripted`` engines follow a script to
the microsecond; the ``local`` ones run small models.  A generator that is closed early must stop
computing at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from voicecli.units import Seconds

Result = Literal["interim", "forced", "final"]
"""Why the words of a segment are wanted.

interim: to show them; the same segment will follow again, longer.
forced: for the last time, though the speaker goes on: the segment became too long.
final: for the last time: the speaker has paused, or the client asked for the final text.
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """The audio that one final transcript covers, as far as it has been received.

    pcm: linear16, mono, silence included.
    rate: in hertz.
    voiced: start and end of each stretch of voice, in seconds from the segment's start.
    """

    pcm: bytes
    rate: int
    voiced: tuple[tuple[Seconds, Seconds], ...]


class SttEngine(Protocol):
    """Recognises one connection's segments, one at a time."""

    async def recognise(self, segment: Segment, result: Result) -> str:
        """Return the words of ``segment``, which has voice; "" if there are none."""


class LlmEngine(Protocol):
    """Answers chat requests; several may be under way at once."""

    def reply(
        self,
        messages: list[dict[str, Any]],
        *,
        model: str,
        max_tokens: int | None,
        temperature: float | None,
    ) -> AsyncGenerator[str, None]:
        """Generate the reply's tokens, each with its leading space; at most ``max_tokens``.

        messages: as the client sent them, every ``content`` a string.
        model: the name that the client asked for.
        """


class TtsEngine(Protocol):
    """Synthesises speech, for several connections at once, one text at a time for each."""

    def speak(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        """Generate ``text`` as linear16, mono, at ``rate`` hertz, in chunks of whole samples."""


async def judge_by_silence(segment: Segment, text: str) -> float:
    """Judge that a turn has ended with its voice: only the length of the silence counts."""
    return 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """When the STT engine is asked, and the delay added to its answers.

    interim: audio between two interim results.
    interim_lag: delay from the end of the audio to its interim result.
    pause: silence after which one more interim result is computed, so that a slow engine has the
        final ready at the endpoint; None for none.
    final: delay from the endpoint in the audio to the final, drawn for each one.
    finalize: delay from the client's Finalize to its answer, drawn for each one.
    longest: speech after which a segment is cut at its next gap, which may be within a word.
    finalize_silence: whether a Finalize is answered when no voice is buffered; the service may not.
    turn_end: silence after which Flux is as sure as it must be that a turn has ended.
    hesitation: how many times longer that is when the turn is certain to go on.
    """

    interim: Seconds = 1.0
    interim_lag: Seconds = 0.0
    pause: Seconds | None = None
    final: Callable[[], Seconds] = lambda: 0.0
    finalize: Callable[[], Seconds] = lambda: 0.0
    longest: Seconds = 5.0
    finalize_silence: bool = True
    turn_end: Seconds = 0.3
    hesitation: float = 4.0


@dataclass(frozen=True, slots=True)
class Engines:
    """What the three stand-ins work with.

    name: "scripted" or "local"; the chat server also lists it as a model.
    models: the names of further models that it lists.
    stt: makes the engine of a new connection.
    speaks_sentences: whether the TTS also speaks at the end of a sentence, before the Flush.
    judge: returns the probability that a turn has ended, by the audio and the words so far.
    older: whether Flux leaves out what older deployments do not have.
    early_words: whether Flux sends words before it says that a turn has begun.
    """

    name: str
    stt: Callable[[], SttEngine]
    llm: LlmEngine
    tts: TtsEngine
    pace: Pace = Pace()
    speaks_sentences: bool = False
    models: Sequence[str] = ()
    judge: Callable[[Segment, str], Awaitable[float]] = judge_by_silence
    older: bool = False
    early_words: bool = False
