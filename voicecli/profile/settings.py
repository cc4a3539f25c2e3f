"""Everything a profile may say; the sections about the services are in ``services``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.types import Strict

from voicecli.profile.services import Llm, Milliseconds, Section, Stt, Text, Tts, conflict

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
