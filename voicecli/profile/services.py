"""The services' settings: STT, LLM, TTS; and what every section has in common.

The docstring under a key is its description in the JSON schema; its default is the one that
``profiles/default.yaml`` spells out.  Limits are the services' own, as Deepgram and OpenAI document
them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic.types import Strict
from pydantic_core import PydanticCustomError

Text = Annotated[str, Field(min_length=1)]
Milliseconds = Annotated[int, Field(ge=50, le=60_000)]
Url = Annotated[str, Field(pattern=r"^(wss?|https?)://[^/\s]", examples=["wss://host.example"])]
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", examples=["DEEPGRAM_API_KEY"])]
Off = Annotated[
    Literal[False],
    BeforeValidator(lambda value: value if value is False else None),  # 0 would pass as False
]
Keyterms = Annotated[tuple[Text, ...], Strict(False)]  # YAML has lists, not tuples
Parameter = str | int | float | bool

KEYTERM_TOKENS = 500
CHARACTERS_PER_TOKEN = 4
"""A usual estimate for English; the service counts exactly and refuses the connection."""


class Section(BaseModel):
    """Checked completely, then never changed; nothing is converted silently."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def conflict(rule: str, *keys: str) -> PydanticCustomError:
    """``keys`` of one section break ``rule``, a clause; the one set last is to blame."""
    return PydanticCustomError("conflict", "{rule}", {"rule": rule, "keys": keys})


class Stt(Section):
    """Speech to text: Deepgram's /v1/listen."""

    base_url: Url | None = None
    """null: DEEPGRAM_BASE_URL, else wss://api.deepgram.com."""
    key_env: Variable = "DEEPGRAM_API_KEY"
    """Name of the environment variable that holds the key."""
    model: Text = "nova-3"
    """Name of the model."""
    language: Text = "en"
    """BCP-47 tag, or multi."""
    interim_results: bool = True
    """Transcripts while a segment is still open."""
    endpointing_ms: Annotated[int, Field(ge=10, le=5000)] | Off = 200
    """Silence that ends an utterance; false: the service does not decide."""
    utterance_end_ms: Annotated[int, Field(ge=1000)] | None = 1000
    """Time without a word that ends an utterance, also in noise; null: off."""
    vad_events: bool = True
    """Have the service say when it hears a voice."""
    smart_format: bool = True
    """Dates, numbers and the like as one writes them."""
    punctuate: bool = True
    """Punctuation and capitals."""
    no_delay: bool = True
    """Do not hold a final back to format it better (up to 3 s after numbers)."""
    numerals: bool = False
    """Digits for number words."""
    keyterms: Keyterms = ()
    """Words to listen for, nova-3 only; all of them together about 500 tokens."""
    mip_opt_out: bool = False
    """Keep the audio out of the service's model improvement; may change the price."""
    tag: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Label in the service's usage reports."""
    extra: dict[str, Parameter | list[Parameter]] = {}
    """Further query parameters, passed as they are."""
    connect_timeout_ms: Milliseconds = 5000
    """Time to open the connection."""
    finalize_timeout_ms: Milliseconds = 350
    """How long to wait for the answer to Finalize; the service may send none."""

    @model_validator(mode="after")
    def _service_rules(self) -> Stt:
        if self.utterance_end_ms is not None and not self.interim_results:
            raise conflict(
                "utterance_end_ms needs interim_results: true",
                "utterance_end_ms",
                "interim_results",
            )
        if self.keyterms and not self.model.startswith("nova-3"):
            raise conflict(f"keyterms need nova-3, not {self.model}", "keyterms", "model")
        if sum(map(len, self.keyterms)) > KEYTERM_TOKENS * CHARACTERS_PER_TOKEN:
            raise conflict(f"keyterms are more than about {KEYTERM_TOKENS} tokens", "keyterms")
        return self


