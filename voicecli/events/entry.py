"""What every event and every action has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecli.units import Seconds

TurnId = int
"""Numbers the agent's turns from 1."""

GREETING: TurnId = 0
"""The turn of the greeting: it answers nobody, and is no turn in any count."""

Service = Literal["stt", "llm", "tts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; ``at`` is when the fact entered the process."""

    at: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEvent(Event):
    """Something that happened to one turn's reply."""

    turn: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do now; ``at`` is that of the event that caused it."""

    at: Seconds
