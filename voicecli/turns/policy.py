"""The settings of turn-taking: how turns end and what interrupts the agent.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from voicecli.turns.barge_in import BargeInPolicy
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitWaits:
    """The pause after which a turn is committed, by ``end_of_turn.classify_ending`` of its text."""

    complete: Seconds = 0.45
    default: Seconds = 0.7
    incomplete: Seconds = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPolicy:
    """How turns end and what interrupts.

    detect: the strategy; ``machine`` describes both.
    each_final_is_a_turn: with ``endpointing``, commit on every final segment.
    draft: with ``vad``, whether to prepare a reply before the commit.
    finalize_timeout: how long to wait for the answer to Finalize.
    settle: how long to wait for the last words after the end of the input.
    """

    detect: Literal["endpointing", "vad"] = "endpointing"
    each_final_is_a_turn: bool = False
    draft: bool = True
    commit: CommitWaits = field(default_factory=CommitWaits)
    finalize_timeout: Seconds = 0.35
    settle: Seconds = 2.0
    barge_in: BargeInPolicy = field(default_factory=BargeInPolicy)
