"""Mouth-to-ear measured again, from the recording alone: a check on our own stamps.

The left channel says when the user's voice ended, the right one when the agent was first audible.
Nothing else of the session is used but when each turn was committed and first heard, to find the
place; so what a stamp gets wrong shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from voicecli.audio.pcm import AUDIBLE_DBFS
from voicecli.audio.playout import FADE
from voicecli.audio.vad.energy import stretches
from voicecli.metrics.turns import Turn
from voicecli.units import AudioBlock, AudioFormat, Seconds

TOLERANCE: Seconds = 0.020
"""A larger disagreement is an error of ours."""

NEAR: Seconds = 0.5
"""The first audible sample of a reply is looked for so far around the stamp of it, after the
commitment."""

_PIECE: Seconds = 1.0


def check_recording(turns: Sequence[Turn], recording: Path) -> list[Turn]:
    """``turns``, those that ``recording`` disagrees with marked unreliable.

    recording: stereo, the user left and the agent right, on the session's time line.
    """
    if not any(turn.mouth_to_ear is not None for turn in turns):
        return list(turns)
    with soundfile.SoundFile(recording) as sound:
        format = AudioFormat(sound.samplerate)
        voices = list(stretches(_user(sound, format), format))
        return [_checked(turn, sound, voices) for turn in turns]


def _user(sound: soundfile.SoundFile, format: AudioFormat) -> Iterator[AudioBlock]:
    sound.seek(0)
    at = 0
    for piece in sound.blocks(format.samples(_PIECE), dtype="int16", always_2d=True):
        yield AudioBlock(piece[:, 0].tobytes(), at / format.rate)
        at += len(piece)


def _checked(
    turn: Turn, sound: soundfile.SoundFile, voices: Sequence[tuple[Seconds, Seconds]]
) -> Turn:
    if turn.mouth_to_ear is None or turn.heard_at is None:
        return turn
    ends = [end for start, end in voices if start < turn.at and end <= turn.heard_at]
    # A reply that the user cut off may have faded out until just after the commitment; the next one
    # has PREROLL before its first audible sample.
    heard = _first_audible(sound, max(turn.at + FADE, turn.heard_at - NEAR), turn.heard_at + NEAR)
    if not ends or heard is None:
        return replace(turn, unreliable=(*turn.unreliable, "the recording does not show it"))
    recorded = heard - ends[-1]
    if abs(recorded - turn.mouth_to_ear) <= TOLERANCE:
        return turn
    doubt = f"the recording says {recorded * 1000:.0f} ms"
    return replace(turn, unreliable=(*turn.unreliable, doubt))


def _first_audible(sound: soundfile.SoundFile, since: Seconds, until: Seconds) -> Seconds | None:
    """When the agent's channel is first audible in that time."""
    rate = sound.samplerate
    start, stop = round(since * rate), round(until * rate)
    if not 0 <= start < min(stop, len(sound)):
        return None
    sound.seek(start)
    agent: NDArray[np.float64] = sound.read(stop - start, always_2d=True)[:, 1]
    loud = np.abs(agent) >= 10 ** (AUDIBLE_DBFS / 20)
    return (start + int(loud.argmax())) / rate if loud.any() else None
