"""What only a recording or a measurement adds: what is played or kept when, corrected times."""

from __future__ import annotations

from dataclasses import dataclass

from voicecli.events.entry import Event
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PartiesMixed(Event):
    """Several parties, who have channels of their own in the recording, are played as the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderStarted(Event):
    """The session's own recording began: its first sample was at the microphone at ``at``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResumed(Event):
    """The recording plays, from its beginning or from where it was paused.

    since: when its next sample was at the microphone.
    position: of that sample in the recording, in seconds from its beginning.
    """

    since: Seconds
    position: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPaused(Event):
    """The recording was paused, or ended; silence follows.

    since: when the silence began at the microphone.
    position: how far the recording was played, in seconds from its beginning.
    """

    since: Seconds
    position: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSpeechStarted(Event):
    """Speech was found in the part of the recording that is played next.

    position: of its first voiced frame, in seconds from the recording's beginning.
    new_turn: whether labels say that it does not go on with the turn before it.
    """

    position: Seconds
    new_turn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSpeechStopped(Event):
    """The end of that speech was found.

    position: of the end of its last voiced frame, in seconds from the recording's beginning.
    """

    position: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEndMeasured(Event):
    """The sound that followed shows when speech stopped: more exactly than it was reported.

    reported: ``speech_end`` of the SpeechStopped that this corrects.
    """

    reported: Seconds
    speech_end: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCalibrated(Event):
    """How exact this session's mouth-to-ear is, measured on signals whose ends are known.

    error: 95 of 100 measurements are off by less, in seconds.
    signals: how many were measured.
    """

    error: Seconds
    signals: int
