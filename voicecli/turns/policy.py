"""Who has the floor.

The machine is told what happened, in order, and says what must be done about it.  It does no I/O,
reads no clock and starts no task: time is a number in the event, and what it must be woken for is
its ``deadline``.

    LISTENING ── commit ──▶ THINKING ── first sound ──▶ SPEAKING ──▶ LISTENING …
        ▲ └ draft, dropped draft │  the user goes on             │  last sound, or barge-in
        └────────────────────────┘◀──────────────────────────────┘

Two strategies end the user's turn.  ``endpointing``: the service's endpointing decides, and the
reply is drafted and committed at once.  ``vad``: the local detector says that speech stopped, the
STT is asked for the final text, a reply is drafted on it, and the turn is committed once the pause
has lasted long enough for what was said.  In both, words that come before a sample of the reply was
heard take the commitment back: one turn, one reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from voicecli.turns.barge_in import BargeInPolicy
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitWaits:
    """Silence after which the turn is committed, by what ``text.ending`` makes of its words."""

    complete: Seconds = 0.45
    default: Seconds = 0.7
    incomplete: Seconds = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPolicy:
    """How turns end and what interrupts.

    detect: the strategy, see above.
    each_final_is_a_turn: with ``endpointing``: do not wait for the end of the utterance.
    draft: whether a reply may be prepared before the commitment (``vad``).
    finalize_timeout: how long the answer to Finalize is waited for.
    settle: how long after the end of the input its last words are waited for.
    """

    detect: Literal["endpointing", "vad"] = "endpointing"
    each_final_is_a_turn: bool = False
    draft: bool = True
    commit: CommitWaits = field(default_factory=CommitWaits)
    finalize_timeout: Seconds = 0.35
    settle: Seconds = 2.0
    barge_in: BargeInPolicy = field(default_factory=BargeInPolicy)
