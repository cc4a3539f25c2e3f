"""What to mark in the picture of a recording: a fold over the timeline, and the labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from voicecli import events
from voicecli.metrics.interaction import Interaction
from voicecli.metrics.turns import Turn
from voicecli.timeline import Entry
from voicecli.units import Seconds

MarkKind = Literal[
    "turn", "speech", "pause", "commit", "wait", "reply", "duck", "hold", "cut", "cutoff"
]
"""What is marked.

turn: the user's, from the first voiced frame to its end.
speech, pause: of the user, as the detector found them.
commit: the decision that the turn has ended; an instant.
wait: mouth-to-ear.
reply: what was heard of the agent.
duck, hold: the agent's volume was lowered; its playback was paused.
cut: the reply was stopped after some of it was heard; an instant.
cutoff: a commitment that cuts the user off; an instant.
"""


Lowering = Literal["duck", "hold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A span of a session, or an instant, in seconds.

    turn: whose reply it concerns; None: nobody's.
    """

    kind: MarkKind
    start: Seconds
    end: Seconds
    turn: int | None = None


def list_marks(
    timeline: Iterable[Entry], turns: Sequence[Turn], interaction: Interaction
) -> list[Mark]:
    """List what to mark of a session, ordered by start, on the session's clock.

    interaction: tells which turns cut their user off, if there were labels; else the turns do.
    """
    fold = _Fold()
    for entry in timeline:
        fold.note(entry)
    waits = [
        Mark(kind="wait", start=one.heard_at - one.mouth_to_ear, end=one.heard_at, turn=one.turn)
        for one in turns
        if one.mouth_to_ear is not None and one.heard_at is not None
    ]
    cut = {one.turn for one in turns if one.cut_off}
    if interaction.labelled:
        pauses = (one for one in interaction.events if one.subject == "pause")
        cut = {one.turn for one in pauses if one.turn is not None}
    cutoffs = [
        Mark(kind="cutoff", start=one.at, end=one.at, turn=one.turn)
        for one in turns
        if one.turn in cut
    ]
    return sorted([*fold.marks, *waits, *cutoffs], key=lambda mark: (mark.start, mark.kind))


@dataclass(slots=True)
class _Fold:
    marks: list[Mark] = field(default_factory=list)
    _speech: Seconds | None = None
    _turn: Seconds | None = None
    _pause: Seconds | None = None
    _lowered: tuple[Lowering, Seconds] | None = None
    _sounding: dict[events.TurnId, Seconds] = field(default_factory=dict)

    def note(self, entry: Entry) -> None:
        """Take the next entry."""
        self._note_user(entry)
        self._note_agent(entry)

    def _note_user(self, entry: Entry) -> None:
        match entry:
            case events.SpeechStarted():
                self._speech = entry.speech_start
                self._turn = entry.speech_start if self._turn is None else self._turn
            case events.SpeechPaused():
                self._pause = entry.speech_end
            case events.SpeechResumed():
                if self._pause is not None:
                    self._add("pause", self._pause, entry.at)
                self._pause = None
            case events.SpeechStopped():
                if self._speech is not None:
                    self._add("speech", self._speech, entry.speech_end)
                self._speech = self._pause = None
            case events.CommitReply():
                self._note_commit(entry)

    def _note_agent(self, entry: Entry) -> None:
        match entry:
            case events.Duck():
                self._lower("duck", entry.at, entry.turn)
            case events.Hold():
                self._lower("hold", entry.at, entry.turn)
            case events.Resume():
                self._lower(None, entry.at, entry.turn)
            case events.PlaybackStarted():
                self._sounding.setdefault(entry.turn, entry.at)
            case events.CancelReply():
                if self._end_reply(entry.turn, entry.at):
                    self._add("cut", entry.at, entry.at, entry.turn)
            case events.ReplyFinished() | events.ReplyCancelled() | events.ReplyFailed():
                self._end_reply(entry.turn, entry.at)

    def _note_commit(self, commit: events.CommitReply) -> None:
        end = commit.at if commit.speech_end is None else commit.speech_end
        if self._turn is not None:
            self._add("turn", min(self._turn, end), end, commit.turn)
        self._add("commit", commit.at, commit.at, commit.turn)
        self._turn = None if self._speech is None or self._speech < end else self._speech

    def _lower(self, kind: Lowering | None, at: Seconds, turn: events.TurnId) -> None:
        """Note that the agent is now lowered in another way; None: at full volume, or silent."""
        if self._lowered is not None:
            self._add(*self._lowered, at, turn)
        self._lowered = None if kind is None else (kind, at)

    def _end_reply(self, turn: events.TurnId, at: Seconds) -> bool:
        """Note that the reply no longer sounds; return whether it did."""
        self._lower(None, at, turn)
        start = self._sounding.pop(turn, None)
        if start is not None:
            self._add("reply", start, max(at, start), turn)
        return start is not None

    def _add(
        self, kind: MarkKind, start: Seconds, end: Seconds, turn: events.TurnId | None = None
    ) -> None:
        self.marks.append(Mark(kind=kind, start=start, end=end, turn=turn))
