"""When the agent's voice was audible, and when the user's: intervals on the session's clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from voicecli import events
from voicecli.events import Event, TurnId, Volume
from voicecli.metrics.labels import Kind, Labels, Span
from voicecli.metrics.recording import Recording
from voicecli.timeline import Entry
from voicecli.units import Seconds

FADE: Seconds = 0.01
"""How long a change of volume takes, where a timeline does not say when it ended."""


class Interval(NamedTuple):
    """From ``start`` to ``end``, in seconds."""

    start: Seconds
    end: Seconds

    @property
    def length(self) -> Seconds:
        """How long it lasts."""
        return self.end - self.start


@dataclass(slots=True)
class Playback:
    """One reply at the loudspeaker.

    start: when its first audible sample sounded.
    end: when it was silent for good; None if the timeline ends before that.
    changes: of its volume, in order; each lasts until the next.
    cancel: the order that ended it; None if it was heard to its end.
    cause: the event that led to the order.
    """

    turn: TurnId
    start: Seconds
    end: Seconds | None = None
    changes: list[tuple[Seconds, Volume]] = field(default_factory=list)
    cancel: events.CancelReply | None = None
    cause: Event | None = None

    def is_playing(self, at: Seconds) -> bool:
        """Whether it has begun by ``at`` and is not over."""
        return self.start <= at and (self.end is None or at < self.end)

    def find_softer(self, start: Seconds, end: Seconds) -> Seconds | None:
        """Return when it was ducked or held between ``start`` and ``end``; None if it was not."""
        softer = (at for at, volume in self.changes if volume != "full" and start <= at <= end)
        return next(softer, None)

    def list_audible(self, last: Seconds) -> list[Interval]:
        """List when it was audible, ducked or not; ``last``: where an open end is."""
        end = last if self.end is None else self.end
        begin: Seconds | None = self.start
        found = []
        for at, volume in self.changes:
            if volume == "silent" and begin is not None:
                found.append(Interval(begin, max(begin, min(at, end))))
                begin = None
            elif volume != "silent" and begin is None:
                begin = at
        if begin is not None and begin < end:
            found.append(Interval(begin, end))
        return found


def find_playbacks(timeline: Iterable[Entry]) -> list[Playback]:
    """Find the replies that were heard, in order."""
    found: dict[TurnId, Playback] = {}
    orders: dict[type[Entry], Volume] = {
        events.Duck: "ducked",
        events.Hold: "silent",
        events.Resume: "full",
    }
    cause: Event | None = None
    for entry in timeline:
        match entry:
            case events.PlaybackStarted() if entry.turn not in found:
                found[entry.turn] = Playback(entry.turn, entry.at)
            case events.Duck() | events.Hold() | events.Resume() if entry.turn in found:
                change = (entry.at + FADE, orders[type(entry)])
                found[entry.turn].changes.append(change)
            case events.CancelReply() if entry.turn in found:
                playback = found[entry.turn]
                playback.cancel, playback.cause = entry, cause
                playback.end = entry.at + FADE
            case events.VolumeChanged() if entry.turn in found:
                _correct(found[entry.turn], entry)
            case events.ReplyFinished() | events.ReplyFailed() if entry.turn in found:
                playback = found[entry.turn]
                playback.end = entry.at if playback.end is None else playback.end
        if isinstance(entry, Event) and not isinstance(entry, events.ReplyEvent):
            cause = entry
    for playback in found.values():
        held = [at for at, volume in playback.changes[-1:] if volume == "silent"]
        if playback.end is not None and held:  # it was silent before it was cut
            playback.end = min(playback.end, held[0])
    return list(found.values())


def _correct(playback: Playback, changed: events.VolumeChanged) -> None:
    """Take from the sink when the last change took effect."""
    if playback.cancel is not None:
        playback.end = changed.at
    elif playback.changes and playback.changes[-1][1] == changed.volume:
        playback.changes[-1] = (changed.at, changed.volume)


def find_user_voice(
    recording: Recording, labels: Labels | None, timeline: Iterable[Entry], *kinds: Kind
) -> list[Interval]:
    """Find when the user spoke: by the labels of ``kinds`` without their pauses, else detected."""
    if labels is not None:
        parts = [
            part for span in labels.list_spans(*kinds) for part in cut_pauses(span, labels.spans)
        ]
    elif recording.exists:
        parts = [
            Interval(one.start, one.end)
            for one in recording.speech
            if one.end is not None and one.counts
        ]
    else:
        return _find_detected(timeline)
    return [Interval(*one) for start, end in parts for one in recording.find_times(start, end)]


def cut_pauses(span: Span, spans: Sequence[Span]) -> list[Interval]:
    """Return the speech within ``span``: without the pauses in it."""
    pauses = [one for one in spans if one.kind == "pause" and span.start <= one.start < span.end]
    starts = [span.start, *(pause.end for pause in pauses)]
    ends = [*(pause.start for pause in pauses), span.end]
    return [Interval(*one) for one in zip(starts, ends, strict=True)]


def _find_detected(timeline: Iterable[Entry]) -> list[Interval]:
    found: list[Interval] = []
    start: Seconds | None = None
    for entry in timeline:
        if isinstance(entry, events.SpeechStarted):
            start = entry.speech_start
        elif isinstance(entry, events.SpeechStopped) and start is not None:
            found.append(Interval(start, entry.speech_end))
            start = None
    return found


def intersect(some: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """Return the stretches that lie in one of ``some`` and in one of ``others``."""
    both = (Interval(max(a.start, b.start), min(a.end, b.end)) for a in some for b in others)
    return merge(one for one in both if one.length > 0)


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of ``intervals``, in order and without overlaps."""
    merged: list[Interval] = []
    for one in sorted(intervals):
        if merged and one.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, one.end))
        else:
            merged.append(one)
    return merged