class Llm(Section):
    """The language model: chat completions of OpenAI, or of a server that speaks like it."""

    base_url: Url | None = None
    """null: OPENAI_BASE_URL, else https://api.openai.com/v1."""
    key_env: Variable = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key."""
    model: Text = "gpt-4o-mini"
    """Name of the model."""
    max_tokens: Annotated[int, Field(ge=1)] = 60
    """Upper limit of a reply; 60 are about 45 words, 15 s of speech."""
    max_tokens_name: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What the server calls that limit; Ollama and other servers know max_tokens only."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.4
    """null: the server's own, for models that refuse the parameter."""
    system_prompt: str = (
        "You are a voice assistant. Give short spoken answers: one to three sentences. "
        "The first sentence has at most eight words. "
        "Use plain words, no lists, no Markdown, no emoji."
    )
    """How to answer; a short first sentence is heard sooner."""
    connect_timeout_ms: Milliseconds = 2000
    """Time to open a connection."""
    first_token_timeout_ms: Milliseconds = 4000
    """From the request to the first token."""
    token_timeout_ms: Milliseconds = 3000
    """From one token to the next."""
    hedge_ms: Annotated[int, Field(ge=100, le=10_000)] | Literal["auto"] | None = "auto"
    """Without a token for so long, ask again beside; auto: follows the usual wait; null: never."""
    extra: dict[str, JsonValue] = {}
    """Further fields of the request, passed as they are (reasoning_effort, service_tier, …)."""


class Tts(Section):
    """Text to speech: Deepgram's /v1/speak."""

    base_url: Url | None = None
    """null: DEEPGRAM_BASE_URL, else wss://api.deepgram.com."""
    key_env: Variable = "DEEPGRAM_API_KEY"
    """Name of the environment variable that holds the key."""
    model: Text = "aura-2-thalia-en"
    """Name of the voice."""
    sample_rate: Literal[8000, 16_000, 24_000, 32_000, 48_000] = 48_000
    """Hertz, of the speech and of the loudspeaker."""
    speed: Annotated[float, Field(ge=0.7, le=1.5)] | None = None
    """1 is the voice's own pace; Aura-2 in en, and in es from 0.9; null: not sent."""
    chunking: Literal["clauses", "batches"] = "clauses"
    """Send the reply clause by clause, or in batches of so many characters."""
    first_clause_chars: Annotated[int, Field(ge=1, le=200)] = 12
    """The least that is sent as the first clause."""
    first_clause_stall_ms: Annotated[int, Field(ge=50, le=5000)] = 150
    """Where the LLM pauses so long within the first clause, what is there is spoken."""
    batch_chars: Annotated[int, Field(ge=1, le=2000)] = 180
    """Characters in a batch; used by chunking: batches."""
    flush: Literal["clauses", "end"] = "clauses"
    """Have the service speak after each clause, or once at the end of the reply."""
    flushes_per_minute: Annotated[int, Field(ge=1, le=20)] = 20
    """More are held back; the service refuses the 21st."""
    characters_per_minute: Annotated[int, Field(ge=100, le=2400)] = 2400
    """More are held back; the service closes the connection beyond 2400."""
    first_audio_timeout_ms: Milliseconds = 3000
    """From a flush to its first audio."""
    empty_ms: Annotated[int, Field(ge=100, le=2000)] = 250
    """With nothing left to play for so long, a reply whose last words came counts as over."""
    connect_timeout_ms: Milliseconds = 5000
    """Time to open the connection."""
    mip_opt_out: bool = False
    """Keep the text out of the service's model improvement; may change the price."""
    apology: str = "Sorry, I have lost my train of thought. Could you say that again?"
    """Spoken when the LLM fails; may be empty."""

    @model_validator(mode="after")
    def _speed_suits_the_voice(self) -> Tts:
        if self.speed is None:
            return self
        if not re.fullmatch(r"aura-2-.*-(en|es)", self.model):
            raise conflict(f"speed is for Aura-2 in en or es, not {self.model}", "speed", "model")
        if self.speed < 0.9 and self.model.endswith("-es"):
            raise conflict("speed is at least 0.9 for a voice in es", "speed", "model")
        return self
