"""Everything a profile may say; the sections about the services are in ``services``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

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


BACKCHANNELS = (
    "uh-huh", "mm-hmm", "mhm", "hmm", "yeah", "yep", "yes", "right", "okay", "ok", "sure", "i see",
    "got it", "oh", "ah", "wow", "really", "cool", "alright", "all right",
)  # fmt: skip
"""The usual English ones."""


class Audio(Section):
    """The microphone, the loudspeaker, and the ear between them."""

    sample_rate: Annotated[int, Field(ge=8000, le=48_000)] = 48_000
    """Hertz, of the microphone and of what the STT is sent."""
    block_ms: Annotated[int, Field(ge=10, le=250)] = 20
    """Length of the pieces the microphone delivers; each waits for its last sample."""
    microphone: Text | None = None
    """Part of its name, or its index; null: the system's default."""
    speaker: Text | None = None
    """Part of its name, or its index; null: the system's default."""
    prebuffer_ms: Annotated[int, Field(ge=0, le=500)] = 60
    """So much of a reply is queued before it sounds; grows where it has run dry."""
    vad: Literal["auto", "silero", "energy"] = "auto"
    """What tells voice from silence; auto: silero if onnxruntime is installed, else energy."""
    hangover_ms: Annotated[int, Field(ge=50, le=2000)] = 200
    """So much silence ends a stretch of voice."""
    echo_cancellation: Annotated[
        Literal["auto", "on", "off"],
        BeforeValidator(lambda value: {True: "on", False: "off"}.get(value, value)),  # YAML 1.1
    ] = "auto"
    """Take the agent's voice out of the microphone's; auto: with interrupt.policy speakers."""


class CommitWaits(Section):
    """Silence after which a turn is committed, by what was said."""

    complete: Annotated[int, Field(ge=0, le=10_000)] = 450
    """After a whole sentence or a short answer."""
    default: Annotated[int, Field(ge=0, le=10_000)] = 700
    """After anything else."""
    incomplete: Annotated[int, Field(ge=0, le=10_000)] = 1200
    """After "and", "to", "um", a comma, digits: the speaker is not done."""


class Turn(Section):
    """Who has the floor."""

    detect: Literal["endpointing", "vad"] = "vad"
    """What ends the user's turn: the local detector and the words, or the service's endpointing."""
    draft: Annotated[
        Literal["off", "llm", "llm+tts"],
        BeforeValidator(lambda value: "off" if value is False else value),  # YAML 1.1
    ] = "llm"
    """What is prepared before the turn is committed (vad): nothing, the words, the sound too."""
    commit_ms: CommitWaits = CommitWaits()
    """When the turn is committed (vad)."""
    each_final_is_a_turn: bool = False
    """Answer every final segment, so that a pause inside a sentence makes two turns of it."""
    settle_ms: Annotated[int, Field(ge=0, le=60_000)] = 2000
    """After the input has ended: how long to wait for its last words."""


class Interrupt(Section):
    """Barge-in."""

    policy: Annotated[
        Literal["off", "headphones", "speakers"],
        BeforeValidator(lambda value: "off" if value is False else value),  # YAML 1.1: off is false
    ] = "off"
    """off: half duplex; headphones: the microphone stays live; speakers: with echo cancellation."""
    min_words: Annotated[int, Field(ge=1, le=10)] = 1
    """Words that take the floor from the agent."""
    hold_ms: Annotated[int, Field(ge=50, le=2000)] = 150
    """The reply is ducked at the first voice, and silent when it has lasted so long."""
    confirm_ms: Annotated[int, Field(ge=100, le=10_000)] = 800
    """So much voice takes the floor, words or none."""
    backchannels: Annotated[tuple[Text, ...], Strict(False)] = BACKCHANNELS
    """What takes no floor."""


class Limits(Section):
    """What guards the bill."""

    idle_s: Annotated[float, Field(gt=0)] | None = 300.0
    """talk ends when nobody has spoken for so long; null: never."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """talk ends after so long; null: never."""


class Budgets(Section):
    """What a turn may take; more is reported, not prevented."""

    stt_ms: Milliseconds = 300
    """From the end of the user's voice to the final transcript."""
    llm_ms: Milliseconds = 200
    """From the request to the first token."""
    tts_ms: Milliseconds = 250
    """From the first text to the first audio."""
    total_ms: Milliseconds = 3000
    """Mouth to ear."""


class Standin(Section):
    """Servers on this machine in the place of the services."""

    engine: Literal["scripted", "local"]
    """scripted: exact latencies and faults; local: small real models."""
    script: Text | None = None
    """Name of a script, or a path ending in .yaml, relative to the profile."""
    require_key: bool = False
    """Refuse a connection without a key, as the services do."""

    @model_validator(mode="after")
    def _scripted_has_a_script(self) -> Standin:
        if self.engine == "scripted" and self.script is None:
            raise conflict("engine: scripted needs a script", "engine", "script")
        return self


class LocalLlm(Section):
    """The language model of the local engine."""

    model: Text | None = None
    """Path of a .gguf file, relative to the profile; null: the one that is fetched."""


class Local(Section):
    """The local engine."""

    llm: LocalLlm = LocalLlm()
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    """Threads of the language model; null: all cores but one."""


class Profile(Section):
    """All settings of a conversation."""

    description: str = ""
    """One line for the list of profiles; not inherited."""
    extends: str | None = Field(default=None, exclude=True)
    """Profile that this one changes: a name, or a path ending in .yaml, relative to this file."""
    audio: Audio = Audio()
    stt: Stt = Stt()
    llm: Llm = Llm()
    tts: Tts = Tts()
    turn: Turn = Turn()
    interrupt: Interrupt = Interrupt()
    limits: Limits = Limits()
    budgets: Budgets = Budgets()
    standin: Standin | None = None
    local: Local = Local()

    def resolved(self) -> dict[str, Any]:
        """Every setting as plain data, in the shape of a profile that extends nothing."""
        return self.model_dump(mode="json")
