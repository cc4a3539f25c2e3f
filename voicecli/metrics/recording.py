"""What a timeline says of recordings: of the one that was played, and of the one that was kept."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple, Self

from voicecli.events import (
    PartiesMixed,
    RecordedSpeechStarted,
    RecordedSpeechStopped,
    RecorderStarted,
    RecordingPaused,
    RecordingResumed,
)
from voicecli.timeline import Entry
from voicecli.units import Seconds

MIN_SPEECH: Seconds = 0.1
"""A shorter sound is a click or a breath, and not the end of what the user said."""


def find_kept_start(timeline: Iterable[Entry]) -> Seconds:
    """Return the time on the session's clock at which the recording of the session begins.

    A time minus it is a position in that recording.  Timelines that do not say it are of sessions
    that were recorded from time 0 on.
    """
    started = (entry.at for entry in timeline if isinstance(entry, RecorderStarted))
    return next(started, 0.0)


class Stretch(NamedTuple):
    """A stretch of speech.

    end: None while it is not known.
    new_turn: whether labels say that it does not go on with the turn before it.
    """

    start: Seconds
    end: Seconds | None = None
    new_turn: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is longer than a click, as far as is known."""
        return self.end is None or self.end - self.start >= MIN_SPEECH


class _Piece(NamedTuple):
    """A part that is played without a pause."""

    since: Seconds  # on the session's clock
    position: Seconds
    length: Seconds | None = None  # None while it plays


class Recording:
    """The time and the speech of a recording; grows with the timeline.

    Positions are seconds from its beginning, times those of the session's clock.

    speech: what the look-ahead found, as positions.
    mixed: whether it has the voices of several parties, of which none can be told from the others.
    """

    def __init__(self, timeline: Iterable[Entry] = ()) -> None:
        self.speech: list[Stretch] = []
        self.mixed = False
        self._pieces: list[_Piece] = []
        for entry in timeline:
            self.note(entry)

    @property
    def exists(self) -> bool:
        """Whether the timeline is that of a recording, and says where it was played."""
        return bool(self._pieces)

    @property
    def waited(self) -> Seconds:
        """How long it was paused while there was more to play."""
        return sum(
            later.since - (piece.since + (piece.length or 0.0))
            for piece, later in pairwise(self._pieces)
        )

    @property
    def first_pause(self) -> Seconds | None:
        """The position at which it was first paused; None if it was played without a pause."""
        if len(self._pieces) < 2:
            return None
        return self._pieces[0].position + (self._pieces[0].length or 0.0)

    @property
    def end(self) -> Seconds | None:
        """When its last sample was at the microphone; None while it plays, or without one."""
        if not self._pieces or (length := self._pieces[-1].length) is None:
            return None
        return self._pieces[-1].since + length

    def note(self, entry: Entry) -> Self:
        """Take the next entry."""
        match entry:
            case RecordingResumed():
                self._pieces.append(_Piece(entry.since, entry.position))
            case RecordingPaused() if self._pieces:
                last = self._pieces[-1]
                length = max(entry.position - last.position, 0.0)
                self._pieces[-1] = last._replace(length=length)
            case PartiesMixed():
                self.mixed = True
            case RecordedSpeechStarted():
                self.speech.append(Stretch(entry.position, new_turn=entry.new_turn))
            case RecordedSpeechStopped() if self.speech:
                self.speech[-1] = self.speech[-1]._replace(end=entry.position)
        return self

    def find_position(self, at: Seconds) -> Seconds | None:
        """Return how far it had been played by ``at``; None: it is not a recording's timeline."""
        begun = [piece for piece in self._pieces if piece.since <= at] or self._pieces[:1]
        if not begun:
            return None
        since, position, length = begun[-1]
        played = at - since
        return position + (played if length is None else min(played, length))

    def find_time(self, position: Seconds) -> Seconds | None:
        """Return when ``position`` was at the microphone; None if it was not played."""
        for since, begin, length in self._pieces:
            if length is None or position < begin + length:
                return since + position - begin
        return None

    def find_times(self, start: Seconds, end: Seconds) -> list[tuple[Seconds, Seconds]]:
        """Return when the part from ``start`` to ``end`` was at the microphone, from when to when.

        More than one where it was paused in between; none where nothing of it was played.
        """
        found = []
        for since, begin, length in self._pieces:
            last = end if length is None else min(end, begin + length)
            if (first := max(start, begin)) < last:
                found.append((since + first - begin, since + last - begin))
        return found

    def find_wait(self, position: Seconds) -> Seconds | None:
        """Return how long after ``position`` the user goes on with the turn; None: not, or later.

        What was not found yet is later than the look-ahead reaches.
        """
        for one in self.speech:
            if one.counts and (one.end is None or one.end > position):
                if one.start <= position:
                    return 0.0
                return None if one.new_turn else one.start - position
        return None

    def has_speech_after(self, position: Seconds) -> bool:
        """Whether anything is said after ``position``."""
        return any(one.counts and one.start >= position for one in self.speech)
