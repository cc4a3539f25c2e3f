"""The three services as the pipeline sees them: protocols, the settings it reads, capabilities.

The pipeline knows nothing of the adapters behind them.  An adapter owns no task, queue or callback:
its user sends to it and iterates over it.  Audio is linear16, mono.  Each settings class here is
the base of the adapters' own, which add what only their service understands.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from voicecli.events import ConnectionOpened, Event, Truncation, Warned
from voicecli.settings import milliseconds, section, setting, timeout
from voicecli.units import AudioBlock, Samples, Seconds

# ── speech to text ───────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class SttSettings:
    """Speech to text."""

    provider: str = setting("deepgram", "Which service transcribes.")
    finalize_timeout: Seconds = timeout(
        350, "How long to wait for the final text that was asked for; the service may send none."
    )

    @property
    def sends_interims(self) -> bool:
        """Whether transcripts come while the user speaks."""
        return True

    @property
    def silence_limit(self) -> Seconds | None:
        """Silence after which the service ends a segment; None: that does not decide."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SttCapabilities:
    """What an STT can do.

    sample_rates: those that it takes, in hertz.
    word_timestamps: whether transcripts tell when their words were spoken.
    end_of_turn_events: whether it finds the ends of turns itself (``turn.detect: service``).
    """

    sample_rates: Sequence[int]
    word_timestamps: bool
    end_of_turn_events: bool


class Transcriber(Protocol):
    """An open connection to the STT."""

    @property
    def opened(self) -> ConnectionOpened:
        """When it was opened, how long that took, and the service's id of it."""

    @property
    def interim_lag(self) -> Seconds | None:
        """Audio that had been sent, but was not covered by the last interim; None before one."""

    @property
    def final_until(self) -> Seconds:
        """Until when the finals so far settle the audio: no more words of that will come."""

    async def send(self, block: AudioBlock) -> None:
        """Send audio; its place in time is remembered for the transcripts' times."""

    async def finalize(self) -> None:
        """Ask for the final text of everything sent so far; where that is little, none may come."""

    async def finish(self) -> None:
        """Say that no more audio follows; ``events`` ends after the last transcript."""

    def events(self) -> AsyncGenerator[Event, None]:
        """Yield transcripts, what ends utterances and turns, and warnings, until the end after
        ``finish``.

        Keeps the connection alive while iterated.  Raises ServiceError when it ends otherwise.
        """


