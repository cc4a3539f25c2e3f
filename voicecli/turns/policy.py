"""Settings of turn-taking: what ends a turn, what interrupts a reply, what ends the session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from voicecli.events import Ending
from voicecli.settings import milliseconds, section, setting
from voicecli.turns.end_of_turn import ASSENTING_HUMS
from voicecli.units import Seconds

BACKCHANNELS = (
    *ASSENTING_HUMS, "mm", "hm", "hmm", "yeah", "yea", "yep", "yup", "yes", "right", "okay", "ok",
    "o.k.", "sure", "i see", "got it", "gotcha", "oh", "ah", "wow", "really", "cool", "alright",
    "all right",
)  # fmt: skip
"""Usual English back-channels, as STTs write them.

Not "um" and "uh", with which somebody begins to speak, nor "huh", which asks back.
"""

UNSURE: Seconds = 0.02
"""How much longer a pause must be to draft on words without a full stop.  In five sentences read
aloud, with interims every 200 ms, 10 drafts were dropped if pauses of 60 ms sufficed, 2 if 80 ms.
"""

EndModel = Literal["auto", "off", "smart-turn"]
"""A model that judges by the sound whether a turn has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What the agent does by itself."""

    greeting: str = setting(
        "", "Spoken when the conversation begins; the user may interrupt it.", empty=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitWaits:
    """Silence after which a turn is committed; up to incomplete while no reply is ready."""

    complete: Seconds = milliseconds(
        450, "After a whole sentence or a short answer.", key="complete", ge=0, le=10_000
    )
    default: Seconds = milliseconds(700, "After anything else.", key="default", ge=0, le=10_000)
    incomplete: Seconds = milliseconds(
        1200,
        'After "and", "um" or a comma, or within a number, an address or a spelled name.',
        key="incomplete",
        ge=0,
        le=10_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPolicy:
    """What ends the user's turn."""

    detect: Literal["endpointing", "vad", "service"] = setting(
        "vad",
        "What ends a turn: the detector and the words (vad), or the STT, by silence or its model.",
    )
    draft: Literal["off", "llm", "llm+tts"] = setting(
        "llm+tts",
        "What to prepare before the commit (not with endpointing): nothing, text, or speech, too.",
    )
    draft_on: Literal["interim", "final"] = setting(
        "interim", "What to draft on (vad): interims in a pause, or the final text."
    )
    draft_after: Seconds = milliseconds(
        60,
        "Silence after which a whole sentence is drafted on; at most audio.hangover_ms.",
        ge=50,
        le=2000,
    )
    commit: CommitWaits = section(CommitWaits, key="commit_ms")
    end_model: EndModel = setting(
        "auto",
        "Second opinion on commit_ms (vad), by the sound; auto: where the model has been fetched.",
    )
    each_final_is_a_turn: bool = setting(
        False, "Answer every final transcript: a pause in a sentence makes two turns."
    )
    settle: Seconds = milliseconds(
        2000, "How long to wait for the last words after the input ends.", ge=0, le=60_000
    )

    @property
    def pauses(self) -> Mapping[Ending, Seconds]:
        """By how the words end, silence after which a reply is drafted on an interim."""
        if self.pause is None:
            return {}
        return {"complete": self.pause, "default": self.pause + UNSURE}

    @property
    def pause(self) -> Seconds | None:
        """Silence after which a reply is drafted on an interim; None if none is."""
        on_interims = self.detect == "vad" and self.draft != "off" and self.draft_on == "interim"
        return self.draft_after if on_interims else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeInPolicy:
    """When the user takes the floor from the agent."""

    policy: Literal["off", "headphones", "speakers"] = setting(
        "off", "off: half duplex; headphones: full duplex; speakers: and echo cancellation."
    )
    min_words: int = setting(1, "Words that take the floor from the agent.", ge=1, le=10)
    hold: Seconds = milliseconds(
        150, "Speech that silences the reply, which is ducked at once.", ge=50, le=2000
    )
    confirm: Seconds = milliseconds(
        800, "Speech that takes the floor, with or without words.", ge=100, le=10_000
    )
    backchannels: tuple[str, ...] = setting(BACKCHANNELS, "Phrases that never take the floor.")

    @property
    def allowed(self) -> bool:
        """Whether the user may interrupt; otherwise half duplex."""
        return self.policy != "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Limits of a live session, which cap its cost."""

    idle: Seconds | None = setting(
        300.0, "talk ends when nobody has spoken for this long; null: never.", unit="_s", gt=0
    )
    longest: Seconds | None = setting(
        None, "talk ends after this long; null: never.", unit="minutes", key="minutes", gt=0
    )
