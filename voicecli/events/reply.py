"""What happens to the agent's reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecli.events.entry import ReplyEvent, Service
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmRequested(ReplyEvent):
    """A request was sent to the LLM.

    attempt: numbers the requests of this turn from 1.
    hedge: whether it races a late request rather than replaces a failed one.
    """

    attempt: int = 1
    hedge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken(ReplyEvent):
    """The first token of the reply's answer arrived; one with only a role, white space or reasoning
    does not count.  It comes again if the text of the first turns out to be reasoning.

    attempt: the request that delivered it.
    """

    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseReady(ReplyEvent):
    """The reply's first clause is complete; speaking it may have to wait for the commit.

    text: the words as they will be spoken.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseSent(ReplyEvent):
    """A piece of the reply was sent to the TTS.

    text: the words as they will be spoken.
    flushed: whether the TTS was asked to synthesise at once.
    streamed: whether the TTS speaks as text comes, without being asked.
    """

    text: str
    flushed: bool
    streamed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAudio(ReplyEvent):
    """The reply's first audible sample arrived from the TTS.

    first_byte: when the first audio arrived, audible or not.
    lead: seconds of silence before it, which were not played.
    """

    first_byte: Seconds
    lead: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStarted(ReplyEvent):
    """The reply's first audible sample was played; ``at`` is when, by the sink's clock.

    estimated: whether ``at`` is a guess because the sound card reports no times.
    """

    estimated: bool = False


Volume = Literal["full", "ducked", "silent"]
"""How loud the loudspeaker plays a reply; silent: it is held, or was cleared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeChanged(ReplyEvent):
    """The volume of a reply that was audible has changed.

    at: when the fade to it ends at the loudspeaker, by the sink's clock.
    """

    volume: Volume


PlaybackEnd = Literal["flushed", "empty", "stalled"]
"""How the session knew that a reply's audio was complete.

flushed: the TTS confirmed that everything was delivered.
empty: no confirmation came, and the playout queue had been empty for ``tts.empty_ms``.
stalled: no audio arrived at all for ``tts.first_audio_timeout_ms``.
"""


Truncation = Literal["length", "content_filter"]
"""Why an LLM ended a reply before it was complete.

length: the limit of tokens was reached (``llm.max_tokens``, or the server's own).
content_filter: the service withheld the rest.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFinished(ReplyEvent):
    """The reply's last sample was played.

    said: the whole text.
    heard: seconds of audio played.
    underruns: how often the sink ran dry during the reply.
    tokens, prompt_tokens: as the LLM service counts them; None when it does not report them.
    ended_by: how the end of the audio was known.
    truncated: why the text is not complete; None if it is.
    """

    said: str
    heard: Seconds
    underruns: int = 0
    tokens: int | None = None
    prompt_tokens: int | None = None
    ended_by: PlaybackEnd = "flushed"
    truncated: Truncation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCancelled(ReplyEvent):
    """The reply was stopped; nothing is played after this.

    said: the words that were played.
    heard: seconds of audio played.
    estimated: whether the end of ``said`` is estimated, because it lies within a flush.
    committed: False for a draft.
    tokens, prompt_tokens: what it used of the LLM; estimated from the text if the service, cut off,
        did not report them.
    characters: what was sent of it to the TTS.
    """

    said: str
    heard: Seconds
    estimated: bool = False
    committed: bool = True
    tokens: int = 0
    prompt_tokens: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardReported(ReplyEvent):
    """The TTS reported which words of a cancelled reply were heard; its ReplyCancelled came before.

    said: these words; they replace our own estimate.
    """

    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFailed(ReplyEvent):
    """A service failed during the reply; the conversation goes on.

    reason: one sentence.
    stalled: whether the LLM had sent no token when the time for the first one was up.
    said, heard: as in ReplyCancelled.
    """

    service: Service
    reason: str
    stalled: bool = False
    said: str = ""
    heard: Seconds = 0.0