# ── language model ───────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettings:
    """The past turns sent to the LLM; beyond a limit, the older half is dropped at once."""

    max_turns: int = setting(30, "Turns before the one to answer; 0: none.", ge=0, le=1000)
    max_chars: int = setting(
        8000, "Characters of these turns; 8000 are about 2000 tokens.", ge=0, le=1_000_000
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSettings:
    """The language model."""

    provider: str = setting("openai", "Which service writes the replies.")
    max_tokens: int = setting(
        60, "Upper limit of a reply; 60 are about 45 words, 15 s of speech.", ge=1
    )
    system_prompt: str = setting(
        "You are a voice assistant. Give short spoken answers: one to three sentences. "
        "The first sentence has at most eight words. "
        "Use plain words, no lists, no Markdown, no emoji.",
        "How to answer; a short first sentence is heard sooner.",
        empty=True,
    )
    reasoning: Literal["auto", "unopened"] = setting(
        "auto",
        "Not spoken. auto: known by its tags; unopened: replies begin with it, without a tag.",
    )
    history: HistorySettings = section(HistorySettings)
    hedge: Seconds | Literal["auto"] | None = milliseconds(
        "auto",
        "Without a token for this long, send a second request; auto: the usual wait; null: never.",
        ge=100,
        le=10_000,
    )


CUT = " …"
"""Marks a reply that was cut off, so that the LLM does not assume the rest was said."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a reply, as the service counts them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """The service ended the reply before it was complete."""

    reason: Truncation


Piece = str | Warned | Truncated | Usage
"""What an LLM yields of a reply."""


class LanguageModel(Protocol):
    """The LLM."""

    @property
    def request_id(self) -> str:
        """The service's id of the last reply that began; "" where it gives none."""

    def reply(self, messages: Sequence[Message]) -> AsyncGenerator[Piece, None]:
        """Yield a reply's text as it arrives, none before its first word, and warnings.

        At most one Truncated and one Usage follow the text.

        Leaving early ends the request.  Raises ServiceError, also when the reply breaks off.
        """

    async def load(self) -> None:
        """Load the libraries that replies need, in a thread; a reply before that waits for it."""

    async def warm(self) -> None:
        """Open a connection ahead of the first request, or renew it.

        Raises RefusedError when the key is refused, and nothing else.
        """


# ── text to speech ───────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class TtsSettings:
    """Text to speech."""

    provider: str = setting("deepgram", "Which service speaks.")
    sample_rate: Literal[8000, 16_000, 24_000, 32_000, 48_000] = setting(
        48_000, "Hertz, of the speech and of the loudspeaker; 48000 is 96 kB per second."
    )
    chunking: Literal["clauses", "batches"] = setting(
        "clauses", "Cut the reply at natural boundaries, or into batches of batch_chars."
    )
    first_clause_stall: Seconds = milliseconds(
        150,
        "When the LLM pauses this long within the first clause, speak what is there.",
        ge=50,
        le=5000,
    )
    batch_chars: int = setting(
        180, "Characters in a batch; used by chunking: batches.", ge=1, le=2000
    )
    flush: Literal["clauses", "end"] = setting(
        "clauses",
        "Have the service speak just in time, or all at the end of the reply.",
    )
    empty: Seconds = milliseconds(
        250,
        "With nothing left to play for this long, a reply whose last words came is over.",
        ge=100,
        le=2000,
    )
    apology: str = setting(
        "Sorry, I have lost my train of thought. Could you say that again?",
        "Spoken when the LLM fails; may be empty.",
        empty=True,
    )

    @property
    def language(self) -> str:
        """The language of the voice, such as "de"."""
        return "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class TtsCapabilities:
    """What a TTS can do.

    sample_rates: in hertz.
    flushes: how many Flushes one connection takes within ``window``; None for any number.
    characters: how many characters it takes within ``window``; None for any number.
    window: seconds over which both are counted.
    seconds_per_character: the usual pace of its voices.
    word_timestamps: whether it says when each word is spoken.
    speaks_unflushed: whether it speaks as text comes; then one flush, at its end, ends a reply.
    reports_heard: whether it tells, after ``clear``, which words were heard.
    """

    sample_rates: tuple[int, ...]
    flushes: int | None
    characters: int | None
    window: Seconds
    seconds_per_character: Seconds
    word_timestamps: bool
    speaks_unflushed: bool = False
    reports_heard: bool = False


class Flushed:
    """Everything that was flushed so far has been synthesised and delivered."""


FLUSHED = Flushed()


class Synthesizer(Protocol):
    """An open connection to the TTS.  One reply at a time."""

    @property
    def opened(self) -> ConnectionOpened:
        """When it was opened, how long that took, and the service's id of it."""

    @property
    def capabilities(self) -> TtsCapabilities:
        """What the service can do."""

    @property
    def flushes_left(self) -> int | None:
        """Flushes that can be sent now without a wait; None for any number."""

    def flush_allowed_at(self, characters: int) -> Seconds:
        """The earliest time to send and flush that many characters without a wait."""

    async def send(self, text: str, *, flush: bool) -> None:
        """Send text to speak, joined to the text before it as it is; ``flush``: synthesise now.

        Waits while the service's limit of characters is reached.
        """

    def audio(self) -> AsyncGenerator[bytes | Flushed, None]:
        """Yield the audio as it comes, whole samples, and FLUSHED after that of each flush.

        Never ends by itself.  Raises ServiceError for a failure, StalledError for silence.
        """

    async def warm(self) -> None:
        """Between replies, open another connection if the limits of the present one are near.

        Raises ServiceError the first time that this is refused; replies then use what is left.
        """

    async def clear(self, *, unplayed: Samples | None = None) -> None:
        """Drop everything sent so far; what still arrives of it never reaches ``audio``.

        Never fails.  Must follow a reply that ended early, by an error or by cancellation.

        unplayed: samples that ``audio`` has yielded of the reply and that were not played; None:
            nothing of it was.
        """

    async def cleared(self) -> str | None:
        """Wait until the service has confirmed ``clear``; raises ServiceError.

        Returns the words that were heard, by the service's account; None where it gives none.  The
        next reply may begin meanwhile if the service ``reports_heard``; otherwise nothing else may
        read from the connection.
        """
