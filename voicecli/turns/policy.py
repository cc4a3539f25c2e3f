"""Settings of turn-taking: what ends a turn, what interrupts a reply, what ends the session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecli.settings import milliseconds, section, setting
from voicecli.units import Seconds

BACKCHANNELS = (
    "uh-huh", "mm-hmm", "mhm", "hmm", "yeah", "yep", "yes", "right", "okay", "ok", "sure", "i see",
    "got it", "oh", "ah", "wow", "really", "cool", "alright", "all right",
)  # fmt: skip
"""The usual English ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitWaits:
    """Silence after which a turn is committed, by what was said."""

    complete: Seconds = milliseconds(
        450, key="complete", ge=0, le=10_000, doc="After a whole sentence or a short answer."
    )
    default: Seconds = milliseconds(700, key="default", ge=0, le=10_000, doc="After anything else.")
    incomplete: Seconds = milliseconds(
        1200,
        key="incomplete",
        ge=0,
        le=10_000,
        doc='After "and", "to", "um", a comma or digits: the speaker has more to say.',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPolicy:
    """What ends the user's turn."""

    detect: Literal["endpointing", "vad"] = setting(
        "vad",
        doc="What ends a turn: the local detector and the words, or the STT's endpointing.",
    )
    draft: Literal["off", "llm", "llm+tts"] = setting(
        "llm",
        doc="What to prepare before the turn is committed (vad): nothing, text, also audio.",
    )
    commit: CommitWaits = section(CommitWaits, key="commit_ms")
    each_final_is_a_turn: bool = setting(
        False,
        doc="Answer every final transcript, so that a pause inside a sentence makes two turns.",
    )
    settle: Seconds = milliseconds(
        2000,
        ge=0,
        le=60_000,
        doc="After the end of the input: how long to wait for its last words.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeInPolicy:
    """When the user takes the floor from the agent."""

    policy: Literal["off", "headphones", "speakers"] = setting(
        "off",
        doc="off: half duplex; headphones: the microphone stays live; speakers: and echo is "
        "cancelled.",
    )
    min_words: int = setting(1, ge=1, le=10, doc="Words that take the floor from the agent.")
    hold: Seconds = milliseconds(
        150, ge=50, le=2000, doc="Voice that turns a ducked reply silent; it is ducked at once."
    )
    confirm: Seconds = milliseconds(
        800, ge=100, le=10_000, doc="Voice that takes the floor, with or without words."
    )
    backchannels: tuple[str, ...] = setting(BACKCHANNELS, doc="What never takes the floor.")

    @property
    def allowed(self) -> bool:
        """Whether the user may interrupt; otherwise half duplex."""
        return self.policy != "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Limits of a live session, which cap its cost."""

    idle: Seconds | None = setting(
        300.0, unit="_s", gt=0, doc="talk ends when nobody has spoken for this long; null: never."
    )
    longest: Seconds | None = setting(
        None, unit="minutes", key="minutes", gt=0, doc="talk ends after this long; null: never."
    )
