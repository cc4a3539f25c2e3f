"""The truth about a recording: its spans, what each is and what the agent should do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from voicecli.units import Seconds

Kind = Literal[
    "turn", "pause", "interruption", "backchannel", "tic", "other", "background", "noise"
]
"""What a span of a recording is.

turn: what the user says while having the floor, inner pauses included.
pause: silence within a turn or an interruption, with speech of the same party on both sides.
interruption: speech over the agent's reply that means to take the floor.
backchannel: "uh-huh" over the reply.
tic: a cough, a laugh, a sigh.
other: the user speaks to somebody else.
background: another person's voice.
noise: anything else that sounds.
"""

Expectation = Literal["respond", "yield", "hold", "ignore"]
"""What the agent should do: answer, fall silent, speak on (and wait on), or do nothing."""

EXPECTED: Mapping[Kind, Expectation] = {
    "turn": "respond",
    "pause": "hold",
    "interruption": "yield",
    "backchannel": "hold",
    "tic": "hold",
    "other": "hold",
    "background": "ignore",
    "noise": "ignore",
}
"""What the agent should do about a span that does not say so itself."""

KINDS = get_args(Kind)
EXPECTATIONS = get_args(Expectation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a recording, from ``start`` to ``end`` in seconds from its beginning.

    text: what is said; "" where it is not known, or nothing is.  "…" marks where a pause is.
    """

    start: Seconds
    end: Seconds
    kind: Kind
    expect: Expectation
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of one recording.

    spans: ordered by start; a pause lies within a turn or an interruption; the user's own speech
        (turn, interruption, backchannel, other) does not overlap itself.
    channel: the user's channel, from 0; None: as it is chosen without labels.
    """

    spans: tuple[Span, ...]
    channel: int | None = None

    def list_spans(self, *kinds: Kind) -> list[Span]:
        """List the spans of these kinds, in order."""
        return [span for span in self.spans if span.kind in kinds]
